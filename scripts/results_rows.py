"""Rows of a results file, from what commands wrote: metrics.jsonl of runs, table.json of a sweep,
or JSON that a command printed."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results_files import HOME, Column, Made, Results, Row, Table, Trained, hash_of

from simulacra.core import config, packed, run, zoo
from simulacra.core.errors import Mistake, choose
from simulacra.core.provenance import commit
from simulacra.metrics.intervals.versions import renamed, version
from simulacra.studies import sheet as sheets

# what of a row of metrics.jsonl tells how it was measured
PROTOCOL = (
    *("extractor", "extractor_hash", "n_fake", "n_real", "n", "tracks", "simulator"),
    *("split", "repeats", "weights", "prior"),
)
MARKS = {"supported": "✓", "refuted": "✗", "undecided": "?"}


@dataclass
class Wish:
    """What a person asked `docs.py add` for."""

    table: str  # PAGE#ID
    sources: list[Path]
    columns: list[str] = field(default_factory=list)  # KEY[:HEAD[:FORMAT [UNIT]]]
    labels: list[str] = field(default_factory=list)  # of the rows
    head: str = ""  # above them
    where: list[str] = field(default_factory=list)  # KEY=VALUE that rows of metrics have
    command: str = ""
    config: str = ""
    by_metric: bool = False
    claims: bool = False


class Found(dict[str, Any]):
    """What was found for a row: cells by key, beside its label and where they come from."""

    def __init__(self, label: str, made: Made, cells: dict[str, Any]):
        super().__init__(cells)
        self.label, self.made = label, made
        self.runs = False  # whether its label is that of a run


def table_from(wish: Wish, file: Results, before: Table | None) -> Table:
    """The table that was asked for; columns and labels not given are those of before."""
    known = before if before and not before.unverified else None
    source = zoo.place_of(wish.sources[0])
    if source.is_dir():
        return _of_runs(wish, file, known)
    found = _json(source)
    if isinstance(found, dict) and "claims" in found and "rows" in found:
        return _of_sweep(wish, file, known, found)
    return _of_json(wish, known, found)


def columns(wish: Wish, known: Table | None, default: list[str]) -> list[Column]:
    """Those asked for, or those of the table as it was, without that of the labels."""
    if not wish.columns and known:
        return known.columns[1:]
    found = []
    for text in wish.columns or default:
        key, _, rest = text.partition(":")
        head, _, shape = rest.partition(":")
        spec, _, unit = shape.partition(" ")
        found.append(Column(head or key, key, spec, unit))
    return found


def _table(wish: Wish, known: Table | None, cols: list[Column], found: list[Found]) -> Table:
    """A row each."""
    if wish.labels and len(wish.labels) != len(found):
        raise Mistake(f"{len(wish.labels)} labels for {len(found)} rows; give one a row")
    # a run that was in the table keeps its label
    kept = {known.made[row.made].run: row.cells[0] for row in known.rows} if known else {}
    labels = wish.labels or [
        kept.get(one.made.run, one.label) if one.runs else one.label for one in found
    ]
    made, rows = [], []
    for i, one in enumerate(found):
        if one.made not in made:
            made.append(one.made)
        cells = [labels[i], *(_picked(one, column.key) for column in cols)]
        rows.append(Row(cells, made=made.index(one.made)))
    head = wish.head or (known.columns[0].head if known else "")
    return _digested(Table([Column(head), *cols], rows, _command(wish, known), made))


def _digested(table: Table) -> Table:
    table.digest = table.content()
    return table


def _command(wish: Wish, known: Table | None, told: str = "") -> str:
    command = wish.command or (known.command if known else "") or told
    if not command:
        raise Mistake("--command is missing: the command that made these numbers")
    return command


def _picked(found: dict[str, Any], key: str) -> Any:
    """What lies there: a key, or keys joined by dots."""
    if key in found:
        return found[key]
    item: Any = found
    for part in key.split("."):
        if not isinstance(item, dict) or part not in item:
            raise Mistake(f"no {key} there; there is: {', '.join(sorted(map(str, found)))}")
        item = item[part]
    return item


def _json(path: Path) -> Any:
    if not path.is_file():
        raise Mistake(f"no run folder and no file {path}")
    text = path.read_text()
    try:
        return (
            [json.loads(line) for line in text.splitlines()]
            if path.suffix == ".jsonl"
            else json.loads(text)
        )
    except json.JSONDecodeError as error:
        raise Mistake(f"{path} is no JSON: {error}") from None


def day(path: Path) -> str:
    """When a file was last written, which is when its newest numbers were measured."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


