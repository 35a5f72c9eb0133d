"""Verbs of training and looking: train, sample, paint, evolve, export."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli.words import (
    Changes,
    DataFolder,
    Device,
    Json,
    Preset,
    RunFolder,
    Step,
    Trust,
    Weights,
    app,
    err,
    escape,
    out,
    report,
    settled,
)
from simulacra.core.errors import Mistake
from simulacra.core.signals import saying

if TYPE_CHECKING:
    from simulacra.core.config import Config
    from simulacra.tasks.train import Outcome


@app.command()
def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="A name in configs/, a TOML file, or a run's config.json."
        ),
    ],
    preset: Preset = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Run folder; otherwise runs/<config>.")
    ] = None,
    change: Changes = None,
    root: DataFolder = None,
    device: Device = "cpu",
    extend: Annotated[
        bool,
        typer.Option(help="Go on past the end of a run: allow more steps than it was made for."),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option(help="Write TensorBoard event files beside the log.")
    ] = True,
    trust: Trust = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what it would do, and how long; write nothing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model, or go on where its run folder stands."""
    from simulacra.core import config, data_sets, zoo

    if as_json and not dry_run:
        raise Mistake("train --json: allowed: with --dry-run")
    source = str(zoo.place_of(source)) if source in zoo.names() else source
    place = data_sets.data_root(root)
    changes = settled(change, place)
    if dry_run:
        from simulacra.cli.dry_run import show

        said: dict[str, Any] = {"device": device, "extend": extend, "as_json": as_json}
        show(
            source,
            preset,
            changes,
            lambda name: run or _default_folder(source, name),
            place,
            **said,
        )
        return
    checked = config.resolve(
        source, preset, changes, lambda line: err.print(escape(line), soft_wrap=True)
    )
    folder = run or _default_folder(source, checked.name)
    how = {"device": device, "extend": extend, "tensorboard": tensorboard}
    _say_how_it_ended(folder, _trained(checked, folder, place, how))


def _trained(checked: "Config", folder: Path, place: Path | None, how: dict[str, Any]) -> "Outcome":
    """How the training ended, whose progress is shown."""
    from simulacra.core.progress import Progress
    from simulacra.tasks.train import train as verb

    title = f"{checked.name} ({checked.preset})"
    with (
        saying(lambda: _survives(folder)),
        Progress(out.console, checked.steps, checked.batch, title) as progress,
    ):
        heard: dict[str, Any] = {
            "tick": progress.tick,
            "saved": progress.saved,
            "notify": lambda line: report([], [line]),
        }
        return verb(checked, folder, place, **how, **heard)


def _say_how_it_ended(folder: Path, outcome: "Outcome") -> None:
    """Where the run is, how healthy, and what to look at; the process ends if it was stopped."""
    if not outcome.done:
        err.print(
            f"stopped and saved at step {outcome.step:,}; the same command goes on from there",
            soft_wrap=True,
        )
        sys.exit(outcome.status)
    left = " (nothing was left to do)" if outcome.already else ""
    out.print(f"{escape(str(folder))} is done: {outcome.step:,} steps{left}", soft_wrap=True)
    for line in outcome.health:
        out.print(f"  {escape(line)}", soft_wrap=True)
    for path in outcome.pictures:
        out.print(f"  look at {escape(str(path))}", soft_wrap=True)


def _survives(folder: Path) -> str:
    from simulacra.core.checkpoint import checkpoints, last_good

    again = "goes on from there" if checkpoints(folder) else "begins again"
    return f"{last_good(folder)}; the same command {again}"


def _default_folder(source: str, name: str) -> Path:
    path = Path(source)
    return (
        path.parent
        if path.name == "config.json"
        else path
        if path.is_dir()
        else Path("runs") / name
    )


@app.command()
def sample(
    run: RunFolder,
    target: Annotated[
        Path,
        typer.Option(
            "-o", help="A .png (a sheet), an .npz (images, uint8; series, in [-1, 1]) or a folder."
        ),
    ],
    count: Annotated[int, typer.Option("-n", "--samples", help="How many.")] = 64,
    wanted: Annotated[
        int | None, typer.Option("--class", help="Only this class; otherwise all in turn.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other pictures.")] = 0,
    weights: Weights = "average",
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Write samples of a trained run. Its data are not needed."""
    from simulacra.core.load import reopen
    from simulacra.tasks.sample import sample as verb

    paths = verb(reopen(run, None, device, step, weights), count, target, seed, wanted)
    out.print(
        f"{count:,} samples in {escape(str(target if len(paths) > 1 else paths[0]))}",
        soft_wrap=True,
    )


@app.command()
def paint(
    run: RunFolder,
    root: DataFolder = None,
    weights: Weights = "average",
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Paint a run's pictures again. Inputs are its fixed held-out ones, and its noise is fixed."""
    from simulacra.core.load import reopen
    from simulacra.tasks.paint import paint as verb

    opened = reopen(run, root, device, step, weights)
    for path in verb(opened, opened.data()):
        out.print(escape(str(path)), soft_wrap=True)


@app.command()
def evolve(
    run: RunFolder,
    target: Annotated[
        Path,
        typer.Option("-o", help="A .gif or .mp4 (a checkpoint a frame) or a .png (one a column)."),
    ],
    rows: Annotated[int, typer.Option(help="How many noises a .png shows, at most.")] = 8,
    columns: Annotated[int, typer.Option(help="How many checkpoints a .png shows, at most.")] = 12,
    fps: Annotated[int, typer.Option(help="Frames per second of an animation.")] = 4,
    scale: Annotated[int, typer.Option(help="Make each pixel this many pixels wide.")] = 2,
) -> None:
    """Show the same noise through training. It takes the pictures in the run: neither checkpoints
    nor data are needed."""
    from simulacra.tasks.evolve import evolve as verb

    steps = verb(run, target, rows=rows, columns=columns, fps=fps, scale=scale)
    span = (
        f"{len(steps)} steps, {steps[0]:,} to {steps[-1]:,},"
        if len(steps) > 1
        else f"step {steps[0]:,}"
    )
    out.print(f"{span} in {escape(str(target))}", soft_wrap=True)


@app.command()
def export(
    run: RunFolder,
    target: Annotated[Path, typer.Option("-o", help="A folder for the packed run.")],
    note: Annotated[str, typer.Option(help="A sentence for its card.")] = "",
    most: Annotated[int, typer.Option(help="Refuse weights of more bytes.")] = 6_000_000,
    examples: Annotated[
        int, typer.Option(min=0, help="Pack so many held-out examples too: what dreams begin with.")
    ] = 0,
    root: DataFolder = None,
    step: Step = None,
    trust: Trust = False,
) -> None:
    """Pack a run into a small folder. It holds what one looks at, and all verbs but train open it
    as a run."""
    from simulacra.core.load import reopen
    from simulacra.tasks.export import export as verb

    for place, size in verb(
        reopen(run, root, step=step), target, note=note, most=most, examples=examples
    ):
        out.print(f"{size / 1e6:5.1f} MB in {escape(str(place))}", soft_wrap=True)
