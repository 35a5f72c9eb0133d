"""Results files: the numbers of a page of the documents, beside it as NAME.json, with full
precision and with where they come from. `docs.py` writes them and the tables of the pages.

    {"tables": {ID: {"columns": [...], "rows": [...], "made": [...]}}, "configs": {HASH: ...},
     "given": {NUMBER: whose it is}}

A table that was pasted by hand has "unverified": true and the words of its cells. Any other was
written by `docs.py add` and holds raw numbers; its digest says whether a hand changed them since.
"""

import json
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from simulacra.core import config, run, zoo
from simulacra.core.errors import Mistake, choose
from simulacra.metrics.intervals.versions import VERSIONS

HOME = Path(__file__).resolve().parents[1]
RESULTS = HOME / "docs" / "results"
INTERVAL = ("value", "low", "high")
VERDICTS = {"supported": "✓", "refuted": "✗", "undecided": "?", "not tested": ""}


class Column(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A column: what stands above it, which number it holds and how that is rounded."""

    head: str
    key: str = ""  # the metric, or where the number lies in a row of JSON
    format: str = ""  # Python's, such as .3f; otherwise .3g
    unit: str = ""  # "%" shows a share as per cent


class Made(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Where the numbers of a row come from."""

    run: str = ""  # its folder's name; zoo/NAME for one that comes along
    config: str = ""  # its hash, a key of the file's configs
    seeds: list[int] = []
    step: int | None = None
    commit: str = ""
    measured: str = ""  # the day, UTC
    versions: dict[str, int] = {}  # of each metric
    protocol: dict[str, Any] = {}  # extractor and its hash, n, split and so on


class Row(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A row: words, numbers, lists of numbers by seed, or {value, low, high}."""

    cells: list[Any]
    format: str = ""  # instead of the columns'
    unit: str = ""
    made: int = 0  # which of the table's


class Table(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A table of a page, or numbers that only its prose names."""

    columns: list[Column]
    rows: list[Row]
    command: str = ""
    made: list[Made] = []
    unverified: bool = False  # pasted by hand
    outdated: str = ""  # why its numbers are those of another code than today's
    digest: str = ""

    def content(self) -> str:
        """What its digest is of: all but the words of how it stands now."""
        told = msgspec.structs.replace(self, digest="", outdated="")
        return blake2b(msgspec.json.encode(told), digest_size=6).hexdigest()


class Trained(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The config of a run: how it is named, and what that resolved to."""

    name: str  # in configs/, or zoo/NAME
    resolved: dict[str, Any]
    preset: str = ""
    set: list[str] = []

    def today(self) -> dict[str, Any]:
        """What the name resolves to now."""
        if self.name.startswith("zoo/"):
            return config.plain(config.resolve(str(zoo.FOLDER / self.name[4:])))
        return config.plain(config.resolve(self.name, self.preset, self.set))

    def changed(self) -> str:
        """How that differs from what it was; nothing where it does not. Keys that are new since are
        as they were if they stand at their defaults."""
        try:
            now = self.today()
        except Mistake as mistake:
            return str(mistake)
        found = run.differences(config.completed(self.resolved), now)
        return "; ".join(f"{key} was {old}, is {new}" for key, (old, new) in found.items())


class Statement(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What somebody says of a model, and what became of it here."""

    id: str
    of: str  # whose: a heading of the page that lists it
    says: str
    verdict: str = ""  # of VERDICTS; left out where a claim of a sheet has it
    found: str = ""  # with numbers
    by: str = ""  # the sheet, the run or the test that decided
    defect: str = ""  # of the code behind the notes that explains it
    claim: str = ""  # PAGE#ID/ROW, a row of a table of claims


class Results(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A results file."""

    tables: dict[str, Table] = {}
    configs: dict[str, Trained] = {}
    statements: list[Statement] = []
    given: dict[str, str] = {}  # numbers that were not measured here, and whose they are


def hash_of(resolved: dict[str, Any]) -> str:
    """Of a resolved config, as metrics.jsonl has it."""
    return run.digest(resolved)[:12]


# --- files ----------------------------------------------------------------------------------------


def beside(page: Path) -> Path:
    """The results file of a page."""
    return page.with_suffix(".json")


def read(path: Path) -> Results:
    """A results file; an empty one where there is none."""
    if not path.exists():
        return Results()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{path}: {error}") from None


def written(file: Results) -> str:
    """Its text, a row a line."""
    raw, found = msgspec.to_builtins(file), dict[str, str]()
    for table in raw.get("tables", {}).values():
        for key in {"columns", "rows", "made"} & table.keys():
            table[key] = [_kept(item, found) for item in table[key]]
    for key in {"statements"} & raw.keys():
        raw[key] = [_kept(item, found) for item in raw[key]]
    for trained in raw.get("configs", {}).values():
        trained["resolved"] = _kept(trained["resolved"], found)
    text = json.dumps(raw, indent=1, ensure_ascii=False)
    return re.sub(r'"(\0\d+)"', lambda hit: found[hit[1]], text.replace("\\u0000", "\0")) + "\n"


def _kept(item: Any, found: dict[str, str]) -> str:
    """A word that stands for an item that is to be on one line."""
    name = f"\0{len(found)}"
    found[name] = json.dumps(item, ensure_ascii=False)
    return name


def save(path: Path, file: Results) -> None:
    """Write it, without configs that no table names."""
    named = {made.config for table in file.tables.values() for made in table.made}
    file.configs = {key: item for key, item in sorted(file.configs.items()) if key in named}
    path.write_text(written(file))


# --- as Markdown ----------------------------------------------------------------------------------


def cell(item: Any, spec: str, unit: str) -> str:
    """A cell as people read it: 0.667 [0.656, 0.679], 0.91 to 0.93, 1.67, 1.77, or its words."""
    if item is None or isinstance(item, str):
        return item or ""
    if isinstance(item, list):
        return ", ".join(cell(one, spec, "") for one in item) + _after(unit)
    if isinstance(item, dict):
        value, low, high = (item.get(key) for key in INTERVAL)
        if value is None and low is not None:
            return f"{_number(low, spec, unit)} to {_number(high, spec, unit)}{_after(unit)}"
        ends = "" if low is None else f" [{_number(low, spec, unit)}, {_number(high, spec, unit)}]"
        return "" if value is None else _number(value, spec, unit) + ends + _after(unit)
    return _number(item, spec, unit) + _after(unit)


def _number(value: Any, spec: str, unit: str) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, int) and not spec and unit != "%":
        return f"{value:,}"
    return f"{value * 100 if unit == '%' else value:{spec or '.3g'}}"


def _after(unit: str) -> str:
    return f" {unit}" if unit else ""


def markdown(table: Table) -> str:
    """The table, and below it where its numbers come from."""
    lines = [_line([column.head for column in table.columns]), "|" + "---|" * len(table.columns)]
    for row in table.rows:
        words = []
        for column, item in zip(table.columns, row.cells, strict=True):
            unit = row.unit or column.unit
            said = unit != "%" and unit in re.split(r"\W+", column.head)
            words.append(cell(item, row.format or column.format, "" if said else unit))
        lines.append(_line(words))
    return "\n".join([*lines, *(["", origin(table)] if not table.unverified else [])])


def _line(words: list[str]) -> str:
    return "|" + "|".join(f" {word} " if word else " " for word in words) + "|"


def judged(one: Statement) -> tuple[str, str]:
    """A statement's verdict and what was found; both of its claim, where a sheet has it."""
    if not one.claim:
        return one.verdict, one.found
    reference, _, row = one.claim.partition("/")
    path, name = table_of(reference)
    table = read(path).tables.get(name)
    if table is None or not row.isdigit() or int(row) >= len(table.rows):
        raise Mistake(f"{one.id}: no claim {one.claim}")
    cells = table.rows[int(row)].cells
    ends = next((item for item in cells if isinstance(item, dict)), None)
    return cells[0].split()[-1], "; ".join(filter(None, [one.found, cell(ends, "", "")]))


def listed(statements: list[Statement], of: str) -> str:
    """A table of the statements of somebody, and how many have which verdict."""
    lines = [_line(["", "statement", "verdict, and what was found"]), "|---|---|---|"]
    counts = dict.fromkeys(VERDICTS, 0)
    for one in statements:
        if one.of == of:
            verdict, found = judged(one)
            counts[choose("verdict", verdict, list(VERDICTS))] += 1
            parts = [f"**{VERDICTS[verdict]} {verdict}**".replace("** ", "**"), found]
            parts = [". ".join(filter(None, parts)) + (f" ({one.by})" if one.by else "") + "."]
            parts += [f"*Defect:* {one.defect}."] if one.defect else []
            lines.append(_line([one.id, one.says, " ".join(parts)]))
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
    return "\n".join([f"{told[:1].upper()}{told[1:]}.", "", *lines])


SHOWN = {"extractor_hash": "", "n_fake": "samples", "n_real": "reals", "repeats": "sets"}


def origin(table: Table) -> str:
    """One line: command, commits, day, and how it was measured."""
    shared = table.made[0].protocol if table.made else {}
    shared = {k: v for k, v in shared.items() if all(m.protocol.get(k) == v for m in table.made)}
    parts = [f"`{table.command}`"] if table.command else []
    commits = list(dict.fromkeys(made.commit for made in table.made if made.commit))
    parts += [f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}"] if commits else []
    days = sorted({made.measured for made in table.made if made.measured})
    parts += ["measured " + " to ".join(dict.fromkeys([days[0], days[-1]]))] if days else []
    seeds = sorted({seed for made in table.made for seed in made.seeds})
    parts += [f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"] if seeds else []
    told = [f"{SHOWN.get(key, key)} {_plain(value)}".strip() for key, value in shared.items()]
    parts += [", ".join(told)] if told else []
    old = f"\n\n**Outdated**, not made again: {table.outdated}." if table.outdated else ""
    return f"({'; '.join(parts)}.){old}"


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- whether it still holds -----------------------------------------------------------------------


def stale(file: Results, table: Table) -> list[str]:
    """Why the numbers of a table are not those of today's code: its configs and measures."""
    found = []
    for made in table.made:
        if made.config and (why := file.configs[made.config].changed()):
            found.append(f"config {file.configs[made.config].name} changed: {why}")
        for metric, number in made.versions.items():
            if number != (now := VERSIONS.get(metric, 1)):
                found.append(f"{metric} is of version {number}, its measure of {now} now")
    return list(dict.fromkeys(found))


def faults(path: Path, file: Results) -> list[str]:
    """What is wrong in a results file, in a line each; its page is not looked at."""
    found = []
    for key, trained in file.configs.items():
        if hash_of(trained.resolved) != key:
            found.append(f"{path.name}: config {key} does not hash to its name")
    for name, table in file.tables.items():
        where = f"{path.name}#{name}"
        if any(len(row.cells) != len(table.columns) for row in table.rows):
            found.append(f"{where}: a row has more or fewer cells than there are columns")
        if table.unverified:
            continue
        if table.digest != table.content():
            found.append(f"{where}: changed by hand; docs.py add writes it")
        if not (table.command and table.made and all(one.measured for one in table.made)):
            found.append(f"{where}: its command or its day is missing")
        lost = {made.config for made in table.made if made.config} - file.configs.keys()
        found += [f"{where}: config {key} is not in the file" for key in sorted(lost)]
        if not lost and not table.outdated:
            found += [
                f"{where}: {why}; make it again or docs.py outdated" for why in stale(file, table)
            ]
    return found


def table_of(reference: str) -> tuple[Path, str]:
    """The results file and the table that PAGE#ID names, such as ebgan#results."""
    page, mark, name = reference.partition("#")
    if not mark or not re.fullmatch(r"[\w-]+", name):
        raise Mistake(f"expected PAGE#ID, such as ebgan#results, found {reference}")
    pages = {one.stem: one for one in [*(HOME / "docs").glob("*.md"), *RESULTS.glob("*.md")]}
    return beside(pages[choose("page", page, sorted(pages))]), name
