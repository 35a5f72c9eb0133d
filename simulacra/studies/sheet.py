"""An experiment as data: a config, a grid of changes to it, seeds, and what somebody says about the
outcome.

    name   = "Does pulling away help?"
    source = "the notes on EBGAN, Observations"
    base   = "ebgan_digits"
    seeds  = [0, 1, 2]
    [grid]
    "hyper.pull_away" = [0.0, 0.1]
    [[claim]]
    says    = "Pulling away with weight 0.1 changes little"
    metric  = "coverage"
    compare = [{ "hyper.pull_away" = 0.1 }, { "hyper.pull_away" = 0.0 }]
    expect  = "no difference"          # or "first is higher", "first is lower"
    within  = 0.02

Every combination of the grid is a cell, and trained once for each seed. A claim compares cells that
differ in nothing but what it names: within a seed the differences of all such pairs are averaged,
and what all seeds say together decides (studies/verdicts.py).
"""

import itertools
import json
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from simulacra.core import config
from simulacra.core.config import Config
from simulacra.core.errors import Mistake, choose, shown
from simulacra.metrics.intervals import versions

FOLDER = config.asset("experiments")
CONFIG = "config"  # the key of a grid that names configs
# what may differ between two values of a metric that are compared: what was measured, when and by
# whom
WHATEVER = {
    *("value", "low", "high", "std", "standard_error", "floor", "step", "config", "commit"),
    *("seconds", "processor_seconds", "agent", "eye", "labels"),
    *("version", "over"),  # versions are checked apart; over what an interval is changes no value
}
LONGEST = 100  # letters of a run folder's name that tell its cell
MOST = 10_000  # runs of a sheet
VERBS = ["measure", "score"]  # that write metrics.jsonl
Seed = Annotated[int, Meta(ge=0, le=2**31)]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sentence that a measurement can contradict."""

    says: str
    metric: str
    compare: tuple[dict[str, Any], dict[str, Any]]  # which cells, by their values in the grid
    expect: Literal["first is higher", "first is lower", "no difference"]
    # what counts as none, where none is expected
    within: Annotated[float, Meta(ge=0)] | None = None


class Sheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a sheet holds."""

    name: str  # the question
    follows: list[str] = []  # the sheets, by name, whose conclusions led to it
    source: str = ""  # who says what is claimed
    base: str  # a config
    preset: Literal["tiny", "laptop", "paper"] = "laptop"
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    set: dict[str, Any] = {}  # changes to every run
    # by key; the key `config` names configs
    grid: dict[str, Annotated[list[Any], Meta(min_length=1)]] = {}
    measure: str = "measure"  # the verb that measures a run, with its options
    columns: list[str] = []  # further metrics of the table
    claim: list[Claim] = []

    def cells(self) -> list["Cell"]:
        """Every combination of the grid, the last key fastest."""
        return [
            Cell(dict(zip(self.grid, values, strict=True)))
            for values in itertools.product(*self.grid.values())
        ]

    def metrics(self) -> list[str]:
        """The columns of the table: what claims are about first."""
        return list(dict.fromkeys([*(claim.metric for claim in self.claim), *self.columns]))

    def changes(self, cell: "Cell", seed: int) -> list[str]:
        """KEY=VALUE of a run, as `train --set` takes them."""
        own = {key: value for key, value in cell.values.items() if key != CONFIG}
        return [
            f"{key}={_word(key, value)}" for key, value in (self.set | own | {"seed": seed}).items()
        ]

    def source_of(self, cell: "Cell") -> str:
        """The config of a cell."""
        return str(cell.values.get(CONFIG, self.base))

    def resolved(self, cell: "Cell", seed: int, preset: str | None = None) -> Config:
        """The checked config of a run."""
        source = self.source_of(cell)
        try:
            return config.resolve(source, preset or self.preset, self.changes(cell, seed))
        except Mistake as mistake:
            raise Mistake(f"cell {cell}: {mistake}") from None


@dataclass(frozen=True)
class Cell:
    """A combination of the grid."""

    values: dict[str, Any]

    def __str__(self) -> str:
        """As people read it: pull_away = 0.1, margin = 10.0."""
        return (
            ", ".join(
                f"{_short(key, self.values)} = {_plain(value)}"
                for key, value in self.values.items()
            )
            or "as it is"
        )

    def folder(self, seed: int) -> str:
        """The name of a run folder."""
        words = ",".join(
            f"{_short(key, self.values)}={_plain(value)}" for key, value in self.values.items()
        )
        if len(words) > LONGEST:
            words = words[:LONGEST] + blake2b(words.encode(), digest_size=4).hexdigest()
        return re.sub(r"[^\w.=,+-]+", "_", f"{words},seed={seed}".lstrip(","))

    def is_in(self, wanted: dict[str, Any]) -> bool:
        """Whether it has these values."""
        return all(self.values[key] == value for key, value in wanted.items())


