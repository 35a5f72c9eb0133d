"""Verbs of simulated worlds and of agents in them: collect, encode, world, compare-eyes, score,
drive, dream."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli import games
from simulacra.cli.words import (
    DataFolder,
    Device,
    Json,
    Preset,
    RunFolder,
    Scale,
    Step,
    Trust,
    a_run,
    app,
    err,
    escape,
    note,
    out,
    report,
)
from simulacra.core.errors import Mistake, choose
from simulacra.core.signals import saying
from simulacra.envs import RACING

if TYPE_CHECKING:
    from simulacra.core.progress import Progress

PANEL = "Worlds"
Film = Annotated[Path, typer.Option("-o", help="A .mp4 or a .gif.")]
EyeFolder = Annotated[
    Path | None,
    typer.Option(
        "--eye",
        metavar="RUN",
        help="Run folder of the eye, or zoo/NAME; otherwise the config's.",
        callback=a_run,
    ),
]
Simulator = Annotated[
    str, typer.Option(help="gymnasium, which is official, or envpool, two to five times faster.")
]
Rate = Annotated[float, typer.Option(help="Frames per second; the world runs at 50.")]
Every = Annotated[int, typer.Option(help="Of so many frames keep one, for small files.")]


Drivers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHARE",
        help="Who drives: idle, brownian, random, scripted, distracted, careless, learnt, agent; "
        "who plays a game: random, sticky, learnt, agent.",
    ),
]
Lead = Annotated[
    int, typer.Option(help="Let a steady driver drive up to so many steps before recording.")
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="On a Ray cluster: HOST:PORT, auto, or local."),
]
Against = Annotated[
    Path | None, typer.Option(metavar="CSV", help="Compare, track by track, with this table.")
]
Driver = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="A run of world_controller, who drives as learnt (with lapses) or agent (as it is).",
        callback=a_run,
    ),
]


@app.command(rich_help_panel=PANEL)
def collect(
    world: games.Recorded,
    target: Annotated[
        Path,
        typer.Option("-o", help="A folder for the episodes; one that holds some is filled up."),
    ],
    episodes: Annotated[int, typer.Option(help="How many episodes the folder is to hold.")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Frames of an episode, at most 1,000 of racing.")
    ] = None,
    driver: Drivers = None,
    simulator: Annotated[
        str, typer.Option(help="envpool, or gymnasium, a few times slower.")
    ] = "envpool",
    lead: Lead = 0,
    hud: Annotated[bool, typer.Option("--hud", help="Show the bar of score and speed.")] = False,
    seed: Annotated[int, typer.Option(help="Other seeds, other tracks and drivers.")] = 0,
    agent: Driver = None,
    received: games.Received = None,
    ray: Ray = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Record drives of CarRacing, or plays of a game. For eyes and memories; a stopped collection
    goes on."""
    if world != RACING:
        bound = {"lead": lead, "hud": hud, "ray": ray, "simulator": simulator != "envpool"}
        if wrong := [name for name, value in bound.items() if value]:
            raise Mistake(f"--{wrong[0]} is for racing; allowed: racing with it, {world} without")
        players = dict(map(_share, driver)) if driver else None
        with saying(lambda: _kept(target, "episodes")):
            games.told(
                games.recorded(
                    world, target, episodes, steps, players, seed, agent, received, as_json
                )
            )
        return
    if received:
        raise Mistake("--from is for other games than racing; allowed: --episodes N")
    from simulacra.core.load import reopen
    from simulacra.core.progress import Stages
    from simulacra.models.world.agent import agent_of
    from simulacra.tasks.worlds.collect import MIXTURE
    from simulacra.tasks.worlds.collect import collect as verb

    driven = agent_of(reopen(agent, None)) if agent else None
    mixture = dict(map(_share, driver)) if driver else MIXTURE
    how: dict[str, Any] = {"lead": lead, "hud": hud, "agent": driven}
    with contextlib.ExitStack() as held:
        held.enter_context(saying(lambda: _kept(target, "episodes")))
        if ray is not None:
            from simulacra.core.cluster import Cluster

            how["over"] = held.enter_context(Cluster(ray, target)).map
        stages = held.enter_context(Stages(out.console, quiet=as_json))
        how["notify"] = stages.update
        found = verb(target, episodes, seed, mixture, simulator, steps or 1000, **how)
    games.told((found, driven.notes if driven else (), as_json))


