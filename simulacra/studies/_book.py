"""The pages of runs and experiments, each made anew only when its folder has changed."""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simulacra.studies._notebook_pages import MOMENTS, told_of_run, told_of_sheet
from simulacra.studies._shelf import Keep, Odd, Shelf

PAGES = Path(__file__).parent / "pages"
SCRIPTS = "core", "query", "chart", "curves", "pictures", "films", "table", "compare", "live"
# what a run's page depends on
WATCHED = (
    *("config.json", "log.jsonl", "clock.jsonl", "machine.json", "metrics.jsonl", "monitor.jsonl"),
    *("health.json", "rollbacks.jsonl", "remarks.md", "curves.png", "shapes.json", "done"),
    "pictures",
)
INSIDE = {"checkpoints", "pictures", "events"}  # folders of a run in which no other is looked for
SAID = 400  # characters of remarks in the list of runs
# what the list of runs says of each
OF_RUNS = (
    *("id", "slug", "page", "name", "step", "done", "minutes", "commit", "tags", "values"),
    *("numbers", "series", "odd"),
)


class Found(NamedTuple):
    """What may be shown."""

    runs: list[Path]  # folders
    tables: list[Path]  # files
    odd: list[Odd]  # folders that cannot be listed


def found_in(places: list[Path], out: Path | None = None) -> Found:
    """Run folders and tables, wherever they are below;
    the notebook `out` itself and its like are left out."""
    runs, tables, odd = list[Path](), list[Path](), list[Odd]()
    for place in places:
        for folder, inner, names in os.walk(
            place, onerror=lambda error: odd.append(Odd(str(error.filename), str(error.strerror)))
        ):
            here = Path(folder)
            known = {*inner, *names}
            is_run = {"config.json", "log.jsonl"} <= known
            own = INSIDE if is_run else set()
            inner[:] = [name for name in inner if name not in own and not _left(here / name, out)]
            if is_run:
                runs.append(here)
            if "table.json" in known:
                tables.append(here / "table.json")
    return Found(sorted(set(runs)), sorted(set(tables)), odd)


def _left(path: Path, out: Path | None) -> bool:
    """Whether a folder is the notebook itself, or one in the making that a kill left behind."""
    if out is None:
        return False
    unfinished = path.name.startswith(f".{out.name[:200]}.") and path.name.endswith(".partial")
    return unfinished or path.resolve() == out.resolve()


class Book:
    """Pages, given to `keep` with their names. With `live` they ask a server what has changed;
    `version` counts the changes."""

    def __init__(self, title: str, keep: Keep, moments: int = MOMENTS, *, live: bool = False):
        self.title, self.keep, self.moments, self.live = title, keep, moments, live
        self.runs: dict[Path, dict[str, Any]] = {}
        self.sheets: dict[Path, dict[str, Any]] = {}
        self.odd: list[Odd] = []
        self.version = 0
        self._read: dict[Path, tuple[Any, dict[str, Any] | None, list[Odd]]] = {}
        self._last: object = None

    def make(self, found: Found) -> bool:
        """Give what has changed; whether anything has."""
        if not self.version:
            for name, content in _assets():
                self.keep(name, content)
        now = {path: _stamp(path) for path in [*found.runs, *found.tables]}
        if self.version and now == self._last:
            return False
        self._last, self.odd = now, list(found.odd)
        self._read = {path: kept for path, kept in self._read.items() if path in now}
        self.runs = self._each(found.runs, now, self._run)
        self.sheets = self._each(found.tables, now, self._sheet)
        self.version += 1
        self._lists()
        return True

    def notes(self) -> Iterator[str]:
        """A line for each folder that is not shown, or not all of it."""
        yield from (f"not shown: {one}" for one in self.odd)
        for one in [*self.runs.values(), *self.sheets.values()]:
            yield from (f"{one['name']}: {line}" for line in one["odd"])

    def _each(
        self, paths: list[Path], now: Mapping[Path, Any], read: Any
    ) -> dict[Path, dict[str, Any]]:
        """What is told of those that can be read; the others are odd. A table's numbers are of runs
        that may have changed, so it is read whenever anything has."""
        good = {}
        for path in paths:
            stamp, told, odd = self._read.get(path, (None, None, []))
            if stamp != now[path] or path.name == "table.json":
                told, odd = None, []
                with Shelf.telling(odd, str(path)):
                    told = read(path)
                self._read[path] = now[path], told, odd
            self.odd += odd
            if told is not None:
                good[path] = told
        return good

    def _run(self, folder: Path) -> dict[str, Any]:
        told = told_of_run(Shelf(folder, self.keep), self.moments)
        self._page(told["page"], "run.html", told["name"], run=told)
        drawn = json.dumps({"id": told["id"], "events": told["events"]})
        self._data(f"run-{told['slug']}", "log", f"[{drawn},{told.pop('lines')}]")
        return told | {"version": self.version + 1}

    def _sheet(self, path: Path) -> dict[str, Any]:
        told = told_of_sheet(Shelf(path.parent, self.keep), self.runs)
        self._page(told["page"], "sheet.html", told["name"], sheet=told)
        return told

    def _page(self, name: str, template: str, title: str, **told: Any) -> None:
        """A page; what no file can hold, half a character, is a question mark."""
        about = {"title": title, "book": self.title, "live": self.live, "which": name}
        text = _templates().get_template(template).render(**about, **told)
        self.keep(name, text.encode(errors="replace"))

    def _data(self, name: str, verb: str, text: str) -> None:
        """A script that hands JSON to the pages' own, since a page from disk may fetch nothing."""
        self.keep(f"data/{name}.js", f"notebook.{verb}({text});\n".encode(errors="replace"))

    def _lists(self) -> None:
        """The pages and the data that are of all runs."""
        runs = sorted(self.runs.values(), key=lambda one: (one["config"]["room"], one["name"]))
        rows = [_row(one, label) for one, label in zip(runs, _labels(runs), strict=True)]
        broken = [{"name": one.what, "why": one.why} for one in self.odd]
        sheets = [
            {key: one[key] for key in ("name", "page", "members")} for one in self.sheets.values()
        ]
        told = {"version": self.version, "runs": rows, "broken": broken, "sheets": sheets}
        self._data("runs", "runs", json.dumps(told))
        line = lineage(list(self.sheets.values()))
        self._page("index.html", "index.html", self.title, runs=runs, lineage=line, odd=self.odd)
        for name in "pictures", "curves", "compare":
            self._page(f"{name}.html", f"{name}.html", f"{name.capitalize()}", count=len(runs))


