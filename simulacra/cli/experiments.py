"""Verbs of experiments: sweep, table, card, notebook, serve."""

import contextlib
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli.words import DataFolder, Device, Json, Preset, app, err, escape, out
from simulacra.core.errors import Mistake
from simulacra.core.signals import saying

if TYPE_CHECKING:
    from simulacra.studies.slurm import Asked
    from simulacra.studies.sweep import Job

PANEL = "Experiments"

Sheet = Annotated[
    str, typer.Argument(metavar="SHEET", help="A name in experiments/, or a TOML file.")
]
Runs = Annotated[Path | None, typer.Option("-o", help="Folder of its runs; otherwise runs/SHEET.")]
COLOURS = {"supported": "green", "refuted": "red", "undecided": "yellow"}


@app.command(rich_help_panel=PANEL)
def sweep(
    source: Sheet,
    target: Runs = None,
    preset: Preset = None,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Runs side by side: 2, or as many as fit a cluster."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of each.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each, on a cluster.")] = 0,
    device: Device = "cpu",
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="On a Ray cluster: HOST:PORT, auto, or local."),
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="As an array job of Slurm.")] = False,
    slurm_set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of sbatch, e.g. partition=gpu,time=600."),
    ] = None,
    root: DataFolder = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would be done.")] = False,
) -> None:
    """Train and measure all runs of a sheet, and print its table. A stopped sweep goes on."""
    from simulacra.studies import sheet

    _checked(ray, slurm, gpus, slurm_set)
    path = sheet.find(source)
    from simulacra.core.load import data_root
    from simulacra.studies import sweep as verb
    from simulacra.studies.slurm import Asked
    from simulacra.studies.table import table as report

    asked, place = sheet.read(path), target or Path("runs") / path.stem
    data, todo = data_root(root), verb.jobs(asked, place, preset, device)
    left = [job for job in todo if not verb.done(job)]
    out.print(
        f"{escape(asked.name)}: {len(todo)} runs, {len(left)} to do, in {escape(str(place))}",
        soft_wrap=True,
    )
    if dry:
        for job in left:
            out.print(f"  simulacra {escape(shlex.join(job.train))}", soft_wrap=True)
        return
    kept = lambda: (  # noqa: E731
        f"{sum(map(verb.done, todo))} of {len(todo)} runs are done; the same command goes on"
    )
    how: dict[str, Any] = {"preset": preset, "device": device}
    with saying(kept), contextlib.ExitStack() as held:
        if slurm and left:
            shared = Asked(asked, place.resolve(), preset, device, data, threads)
            how |= _slurm(held, left, shared, slurm_set or [], gpus, at_once)
        elif ray is None:
            how |= {"crew": verb.Crew(data, threads), "at_once": at_once or 2}
            how["notify"] = _counted(len(left), at_once or 2)
        elif left:
            how |= _cluster(held, left, ray, place, data, (threads, gpus, at_once))
        verb.sweep(asked, path.read_bytes(), place, **how)
    _print(report(asked, place, preset))


def _checked(ray: str | None, slurm: bool, gpus: float, slurm_set: list[str] | None) -> None:
    """A Mistake if options do not go together."""
    if ray is not None and slurm:
        raise Mistake("--ray and --slurm: allowed: one of them")
    if gpus and ray is None and not slurm:
        raise Mistake("--gpus: allowed with --ray or --slurm; runs here share what there is")
    if slurm_set and not slurm:
        raise Mistake("--slurm-set: allowed with --slurm")


def _cluster(
    held: contextlib.ExitStack,
    left: list["Job"],
    address: str,
    place: Path,
    data: Path | None,
    size: tuple[int, float, int | None],
) -> dict[str, Any]:
    """How a sweep is done on a cluster, to which there is a connection as long as `held` lasts."""
    from simulacra.cli.board import Board
    from simulacra.core.cluster import Cluster
    from simulacra.studies.many import RayCrew

    threads, gpus, at_once = size
    board = Board(out.console, left)
    environment = {"SIMULACRA_DATA": str(data)} if data else {}
    asked: dict[str, Any] = {"threads": threads, "gpus": gpus, "environment": environment}
    cluster = held.enter_context(Cluster(address, place, **asked, notify=board.tell))
    crew = RayCrew(cluster, left)
    slots = at_once or min(cluster.slots(), 1024)
    out.print(f"{slots} at once on {escape(cluster.told())}", soft_wrap=True)
    board.shows(crew.nodes, crew.doing, _counted(len(left), slots))
    held.enter_context(board)
    return {"crew": crew, "at_once": slots, "notify": board.notify}


