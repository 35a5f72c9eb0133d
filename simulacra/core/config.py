"""TOML -> checked, resolved config; presets; the directory is the registry."""

import json
import math
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from simulacra.core import data_sets, external, installed
from simulacra.core.errors import Mistake, choose, shown, unknown
from simulacra.core.model_names import HERE, unknown_model
from simulacra.core.model_names import model as model
from simulacra.core.model_names import model_files as model_files
from simulacra.core.model_names import models as models
from simulacra.core.source import constant, fields
from simulacra.core.tables import OLD, called, contents, kept_names, parted
from simulacra.core.tables import is_file as is_file
from simulacra.core.tables import read as read

Positive = Annotated[int, Meta(ge=1, le=2**53)]


def asset(name: str) -> Path:
    """The folder of what comes with the package: in a wheel inside it, in a checkout beside it."""
    inside = HERE / "assets" / name
    return inside if inside.is_dir() else HERE.parent / name


FOLDER = asset("configs")
PRESETS = ["tiny", "laptop", "paper"]
LATER = {"autocast", "compile"}  # keys that are told of only where they are on
LONGEST = 200  # bytes of a name, which becomes that of a run folder


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A resolved config: what config.json holds."""

    name: str  # of the TOML file, for the default run folder
    preset: Literal["tiny", "laptop", "paper"]
    # a file in models/, or the path of a .py file; `room` in files of runs
    model: str = msgspec.field(name="room")
    data: Any  # that data set's Options
    hyper: Any  # that model's Hyper
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0
    batch: Positive  # examples a step, over all processes
    steps: Positive
    log_every: Positive = 50  # steps between rows of the log
    save_every: Positive = 1000  # steps between checkpoints, each painted
    # times that a collapsed run may go back to its last healthy checkpoint
    rollback: Annotated[int, Meta(ge=0)] = 0
    keep: Annotated[int, Meta(ge=0)] = 3  # newest checkpoints to keep; 0 keeps all
    init_from: str = ""  # run folder whose weights a new run begins with; empty: new weights
    # faster and not the same bits; written down and hashed only where they are on (precision.py)
    autocast: bool = False  # bfloat16 where torch thinks it safe; on CPUs it is slower
    compile: bool = False  # nets are compiled when they are first called


def _admitted(raw: dict[str, Any], path: Path, changes: list[str]) -> None:
    """Put resolved names of a model and of data from outside in place of their paths or modules,
    and run their code, which a person's config names; copies in a run folder need trust."""
    name, data = raw.get("room"), raw.get("data")
    if not isinstance(name, str):
        return  # which is said when it is checked
    raw["room"] = _resolved("model", name, path, changes)
    if isinstance(data, dict) and isinstance(data.get("name"), str):
        raw["data"] = data | {"name": _resolved("data", data["name"], path, changes)}
    if (
        name
        and not external.is_outside(name)
        and name not in models()
        and (beside := sorted(one.name for one in path.parent.glob("*.py")))
        and not installed.offer("model", name)
    ):
        raise Mistake(f"{unknown_model(name)}; or the path of a .py file, such as {beside[0]}")


def _resolved(kind: external.Kind, name: str, path: Path, changes: list[str]) -> str:
    """A name as a run's config has it. A path is looked for beside the config, then in the working
    directory, and the other way round where it was given on the command line."""
    if external.is_known(name):
        external.admit_copy(kind, path.parent, name)
    elif external.is_outside(name):
        keys = ("model", "room") if kind == "model" else (external.KEY[kind],)
        asked = any(text.partition("=")[0].strip() in keys for text in changes)
        return external.admit(kind, name, [Path(), path.parent][:: 1 if asked else -1])
    return name


def code_of(checked: Config) -> dict[external.Kind, str]:
    """The resolved names of the code that a config trains: its model and its data set."""
    return {"model": checked.model, "data": str(checked.data.__struct_config__.tag)}


