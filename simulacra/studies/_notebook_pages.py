"""What the notebook's pages say of a run and of an experiment,
read from folders that may hold anything."""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.core.tables import called
from simulacra.studies.table import MARKS, spoken

# what is shown, and how it begins
KINDS = {".png": (0, b"\x89PNG\r\n\x1a\n"), ".gif": (0, b"GIF8"), ".mp4": (4, b"ftyp")}
STEPS = 6  # moments of a training
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
# of the disk that the notebook goes to
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
LARGEST = 2**29  # bytes of a log
LONGEST = 2**22  # bytes of any other text
OUT = "is a link that leads out of the folder, which is not followed"
SHORT = 200  # characters of a reason

T = TypeVar("T")


class Odd(NamedTuple):
    """What could not be read, and why."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def reason(error: Exception) -> str:
    """The error in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = " ".join(str(error).split())[:SHORT] or type(error).__name__
    return text if isinstance(error, Mistake | ValueError) else f"{type(error).__name__}: {text}"


class Shelf:
    """A folder that is shown, and the notebook that is being made.
    What is odd about the folder is noted in `odd`."""

    def __init__(self, folder: Path, fresh: Path):
        self.folder, self.fresh, self.odd = folder, fresh, list[Odd]()
        self.real = folder.resolve()
        readable = re.sub(r"[^A-Za-z0-9]+", "-", str(folder)).strip("-")[-60:]
        # another one for every folder
        self.slug = f"{readable}-{blake2b(os.fsencode(folder), digest_size=3).hexdigest()}"

    @staticmethod
    @contextlib.contextmanager
    def telling(odd: list[Odd], what: str) -> Iterator[None]:
        """Whatever is wrong with what is read is noted and ends nothing;
        a full disk, which is ours, still does."""
        try:
            yield
        except Exception as error:  # what may be in a folder is beyond listing
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            odd.append(Odd(what, reason(error)))

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None if it fails, which is noted."""
        with Shelf.telling(self.odd, what):
            return read()
        return None

    def there(self, name: str) -> bool:
        """Whether the folder has something of this name, be it a link to nothing."""
        return os.path.lexists(self.folder / name)

    def file(self, name: str, most: int = LONGEST) -> Path:
        """The path of a file that is read; a Mistake if it is none,
        leads out of the folder by a link, or is too large."""
        path = self.folder / name
        if not self.there(name):
            raise Mistake("is not there")
        target = path.resolve()
        if self.real not in target.parents:
            raise Mistake(OUT)
        if not target.is_file():
            raise Mistake("is a folder; it must be a file" if target.is_dir() else "is no file")
        if target.stat().st_size > most:
            raise Mistake(f"has {target.stat().st_size:,} bytes; allowed: {most:,}")
        return path

    def inner(self, name: str) -> list[Path]:
        """What is in a folder inside; a Mistake if it leads out by a link."""
        path = self.folder / name
        if self.real not in path.resolve().parents:
            raise Mistake(OUT)
        return list(path.iterdir())

    def parsed(self, name: str) -> Any:
        """What a .json file holds."""
        return json.loads(self.file(name).read_text("utf-8"))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a .jsonl file that are some, [] if there is no file;
        others are noted, except a last one cut short."""
        if not self.there(name):
            return []
        lines = self.file(name, LARGEST).read_bytes().splitlines()
        found = [row for row in (_row(line) for line in lines) if row is not None]
        if strange := len(lines) - len(found) - (bool(lines) and _row(lines[-1]) is None):
            self.odd.append(Odd(name, f"{strange} of {len(lines)} lines are no rows, and left out"))
        return found

    def text(self, name: str) -> str:
        """What a person wrote, "" if nothing."""
        return (
            self.file(name).read_text("utf-8", errors="replace").strip() if self.there(name) else ""
        )

    def copied(self, path: Path, under: str = "") -> str:
        """Where the copy of a file is, seen from a page."""
        name = f"files/{'-'.join(filter(None, (self.slug, under, path.name)))}"
        shutil.copyfile(
            self.file(path.relative_to(self.folder).as_posix(), LARGEST), self.fresh / name
        )
        return name

    def picture(self, path: Path, caption: str, under: str) -> dict[str, str]:
        """What a page says of a picture, which is copied."""
        begins, word = KINDS[path.suffix]
        with self.file(path.relative_to(self.folder).as_posix(), LARGEST).open("rb") as file:
            if not file.read(16)[begins:].startswith(word):
                raise Mistake(f"is no {path.suffix[1:].upper()}, and left out")
        drawn = "plot" if self.plots else ""
        return {"path": self.copied(path, under), "caption": caption, "link": "", "kind": drawn}

    @cached_property
    def plots(self) -> bool:
        """Whether its pictures are plots of series, dark lines on white."""
        try:
            return "series" in self.parsed("shapes.json")
        except Exception:  # then nothing is known of its pictures
            return False

    def copies(self, wanted: Iterable[tuple[Path, str, str]]) -> list[dict[str, str]]:
        """The copies of pictures, each with its caption and what distinguishes its name;
        what is none is noted."""
        found = []
        for path, caption, under in wanted:
            with Shelf.telling(self.odd, path.relative_to(self.folder).as_posix()):
                found.append(self.picture(path, caption, under))
        return found