# --- runs -----------------------------------------------------------------------------------------


def _of_runs(wish: Wish, file: Results, known: Table | None) -> Table:
    found = [_measured(folder, wish, file) for folder in wish.sources]
    names = [*dict.fromkeys(name for one in found for name in one)]
    if not wish.by_metric and not (known and known.columns[-1].key == "floor"):
        return _table(wish, known, columns(wish, known, names), found)
    if len(found) > 1:
        raise Mistake("--by-metric is of one run")
    one = found[0]
    if known and not wish.columns:
        cols = [
            Column(row.cells[0], row.cells[1]["metric"], row.format, row.unit) for row in known.rows
        ]
    else:
        cols = columns(wish, None, names)
    rows = []
    for column in cols:
        item = _picked(one, column.key)
        ends = {key: item[key] for key in ("low", "high") if key in item}
        value = {"value": item["value"], "metric": column.key}
        rows.append(
            Row([column.head, value, ends or None, item.get("floor")], column.format, column.unit)
        )
    heads = [Column(wish.head or "metric"), Column("value", "value")]
    heads += [Column("95 % interval", "interval"), Column("floor", "floor")]
    return _digested(
        Table(heads, rows, _command(wish, known, f"simulacra measure {one.label}"), [one.made])
    )


def _measured(folder: Path, wish: Wish, file: Results) -> Found:
    """The last row of each metric, with its config checked against what it names."""
    place = zoo.place_of(folder)
    beside = zoo.results(place)[0]  # of the zoo: in the working directory
    wanted = dict(text.split("=", 1) for text in wish.where)
    rows = {
        row["metric"]: row
        for row in map(renamed, run.read_rows(beside / "metrics.jsonl"))
        if all(str(row.get(key)) == value for key, value in wanted.items())
    }
    if not rows:
        raise Mistake(f"{beside} has no metrics.jsonl with such rows; simulacra measure writes it")
    resolved = config.plain(config.resolve(str(place)))
    trained = named(place, resolved, wish.config)
    key, label = hash_of(resolved), f"zoo/{place.name}" if zoo.within(place) else place.name
    told = config.check(run.config_of(place), str(place))
    opened = hash_of(config.plain(config.settled(packed.beside(told, place))))  # as measure has it
    for row in rows.values():
        if row.get("config") != opened:
            raise Mistake(
                f"{beside}: {row['metric']} was measured of config {row.get('config')}, "
                f"and the run's is {opened} now; measure it again"
            )
    file.configs[key] = trained
    first = next(iter(rows.values()))
    made = Made(label, key, [resolved["seed"]], first.get("step"), str(first.get("commit") or ""))
    made.measured = day(beside / "metrics.jsonl")
    made.versions = {metric: version(row) for metric, row in rows.items()}
    made.protocol = {name: first[name] for name in PROTOCOL if first.get(name) is not None}
    kept = ("value", "low", "high", "floor", "std")
    cells = {
        metric: {name: row[name] for name in kept if row.get(name) is not None}
        for metric, row in rows.items()
    }
    found = Found(label, made, cells)
    found.runs = True
    return found


def named(folder: Path, resolved: dict[str, Any], name: str = "") -> Trained:
    """A run's config as a name and changes that resolve to it."""
    if zoo.within(folder) and not name:
        return Trained(f"zoo/{folder.name}", resolved)
    name, preset = name or resolved["name"], resolved["preset"]
    choose("config", name, config.configs())
    there = config.plain(config.resolve(name, preset))
    changes = []
    if resolved["data"]["name"] != there["data"]["name"]:
        changes.append(f"data.name={resolved['data']['name']}")
        there["data"] = {"name": resolved["data"]["name"]}
    for key, (_, value) in run.differences(there, resolved).items():
        if isinstance(value, str) and value.startswith(("/", "~")):
            raise Mistake(
                f"{folder}: {key} is a path of this machine, which a document cannot name"
            )
        changes.append(f"{key}={json.dumps(value)}")
    found = Trained(name, resolved, preset, changes)
    if why := found.changed():
        raise Mistake(f"{folder}: its config is not {name} with changes: {why}; give --config")
    return found


# --- sweeps ---------------------------------------------------------------------------------------