def _row(told: dict[str, Any], label: str) -> dict[str, Any]:
    """What the list of runs says of one."""
    config = told["config"]
    row = {key: told[key] for key in OF_RUNS} | {"label": label, "model": config["room"]}
    look = told["look"]
    drawn = {"plot": bool(look and look["kind"]), "version": told["version"]}
    return row | drawn | {"steps": config["steps"], "remarks": told["remarks"][:SAID]}


def _labels(runs: list[dict[str, Any]]) -> list[str]:
    """The runs' folders without what all of them have in common."""
    paths = [one["name"] for one in runs]
    if len(paths) < 2:
        return [Path(path).name or path for path in paths]
    try:
        common = os.path.commonpath(paths)
    except ValueError:  # of relative and absolute ones there is none
        return paths
    return [os.path.relpath(path, common) if common else path for path in paths]


def lineage(sheets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Experiments, each after the first here that it follows and deeper: {sheet, depth, also},
    where `also` names what else it follows, here or elsewhere. Circles are begun somewhere."""
    named = {key: one for one in reversed(sheets) for key in (one["folder"], one["name"])}
    firsts = {
        one["page"]: next((named[name]["page"] for name in one["follows"] if name in named), "")
        for one in sheets
    }
    told, done = list[dict[str, Any]](), set[str]()

    def tell(one: dict[str, Any], depth: int) -> None:
        if one["page"] in done:
            return
        done.add(one["page"])
        above = firsts[one["page"]] if depth else ""
        also = [
            name for name in one["follows"] if name not in named or named[name]["page"] != above
        ]
        told.append({"sheet": one, "depth": min(depth, 8), "also": also})
        for other in sheets:
            if firsts[other["page"]] == one["page"]:
                tell(other, depth + 1)

    for one in [*(one for one in sheets if not firsts[one["page"]]), *sheets]:
        tell(one, 0)
    return told


def _stamp(path: Path) -> Any:
    """What changes when the files do that a page is made of."""
    if path.name == "table.json":
        return _times(path), _times(path.parent / "remarks.md")
    newest = None
    pictures = path / "pictures"
    if _times(pictures):
        try:
            newest = max((one.name, _times(pictures / one.name)) for one in os.scandir(pictures))
        except (OSError, ValueError):
            newest = None
    return [_times(path / name) for name in WATCHED], newest


def _times(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    except OSError:
        return None


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["address"] = lambda text: quote(text, errors="replace")
    return made


def _assets() -> Iterator[tuple[str, bytes]]:
    """The one script and the one style sheet of all pages."""
    parts = [(PAGES / "script" / f"{name}.js").read_text("utf-8") for name in SCRIPTS]
    body = "\n".join(parts)
    yield "notebook.js", f'"use strict";\n(() => {{\n{body}}})();\n'.encode()
    yield "notebook.css", (PAGES / "notebook.css").read_bytes()
