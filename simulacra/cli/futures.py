"""Verbs of one picture's futures: predict, transfer, traverse."""

from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.words import (
    Device,
    Picture,
    Prior,
    Results,
    RunFolder,
    Scale,
    Step,
    Trust,
    app,
    out,
    report,
)


@app.command()
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


@app.command()
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
    """Give the motion between two frames to another picture (visual_dynamics)."""
    from simulacra.core.load import reopen
    from simulacra.tasks.transfer import transfer as verb

    paths, done = verb(reopen(run, None, device, step), first, second, to, target, scale=scale)
    report(paths, done)


@app.command()
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
    """Vary the most active dimensions of the motion, one at a time (visual_dynamics)."""
    from simulacra.core.load import reopen
    from simulacra.tasks.traverse import traverse as verb

    opened = reopen(run, None, device, step)
    paths, chosen, done = verb(
        opened, path, target, dimensions=dimensions, steps=steps, scale=scale
    )
    report(paths, [f"{path}: {done}"] if done else [])
    out.print(f"dimensions, the most active first: {', '.join(map(str, chosen))}", soft_wrap=True)