def _row(line: bytes) -> dict[str, Any] | None:
    """The object on a line, None if there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def checked(found: Any, needed: Mapping[str, type], what: str) -> dict[str, Any]:
    """The table of keys, if it has all that is needed, of the right types."""
    if not isinstance(found, dict):
        raise Mistake(f"{what}: it holds no table of keys")
    lacking = [key for key in needed if key not in found]
    if lacking:
        raise Mistake(f"{what}: it has no {', '.join(map(called, lacking))}")
    wrong = [
        key
        for key, kind in needed.items()
        if not isinstance(found[key], kind) or isinstance(found[key], bool)
    ]
    if wrong:
        raise Mistake(f"{what}: {wrong[0]} is {str(found[wrong[0]])[:50]!r}")
    return found


def told_of_run(shelf: Shelf) -> dict[str, Any]:
    """What the pages say of a run; its pictures are copied.
    An error if its config or its log cannot be read."""
    config = checked(_named(shelf.parsed, "config.json"), NEEDED, "config.json is no run's config")
    rows = [row for row in _named(shelf.rows, "log.jsonl") if whole(row.get("step"))]
    folder, slug = shelf.folder, shelf.slug
    steps = shelf.attempt("pictures", lambda: _painted(shelf)) or []
    wanted = _media(shelf, steps[0]) if steps else []
    media = shelf.copies((path, in_words(path.stem), "") for path in wanted)
    starts = shelf.attempt("machine.json", lambda: _starts(shelf)) or []
    curves = shelf.attempt("curves.png", lambda: _curves(shelf)) or ""
    told = {
        "name": str(folder),
        "page": f"run-{slug}.html",
        "config": config,
        "config_text": json.dumps(config, indent=2),
        "step": rows[-1]["step"] if rows else 0,
        "done": shelf.there("done"),
        "minutes": shelf.attempt("clock.jsonl", lambda: _minutes(shelf)) or "",
        "commit": str((starts[-1].get("commit") if starts else None) or "unknown"),
        "painted": steps[0] if steps else 0,
        "media": media,
        "look": media[0] | {"caption": str(folder), "link": f"run-{slug}.html"} if media else None,
        "way": _way(shelf, steps),
        "curves": curves,
        "remarks": shelf.attempt("remarks.md", lambda: shelf.text("remarks.md")) or "",
        "started": {
            "heads": STARTED,
            "rows": [[_cell(start.get(key)) for key in STARTED] for start in starts],
        },
    }
    metrics = shelf.attempt("metrics.jsonl", lambda: _metrics(shelf)) or {
        "columns": [],
        "metrics": [],
    }
    return told | metrics | {"odd": [str(one) for one in shelf.odd]}


# what models name what they paint, in words
WORDS = {
    "actions": "the dreamt actions",
    "beside": "the liveliest number of the code, as it was and as the memory imagined it",
    "dream": "what was recorded, and beside it what the memory dreams",
    "futures": "a picture, imagined futures, and the true one",
    "interpolated": "ways from one picture to another through the codes",
    "layers": "the true frame and its layers, over time",
    "moving": "a picture, imagined futures, and the true one, to and fro",
    "reconstructed": "pictures, and what remains of them as codes",
    "reconstructed_fake": "generated pictures, and what the discriminator makes of them",
    "reconstructed_real": "real pictures, and what the discriminator makes of them",
}


def in_words(name: str) -> str:
    """A caption for what a model calls so."""
    return WORDS.get(name, name.replace("_", " "))


def _named(read: Callable[[str], T], name: str) -> T:
    """What is read; a failure names the file."""
    try:
        return read(name)
    except Exception as error:  # what may be in a file is beyond listing
        raise Mistake(f"cannot read {name}: {reason(error)}") from None


def whole(value: Any) -> bool:
    """Whether a value is a count that can be written out."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18


