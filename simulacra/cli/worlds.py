"""Verbs of simulated worlds: collect, encode, world, compare-eyes."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli.words import Device, Json, Preset, RunFolder, Step, Trust, app, err, escape, out
from simulacra.core.errors import Mistake, choose
from simulacra.core.signals import saying

if TYPE_CHECKING:
    from simulacra.core.progress import Progress


def note(sentences: Sequence[str]) -> None:
    """Print what was assumed, converted or left out."""
    for sentence in sentences:
        out.print(f"[yellow]note:[/] {escape(sentence)}", soft_wrap=True)


@app.command()
def collect(
    world: Annotated[str, typer.Argument(help="What to record: racing.")],
    target: Annotated[
        Path,
        typer.Option("-o", help="A folder for the episodes; one that holds some is filled up."),
    ],
    episodes: Annotated[int, typer.Option(help="How many episodes the folder is to hold.")],
    steps: Annotated[int, typer.Option(help="Frames of an episode, at most 1,000.")] = 1000,
    driver: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHARE",
            help="Who drives: idle, brownian, random, scripted, distracted, careless, learnt, "
            "agent.",
        ),
    ] = None,
    simulator: Annotated[
        str, typer.Option(help="envpool, or gymnasium, a few times slower.")
    ] = "envpool",
    lead: Annotated[
        int, typer.Option(help="Let a steady driver drive up to so many steps before recording.")
    ] = 0,
    hud: Annotated[bool, typer.Option("--hud", help="Show the bar of score and speed.")] = False,
    seed: Annotated[int, typer.Option(help="Other seeds, other tracks and drivers.")] = 0,
    agent: Annotated[
        Path | None,
        typer.Option(
            help="A run of world_controller, who drives as learnt (with lapses) or agent (as it "
            "is)."
        ),
    ] = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Record drives of CarRacing for eyes and memories. A stopped collection goes on."""
    choose("world", world, ["racing"])
    from simulacra.core.load import reopen
    from simulacra.core.progress import Stages
    from simulacra.models.world.agent import agent_of
    from simulacra.tasks.worlds.collect import MIXTURE
    from simulacra.tasks.worlds.collect import collect as verb

    driven = agent_of(reopen(agent, None)) if agent else None
    mixture = dict(map(_share, driver)) if driver else MIXTURE
    with saying(lambda: _kept(target, "episodes")), Stages(out.console, quiet=as_json) as stages:
        found = verb(
            target,
            episodes,
            seed,
            mixture,
            simulator,
            steps,
            lead=lead,
            hud=hud,
            agent=driven,
            notify=stages.update,
        )
    if as_json:
        print(json.dumps(found))
        return
    note(driven.notes if driven else ())
    for name, value in found.items():
        told = (
            ", ".join(f"{key} {part}" for key, part in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        out.print(f"[bold]{name:16}[/] {escape(told)}", soft_wrap=True)


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


@app.command()
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
    from simulacra.envs.carracing.episodes import Store
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


@app.command()
def world(
    target: Site = Path("runs/world"),
    preset: Preset = None,
    eye: Annotated[str, typer.Option(help="V: vae or vaegan.")] = "vae",
    seed: Annotated[
        int,
        typer.Option(help="Of the controllers, which are then other ones in folders of their own."),
    ] = 0,
    change: StageChanges = None,
) -> None:
    """World Models from nothing: record, train eye, memory and controller,
    in the dream and then in the world, and score."""
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


@app.command("compare-eyes")
def compare_eyes(
    target: Site = Path("runs/world"),
    preset: Preset = None,
    seeds: Annotated[int, typer.Option(help="Controllers of each eye, at least 2.")] = 3,
    change: StageChanges = None,
) -> None:
    """Train both eyes on the same frames, a memory and controllers on each,
    and write one table with intervals."""
    from simulacra.tasks.worlds.compare_encoders import sheet, table
    from simulacra.tasks.worlds.world import EYES, Site, arm, changes, until

    if seeds < 2:
        raise Mistake(
            f"seeds = {seeds}; allowed: 2 and more, or nothing is known of another search"
        )
    from simulacra.core.files import write_text

    with _staged() as (notify, shown):
        asked = changes(change or [], until("dream"))
        sites = [Site(target, eye, preset or "laptop", 0, notify, shown, asked) for eye in EYES]
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
