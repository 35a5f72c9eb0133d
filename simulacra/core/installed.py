"""Models and data sets that installed packages offer by name, as entry points of the groups
`simulacra.models` and `simulacra.data_sets`; each names a module with `Model` and `Hyper`, or with
`Data` and `Options`.

An installed package is code that the person installed: its names are used without --trust. Which
package, version and source a run was trained with is in its machine.json, and another one is said.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from simulacra.core import external
from simulacra.core.errors import Mistake
from simulacra.core.external import Kind, Outside

GROUPS: dict[Kind, str] = {"model": "simulacra.models", "data": "simulacra.data_sets"}
RECORD = "code"  # in a start of machine.json
INFO = (".dist-info", ".egg-info")  # folders in which packages say what they are


class Offer(NamedTuple):
    """A name that a package offers."""

    name: str
    module: str
    package: str  # the distribution
    version: str

    def __str__(self) -> str:
        return f"{self.name} of {self.package} {self.version}"


def offers(kind: Kind) -> list[Offer]:
    """What installed packages offer, in alphabetical order. The machinery of entry points, which
    takes long to import, is asked only where some package's file of them names the group."""
    if not _mentioned(GROUPS[kind]):
        return []
    from importlib.metadata import entry_points

    found = {
        Offer(one.name, one.value, one.dist.name, one.dist.version)
        for one in entry_points(group=GROUPS[kind])
        if one.dist is not None
    }
    return sorted(found)


def offer(kind: Kind, name: str) -> Offer | None:
    """The one of this name; a Mistake if two packages offer it."""
    found = [one for one in offers(kind) if one.name == name]
    if len(found) > 1:
        raise Mistake(
            f"{external.KEY[kind]} = '{name}' is offered by {' and by '.join(map(_owner, found))}; "
            f"allowed: one of them, as package.module: {', '.join(one.module for one in found)}"
        )
    return found[0] if found else None


def load(one: Offer, kind: Kind) -> Outside:
    """The model or data set of an offer, imported."""
    label = f"{'model' if kind == 'model' else 'data set'} {one}"
    try:
        module = import_module(one.module)
    except Exception as error:  # of somebody's package, whatever it is
        why = " ".join(str(error).split())[:200]
        raise Mistake(f"{label} cannot be imported: {type(error).__name__}: {why}") from error
    return external.face(kind, label, one.name, module, _source(one))


def record(names: Mapping[Kind, str]) -> dict[str, dict[str, str]]:
    """For machine.json: where the code of the model and of the data is from that installed packages
    offer by these names; the house's own go first and are not in it."""
    found: dict[str, dict[str, str]] = {}
    for kind, name in names.items():
        if not _is_own(kind, name) and (one := offer(kind, name)):
            facts = {"name": name, "package": one.package, "version": one.version}
            found[kind] = facts | {"source": external.hash_of(_source(one))}
    return found


def say_differences(starts: Sequence[Mapping[str, Any]], names: Mapping[Kind, str]) -> None:
    """Log a warning where the installed code of a run that is opened is not what it was trained
    with; without a handler, Python prints it on the error stream."""
    before = starts[-1].get(RECORD) if starts else None
    if isinstance(before, dict) and before:
        for line in differences(
            before, record({kind: name for kind, name in names.items() if kind in before})
        ):
            logging.getLogger("simulacra").warning("note: %s", line)


def differences(before: Mapping[str, Any], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What a person should know of two records: another package, version or source."""
    lines = []
    for kind, new in now.items():
        old = before.get(kind)
        if not isinstance(old, dict) or old == new:
            continue
        there, here = (f"{one.get('package')} {one.get('version')}" for one in (old, new))
        lines.append(
            f"{'model' if kind == 'model' else 'data set'} {new['name']}: the run was trained with "
            f"that of {there}, and it is now that of {here}"
            if there != here
            else f"{'model' if kind == 'model' else 'data set'} {new['name']}: its source in "
            f"{here} has changed since the run was trained"
        )
    return lines


def _is_own(kind: Kind, name: str) -> bool:
    """Whether the house has a model or a data set of this name, whatever others offer."""
    from simulacra.core import data_sets, model_names

    return name in (model_names.models() if kind == "model" else data_sets.names())


def _owner(one: Offer) -> str:
    return f"{one.package} {one.version}"


def _source(one: Offer) -> bytes:
    spec = find_spec(one.module)
    file = Path(spec.origin) if spec and spec.origin else None
    return file.read_bytes() if file and file.is_file() else b""


def _mentioned(group: str) -> bool:
    """Whether the entry points of any installed package name a group."""
    line = f"[{group}]".encode()
    return any(line in text for text in map(_text, _files()))


def _files() -> list[Path]:
    """The files of entry points of the packages on Python's path."""
    found = []
    for folder in dict.fromkeys(sys.path):
        try:
            with os.scandir(folder or ".") as entries:
                kept = [one.path for one in entries if one.name.endswith(INFO)]
        except OSError:  # a zip file, or nothing
            continue
        found += [Path(one, "entry_points.txt") for one in kept]
    return found


def _text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