def configs() -> list[str]:
    """The names of the configs: the files in configs/."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def headline(name: str) -> str:
    """The first line of a config: what it does, in a comment."""
    return contents(find(name)).partition("\n")[0].lstrip("# ")


def resolve(
    source: str,
    preset: str | None = None,
    changes: list[str] | None = None,
    # is given a line about each value that is left out
    notify: Callable[[str], None] = lambda line: None,
) -> Config:
    """The checked config of a name in configs/, a TOML file or a run's config.json, with
    `key=value` changes on top. A hyperparameter that changes nothing (see idle.py) goes back to its
    default; the model refuses one that a person gave."""
    path, changes = find(source), changes or []
    given = [parted(text)[0] for text in changes]
    if path.suffix == ".json":
        raw = read(path)
        if preset and preset != raw.get("preset"):
            raise Mistake(
                f"{path} is resolved already (preset {raw.get('preset')}); "
                "presets belong to TOML files"
            )
    else:
        wanted = [
            value
            for key, _, value in (text.partition("=") for text in changes)
            if key.strip() == "experiment"
        ]
        changes = [text for text in changes if text.partition("=")[0].strip() != "experiment"]
        raw = {"name": path.stem} | based(path)
        if "room" not in raw:
            raise Mistake(f"{source}: model is missing")
        experiments = raw.pop("experiment", {})
        raw = _with_preset(raw, preset or "laptop", path)
        raw = _with_experiments(raw, experiments, "".join(wanted[-1:]), path)
        if path.parent.resolve() != FOLDER.resolve():
            given += _own(path, preset or "laptop", "".join(wanted[-1:]))
    _renamed(raw, source, strict=True)
    for text in changes:
        change(raw, text)
    _admitted(raw, path, changes)
    return settled(check(raw, source), given, notify)


def find(source: str) -> Path:
    """The file that a person means by `source`."""
    path = Path(source)
    if is_file(path / "config.json"):
        path = path / "config.json"
    if path.suffix in (".toml", ".json"):
        if not is_file(path):
            raise Mistake(f"no config file {path}")
        return path
    return FOLDER / f"{choose('config', source, configs())}.toml"


def run_file(folder: Path) -> Path:
    """The config.json of a run folder; a Mistake if it is none."""
    try:
        there = folder.is_dir()
    except (OSError, ValueError):
        there = False
    if not there:
        raise Mistake(f"no run folder {folder}")
    if not is_file(folder / "config.json"):
        raise Mistake(f"{folder} is no run folder: it has no config.json")
    return folder / "config.json"


def check(raw: dict[str, Any], source: str) -> Config:
    """The raw config as checked structures; a Mistake names key, value found and values allowed.
    What needs no import of a model is checked first: most mistakes are told at once."""
    raw = dict(raw)
    for key in "room", "data":
        if key not in raw:
            raise Mistake(f"{source}: {called(key)} is missing")
    _renamed(raw, source)
    top = [field.encode_name for field in msgspec.structs.fields(Config)]
    if odd := next((key for key in raw if key not in top), None):
        raise Mistake(f"{source}: {_unknown(odd, top, '', _inner(raw))}")
    flat = convert(raw | {"data": None, "hyper": None}, Config, source, "")
    _check_name(flat.name, source)
    if flat.model in models():
        _check_keys(raw.get("hyper"), model_files()[flat.model], "Hyper", source, "hyper.")
    elif not external.is_outside(flat.model):
        model(flat.model)  # which says what there is
    checked = {
        "data": check_data(raw["data"], source),
        "hyper": convert(raw.get("hyper", {}), model(flat.model).Hyper, source, "hyper."),
    }
    return msgspec.structs.replace(flat, **checked)


def _inner(raw: dict[str, Any]) -> list[str]:
    """The dotted keys of a config's hyperparameters and data options, as far as their source
    tells."""
    name, data = raw.get("room"), raw.get("data")
    of = {"hyper": fields(model_files()[name], "Hyper")} if name in models() else {}
    if isinstance(data, dict) and data.get("name") in data_sets.names():
        of["data"] = fields(data_sets.path(data["name"]), "Options")
    return [f"{table}.{key}" for table, keys in of.items() for key in keys]


def _check_name(name: str, source: str) -> None:
    """A Mistake if the name cannot be that of a folder in runs/."""
    if not name or name in (".", "..") or "/" in name or len(name.encode()) > LONGEST:
        raise Mistake(
            f"{source}: name = {shown(name)}: expected a word of at most {LONGEST} bytes without /"
        )


def _check_keys(raw: Any, path: Path, kind: str, source: str, prefix: str) -> None:
    """A Mistake if a key is not among the fields of a class, as far as its source tells;
    the import of it takes seconds."""
    allowed = fields(path, kind)
    for key in raw if isinstance(raw, dict) and allowed else ():
        if key not in allowed:
            raise Mistake(f"{source}: {_unknown(key, allowed, prefix)}")


def _unknown(key: str, allowed: list[str], prefix: str, elsewhere: Sequence[str] = ()) -> str:
    what = f"key {prefix}{shown(key, quoted=False)}"
    return unknown(what, key, [prefix + called(name) for name in allowed], elsewhere)


def _renamed(raw: dict[str, Any], source: str, strict: bool = False) -> None:
    """Hyperparameters of older configs that are keys of the config now, as the model's RENAMED
    says, put there; `strict` refuses another value at both places."""
    name, hyper = raw.get("room"), raw.get("hyper")
    if name not in models() or not isinstance(hyper, dict):
        return
    for old, key in constant(model_files()[name], "RENAMED", {}).items():
        if old not in hyper:
            continue
        value, there = hyper[old], raw.get(key) or ""
        if strict and there and value and there != value:
            raise Mistake(
                f"{source}: hyper.{old} = {shown(value)}, the older name of {key}, "
                f"and {key} = {shown(there)}; allowed: one of them"
            )
        raw["hyper"] = hyper = {name: item for name, item in hyper.items() if name != old}
        raw[key] = value or there if strict else value


def check_data(raw: Any, source: str) -> Any:
    """The Options of the data set that a [data] table names."""
    if not isinstance(raw, dict) or "name" not in raw:
        raise Mistake(f"{source}: data.name is missing; there is: {', '.join(data_sets.names())}")
    name = raw["name"] if isinstance(raw["name"], str) else shown(raw["name"])
    if name in data_sets.names():
        own = {key: value for key, value in raw.items() if key != "name"}
        _check_keys(own, data_sets.path(name), "Options", source, "data.")
    return convert(raw, data_sets.module(name).Options, source, "data.")


def plain(config: Config) -> dict[str, Any]:
    """The config as JSON would hold it. What came later and is off is left out, so that configs of
    before keep their hashes."""
    raw: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(config))
    return {key: value for key, value in raw.items() if value or key not in LATER}


def completed(raw: dict[str, Any]) -> dict[str, Any]:
    """A run's config of an older version, with the defaults of keys that there were not yet and of
    those that are idle, which change nothing; as it is, if it holds what there is no more."""
    try:
        return plain(settled(check(raw, "config.json")))
    except Mistake:
        return raw


def settled(
    checked: Config, given: Sequence[str] = (), notify: Callable[[str], None] = lambda line: None
) -> Config:
    """The config with its idle hyperparameters (see idle.py) at their defaults, each in a line to
    `told`; as they are, if they are `given` as "hyper.NAME"."""
    from simulacra.core import idle  # which imports torch

    names: dict[str, str] = getattr(model(checked.model), "idle", lambda hyper: {})(checked.hyper)
    left = {
        name: needs
        for name, needs in names.items()
        if not any(f"hyper.{name}.".startswith(f"{key}.") for key in given)
    }
    for name, needs in idle.found(checked.hyper, left).items():
        old, new = (
            idle.said(idle.value(hyper, name)) for hyper in (checked.hyper, type(checked.hyper)())
        )
        notify(
            f"{checked.name}: hyper.{name} = {old} changes nothing, "
            f"since it needs {needs}: {new}, its default, stands"
        )
    return msgspec.structs.replace(checked, hyper=idle.settled(checked.hyper, left))


def based(path: Path) -> dict[str, Any]:
    """The raw contents of a TOML file, laid on its base if it names one."""
    raw = kept_names(read(path), path)
    if not raw:
        raise Mistake(f"{path}: model is missing, and all else; the file holds no key")
    name = raw.pop("base", "")
    if not isinstance(name, str):
        raise Mistake(f"{path}: base = {shown(name)}: expected the name of a config")
    if not name:
        return raw
    beside = path.parent / f"{name}.toml"
    beneath = beside if is_file(beside) else find(name)
    base = kept_names(read(beneath), beneath)
    if "base" in base:
        raise Mistake(f"{path}: base {name} has a base itself; one is the limit")
    return merge(base, raw)


def _own(path: Path, preset: str, wanted: str) -> list[str]:
    """The dotted names of all values that a TOML file,
    itself and not its base, gives in this preset and these experiments."""
    raw = read(path)
    presets, experiments = raw.pop("preset", {}), raw.pop("experiment", {})
    chosen = [
        presets.get(preset, {}),
        *(experiments.get(name.strip(), {}) for name in wanted.split(",")),
    ]
    return [name for table in (raw, *chosen) for name in _names(table)]


def _names(raw: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all values in nested tables."""
    each = (
        _names(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
        for key, value in raw.items()
    )
    return [name for names in each for name in names]


def _with_preset(raw: dict[str, Any], preset: str, path: Path) -> dict[str, Any]:
    presets = raw.pop("preset", {})
    if not isinstance(presets, dict) or not all(
        isinstance(table, dict) for table in presets.values()
    ):
        raise Mistake(f"{path}: presets are tables, [preset.tiny] and the like")
    for name in presets:
        choose(f"preset in {path}:", name, PRESETS)
    chosen = presets[choose("preset", preset, [name for name in PRESETS if name in presets])]
    return merge(raw, kept_names(chosen, path)) | {"preset": preset}


def _is_named(raw: dict[str, Any], path: Path) -> None:
    if not isinstance(raw.get("name", ""), str):
        raise Mistake(f"{path}: name = {shown(raw['name'])}: expected `str`")


def _with_experiments(raw: dict[str, Any], tables: Any, wanted: str, path: Path) -> dict[str, Any]:
    """The tables [experiment.NAME] of these names,
    parted by commas, laid on the preset one after the other."""
    if not isinstance(tables, dict) or not all(
        isinstance(table, dict) for table in tables.values()
    ):
        raise Mistake(f"{path}: experiments are tables, [experiment.NAME]")
    names = [name.strip() for name in wanted.split(",")] if wanted else []
    for name in names:
        raw = merge(
            raw, kept_names(tables[choose(f"experiment in {path}:", name, list(tables))], path)
        )
    _is_named(raw, path)  # an experiment may have renamed it
    return raw | {"name": "_".join([raw["name"], *names])}


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, tables key by key.
    A table that names another data set replaces the old one."""
    out = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        name = out[key].get("name") if both else None
        renamed = both and key == "data" and value.get("name", name) != name
        out[key] = merge(out[key], value) if both and not renamed else value
    return out


def change(raw: dict[str, Any], text: str) -> None:
    """Set `key=value` in the raw config; the value is TOML, or else taken as a word."""
    key, value = parted(text)
    *tables, last = key.split(".")
    last = OLD.get(last, last) if not tables else last
    for table in tables:
        raw = raw.setdefault(table, {})
        if not isinstance(raw, dict):
            raise Mistake(f"--set {shown(key, quoted=False)}: {table} is no table")
    if tables == ["data"] and last == "name" and raw.get("name") != value:
        raw.clear()
    raw[last] = value


def convert(raw: Any, kind: type, source: str, prefix: str) -> Any:
    """The raw table as a structure; a Mistake names key,
    with `prefix` before it, value found and values allowed."""
    for field in msgspec.structs.fields(kind) if isinstance(raw, dict) else ():
        if (
            isinstance(field.type, type)
            and issubclass(field.type, msgspec.Struct)
            and isinstance(raw.get(field.name), dict)
        ):
            # so that its own keys are named
            convert(raw[field.name], field.type, source, f"{prefix}{field.name}.")
    try:
        value: Any = msgspec.convert(raw, kind)
        _sane(value, prefix)
        return value
    except msgspec.ValidationError as error:
        raise Mistake(f"{source}: {_explain(str(error), raw, kind, prefix)}") from None
    except UnicodeEncodeError:  # of half a letter (a lone surrogate) that JSON escapes can write
        raise Mistake(
            f"{source}: {prefix.rstrip('.') or 'config'} holds a word that is no Unicode"
        ) from None


def _explain(message: str, raw: Any, kind: type, prefix: str) -> str:
    known = {f.encode_name: f.type for f in msgspec.structs.fields(kind)}
    if unknown := re.match(r"Object contains unknown field `(.*?)`", message, re.S):
        return _unknown(unknown[1], list(known), prefix)
    if missing := re.match(r"Object missing required field `(.*?)`", message):
        return f"{prefix}{called(missing[1])} is missing"
    where = re.search(r" - at `\$\.?(.*)`$", message)
    if not where or not where[1]:
        there = ", ".join(prefix + called(name) for name in known)
        return f"{prefix.rstrip('.') or 'config'} = {shown(raw)}: expected keys; there is: {there}"
    key = re.split(r"[.\[]", where[1])[0]
    field = known.get(key)
    many = "any of" if typing.get_origin(field) is tuple else "one of"
    field = typing.get_args(field)[0] if many == "any of" else field
    options = typing.get_args(field) if typing.get_origin(field) is typing.Literal else ()
    if message.startswith("Expected `array`") and isinstance(raw[key], (str, int, float)):
        parts = raw[key].split(",") if isinstance(raw[key], str) else [raw[key]]
        words = [part.strip() if isinstance(part, str) else part for part in parts]
        written = f"{prefix}{called(key)}='{json.dumps(words, ensure_ascii=False)}'"
        return f"{prefix}{called(key)} = {shown(raw[key])}: expected a list, such as {written}"
    expected = f"{many}: {', '.join(map(str, options))}" if options else message[: where.start()]
    expected = expected.removeprefix("Expected ")
    return f"{prefix}{called(key)} = {shown(raw.get(key))}: expected {expected}"


def _sane(value: Any, prefix: str) -> None:
    """Numbers are finite and fit 64 bits; words can be written down and name files;
    the steps of a schedule do not fall."""
    for field in msgspec.structs.fields(value):
        item = getattr(value, field.name)
        if isinstance(item, msgspec.Struct):
            continue  # looked at when it was converted
        if why := next(filter(None, map(wrong, leaves(item))), ""):
            raise Mistake(f"{prefix}{field.name} = {shown(item)}: expected {why}")
        if isinstance(item, tuple) and item and all(isinstance(point, tuple) for point in item):
            steps = [point[0] for point in item]
            if steps != sorted(steps):
                raise Mistake(
                    f"{prefix}{field.name} = {shown(item)}: the steps of a schedule must not fall"
                )


def leaves(item: Any) -> Iterator[Any]:
    """All that is in lists and tables, keys included."""
    if isinstance(item, dict):
        item = [*item.keys(), *item.values()]
    if isinstance(item, (list, tuple)):
        for inner in item:
            yield from leaves(inner)
    else:
        yield item


def wrong(item: Any) -> str:
    """What was expected instead of a number or a word; nothing if it is as it should be."""
    if isinstance(item, float) and not math.isfinite(item):
        return "finite numbers"
    if isinstance(item, int) and not -(2**63) <= item < 2**63:
        return "numbers of 64 bits"
    if isinstance(item, str) and (
        "\0" in item or any(0xD800 <= ord(letter) < 0xE000 for letter in item)
    ):
        return "words in Unicode, without NUL and halves of letters"
    if isinstance(item, (date, time)):  # which TOML knows
        return "numbers, words and truths, not dates"
    return ""
