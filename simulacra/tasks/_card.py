"""A card: a run or an experiment on one page, in the form of a laboratory's notes. Name, Location,
Details, Results with ticks and crosses, Conclusions.

What a person wrote stays when a card is written again over an older one of the same name: all that
stands under Conclusions and was not made, and elsewhere what stands between the comments `keep` and
`end keep`.
"""

import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulacra.core import config, packed, run
from simulacra.core.contract import HasWon
from simulacra.core.errors import Mistake, shown
from simulacra.core.files import write_text
from simulacra.core.tables import called
from simulacra.metrics.health import health, verdict
from simulacra.tasks._monitor import with_log
from simulacra.tasks.train import equilibrium

SECTIONS = "Name", "Location", "Details", "Results", "Conclusions"
HEAD = (
    "<!-- simulacra card of {}; under Conclusions, and between the comments keep and end keep, "
    "what you write stays -->"
)
KEEP, END_KEEP = "<!-- keep -->", "<!-- end keep -->"
MADE, END_MADE = "<!-- made -->", "<!-- end made; write below -->"
OWNER = re.compile(r"<!-- simulacra card of (.*?); under Conclusions")
KEPT = re.compile(f"{KEEP}(.*?)(?:{END_KEEP}|\\Z)", re.S)
GOOD, BAD, NEITHER = "✓", "✗", "·"
NEEDED = {"room": str, "name": str, "preset": str, "seed": int, "steps": int}
# what is looked at first, if it is there
FIRST = "samples.png", "imagined.png", "reconstructed.png", "layers.png"
KINDS = {".png": (0, b"\x89PNG\r\n\x1a\n"), ".gif": (0, b"GIF8"), ".mp4": (4, b"ftyp")}
LARGEST = 2**24  # bytes of a picture


@dataclass(frozen=True)
class Table:
    """A table of words."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Marks:
    """Lines, each with a tick, a cross, a question mark, or a dot where it is neither."""

    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Picture:
    """A picture or a film, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Words:
    """What a person wrote, as it is."""

    text: str


Block = str | Table | Marks | Picture | Words


@dataclass
class Card:
    """What a page says, section by section; a block that is a str is a paragraph in which `code` is
    marked by backticks."""

    title: str
    blocks: dict[str, list[Block]] = field(default_factory=lambda: {key: [] for key in SECTIONS})

    def add(self, section: str, *blocks: Block) -> None:
        """Put blocks at the end of a section."""
        self.blocks[section] += blocks


# --- of a run -------------------------------------------------------------------------------------


def of_run(
    folder: Path,
    title: str,
    *,
    note: str = "",
    step: int | None = None,  # of the checkpoint that it is about; None: the last one logged
    model: Any = None,  # knows where its game's equilibrium is
    pictures: bool = True,
    place: Path | None = None,  # where its pictures and measurements are; None: in the folder
) -> Card:
    """A Mistake if the folder is no run, or one of its files is damaged."""
    settings, place = _settings(folder), place or folder
    rows = _rows(folder / "log.jsonl")
    if step is None and packed.is_packed(folder):
        step, _ = packed.facts(folder)
    done = (folder / "done").exists() or packed.is_packed(folder)
    at = step if step is not None else rows[-1]["step"] if rows else 0
    card = Card(title)
    card.add("Name", f"`{title}`")
    card.add("Location", f"`{nearer(str(folder))}`")
    card.add("Details", *([note] if note else []))
    of = f" of {settings['steps']:,}" if at != settings["steps"] else ""
    card.add(
        "Details",
        f"Model `{called_model(settings)}`, config `{settings['name']}`, "
        f"preset `{settings['preset']}`, step {at:,}{of}{'' if done or step else '; not done'}.",
        *_made_by(folder),
        *_data(folder, settings),
        *_changes(settings),
    )
    card.add("Results", *_health(folder, model))
    card.add("Results", *_metrics(place, step))
    if pictures:
        card.add("Results", *_pictures(place))
    if not card.blocks["Results"]:
        card.add("Results", "Nothing was logged, measured or painted.")
    said = remarks(place)
    card.add("Conclusions", *([Words(said)] if said else []))
    return card


def _settings(folder: Path) -> dict[str, Any]:
    """The config of a run; a Mistake if it is none."""
    found = run.config_of(folder)
    for key, kind in NEEDED.items():
        if not isinstance(found.get(key), kind):
            raise Mistake(
                f"{folder / 'config.json'} is no run's config: {called(key)} is "
                f"{shown(found[key]) if key in found else 'missing'}"
            )
    return found


