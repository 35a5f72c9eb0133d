"""A run's log as lines that pages draw: of a long one the extremes of some hundred stretches, and
what happened in it."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import msgspec
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
# what ends a line in older scripts, and what begins a tag
ESCAPED = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}

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
    a step, [steps, seconds], the steps that most scalars have, and of each scalar its
    [steps, values], steps null where they are those."""
    rows = sorted(rows, key=itemgetter("step"))
    names: dict[str, Any] = {}
    for row in rows:
        names.update(row)
    steps = np.array([row["step"] for row in rows], dtype=np.float64)
    told, common = {}, thinned(steps, steps)[0].tolist()
    for name in [name for name in names if name not in NOT_SCALARS][:MOST]:
        x, y = thinned(*_known(steps, _numbers(rows, name)))
        if len(x):
            own = x.tolist()
            told[name[:200]] = [None if own == common else own, _short(y)]
    ticks = _known(_numbers(clock, "step"), _numbers(clock, "seconds"))
    each = max(1, -(-len(ticks[0]) // POINTS))
    images = next(
        (row["images"] / row["step"] for row in rows if row["step"] and finite(row.get("images"))),
        0,
    )
    log = {
        "rows": len(rows),
        "images": images,
        "clock": [one[::each].tolist() for one in ticks],
        "steps": common,
        "lines": told,
    }
    return msgspec.json.encode(log).decode().translate(ESCAPED)


def _numbers(rows: Rows, name: str) -> Numbers:
    """A scalar of each row (n,), nan where it is no finite number."""
    found = [row.get(name) for row in rows]
    if not {type(value) for value in found} <= {float, int}:
        found = [value if finite(value) else None for value in found]
    try:
        values = np.array(found, dtype=np.float64)
    except OverflowError:
        values = np.array([value if finite(value) else None for value in found], dtype=np.float64)
    return np.where(np.isfinite(values), values, math.nan)


def _known(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    both = np.isfinite(x) & np.isfinite(y)
    return x[both], y[both]


def _short(values: Numbers) -> list[float]:
    """Values (n,) with six digits that matter."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        size = 10.0 ** (5 - np.floor(np.log10(np.abs(values))))
        short = np.round(values * size) / size
    return np.where(np.isfinite(short), short, values).tolist()


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
