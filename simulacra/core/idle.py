"""Hyperparameters that change nothing beside others: a dropout that no layer has, the patch of a
net without patches.

A model names them in `idle(hyper)` and refuses whoever gives one. One that nobody gave, since it
came with a config and another choice made it idle, or with a run that is older than the refusal,
goes back to its default, which changes nothing.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from simulacra.core.schedules import Schedule


def unless(met: bool, needs: str, *names: str) -> dict[str, str]:
    """These hyperparameters, each with what it needs to change anything;
    none if that is met. `a.b` is b of the table a."""
    return {} if met else dict.fromkeys(names, needs)


def ever(schedule: Schedule) -> bool:
    """Whether a schedule is above 0 at any step."""
    if isinstance(schedule, (int, float)):
        return schedule > 0
    return any(value > 0 for _, value in schedule)


def found(hyper: Any, idle: Mapping[str, str]) -> dict[str, str]:
    """Those of the idle that are not at their defaults."""
    return {
        name: needs
        for name, needs in idle.items()
        if value(hyper, name) != value(type(hyper)(), name)
    }


def refuse(hyper: Any, idle: Mapping[str, str]) -> None:
    """ValueError naming every idle hyperparameter that is not at its default, what it needs,
    and its default."""
    lines = []
    for name, needs in found(hyper, idle).items():
        now, default = (said(value(one, name)) for one in (hyper, type(hyper)()))
        lines.append(
            f"hyper.{name} = {now} changes nothing, since it needs {needs}; allowed: {default}"
        )
    if lines:
        raise ValueError(". ".join(lines))


def settled(hyper: Any, idle: Mapping[str, str]) -> Any:
    """The hyperparameters with all that are idle at their defaults,
    which changes nothing that is computed."""
    for name in found(hyper, idle):
        hyper = _put(hyper, name.split("."), value(type(hyper)(), name))
    return hyper


def value(hyper: Any, name: str) -> Any:
    """The value of a dotted name."""
    at: Any = hyper
    for part in name.split("."):
        at = getattr(at, part)
    return at


def said(value: Any) -> str:
    """As a config would have it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _put(hyper: Any, name: list[str], new: Any) -> Any:
    first, *rest = name
    changed = {first: _put(getattr(hyper, first), rest, new) if rest else new}
    return (msgspec.structs if isinstance(hyper, Struct) else dataclasses).replace(hyper, **changed)