def called_model(settings: Mapping[str, Any]) -> str:
    """The model's name, as people write it: without the hash of a source from outside."""
    return str(settings["room"]).partition("@")[0]


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file, each with its step; a Mistake if there are others."""
    try:
        found = run.read_rows(path)
    except (OSError, ValueError, RecursionError) as error:
        raise Mistake(f"cannot read {path}: {error}") from None
    for row in found:
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise Mistake(f"cannot read {path}: it holds {shown(row)}, which is no row of a step")
    return found


def remarks(folder: Path) -> str:
    """What a person wrote beside a run or an experiment, "" if nothing."""
    path = folder / "remarks.md"
    try:
        return path.read_text("utf-8", errors="replace").strip() if path.exists() else ""
    except OSError as error:
        raise Mistake(f"cannot read {path}: {error.strerror}") from None


def _made_by(folder: Path) -> Iterator[str]:
    for start in run.starts(folder)[-1:]:
        told = shlex.join(["simulacra", *map(nearer, map(str, start.get("arguments") or []))])
        clock = _rows(folder / "clock.jsonl")
        seconds = clock[-1].get("seconds") if clock else None
        minutes = f", {seconds / 60:,.1f} minutes" if isinstance(seconds, int | float) else ""
        yield (
            f"Made by `{told}`, commit {start.get('commit') or 'unknown'}, "
            f"torch {start.get('torch')}{minutes}."
        )


def _data(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """The data set, the shape of an example, and how many files there were."""
    data = settings.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        return
    words = [f"Data `{data['name'].partition('@')[0]}`"]
    like = run.like_of(folder, 1) if (folder / "shapes.json").exists() else {}
    words += [f"{name} {'x'.join(map(str, x.shape[1:])) or 'one'}" for name, x in like.items()]
    files = run.fingerprint_of(folder)
    words += [f"{len(files):,} files"] if files else []
    yield f"{', '.join(words)}; batches of {settings.get('batch')}, seed {settings['seed']}."


def _changes(settings: dict[str, Any]) -> Iterator[Block]:
    """In what the config differs from the one of its name, or from the defaults of its model."""
    try:
        if settings["name"] in config.configs():
            source = f"config `{settings['name']}`, preset `{settings['preset']}`"
            usual = config.plain(config.resolve(settings["name"], settings["preset"]))
        else:
            source = f"the defaults of model `{called_model(settings)}`"
            usual = config.plain(config.check({**settings, "hyper": {}}, "config.json"))
    except Mistake:  # as of a model from outside, whose code is not run for this
        yield "The defaults of its model are not known here; its own hyperparameters:"
        rows = run.differences({"hyper": {}}, {"hyper": settings.get("hyper", {})})
        yield Table(["key", "here"], [[key, _plain(new)] for key, (_, new) in rows.items()])
        return
    apart = run.differences(usual, config.completed(settings))
    if not apart:
        yield f"As {source} has it."
        return
    yield f"Beside {source}:"
    told = [[called(key), _plain(new), _plain(old)] for key, (old, new) in apart.items()]
    yield Table(["key", "here", "there"], told)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else str(shown(value, quoted=False))


def _health(folder: Path, model: Any) -> list[Block]:
    """What happened in the training, the states that are over as well as those that are not."""
    try:
        rows = with_log(folder)
        balance = equilibrium(model) or _logged(rows)
        won = dict(model.won()) if isinstance(model, HasWon) else {}
        settings = health.Settings(equilibrium=balance, won=won)
        if not rows:
            return []
        spells = len(health.states(rows, settings))
        told = verdict.summary(rows, balance, settings)
    except (KeyError, TypeError, ValueError) as error:
        raise Mistake(f"cannot read {folder / 'log.jsonl'}: {shown(str(error))}") from None
    lines = []
    for k, line in enumerate(told):
        bad = k < spells or line.startswith("collapsed")
        good = line.startswith("no collapse") or "in balance" in line
        lines.append((BAD if bad else GOOD if good else NEITHER, line))
    return [Marks(lines)] if lines else []


def _logged(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The equilibria that a log tells of, as the distances of losses from them."""
    end, last = "_from_equilibrium", rows[-1] if rows else {}
    found = {
        key.removesuffix(end): last[key.removesuffix(end)] - value
        for key, value in last.items()
        if key.endswith(end) and key.removesuffix(end) in last
    }
    return {} if "margin" in last else {k: x for k, x in found.items() if math.isfinite(x)}


def _metrics(place: Path, step: int | None) -> Iterator[Block]:
    """The newest value of each metric, or those of a step, with what is known of it."""
    rows = [
        row
        for row in _rows(place / "metrics.jsonl")
        if isinstance(row.get("metric"), str) and step in (None, row["step"])
    ]
    newest = {row["metric"]: row for row in rows}
    if not newest:
        return
    yield Table(
        ["measure", "value", "real pictures get", "on", "step", "commit"],
        [
            [
                name,
                _number(row.get("value")) + _between(row),
                _number(row.get("floor")),
                _on(row),
                f"{row['step']:,}",
                str(row.get("commit") or ""),
            ]
            for name, row in newest.items()
        ],
    )
    over = dict.fromkeys(str(row["over"]) for row in newest.values() if row.get("over"))
    if over:
        yield f"Brackets: 95 % intervals over {'; '.join(over)}."


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _between(row: Mapping[str, Any]) -> str:
    low, high = _number(row.get("low")), _number(row.get("high"))
    return f" [{low}, {high}]" if low and high else ""


