"""What of a run came from installed packages: written down where it is trained, compared where it
is opened."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from simulacra.core import data_sets, external, installed, model_names
from simulacra.core.external import Kind

RECORD = "code"  # in a start of machine.json


def record(names: Mapping[Kind, str]) -> dict[str, dict[str, str]]:
    """For machine.json: where the code of the model and of the data is from that installed packages
    offer by these names; the house's own go first and are not in it."""
    found: dict[str, dict[str, str]] = {}
    for kind, name in names.items():
        if not _is_own(kind, name) and (one := installed.offer(kind, name)):
            facts = {"name": name, "package": one.package, "version": one.version}
            found[kind] = facts | {"source": external.hash_of(installed.source_of(one))}
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
    return name in (model_names.models() if kind == "model" else data_sets.names())
