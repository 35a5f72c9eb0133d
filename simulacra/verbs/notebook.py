"""Notebook: runs and experiments as a few pages that open from disk, without a network.

    OUT/index.html         experiments with their verdicts, runs by room
    OUT/sheet-*.html       an experiment: claims, table, cells side by side
    OUT/run-*.html         a run: pictures, the same noise through training, measurements, log, where it comes from
    OUT/files/             copies of the pictures

It reads run folders and what `table` wrote, and computes nothing. What a person has to say stands in remarks.md of a run or an
experiment's folder, is shown as it is, and stays there when the notebook is made again.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simulacra import run
from simulacra.errors import Mistake
from simulacra.verbs.table import MARKS, spoken

PAGES = Path(__file__).parent.parent / "notebook"
SHOWN = ".png", ".gif", ".mp4"
MARK = "notebook.json"  # what tells a notebook from other folders
STEPS = 6  # moments of a training
FIRST = "samples.png", "imagined.png", "reconstructed.png", "layers.png"  # what is looked at first, if it is there
COLUMNS = "metric", "value", "low", "high", "floor", "step"
STARTED = "commit", "torch", "python", "processor", "threads", "device", "arguments"


def notebook(places: list[Path], out: Path, title: str = "Notebook") -> tuple[int, int]:
    """How many runs and experiments are in the notebook of these folders; a Mistake if there is none, or if OUT is something
    else."""
    missing = [str(place) for place in places if not place.is_dir()]
    if missing:
        raise Mistake(f"no folder {missing[0]}")
    _free(out)
    folders = list(dict.fromkeys(found for place in places for found in _runs(place, out)))
    tables = list(dict.fromkeys(found for place in places for found in sorted(place.rglob("table.json"))))
    if not folders and not tables:
        raise Mistake(f"no run folder and no table.json in {', '.join(map(str, places))}")
    fresh = out.with_name(f"{out.name}.partial")
    try:
        with run.full_disk(out.parent):
            shutil.rmtree(fresh, ignore_errors=True)
            (fresh / "files").mkdir(parents=True)
            _write(folders, tables, fresh, title)
            if out.exists():
                shutil.rmtree(out)
            fresh.replace(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(folders), len(tables)


def _free(out: Path) -> None:
    """A Mistake if a folder is there that is no notebook."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MARK).exists()):
        raise Mistake(f"{out} is there and is no notebook; choose another folder with -o")


def _runs(place: Path, out: Path) -> Iterator[Path]:
    """Run folders, wherever they are below."""
    for path in sorted(place.rglob("config.json")):
        if (path.parent / "log.jsonl").exists() and out not in path.parents:
            yield path.parent


def _write(folders: list[Path], tables: list[Path], fresh: Path, title: str) -> None:
    pages = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    runs = {folder: _run(folder, fresh) for folder in folders}
    sheets = [_sheet(path, runs) for path in tables]
    by_room = sorted(runs.values(), key=lambda told: (told["config"]["room"], told["name"]))
    rooms = [(room, list(found)) for room, found in groupby(by_room, key=lambda told: told["config"]["room"])]

    def page(name: str, template: str, heading: str, **told: Any) -> None:
        run.write_text(fresh / name, pages.get_template(template).render(title=heading, **told))

    page("index.html", "index.html", title, runs=by_room, sheets=sheets, rooms=rooms)
    for told in runs.values():
        page(told["page"], "run.html", told["name"], run=told)
    for told in sheets:
        page(told["page"], "sheet.html", told["name"], sheet=told)
    run.write_text(fresh / MARK, json.dumps({"runs": len(runs), "sheets": len(sheets)}) + "\n")


def _run(folder: Path, fresh: Path) -> dict[str, Any]:
    """What the pages say of a run; its pictures are copied."""
    checked, slug = run.config_of(folder), _slug(folder)
    rows, clock = run.read_rows(folder / "log.jsonl"), run.read_rows(folder / "clock.jsonl")
    painted = [run.step_of(path.name) for path in (folder / "pictures").glob("[0-9]*") if path.is_dir()]
    steps = sorted((step for step in painted if step is not None), reverse=True)
    media = [_copied(path, fresh, slug, path.stem) for path in _media(folder, steps[0])] if steps else []
    starts = run.starts(folder)
    curves = folder / "curves.png"
    return {
        "name": str(folder),
        "page": f"run-{slug}.html",
        "config": checked,
        "config_text": json.dumps(checked, indent=2),
        "step": rows[-1]["step"] if rows else 0,
        "done": (folder / "done").exists(),
        "minutes": f"{clock[-1]['seconds'] / 60:.1f}" if clock else "",
        "commit": (starts[-1].get("commit") if starts else None) or "unknown",
        "painted": steps[0] if steps else 0,
        "media": media,
        "look": media[0] | {"caption": str(folder), "link": f"run-{slug}.html"} if media else None,
        "way": _way(folder, steps, fresh, slug),
        "curves": _copied(curves, fresh, slug, "curves")["path"] if curves.exists() else "",
        "columns": [],
        "metrics": [],
        "remarks": _remarks(folder),
        "started": {"heads": STARTED, "rows": [[_cell(start.get(key)) for key in STARTED] for start in starts]},
    } | _metrics(folder)


