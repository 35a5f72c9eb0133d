"""Verbs of pictures: reconstruct and interpolate by their codes; predict, transfer and traverse
their futures."""

import json
from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.words import (
    Device,
    Json,
    Picture,
    Prior,
    Results,
    RunFolder,
    Scale,
    Step,
    Trust,
    Weights,
    app,
    escape,
    out,
    report,
)

PANEL = "Pictures"
SAID = 10  # pictures that are named one by one


@app.command(rich_help_panel=PANEL)
def reconstruct(
    run: RunFolder,
    pictures: Annotated[
        list[Path], typer.Argument(help="Pictures of any kind and size, or folders of them.")
    ],
    target: Results,
    scale: Scale = 1,
    weights: Weights = "average",
    step: Step = None,
    device: Device = "cpu",
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Turn pictures into codes and back (vae, vaegan). It says how much of each is left."""
    from simulacra.core.load import reopen
    from simulacra.tasks.reconstruct import reconstruct as verb

    paths, rows, done = verb(
        reopen(run, None, device, step, weights), pictures, target, scale=scale
    )
    if as_json:
        print(json.dumps(rows))
        return
    report(paths[-1:], done)
    for row in rows[:SAID]:
        alike = "" if row["ssim"] is None else f", similarity {row['ssim']:.3f}"
        out.print(
            f"{escape(row['picture'])}: {row['psnr']:.2f} dB{alike}, in {escape(row['file'])}",
            soft_wrap=True,
        )
    if rows[SAID:]:
        mean = sum(row["psnr"] for row in rows) / len(rows)
        rest = f"and {len(rows) - SAID} more (--json has all)"
        out.print(f"{rest}; {mean:.2f} dB on average of {len(rows)}", soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def interpolate(
    run: RunFolder,
    first: Annotated[Path, typer.Argument(metavar="FROM", help="A picture of any kind and size.")],
    second: Annotated[Path, typer.Argument(metavar="TO", help="Another one.")],
    target: Annotated[
        Path, typer.Option("-o", help="A .png (a strip) or a .gif (there and back).")
    ],
    steps: Annotated[
        int, typer.Option("-n", "--steps", help="How many pictures on the way, both ends included.")
    ] = 8,
    kind: Annotated[
        str, typer.Option("--path", help="The way between the codes: spherical or linear.")
    ] = "spherical",
    scale: Scale = 2,
    weights: Weights = "average",
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Go from one picture to another (vae, vaegan). The way is through what a run has learnt."""
    from simulacra.core.load import reopen
    from simulacra.tasks.interpolate import interpolate as verb

    opened = reopen(run, None, device, step, weights)
    path, done = verb(opened, first, second, target, steps=steps, kind=kind, scale=scale)
    report([path], done)


@app.command(rich_help_panel=PANEL)
def predict(
    run: RunFolder,
    path: Picture,
    target: Results,
    count: Annotated[int, typer.Option("-n", "--futures", help="How many futures.")] = 6,
    roll: Annotated[int, typer.Option(help="How many steps into each future.")] = 1,
    prior: Prior = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other futures.")] = 0,
    scale: Scale = 2,
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Imagine possible futures of one picture (visual_dynamics)."""
    from simulacra.core.load import reopen
    from simulacra.tasks.predict import predict as verb

    opened = reopen(run, None, device, step)
    paths, done = verb(
        opened, path, target, count=count, roll=roll, prior=prior, seed=seed, scale=scale
    )
    report(paths, [f"{path}: {done}"] if done else [])


@app.command(rich_help_panel=PANEL)
def transfer(
    run: RunFolder,
    first: Annotated[Path, typer.Argument(metavar="FROM1", help="A frame.")],
    second: Annotated[Path, typer.Argument(metavar="FROM2", help="The frame after it.")],
    to: Annotated[Path, typer.Argument(metavar="TO", help="The picture that is to move likewise.")],
    target: Results,
    scale: Scale = 2,
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Give a motion to another picture (visual_dynamics). The motion is that between two frames."""
    from simulacra.core.load import reopen
    from simulacra.tasks.transfer import transfer as verb

    paths, done = verb(reopen(run, None, device, step), first, second, to, target, scale=scale)
    report(paths, done)


@app.command(rich_help_panel=PANEL)
def traverse(
    run: RunFolder,
    path: Picture,
    target: Results,
    dimensions: Annotated[int, typer.Option(help="How many of the most active dimensions.")] = 6,
    steps: Annotated[int, typer.Option(help="How many values of each.")] = 9,
    scale: Scale = 2,
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Vary a picture's motion (visual_dynamics). Its most active dimensions, one at a time."""
    from simulacra.core.load import reopen
    from simulacra.tasks.traverse import traverse as verb

    opened = reopen(run, None, device, step)
    paths, chosen, done = verb(
        opened, path, target, dimensions=dimensions, steps=steps, scale=scale
    )
    report(paths, [f"{path}: {done}"] if done else [])
    out.print(f"dimensions, the most active first: {', '.join(map(str, chosen))}", soft_wrap=True)