def _slurm(
    held: contextlib.ExitStack,
    left: list["Job"],
    asked: "Asked",
    settings: list[str],
    gpus: float,
    at_once: int | None,
) -> dict[str, Any]:
    """How a sweep is done as an array job."""
    from simulacra.cli.board import Board
    from simulacra.studies.slurm import SlurmCrew, executor

    most = at_once or 256
    board = Board(out.console, left)
    submits = executor(asked.out, settings, asked.threads, gpus, most)
    crew = SlurmCrew(asked, submits, board.tell)
    board.shows(crew.nodes, crew.doing, _counted(len(left), most))
    held.enter_context(board)
    return {"crew": crew, "at_once": most, "notify": board.notify}


def _counted(count: int, at_once: int) -> Callable[[Any, str], None]:
    """Says which of so many runs has ended, and how, and about how long the others will take: as
    many rounds of `at_once` as are left, each as long as those so far."""
    ended: list[str] = []
    begun = time.monotonic()

    def report(job: Any, what: str) -> None:
        ended.append(what)
        rounds = -(-(count - len(ended)) // at_once)
        each = (time.monotonic() - begun) / -(-len(ended) // at_once)
        left = f"; about {rounds * each / 60:,.0f} min left" if rounds else ""
        line = f"{len(ended)} of {count}: {escape(f'{job}: {what}')}{left}"
        out.print(line, soft_wrap=True)

    return report


@app.command(rich_help_panel=PANEL)
def table(source: Sheet, target: Runs = None, preset: Preset = None, as_json: Json = False) -> None:
    """What runs of a sheet say of its claims. Each is supported, refuted or undecided."""
    from simulacra.studies import sheet

    path = sheet.find(source)
    from simulacra.studies.table import table as verb

    found = verb(sheet.read(path), target or Path("runs") / path.stem, preset)
    if as_json:
        print(json.dumps(found))
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    from simulacra.studies.table import MARKS, apart, more_of, spoken

    cells = Table(
        title=escape(found["name"]),
        caption=escape(f"{found['protocol']}; 95 % intervals over seeds"),
    )
    for name in "cell", "seeds", *found["metrics"]:
        cells.add_column(name, justify="left" if name == "cell" else "right")
    for row in found["rows"]:
        numbers = (spoken(row["numbers"][metric]) for metric in found["metrics"])
        cells.add_row(escape(row["cell"]), str(len(row["seeds"])), *map(escape, numbers))
    out.print(cells)
    for claim in found["claims"]:
        told = [f"difference {apart(claim) or 'not measured'}"]
        told += [f"P {claim['improvement']:.2g}"] if claim["improvement"] is not None else []
        told += [f"Holm's p {claim['p_holm']:.2g}"] if claim["p_holm"] is not None else []
        told += [f"{claim['n']} seeds"]
        told += [claim["why"]] if claim["why"] else []
        told += [f"{more_of(claim)} more seeds would do"] if more_of(claim) else []
        mark = f"[{COLOURS[claim['verdict']]}]{MARKS[claim['verdict']]} {claim['verdict']}[/]"
        rest = f"{claim['says']} ({claim['metric']}: {claim['expect']}; {', '.join(told)})"
        out.print(f"{mark}: {escape(rest)}", soft_wrap=True)
    if found["missing"]:
        out.print(f"not measured yet: {escape('; '.join(found['missing']))}", soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def card(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_SHEET",
            help="A run folder, zoo/NAME, the folder of a sheet's runs, or a sheet in runs/SHEET.",
        ),
    ],
    target: Annotated[
        Path | None,
        typer.Option("-o", help="The file; otherwise card.md, or card.html, in that folder."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="One page with its pictures in it, not Markdown.")
    ] = False,
) -> None:
    """Report a run or an experiment in one file. What you wrote into an older one stays."""
    from simulacra.studies.card import card as verb

    out.print(escape(str(verb(what, target, html=html))), soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def notebook(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Folders in which runs and experiments are."),
    ],
    target: Annotated[Path, typer.Option("-o", help="A folder for the pages.")],
    title: Annotated[str, typer.Option(help="Of the first page.")] = "Notebook",
    moments: Annotated[
        int,
        typer.Option(min=2, max=10_000, help="Steps of a run whose pictures are kept, at most."),
    ] = 40,
) -> None:
    """Make pages of runs and experiments that open from disk. They show pictures, curves, tables,
    and claims with their verdicts."""
    from simulacra.studies.notebook import notebook as verb

    made = verb(places, target, title, moments)
    out.print(
        f"{made.runs} runs, {made.experiments} experiments in {escape(str(target / 'index.html'))}",
        soft_wrap=True,
    )
    for note in made.notes:
        err.print(f"note: {escape(note)}", soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def serve(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Folders in which runs and experiments are."),
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of this machine; 0: any that is free.")
    ] = 8642,
    title: Annotated[str, typer.Option(help="Of the first page.")] = "Notebook",
) -> None:
    """The same pages in a browser, while runs train. Ctrl-C ends it."""
    from simulacra.studies.serve import serve as verb

    server = verb(places, port, title)
    out.print(f"open {escape(server.address)}", soft_wrap=True)
    out.print("Ctrl-C ends it; nothing is written", soft_wrap=True)
    server.run()
