"""What the notebook's pages say of a run and of an experiment,
read from folders that may hold anything."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.studies import _films, _log_lines
from simulacra.studies._shelf import KINDS, Odd, Shelf, checked, named, whole
from simulacra.studies.table import MARKS, spoken

__all__ = ["Odd", "Shelf", "in_words", "told_of_run", "told_of_sheet"]

STEPS = 6  # moments of a training that a page without a script shows
MOMENTS = 40  # moments of a training whose pictures are kept, unless others are asked for
MOST = 24  # kinds of pictures of a run
# what is looked at first, if it is there
FIRST = "samples.png", "imagined.png", "reconstructed.png", "layers.png"
COLUMNS = "metric", "value", "low", "high", "floor", "step"
STARTED = "commit", "torch", "python", "processor", "threads", "device", "arguments"
NEEDED = {"room": str, "name": str, "preset": str, "seed": int, "steps": int}  # of a config
SHEET: dict[str, type] = {
    "name": str,
    "source": str,
    "base": str,
    "preset": str,
    "measure": str,
    "protocol": str,
    "claims": list,
    "rows": list,
}
SHEET |= {"metrics": list, "commits": list, "missing": list}
TAGS = "tags:"  # how a line of remarks.md begins that names a run's tags
LEAVES = 400  # keys of a config by which pages filter
LONG = 120  # characters of a value there


def told_of_run(shelf: Shelf, moments: int = MOMENTS) -> dict[str, Any]:
    """What the pages say of a run; its pictures are kept, of so many moments at most.
    An error if its config or its log cannot be read."""
    config = checked(named(shelf.parsed, "config.json"), NEEDED, "config.json is no run's config")
    rows = [row for row in named(shelf.rows, "log.jsonl") if whole(row.get("step"))]
    clock = shelf.attempt("clock.jsonl", lambda: shelf.rows("clock.jsonl")) or []
    remarks = shelf.attempt("remarks.md", lambda: shelf.text("remarks.md")) or ""
    starts = shelf.attempt("machine.json", lambda: _starts(shelf)) or []
    told = {
        "name": str(shelf.folder),
        "slug": shelf.slug,
        "id": blake2b(str(shelf.folder).encode(errors="replace"), digest_size=5).hexdigest(),
        "page": f"run-{shelf.slug}.html",
        "config": config,
        "config_text": json.dumps(config, indent=2),
        "values": dict(list(_leaves(config))[:LEAVES]),
        "step": rows[-1]["step"] if rows else 0,
        "done": shelf.there("done"),
        "minutes": shelf.attempt("clock.jsonl", lambda: _minutes(clock)) or "",
        "commit": str((starts[-1].get("commit") if starts else None) or "unknown"),
        "curves": shelf.attempt("curves.png", lambda: _curves(shelf)) or "",
        "remarks": remarks,
        "tags": _tags(remarks),
        "started": {
            "heads": STARTED,
            "rows": [[_cell(start.get(key)) for key in STARTED] for start in starts],
        },
        "events": shelf.attempt("events", partial(_log_lines.events, shelf, rows)) or [],
        "lines": shelf.attempt("log.jsonl", partial(_log_lines.lines, rows, clock)) or "{}",
    }
    told |= _pictured(shelf, moments)
    told |= shelf.attempt("metrics.jsonl", lambda: _metrics(shelf)) or NOTHING
    return told | {"odd": [str(one) for one in shelf.odd]}


# what models name what they paint, in words
WORDS = {
    "actions": "the dreamt actions",
    "beside": "the liveliest number of the code, as it was and as the memory imagined it",
    "dream": "what was recorded, and beside it what the memory dreams",
    "futures": "a picture, imagined futures, and the true one",
    "interpolated": "ways from one picture to another through the codes",
    "layers": "the true frame and its layers, over time",
    "moving": "a picture, imagined futures, and the true one, to and fro",
    "nearest": "samples, and beneath each the training pictures nearest to it",
    "reconstructed": "pictures, and what remains of them as codes",
    "reconstructed_fake": "generated pictures, and what the discriminator makes of them",
    "reconstructed_real": "real pictures, and what the discriminator makes of them",
}


def in_words(name: str) -> str:
    """A caption for what a model calls so."""
    return WORDS.get(name, name.replace("_", " "))


def _leaves(table: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """The values of a config by their keys, a.b in a table a, as pages compare them."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        elif isinstance(value, str | bool | int | float) or value is None:
            yield f"{before}{key}", value[:LONG] if isinstance(value, str) else value
        else:
            yield f"{before}{key}", json.dumps(value)[:LONG]


def _tags(remarks: str) -> list[str]:
    """What stands behind `tags:` at the beginning of a line, between commas."""
    lines = [one.strip() for one in remarks.splitlines()]
    found = [one[len(TAGS) :] for one in lines if one.lower().startswith(TAGS)]
    return list(
        dict.fromkeys(tag.strip()[:LONG] for tag in ",".join(found).split(",") if tag.strip())
    )


def _starts(shelf: Shelf) -> list[dict[str, Any]]:
    found = shelf.parsed("machine.json") if shelf.there("machine.json") else []
    if not isinstance(found, list) or not all(isinstance(start, dict) for start in found):
        raise Mistake("is no list of starts")
    return found


def _minutes(clock: list[dict[str, Any]]) -> str:
    return f"{float(clock[-1]['seconds']) / 60:.1f}" if clock else ""


def _curves(shelf: Shelf) -> str:
    return shelf.copied(shelf.folder / "curves.png") if shelf.there("curves.png") else ""


