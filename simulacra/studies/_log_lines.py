"""A run's log as lines that pages draw: of a long one the extremes of each of some hundred stretches,
and what happened in it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulacra.metrics.health.health import Settings, Spell, lost_modes, not_finite
from simulacra.metrics.health.verdict import STORIES
from simulacra.studies._shelf import Shelf, whole

POINTS = 1000  # of a line; a log of as many rows is drawn as it is
MOST = 100  # scalars of a log
LISTED = 100  # events of a run
HEALTH = "health.json"  # what the monitor said at the end of a training
NOT_SCALARS = {"step", "images", "seconds"}

Numbers = NDArray[np.float64]
Rows = list[dict[str, Any]]


def finite(value: object) -> bool:
    """Whether a value is a number that can be drawn."""
    try:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(float(value))
        )
    except OverflowError:
        return False


def lines(rows: Rows, clock: Rows) -> str:
    """The JSON of a log (rows of step, images, scalars) and its clock: how many rows it has, images
    a step, [steps, seconds], and of each scalar its [steps, values]."""
    rows = sorted(rows, key=lambda row: row["step"])
    names = list(dict.fromkeys(name for row in rows for name in row))
    steps = np.array([row["step"] for row in rows], dtype=np.float64)
    told = [
        f"{json.dumps(name[:200])}:{_pair(*thinned(*some))}"
        for name in [name for name in names if name not in NOT_SCALARS][:MOST]
        if len((some := _column(rows, steps, name))[0])
    ]
    timed = [row for row in clock if whole(row.get("step")) and finite(row.get("seconds"))]
    ticks = np.array([[row["step"], row["seconds"]] for row in timed], dtype=np.float64)
    ticks = ticks.reshape(-1, 2)[:: max(1, -(-len(ticks) // POINTS))]
    images = next(
        (row["images"] / row["step"] for row in rows if row["step"] and finite(row.get("images"))),
        0,
    )
    return (
        f'{{"rows":{len(rows)},"images":{images:.6g},"clock":{_pair(ticks[:, 0], ticks[:, 1])},'
        f'"lines":{{{",".join(told)}}}}}'
    )


def _column(rows: Rows, steps: Numbers, name: str) -> tuple[Numbers, Numbers]:
    """The steps and values (n,), (n,) at which a scalar is a finite number."""
    found = [row.get(name) for row in rows]
    if not all(type(value) is float for value in found):
        found = [float(value) if finite(value) else math.nan for value in found]  # type: ignore[arg-type]
    values = np.array(found, dtype=np.float64)
    known = np.isfinite(values)
    return steps[known], values[known]


def thinned(steps: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """The lowest and the highest value of each of POINTS / 2 equal stretches of a line
    (n,), (n,), in their order; a line of at most POINTS values as it is."""
    n = len(steps)
    if n <= POINTS:
        return steps, values
    edges = np.linspace(0, n, POINTS // 2 + 1).astype(int)
    kept = [
        a + int(place)
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        for place in sorted({values[a:b].argmin(), values[a:b].argmax()})
    ]
    chosen = np.array(sorted({0, *kept, n - 1}))
    return steps[chosen], values[chosen]


def _pair(a: Numbers, b: Numbers) -> str:
    return f"[[{_text(a, '%.15g')}],[{_text(b, '%.6g')}]]"


def _text(values: Numbers, form: str) -> str:
    return ",".join([form % value for value in values.tolist()])


# --- what happened --------------------------------------------------------------------------------


def events(shelf: Shelf, rows: Rows) -> list[dict[str, Any]]:
    """What the monitor said of a run, in the order of steps: {began, ended, name, says}. If it said
    nothing yet, what its looks at samples show; and when training went back."""
    found = [*_told(shelf, rows), *_turns(shelf)]
    return sorted(found, key=lambda one: one["began"])[:LISTED]


def _told(shelf: Shelf, rows: Rows) -> list[dict[str, Any]]:
    if shelf.there(HEALTH):
        told = shelf.parsed(HEALTH)
        return [_checked(one) for one in told["states"]]
    looks = [row for row in shelf.rows("monitor.jsonl") if whole(row.get("step"))]
    log = [row for row in shelf.rows("log.jsonl") if whole(row.get("step"))]
    spells: Sequence[Spell] = [*lost_modes(looks, Settings()), *not_finite(rows, Settings())]
    return [_checked(asdict(spell)) for spell in spells]


def _checked(one: dict[str, Any]) -> dict[str, Any]:
    """A state that can be drawn, in words."""
    if not whole(one["began"]) or not (one["ended"] is None or whole(one["ended"])):
        raise ValueError("a state has no steps")
    story = STORIES.get(str(one["name"]), (str(one["name"])[:50], "over", "not over"))
    return {
        "began": one["began"],
        "ended": one["ended"],
        "name": story[0],
        "over": story[1],
        "says": str(one["says"])[:300],
    }


def _turns(shelf: Shelf) -> list[dict[str, Any]]:
    """When training went back to an older checkpoint."""
    return [
        {
            "began": row["at"],
            "ended": row["at"],
            "name": "went back",
            "over": "",
            "says": f"to step {row['to']:,}: {str(row.get('why', ''))[:200]}",
        }
        for row in shelf.rows("rollbacks.jsonl")
        if whole(row.get("at")) and whole(row.get("to"))
    ]
