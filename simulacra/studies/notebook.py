"""Notebook: runs and experiments as a few pages that open from disk, without a network.

    OUT/index.html         experiments with their verdicts, runs by model, what could not be read
                           and why
    OUT/sheet-*.html       an experiment: claims, table, cells side by side
    OUT/run-*.html         a run: pictures, the same noise through training, measurements, log,
                           where it comes from
    OUT/files/             copies of the pictures
    OUT/notebook.json      which of the files in OUT are the notebook's own

It reads run folders and what `table` wrote, and computes nothing. What a person has to say stands
in remarks.md of a run or an experiment's folder, is shown as it is, and stays there when the
notebook is made again. One folder that cannot be read keeps no other from being shown. No code of
any model is imported, and no link is followed out of a folder.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.studies._notebook_pages import Odd, Shelf, told_of_run, told_of_sheet
from simulacra.studies._own_folder import OwnFolder

PAGES = Path(__file__).parent / "pages"
MARK = "notebook.json"  # what tells a notebook from other folders
MAKER = "simulacra notebook"


class Made(NamedTuple):
    """What is in a notebook."""

    runs: int
    experiments: int
    notes: list[str]  # on what could not be shown


class Found(NamedTuple):
    """What may be shown."""

    runs: list[Path]  # folders
    tables: list[Path]  # files
    odd: list[Odd]  # folders that cannot be listed


def notebook(places: list[Path], out: Path, title: str = "Notebook") -> Made:
    """Runs and experiments in the notebook of these folders;
    a Mistake if there is none, or if OUT is something else."""
    missing = [str(place) for place in places if not place.is_dir()]
    if missing:
        raise Mistake(f"no folder {missing[0]}")
    with run.full_disk(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        own = OwnFolder(out, MARK, MAKER)
        found = _found(places, out)
        if not found.runs and not found.tables:
            raise Mistake(f"no run folder and no table.json in {', '.join(map(str, places))}")
        with own.making() as fresh:
            return _write(found, fresh, title)


def _found(places: list[Path], out: Path) -> Found:
    """Run folders and tables, wherever they are below;
    the notebook itself and its like are left out."""
    runs, tables, odd = list[Path](), list[Path](), list[Odd]()
    for place in places:
        for folder, inner, names in os.walk(
            place, onerror=lambda error: odd.append(Odd(str(error.filename), str(error.strerror)))
        ):
            here = Path(folder)
            inner[:] = [
                name
                for name in inner
                if (here / name).resolve() != out.resolve() and not _left(name, out)
            ]
            known = {*inner, *names}
            if {"config.json", "log.jsonl"} <= known:
                runs.append(here)
            if "table.json" in known:
                tables.append(here / "table.json")
    return Found(sorted(set(runs)), sorted(set(tables)), odd)


def _left(name: str, out: Path) -> bool:
    """Whether a folder's name is of a notebook in the making, which a kill left behind."""
    return name.startswith(f".{out.name[:200]}.") and name.endswith(".partial")


class _Writer:
    """Pages, written into a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.pages = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def write(self, name: str, template: str, title: str, **told: Any) -> None:
        """A page; what no file can hold, half a character, is a question mark."""
        text = self.pages.get_template(template).render(title=title, **told)
        run.write_text(self.folder / name, text.encode(errors="replace").decode())

    def each(
        self, told: Mapping[Path, dict[str, Any]], template: str, key: str, odd: list[Odd]
    ) -> dict[Path, dict[str, Any]]:
        """Those of which a page can be written; the others are odd."""
        good = {}
        for path, one in told.items():
            with Shelf.telling(odd, str(path)):
                self.write(one["page"], template, one["name"], **{key: one})
                good[path] = one
        return good


def _write(found: Found, fresh: Path, title: str) -> Made:
    (fresh / "files").mkdir()
    odd, writer = list(found.odd), _Writer(fresh)
    runs: dict[Path, dict[str, Any]] = {}
    for folder in found.runs:
        with Shelf.telling(odd, str(folder)):
            runs[folder] = told_of_run(Shelf(folder, fresh))
    runs = writer.each(runs, "run.html", "run", odd)
    sheets: dict[Path, dict[str, Any]] = {}
    for path in found.tables:
        with Shelf.telling(odd, str(path)):
            sheets[path] = told_of_sheet(Shelf(path.parent, fresh), runs)
    sheets = writer.each(sheets, "sheet.html", "sheet", odd)
    if not runs and not sheets:
        raise Mistake(f"nothing to show: {odd[0]}")
    by_model = sorted(runs.values(), key=lambda told: (told["config"]["room"], told["name"]))
    models = [
        (model_name, list(one))
        for model_name, one in groupby(by_model, key=lambda told: told["config"]["room"])
    ]
    writer.write(
        "index.html",
        "index.html",
        title,
        runs=by_model,
        sheets=list(sheets.values()),
        models=models,
        odd=odd,
    )
    return Made(len(runs), len(sheets), list(_notes(odd, [*runs.values(), *sheets.values()])))


def _notes(odd: list[Odd], told: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each folder that is not shown, or not all of it."""
    yield from (f"not shown: {one}" for one in odd)
    yield from (f"{one['name']}: {line}" for one in told for line in one["odd"])