# --- pictures -------------------------------------------------------------------------------------


def _pictured(shelf: Shelf, most: int) -> dict[str, Any]:
    """The pictures of the last step, of each kind at all moments, of the first kind at a few."""
    steps = shelf.attempt("pictures", lambda: _painted(shelf)) or []
    kept: dict[tuple[int, str], dict[str, str]] = {}
    names: dict[str, list[int]] = {}
    for step in _evenly(steps[::-1], most):
        for path in _media(shelf, step)[:MOST]:
            for item in shelf.copies([(path, in_words(path.stem), str(step))]):
                kept[step, path.name] = item
                names.setdefault(path.name, []).append(step)
    last = [(name, item) for (step, name), item in kept.items() if step == steps[0]]
    media = [item | _films.strip(shelf, steps[0], name) for name, item in last]
    first = last[0][0] if last else ""
    way = [
        kept[step, first] | {"caption": f"step {step:,}"}
        for step in _evenly(names.get(first, []), STEPS)
    ]
    name, page = str(shelf.folder), f"run-{shelf.slug}.html"
    return {
        "painted": steps[0] if steps else 0,
        "media": media,
        "films": [item for item in media if "frames" in item],
        "look": media[0] | {"caption": name, "link": page} if media else None,
        "way": way if len(way) > 1 else [],
        "series": [
            {"kind": name, "words": in_words(Path(name).stem), "steps": at}
            for name, at in sorted(names.items(), key=lambda one: _rank(one[0]))
        ],
    }


def _evenly(ordered: list[int], most: int) -> list[int]:
    """So many of them at most, evenly chosen, first and last included."""
    if len(ordered) <= most:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most)]


def _painted(shelf: Shelf) -> list[int]:
    """The steps of which there are pictures, the last first."""
    inside = shelf.inner("pictures") if shelf.there("pictures") else []
    found = [run.step_of(path.name) for path in inside if path.is_dir()]
    return sorted((step for step in found if step is not None), reverse=True)


def _rank(name: str) -> tuple[int, str]:
    """What is looked at first in front."""
    return FIRST.index(name) if name in FIRST else len(FIRST), name


def _media(shelf: Shelf, step: int) -> list[Path]:
    """The pictures of a step, what is looked at first in front."""
    name = f"pictures/{step:08d}"
    inside = shelf.attempt(name, lambda: shelf.inner(name)) or []
    found = [path for path in inside if path.suffix in KINDS]
    if strange := [path for path in found if not path.name.isprintable()]:
        shelf.odd.append(Odd(name, f"{len(strange)} files have names that no address can hold"))
        found = [path for path in found if path not in strange]
    return sorted(found, key=lambda path: _rank(path.name))


# --- numbers --------------------------------------------------------------------------------------

NOTHING: dict[str, Any] = {"columns": [], "metrics": [], "numbers": {}}


def _metrics(shelf: Shelf) -> dict[str, Any]:
    """The newest value of each metric, with all that is known of how it was measured."""
    rows = shelf.rows("metrics.jsonl")
    good = [row for row in rows if isinstance(row.get("metric"), str)]
    if len(good) < len(rows):
        shelf.odd.append(
            Odd(
                "metrics.jsonl",
                f"{len(rows) - len(good)} of {len(rows)} rows name no metric, and are left out",
            )
        )
    newest = {row["metric"]: row for row in good}
    others = dict.fromkeys(key for row in newest.values() for key in row if key not in COLUMNS)
    columns = [*COLUMNS, *others]
    return {
        "columns": columns,
        "metrics": [[_cell(row.get(key)) for key in columns] for row in newest.values()],
        "numbers": {
            name: row["value"]
            for name, row in newest.items()
            if _log_lines.finite(row.get("value"))
        },
    }


def told_of_sheet(shelf: Shelf, runs: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """What the pages say of an experiment. An error if its table cannot be read."""
    told = checked(
        named(shelf.parsed, "table.json"), SHEET, "table.json is no table of an experiment"
    )
    claims = [
        claim | {"mark": MARKS[claim["verdict"]], "difference": spoken(_ends(claim))}
        for claim in told["claims"]
    ]
    rows = [
        row | {"spoken": [spoken(row["numbers"][metric]) for metric in told["metrics"]]}
        for row in told["rows"]
    ]
    beside = []
    for row in told["rows"]:
        mine = _members(shelf, row, runs)
        looks = [
            one["look"] | {"caption": f"seed {one['config']['seed']}"}
            for one in mine
            if one["look"]
        ]
        beside += (
            [
                {
                    "cell": row["cell"],
                    "looks": looks,
                    "blind": [one for one in mine if not one["look"]],
                }
            ]
            if mine
            else []
        )
    remarks = shelf.attempt("remarks.md", lambda: shelf.text("remarks.md")) or ""
    page = {
        "page": f"sheet-{shelf.slug}.html",
        "folder": shelf.folder.name,
        "follows": [one for one in _listed(told.get("follows")) if isinstance(one, str)],
        "members": [one["id"] for row in told["rows"] for one in _members(shelf, row, runs)],
        "remarks": remarks,
        "odd": [str(one) for one in shelf.odd],
    }
    return told | page | {"claims": claims, "rows": rows, "beside": beside}


def _members(
    shelf: Shelf, row: dict[str, Any], runs: dict[Path, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The runs of a cell that are shown."""
    return [runs[shelf.folder / name] for name in row["runs"] if shelf.folder / name in runs]


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _ends(claim: dict[str, Any]) -> dict[str, Any]:
    return {"mean": claim["difference"], "low": claim["low"], "high": claim["high"]}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