def _of_sweep(wish: Wish, file: Results, known: Table | None, told: dict[str, Any]) -> Table:
    path = wish.sources[0]
    made = [_cell_made(row, told, path, file) for row in told["rows"]]
    command = _command(wish, known, f"simulacra sweep {_sheet_name(told) or path.parent.name}")
    wish.command = command
    if wish.claims:
        whole = Made(
            path.parent.name, "", told["seeds"], None, ", ".join(told["commits"]), day(path)
        )
        whole.versions = {name: number for one in made for name, number in one.versions.items()}
        whole.protocol = {"as": told["protocol"]}
        found = [
            Found(f"{MARKS.get(claim['verdict'], '')} {claim['verdict']}", whole, _claim(claim))
            for claim in told["claims"]
        ]
        default = ["says:claim", "metric", "difference:first minus second", "n:seeds"]
        return _table(wish, known, columns(wish, known, default), found)
    found = [
        Found(
            row["cell"],
            one,
            {"seeds": len(row["seeds"])}
            | {name: _cell(item) for name, item in row["numbers"].items()},
        )
        for row, one in zip(told["rows"], made, strict=True)
    ]
    wish.head = wish.head or ("" if known else "cell")
    return _table(wish, known, columns(wish, known, ["seeds", *told["metrics"]]), found)


def _cell(item: dict[str, Any]) -> dict[str, Any]:
    """A number of a cell: its mean is its value; what else is there stays."""
    return {"value": item.get("mean")} | {key: one for key, one in item.items() if key != "mean"}


def _claim(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim's row; keys that are not known stay as they are."""
    ends = {"value": claim["difference"], "low": claim["low"], "high": claim["high"]}
    return claim | {"says": f"{claim['says']} ({claim['expect']})", "difference": ends}


def _sheet_name(told: dict[str, Any]) -> str:
    """Of the sheet in experiments/ that asks this question."""
    return next((name for name, asks in sheets.headlines().items() if asks == told["name"]), "")


def _cell_made(row: dict[str, Any], told: dict[str, Any], path: Path, file: Results) -> Made:
    """Where a cell's numbers come from: by its run folders, or by its sheet if they are away."""
    seed = row["seeds"][0] if row["seeds"] else told["seeds"][0]
    folders = [path.parent / name for name in row.get("runs", [])]
    there = [folder for folder in folders if (folder / "config.json").is_file()]
    rows = [one for folder in there for one in run.read_rows(folder / "metrics.jsonl")]
    if there:
        resolved = config.plain(config.resolve(str(there[0])))
        trained = named(there[0], resolved)
    else:
        trained = _by_sheet(row["cell"], seed, told)
    key = hash_of(trained.resolved)
    file.configs[key] = trained
    made = Made(path.parent.name, key, row["seeds"], None, ", ".join(told["commits"]), day(path))
    versions = told.get("versions") or {one["metric"]: version(one) for one in rows}
    made.versions = {name: versions.get(name, 1) for name in told["metrics"]}
    made.protocol = {"as": told["protocol"]} | (
        {} if told["preset"] == "laptop" else {"preset": told["preset"]}
    )
    return made


def _by_sheet(cell: str, seed: int, told: dict[str, Any]) -> Trained:
    """The config of a cell whose runs are elsewhere."""
    name = _sheet_name(told)
    if not name:
        raise Mistake(
            f"neither runs beside the table nor a sheet in experiments/ that asks '{told['name']}'"
        )
    sheet = sheets.read(sheets.find(name))
    one = next((one for one in sheet.cells() if str(one) == cell), None)
    if one is None:
        raise Mistake(f"the sheet {name} has no cell {cell} now")
    resolved = config.plain(sheet.resolved(one, seed, told["preset"]))
    return Trained(sheet.source_of(one), resolved, told["preset"], sheet.changes(one, seed))


# --- JSON -----------------------------------------------------------------------------------------


def _of_json(wish: Wish, known: Table | None, found: Any) -> Table:
    """Of what a command printed: a list of rows, {"rows": [...]}, or one row; today's commit."""
    rows = found if isinstance(found, list) else found.get("rows", [found])
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Mistake(f"{wish.sources[0]} holds no rows: a list of objects, or one")
    rows = [
        row
        for row in rows
        if all(str(row.get(k)) == v for k, v in (w.split("=", 1) for w in wish.where))
    ]
    made = Made(commit=commit(HOME / "simulacra") or "", measured=day(wish.sources[0]))
    cols = columns(wish, known, [key for key, item in rows[0].items() if not isinstance(item, str)])
    words = [
        next((str(item) for item in row.values() if isinstance(item, str)), "") for row in rows
    ]
    return _table(
        wish, known, cols, [Found(label, made, row) for label, row in zip(words, rows, strict=True)]
    )
