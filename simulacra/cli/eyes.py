"""Verbs of models that turn pictures into codes and back: reconstruct, interpolate."""

import json
from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.words import (
    Device,
    Json,
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


@app.command()
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
    """Turn pictures into a run's codes and back, and say how much of them is left (vae, vaegan)."""
    from simulacra.core.load import reopen
    from simulacra.tasks.reconstruct import reconstruct as verb

    paths, rows, done = verb(
        reopen(run, None, device, step, weights), pictures, target, scale=scale
    )
    if as_json:
        print(json.dumps(rows))
        return
    report(paths[-1:], done)
    for row in rows:
        alike = "" if row["ssim"] is None else f", similarity {row['ssim']:.3f}"
        out.print(
            f"{escape(row['picture'])}: {row['psnr']:.2f} dB{alike}, in {escape(row['file'])}",
            soft_wrap=True,
        )


@app.command()
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
    """Go from one picture to another through what a run has learnt (vae, vaegan)."""
    from simulacra.core.load import reopen
    from simulacra.tasks.interpolate import interpolate as verb

    opened = reopen(run, None, device, step, weights)
    path, done = verb(opened, first, second, target, steps=steps, kind=kind, scale=scale)
    report([path], done)