def _short(key: str, keys: dict[str, Any]) -> str:
    """The last part of a key, if that says which it is."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def _word(key: str, value: Any) -> str:
    # an experiment's names are words, joined by commas
    return str(value) if key == "experiment" else json.dumps(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- reading --------------------------------------------------------------------------------------


def sheets() -> list[str]:
    """The names of the sheets: the TOML files in experiments/."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def headlines() -> dict[str, str]:
    """The question of every sheet, by its name;
    whether what it holds can be run is not looked at."""
    return {name: str(config.read(find(name)).get("name", "")) for name in sheets()}


def find(source: str) -> Path:
    """The file that a person means."""
    path = Path(source)
    if path.suffix == ".toml":
        if not config.is_file(path):
            raise Mistake(f"no sheet {path}")
        return path
    return FOLDER / f"{choose('sheet', source, sheets())}.toml"


def read(path: Path) -> Sheet:
    """A checked sheet: every run's config is resolved
    and every claim names cells before anything is trained."""
    raw = config.read(path)
    _is_plain(raw, path)
    claims = raw.pop("claim", [])
    if not isinstance(claims, list):
        raise Mistake(f"{path}: claims are tables in a row, [[claim]]")
    checked = [
        config.convert(claim, Claim, str(path), f"claim[{i}].") for i, claim in enumerate(claims)
    ]
    sheet = msgspec.structs.replace(config.convert(raw, Sheet, str(path), ""), claim=checked)
    for key, values in sheet.grid.items():
        if len({_plain(value) for value in values}) < len(values):
            raise Mistake(f"{path}: grid {key} names a value twice: {values}")
    if len(set(sheet.seeds)) < len(sheet.seeds):
        raise Mistake(f"{path}: seeds names a seed twice: {sheet.seeds}")
    if taken := {"seed"} & {*sheet.grid, *sheet.set}:
        raise Mistake(f"{path}: {', '.join(taken)} belongs into seeds")
    try:
        words = shlex.split(sheet.measure)
    except ValueError as error:
        raise Mistake(f"{path}: measure = {shown(sheet.measure)}: {error}") from None
    choose(f"verb in measure of {path}:", (words or [""])[0], VERBS)
    if (count := math.prod(map(len, sheet.grid.values())) * len(sheet.seeds)) > MOST:
        raise Mistake(f"{path}: grid and seeds make {shown(count)} runs; allowed: {MOST:,}")
    for claim in sheet.claim:
        _check(claim, sheet, path)
    for cell in sheet.cells():
        sheet.resolved(cell, sheet.seeds[0])
    return sheet


def _is_plain(raw: Any, path: Path) -> None:
    """A Mistake if there is a value that no config takes and no table of results could show."""
    for value in config.leaves(raw):
        if wrong := config.wrong(value):
            raise Mistake(f"{path}: {shown(value)}: expected {wrong}")


def _check(claim: Claim, sheet: Sheet, path: Path) -> None:
    """A Mistake if a claim compares what is not in the grid."""
    where = f"{path}: claim '{claim.says}'"
    if (claim.within is None) != (claim.expect != "no difference"):
        raise Mistake(
            f"{where}: within says how large no difference may be, "
            "and belongs to expect = 'no difference' alone"
        )
    if claim.compare[0].keys() != claim.compare[1].keys():
        raise Mistake(
            f"{where}: both sides of compare name the same keys, "
            f"found {[*claim.compare[0]]} and {[*claim.compare[1]]}"
        )
    for side in claim.compare:
        for key, value in side.items():
            if value not in sheet.grid.get(
                choose(f"key in the grid of {path}:", key, list(sheet.grid)), []
            ):
                raise Mistake(
                    f"{where}: {key} = {value!r} is not in the grid; there is: {sheet.grid[key]}"
                )
    if not list(pairs(claim, sheet)):
        raise Mistake(f"{where}: no two cells differ in just what it compares")


# --- what came of it ------------------------------------------------------------------------------


Values = dict[tuple[str, int], dict[str, dict[str, Any]]]
"""By the cell's name and the seed, by metric: the row of metrics.jsonl."""


def pairs(claim: Claim, sheet: Sheet) -> Iterator[tuple[Cell, Cell]]:
    """Cells of the first kind, each with that of the second
    which is the same in all that the claim does not name."""
    named = {key for side in claim.compare for key in side}
    first, second = ([cell for cell in sheet.cells() if cell.is_in(side)] for side in claim.compare)
    for one, other in itertools.product(first, second):
        if one != other and all(
            one.values[key] == other.values[key] for key in sheet.grid if key not in named
        ):
            yield one, other


def same_protocol(found: Values, metric: str) -> None:
    """A Mistake if the values of a metric were not measured alike: such numbers do not compare."""
    rows = [(key, versions.renamed(rows[metric])) for key, rows in found.items() if metric in rows]
    versions.alike(metric, [(f"{cell}, seed {seed}", row) for (cell, seed), row in rows])
    for key, row in rows[1:]:
        first, alike = rows[0]
        for name in sorted((alike.keys() | row.keys()) - WHATEVER):
            if alike.get(name) != row.get(name):
                raise Mistake(
                    f"{metric} was not measured alike: {name} is {alike.get(name)} for {first[0]}, "
                    f"seed {first[1]}, and {row.get(name)} for {key[0]}, seed {key[1]}; "
                    "measure them again"
                )