def _media(folder: Path, step: int) -> list[Path]:
    """The pictures of a step, what is looked at first in front."""
    found = [path for path in sorted((folder / "pictures" / f"{step:08d}").iterdir()) if path.suffix in SHOWN]
    return sorted(found, key=lambda path: FIRST.index(path.name) if path.name in FIRST else len(FIRST))


def _way(folder: Path, steps: list[int], fresh: Path, slug: str) -> list[dict[str, str]]:
    """The first kind of picture at a few moments, evenly chosen, first and last included."""
    if len(steps) < 2 or not (found := _media(folder, steps[0])):
        return []
    ordered = steps[::-1]
    count = min(STEPS, len(ordered))
    chosen = [ordered[round(i * (len(ordered) - 1) / (count - 1))] for i in range(count)]
    paths = [(step, folder / "pictures" / f"{step:08d}" / found[0].name) for step in chosen]
    return [_copied(path, fresh, slug, f"step {step:,}", str(step)) for step, path in paths if path.exists()]


def _copied(path: Path, fresh: Path, slug: str, caption: str, under: str = "") -> dict[str, str]:
    """Where the copy of a picture is, seen from a page."""
    name = f"files/{'-'.join(filter(None, (slug, under, path.name)))}"
    shutil.copyfile(path, fresh / name)
    return {"path": name, "caption": caption, "link": ""}


def _metrics(folder: Path) -> dict[str, Any]:
    """The newest value of each metric, with all that is known of how it was measured."""
    newest = {row["metric"]: row for row in run.read_rows(folder / "metrics.jsonl")}
    others = dict.fromkeys(key for row in newest.values() for key in row if key not in COLUMNS)
    columns = [*COLUMNS, *others]
    return {"columns": columns, "metrics": [[_cell(row.get(key)) for key in columns] for row in newest.values()]}


def _sheet(path: Path, runs: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """What the pages say of an experiment."""
    told = _json(path)
    folder = path.parent
    claims = [claim | {"mark": MARKS[claim["verdict"]], "difference": spoken(_ends(claim))} for claim in told["claims"]]
    rows = [row | {"spoken": [spoken(row["numbers"][metric]) for metric in told["metrics"]]} for row in told["rows"]]
    beside = []
    for row in told["rows"]:
        mine = [runs[folder / name] for name in row["runs"] if folder / name in runs]
        looks = [one["look"] | {"caption": f"seed {one['config']['seed']}"} for one in mine if one["look"]]
        beside += [{"cell": row["cell"], "looks": looks, "blind": [one for one in mine if not one["look"]]}] if mine else []
    page = {"page": f"sheet-{_slug(folder)}.html", "remarks": _remarks(folder)}
    return told | page | {"claims": claims, "rows": rows, "beside": beside}


def _ends(claim: dict[str, Any]) -> dict[str, Any]:
    return {"mean": claim["difference"], "low": claim["low"], "high": claim["high"]}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        missing = {"name", "claims", "rows", "metrics"} - found.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise Mistake(f"cannot read {path}: {error}") from None
    if missing:
        raise Mistake(f"{path} is no table of an experiment: it has no {', '.join(sorted(missing))}")
    return found


def _remarks(folder: Path) -> str:
    path = folder / "remarks.md"
    return path.read_text(errors="replace").strip() if path.exists() else ""


def _slug(folder: Path) -> str:
    """A name for files, another one for every folder."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", str(folder)).strip("-")[-60:]
    return f"{readable}-{blake2b(str(folder).encode(), digest_size=3).hexdigest()}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return (
        " ".join(map(str, value))
        if isinstance(value, Iterable) and not isinstance(value, str)
        else ""
        if value is None
        else str(value)
    )