def _on(row: Mapping[str, Any]) -> str:
    """What a number was measured on, as far as its row says."""
    keys = "simulator", "tracks", "split", "n", "n_real"
    found = [str(row[key]) for key in keys if row.get(key) is not None]
    return ", ".join([*found, *([f"by {row['extractor']}"] if row.get("extractor") else [])])


def _pictures(place: Path) -> Iterator[Picture]:
    """Those of the newest painted step, what is looked at first in front, and the curves."""
    step, found = newest_pictures(place)
    yield from (Picture(path, f"{path.stem.replace('_', ' ')}, step {step:,}") for path in found)
    if is_picture(place / "curves.png"):
        yield Picture(place / "curves.png", "every scalar of the log")


def newest_pictures(place: Path) -> tuple[int, list[Path]]:
    """The newest step of which there are pictures, and these; 0 and none, if there are none."""
    inside = place / "pictures"
    steps = [run.step_of(path.name) for path in inside.iterdir()] if inside.is_dir() else []
    for step in sorted((step for step in steps if step is not None), reverse=True):
        found = sorted((inside / f"{step:08d}").glob("*"))
        good = [path for path in found if is_picture(path)]
        if good:
            order = {name: k for k, name in enumerate(FIRST)}
            return step, sorted(good, key=lambda path: order.get(path.name, len(order)))
    return 0, []


def is_picture(path: Path) -> bool:
    """Whether a file is what its name says, and not too large to be shown."""
    if path.suffix not in KINDS or not path.is_file() or path.stat().st_size > LARGEST:
        return False
    begins, word = KINDS[path.suffix]
    with path.open("rb") as file:
        return file.read(16)[begins:].startswith(word)


def nearer(text: str) -> str:
    """The text, in which paths inside the folder that one is in are named from there:
    nobody else has it where it is."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


# --- in Markdown ----------------------------------------------------------------------------------


def markdown(card: Card, at: Path, older: str = "") -> str:
    """The page, for a file in the folder `at`, to which links of pictures are relative; with what a
    person wrote into an `older` one."""
    own = words(older)
    lines = [head(card.title), ""]
    for section in SECTIONS:
        last = section == SECTIONS[-1]
        made = [line for block in card.blocks[section] for line in (*_lines(block, at), "")]
        lines += [f"## {section}", "", *([MADE, "", *made, END_MADE, ""] if last else made)]
        for text in own.get(section, []):
            lines += [text.strip("\n") if last else f"{KEEP}{text}{END_KEEP}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def head(title: str) -> str:
    """The comment by which a card is known."""
    return HEAD.format(title.replace("--", "- -"))


def _lines(block: Block, at: Path) -> list[str]:
    if isinstance(block, str):
        return [block]
    if isinstance(block, Words):
        return block.text.splitlines()
    if isinstance(block, Marks):
        return [f"- {mark} {text}" for mark, text in block.lines]
    if isinstance(block, Picture):
        link = Path(os.path.relpath(block.path.absolute(), at.absolute())).as_posix()
        return [f"![{block.caption}](<{link}>)"]
    told = [[" ".join(x.split()).replace("|", "\\|") for x in row] for row in block.rows]
    rows = ["| " + " | ".join(row) + " |" for row in (block.heads, *told)]
    return [rows[0], "|---" * len(block.heads) + "|", *rows[1:]]


def words(older: str) -> dict[str, list[str]]:
    """What a person wrote into a card, by section: the contents of what is between the comments
    `keep` and `end keep`, and under Conclusions all that was not made."""
    found: dict[str, list[str]] = {}
    before, _, after = older.partition(f"\n## {SECTIONS[-1]}\n")
    section = SECTIONS[0]
    for line in re.split(r"^(?=## )", before, flags=re.M):
        name = line.partition("\n")[0].removeprefix("## ")
        section = name if name in SECTIONS else section
        found.setdefault(section, []).extend(KEPT.findall(line))
    own = re.sub(f"{MADE}.*?{END_MADE}", "", after, count=1, flags=re.S).strip("\n")
    if own.strip():
        found[SECTIONS[-1]] = [own]
    return found


def older(path: Path, title: str) -> str:
    """The card that stands at a path, "" if nothing does; a Mistake if it is something else, or of
    another name."""
    if not os.path.lexists(path):
        return ""
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
    except (OSError, ValueError):
        text = ""
    owner = OWNER.search(text[:5000])
    if not owner or head(owner[1]) != head(title):
        held = f"the card of {owner[1]}" if owner else "something else than a card"
        raise Mistake(f"{path} holds {held}; choose another file with -o")
    return text


def save(path: Path, text: str) -> Path:
    """The path, once the card is there; a Mistake if it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path
