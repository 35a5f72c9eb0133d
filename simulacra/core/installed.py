"""Models and data sets that installed packages offer by name, as entry points of the groups
`simulacra.models` and `simulacra.data_sets`; each names a module with `Model` and `Hyper`, or with
`Data` and `Options`.

An installed package is code that the person installed: its names are used without --trust. Which
package, version and source a run was trained with is in its machine.json, and another one is said.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from simulacra.core import external
from simulacra.core.errors import Mistake
from simulacra.core.external import Kind, Outside

GROUPS: dict[Kind, str] = {"model": "simulacra.models", "data": "simulacra.data_sets"}
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
    return external.face(kind, label, one.name, module, source_of(one))


def _owner(one: Offer) -> str:
    return f"{one.package} {one.version}"


def source_of(one: Offer) -> bytes:
    """The source of an offered module's file; empty if it has none."""
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