def _starts(shelf: Shelf) -> list[dict[str, Any]]:
    found = shelf.parsed("machine.json") if shelf.there("machine.json") else []
    if not isinstance(found, list) or not all(isinstance(start, dict) for start in found):
        raise Mistake("is no list of starts")
    return found


def _minutes(shelf: Shelf) -> str:
    rows = shelf.rows("clock.jsonl")
    return f"{float(rows[-1]['seconds']) / 60:.1f}" if rows else ""


def _curves(shelf: Shelf) -> str:
    return shelf.copied(shelf.folder / "curves.png") if shelf.there("curves.png") else ""


def _painted(shelf: Shelf) -> list[int]:
    """The steps of which there are pictures, the last first."""
    inside = shelf.inner("pictures") if shelf.there("pictures") else []
    found = [run.step_of(path.name) for path in inside if path.is_dir()]
    return sorted((step for step in found if step is not None), reverse=True)


def _media(shelf: Shelf, step: int) -> list[Path]:
    """The pictures of a step, what is looked at first in front."""
    inside = (
        shelf.attempt(f"pictures/{step:08d}", lambda: sorted(shelf.inner(f"pictures/{step:08d}")))
        or []
    )
    found = [path for path in inside if path.suffix in KINDS]
    return sorted(
        found, key=lambda path: FIRST.index(path.name) if path.name in FIRST else len(FIRST)
    )


def _way(shelf: Shelf, steps: list[int]) -> list[dict[str, str]]:
    """The first kind of picture at a few moments, evenly chosen, first and last included."""
    if len(steps) < 2 or not (found := _media(shelf, steps[0])):
        return []
    ordered = steps[::-1]
    count = min(STEPS, len(ordered))
    chosen = [ordered[round(i * (len(ordered) - 1) / (count - 1))] for i in range(count)]
    paths = [(step, shelf.folder / "pictures" / f"{step:08d}" / found[0].name) for step in chosen]
    return shelf.copies(
        (path, f"step {step:,}", str(step)) for step, path in paths if path.exists()
    )


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
    }


def told_of_sheet(shelf: Shelf, runs: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """What the pages say of an experiment. An error if its table cannot be read."""
    told = checked(
        _named(shelf.parsed, "table.json"), SHEET, "table.json is no table of an experiment"
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
        mine = [runs[shelf.folder / name] for name in row["runs"] if shelf.folder / name in runs]
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
        "remarks": remarks,
        "odd": [str(one) for one in shelf.odd],
    }
    return told | page | {"claims": claims, "rows": rows, "beside": beside}


def _ends(claim: dict[str, Any]) -> dict[str, Any]:
    return {"mean": claim["difference"], "low": claim["low"], "high": claim["high"]}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
