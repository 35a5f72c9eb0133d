"""Verbs of agents that were trained for a simulated world: score, drive, dream."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.words import (
    DataFolder,
    Json,
    RunFolder,
    Scale,
    Step,
    Trust,
    a_run,
    app,
    escape,
    out,
    report,
)
from simulacra.core.errors import Mistake
from simulacra.core.signals import saying

Film = Annotated[Path, typer.Option("-o", help="A .mp4 or a .gif.")]
EyeFolder = Annotated[
    Path | None,
    typer.Option("--eye", metavar="RUN", help="Run folder of the eye; otherwise the config's."),
]
Simulator = Annotated[
    str, typer.Option(help="gymnasium, which is official, or envpool, ten times faster.")
]
Rate = Annotated[float, typer.Option(help="Frames per second; the world runs at 50.")]
Every = Annotated[int, typer.Option(help="Of so many frames keep one, for small files.")]


@app.command()
def score(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder (world_controller).", callback=a_run),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--tracks", help="How many of the tracks; otherwise all.")
    ] = None,
    simulator: Simulator = "gymnasium",
    eye: EyeFolder = None,
    selection: Annotated[
        bool, typer.Option("--selection", help="The 32 tracks for choosing between checkpoints.")
    ] = False,
    target: Annotated[
        Path | None, typer.Option("-o", help="A .csv, a row a track; otherwise in RUN/scores.")
    ] = None,
    driver: Annotated[
        str | None, typer.Option(help="In place of RUN: idle, brownian or scripted.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Compare, track by track, with this table.")
    ] = None,
    step: Step = None,
    threads: Annotated[int, typer.Option(help="Threads of envpool, processes of gymnasium.")] = 1,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Score an agent: its mean return over 100 fixed tracks to the official end, with interval,
    and a line in metrics.jsonl."""
    if (run is None) == (driver is None):
        raise Mistake("score needs a run folder or --driver, and not both")
    if driver and (eye or step is not None):
        raise Mistake(
            f"driver = {driver} has no eye and no checkpoint; "
            "allowed: --eye and --step with a run folder"
        )
    from simulacra.core.load import reopen
    from simulacra.core.progress import Stages
    from simulacra.tasks.worlds.score import Course, anchor
    from simulacra.tasks.worlds.score import score as verb

    course = Course(simulator, count, selection, threads)
    with saying(lambda: "no score was written"), Stages(out.console, quiet=as_json) as stages:
        if run:
            found = verb(
                reopen(run, None, step=step),
                course,
                target,
                eye=eye,
                against=against,
                notify=stages.update,
            )
        else:
            found = anchor(driver or "", course, target, against=against, notify=stages.update)
    if as_json:
        print(json.dumps(found))
        return
    for name, text in _score_lines(found, against):
        out.print(f"[bold]{name:14}[/] {escape(text)}", soft_wrap=True)


def _score_lines(found: dict[str, Any], against: Path | None) -> list[tuple[str, str]]:
    where = (
        f"{found['n']} {found['tracks']} tracks, {found['simulator']} {found['simulator_version']}"
    )
    who = f"driver {found['driver']}" if "driver" in found else f"step {found['step']:,}"
    lines = [
        ("return", f"{_interval(found)} ({who}, {where})"),
        (
            "between tracks",
            f"standard deviation {_number(found['std'])}; "
            f"of the mean {_number(found['standard_error'])}",
        ),
        (
            "laps finished",
            f"{found['lap_finished']:.0%}" if found["lap_finished"] is not None else "not told",
        ),
        (
            "tiles reached",
            f"{found['progress']:.1%}" if found["progress"] is not None else "not told",
        ),
        ("processor", f"{found['processor_seconds']:,.1f} s"),
    ]
    if "difference" in found:
        lines.append(
            ("difference", f"{_interval(found['difference'])} to {against}, track by track")
        )
    lines += [("table", found["table"])] if "table" in found else []
    return lines + [("note", sentence) for sentence in found.get("notes", [])]


def _interval(found: dict[str, Any]) -> str:
    interval = f"95 % interval {_number(found['low'])} to {_number(found['high'])}"
    return (
        f"mean {_number(found['mean'])}, {interval if found['n'] > 1 else 'one track, no interval'}"
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.1f}"


@app.command()
def drive(
    run: RunFolder,
    target: Film,
    track: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Which track; none of those that scores are for."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Longest drive, at most 1,000 steps.")] = 300,
    simulator: Simulator = "gymnasium",
    eye: EyeFolder = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other noise of codes.")] = 0,
    scale: Scale = 3,
    fps: Rate = 25,
    every: Every = 1,
    step: Step = None,
    trust: Trust = False,
) -> None:
    """Film an agent: what it sees, what its eye keeps of it,
    and what its memory had expected (world_controller)."""
    from simulacra.core.load import reopen
    from simulacra.envs.carracing.tracks import SELECTION
    from simulacra.tasks.worlds._film import Screen
    from simulacra.tasks.worlds.drive import drive as verb

    track = SELECTION[0] if track is None else track
    screen, opened = Screen(fps, every, scale), reopen(run, None, step=step)
    trip = verb(
        opened,
        target,
        track=track,
        steps=steps,
        simulator=simulator,
        eye=eye,
        seed=seed,
        screen=screen,
    )
    finished = ", the lap finished" if trip.lap_finished == 1 else ""
    tiles = f", {trip.progress:.0%} of the tiles" if trip.progress == trip.progress else ""
    out.print(
        f"return {trip.value:.1f} in {trip.steps} steps{tiles}{finished}; track {track}",
        soft_wrap=True,
    )
    report([trip.path], list(trip.notes))


@app.command()
def dream(
    run: RunFolder,
    target: Film,
    steps: Annotated[
        int,
        typer.Option(help="Longest dream; along recorded actions no longer than the recordings."),
    ] = 300,
    tau: Annotated[float | None, typer.Option(help="Temperature; otherwise the run's own.")] = None,
    count: Annotated[int, typer.Option(help="How many dreams, side by side.")] = 4,
    eye: EyeFolder = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other dreams.")] = 0,
    scale: Scale = 2,
    fps: Rate = 25,
    every: Every = 1,
    step: Step = None,
    root: DataFolder = None,
    trust: Trust = False,
) -> None:
    """Film what a memory dreams: an agent at the wheel (world_controller),
    or beside what was recorded (world_memory)."""
    from simulacra.core.load import reopen
    from simulacra.tasks.worlds._film import Screen
    from simulacra.tasks.worlds.dream import Asked
    from simulacra.tasks.worlds.dream import dream as verb

    opened = reopen(run, root, step=step)
    found = verb(opened, target, Asked(steps, count, tau, eye, seed), Screen(fps, every, scale))
    dreams, longest = found.clips.shape[:2]
    what = f"{dreams} dreams of up to {longest} steps at temperature {found.tau:g}"
    out.print(what if found.lengths else f"{what}, each beside its recording", soft_wrap=True)
    if found.returns:
        mean = sum(found.returns) / len(found.returns)
        each = ", ".join(f"{value:.1f}" for value in found.returns)
        out.print(f"dreamt returns {each}; mean {mean:.1f}", soft_wrap=True)
    if found.lengths:
        returns = (
            "" if found.returns else "; this memory has no reward head, so that nothing is earned"
        )
        out.print(f"lengths {', '.join(map(str, found.lengths))}{returns}", soft_wrap=True)
    report([target], list(found.notes))