def _kept(folder: Path, what: str) -> str:
    """How many files are whole, in words."""
    count = sum(1 for path in folder.rglob("*.safetensors") if not path.name.startswith("."))
    return f"{count} {what} are in {folder}; the same command goes on from there"


def _share(text: str) -> tuple[str, float]:
    """A driver and its share, from words such as scripted=3."""
    name, _, share = text.partition("=")
    try:
        return name, float(share or 1)
    except ValueError:
        raise Mistake(
            f"driver = {text}; allowed: a name and its share, such as scripted=3"
        ) from None


@app.command(rich_help_panel=PANEL)
def encode(
    run: RunFolder,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A folder that collect filled.")],
    target: Annotated[Path, typer.Option("-o", help="A folder for the codes.")],
    step: Step = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Encode recorded drives with an eye (vae, vaegan). A stopped run goes on."""
    from simulacra.core.load import reopen
    from simulacra.envs.episodes import Store
    from simulacra.tasks.worlds.encode import Stored
    from simulacra.tasks.worlds.encode import encode as verb

    with saying(lambda: _kept(target, "episodes of codes")):
        done = verb(reopen(run, None, device, step), Stored(Store(store)), target)
    told = (
        f"{done.written} episodes ({done.frames:,} frames) in {target}, "
        f"{done.already} were there; eye {done.eye}"
    )
    out.print(escape(told), soft_wrap=True)
    note(done.notes)


Site = Annotated[
    Path, typer.Option("-o", help="A folder for all stages; one that holds some goes on.")
]
StageChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="STAGE.KEY=VALUE", help="Change a stage, e.g. controller.steps=60."
    ),
]


@app.command(rich_help_panel=PANEL)
def world(
    target: Site = Path("runs/world"),
    preset: Preset = None,
    eye: Annotated[str, typer.Option(help="V: vae or vaegan.")] = "vae",
    seed: Annotated[
        int,
        typer.Option(help="Of the controllers, which are then other ones in folders of their own."),
    ] = 0,
    game: Annotated[
        str,
        typer.Option(help="racing, one of simulacra list, a FILE.py, or an ID of gymnasium."),
    ] = RACING,
    change: StageChanges = None,
) -> None:
    """World Models from nothing, from recording to a score. The eye, the memory and the controller
    are trained, this one in the dream and then in the world."""
    if game != RACING:
        games.own_world(_staged(), target, preset or "laptop", eye, seed, game, change or [])
        return
    from simulacra.tasks.worlds.world import EXTENTS, Site, changes, until
    from simulacra.tasks.worlds.world import world as verb

    with _staged() as (notify, shown):
        extent = EXTENTS[choose("preset", preset or "laptop", list(EXTENTS))]
        site = Site(
            target,
            eye,
            preset or "laptop",
            seed,
            notify,
            shown,
            changes(change or [], until(extent.last)),
        )
        found = verb(site).summary()
    ends = f"95 % of the mean {found.low:.0f} to {found.high:.0f}"
    out.print(
        f"score {found.mean:.0f} +- {found.std:.0f} over {found.n} tracks, {ends}", soft_wrap=True
    )
    out.print(f"rows in {escape(str(site.path('score').with_suffix('.csv')))}", soft_wrap=True)
    stages = escape(str(site.path("stages").with_suffix(".md")))
    out.print(f"what each stage took and was worth: {stages}", soft_wrap=True)


@app.command("compare-eyes", rich_help_panel=PANEL)
def compare_eyes(
    target: Site = Path("runs/world"),
    preset: Preset = None,
    seeds: Annotated[int, typer.Option(help="Controllers of each eye, at least 2.")] = 3,
    change: StageChanges = None,
) -> None:
    """Train both eyes on the same frames and compare them. A memory and controllers are trained on
    each; what they are worth is one table with intervals."""
    from simulacra.tasks.worlds.compare_encoders import sheet, table
    from simulacra.tasks.worlds.world import Site, arm, changes, eyes, until

    if seeds < 2:
        raise Mistake(
            f"seeds = {seeds}; allowed: 2 and more, or nothing is known of another search"
        )
    from simulacra.core.files import write_text

    with _staged() as (notify, shown):
        asked = changes(change or [], until("dream"))
        sites = [Site(target, eye, preset or "laptop", 0, notify, shown, asked) for eye in eyes()]
        arms = {site.eye: arm(site, seeds) for site in sites}
        rows, text = table(arms, notify=lambda what: notify(f"measuring {what}", 0.0))
    write_text(target / "eyes.json", json.dumps(rows, indent=1) + "\n")
    write_text(target / "eyes.md", text)
    for path in target / "eyes.md", target / "eyes.json", sheet(arms, target / "eyes.png"):
        out.print(escape(str(path)), soft_wrap=True)


@contextmanager
def _staged() -> Iterator[tuple[Callable[[str, float], None], Callable[[Any, str], "Progress"]]]:
    """Whoever is told of stages, and of trainings;
    a stop is exit status 130, or 143 after another signal than Ctrl-C."""
    from simulacra.core.progress import Progress, Stages
    from simulacra.tasks.worlds.world import Stopped

    def shown(checked: Any, stage: str) -> Progress:
        return Progress(out.console, checked.steps, checked.batch, stage)

    try:
        with (
            saying(lambda: "what is finished stays; the same command goes on"),
            Stages(out.console) as stages,
        ):
            yield stages.update, shown
    except Stopped as stopped:
        err.print(escape(str(stopped)), soft_wrap=True)
        sys.exit(stopped.status)


@app.command(rich_help_panel=PANEL)
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
    against: Against = None,
    step: Step = None,
    threads: Annotated[int, typer.Option(help="Threads of envpool, processes of gymnasium.")] = 1,
    game: games.GameOfRun = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Score an agent: its mean return over 100 fixed tracks. They are driven to the official end;
    the return has an interval, and metrics.jsonl gets a line."""
    if (run is None) == (driver is None):
        raise Mistake("score needs a run folder or --driver, and not both")
    if driver and (eye or step is not None):
        raise Mistake(
            f"driver = {driver} has no eye and no checkpoint; allowed: --eye and --step with a run "
            "folder"
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
            f"standard deviation {games.number(found['std'])}; of the mean "
            f"{games.number(found['standard_error'])}",
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
        told = f"{_interval(found['difference'])} to {against}, track by track"
        lines.append(("difference", told))
        lines.append(("between configs", "undecided: one search of each; 3 are the least"))
    lines += [("game", line) for line in games.of_game(found)]
    lines += [("table", found["table"])] if "table" in found else []
    if "game" in found:
        lines = [line for line in lines if line[0] not in ("laps finished", "tiles reached")]
    return lines + [("note", sentence) for sentence in found.get("notes", [])]


def _interval(found: dict[str, Any]) -> str:
    interval = f"95 % interval {games.number(found['low'])} to {games.number(found['high'])}"
    told = interval if found["n"] > 1 else "one track, no interval"
    return f"mean {games.number(found['mean'])}, {told}"


@app.command(rich_help_panel=PANEL)
def drive(
    run: RunFolder,
    target: Film,
    track: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Which track; none of those that scores are for."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Longest drive; of racing at most 1,000.")] = 300,
    simulator: Simulator = "gymnasium",
    eye: EyeFolder = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other noise of codes.")] = 0,
    scale: Scale = 3,
    fps: Rate = 25,
    every: Every = 1,
    step: Step = None,
    game: games.GameOfRun = None,
    trust: Trust = False,
) -> None:
    """Film an agent in the world (world_controller). The film shows what it sees, what its eye
    keeps of it, and what its memory had expected."""
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
    longest = trip.longest
    finished = ", the lap finished" if trip.lap_finished == 1 else ""
    tiles = f", {trip.progress:.0%} of the tiles" if trip.progress == trip.progress else ""
    out.print(
        f"return {trip.value:.1f} in {trip.steps} steps{tiles}{finished}; track {track}",
        soft_wrap=True,
    )
    if trip.steps >= steps and steps < longest and not finished:
        out.print(f"cut at {steps:,} of at most {longest:,} steps; --steps N for more")
    report([trip.path], list(trip.notes))


@app.command(rich_help_panel=PANEL)
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
    """Film what a memory dreams (world_controller, world_memory). An agent is at the wheel, or the
    dream is beside what was recorded."""
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
