"""The health of an adversarial run: a pure function of its log's rows, so it needs no checkpoint
and survives a resume.

Each detector reads the scalars it finds and only rows up to the one it judges: what was said while
training is what is said at the end. A state begins when the median over a window crosses one line
and ends when it crosses another; both are dated at the first row of that window beyond the line.
Windows are in steps; where a log is too sparse to put enough rows into one, it grows.

Reference: EBGAN, arXiv 1609.03126 (theorems 1 and 2); GAN, arXiv 1406.2661; label smoothing, arXiv
1606.03498; overfitting of D, arXiv 2006.06676, eq. 1. The thresholds are ours.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulacra.metrics.health.equilibrium import number
from simulacra.metrics.images import modes

Rows = Sequence[Mapping[str, Any]]
"""Logged rows in order of step: {"step": int, name: number, ...}; any scalar may be absent from any
row. What was seen of the samples of a checkpoint (measure/modes.py) is a row of its own."""
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Lines = tuple[float, float]
"""Where a state begins and where it ends; (0.4, 0.6) is a state of low values, (30, 10) one of high
values."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a run; `says` tells a person what."""

    step: int
    name: str
    says: str


@dataclass(frozen=True)
class Settings:
    """What the detectors compare with; windows in steps."""

    # of each loss; d_won of logits needs loss_D's
    equilibrium: Mapping[str, float] = field(default_factory=dict)
    # the losses when D has won; 0 where not given
    won: Mapping[str, float] = field(default_factory=dict)
    steady: int = 200  # a state must hold for this long
    burst: int = 50  # the same for divergence
    relief: int = 100  # and be gone for this long
    slow: int = 1000  # flat_energy, identity_ae and overfit_d compare medians over this
    before: int = 1000  # the usual level is the median over this; half of it must be there
    least: int = 5  # rows in any window
    least_before: int = 10  # rows for a usual level
    warm_up: int = 500  # D may be far ahead before this
    warm_up_modes: int = 2000  # samples that never differed may be alike before this
    fallen: Lines = (0.4, 0.6)  # E_real over its usual level
    pinned: float = 0.05  # standard deviation of E_fake over its mean
    apart: Lines = (2.5, 2.0)  # E_fake over E_real
    # where loss_D stands between its D-won value (0) and its equilibrium (1)
    sure: Lines = (0.1, 0.25)
    alike: Lines = (0.7, 0.5)  # 1 - diversity; or the way of pull_away from that of reals to 1
    flat: Lines = (0.05, 0.15)  # |E_real - E_fake| over their mean
    copied: Lines = (1.1, 1.3)  # E_noise over E_real
    # how far held-out reals lie from training reals on the way to fakes
    memorised: Lines = (0.5, 0.3)
    # |loss| or gradient norm over its usual level, which counts as at least 1
    grown: Lines = (30.0, 10.0)


@dataclass(frozen=True)
class Spell:
    """A state of a run: when it began, and when it ended (None: not yet), in steps."""

    name: str
    began: int
    ended: int | None
    says: str


@dataclass(frozen=True)
class Watch:
    """A signal (rows,) and the lines that begin and end a state."""

    steps: Numbers
    values: Numbers
    lines: Lines
    window: int
    allowed: Flags  # rows at which the state may be found to have begun
    freed: Flags | None = None  # rows that end it, whatever the value
    # None: lines are absolute; else multiples of the usual level, at least this
    floor: float | None = None


@dataclass(frozen=True)
class Stretch:
    """A state of a Watch, in its rows; level and usual level are those at the row
    where it was found."""

    began: int
    seen: int
    ended: int | None
    level: float
    usual: float


# --- rows to signals ------------------------------------------------------------------------------


def columns(rows: Rows, *names: str, **absent: float) -> Numbers:
    """Steps and scalars of the rows where all `names` are finite; a scalar of `absent` is the last
    one logged, or the value given where there was none yet. -> (1 + scalars, rows)."""
    every = ["step", *names, *absent]
    table = (
        np.array([[number(row.get(name)) for name in every] for row in rows])
        .reshape(-1, len(every))
        .T
    )
    known = np.isfinite(table)
    for i, value in enumerate(absent.values(), 1 + len(names)):
        latest = np.maximum.accumulate(np.where(known[i], np.arange(len(rows)), -1))
        table[i] = np.where(latest < 0, value, table[i, latest.clip(0)] if len(rows) else 0)
    return table[:, known[: 1 + len(names)].all(0)]


def opening(steps: Numbers, last: NDArray[np.int64], span: int, least: int) -> NDArray[np.int64]:
    """The first row of the windows that end with rows `last`, reach back `span` steps and hold at
    least `least` rows; negative where there are too few."""
    return np.minimum(np.searchsorted(steps, steps[last.clip(0)] - span), last - least + 1)


def running_median(values: Numbers, first: NDArray[np.int64], last: NDArray[np.int64]) -> Numbers:
    """The median of values[first : last + 1] for each pair, nan where empty;
    neither end may ever go back."""
    items, out, window, a, b = values.tolist(), [], list[float](), 0, 0
    for start, stop in zip(first.clip(0).tolist(), (last + 1).clip(0).tolist(), strict=True):
        for item in items[b:stop]:
            insort(window, item)
        for item in items[a:start]:
            del window[bisect_left(window, item)]
        a, b, n = start, stop, len(window)
        out.append((window[(n - 1) // 2] + window[n // 2]) / 2 if n else math.nan)
    return np.array(out)


def smooth(steps: Numbers, values: Numbers, span: int, s: Settings) -> Numbers:
    """The median over the last `span` steps at each row, over fewer where the log begins."""
    rows = np.arange(len(steps))
    return running_median(values, opening(steps, rows, span, s.least), rows)


def still(steps: Numbers, values: Numbers, s: Settings) -> Flags:
    """Rows over whose window the standard deviation is below `pinned` of the mean."""
    first = opening(steps, rows := np.arange(len(steps)), s.steady, s.least).clip(0)
    pairs = np.stack([first, rows + 1], 1).ravel()

    def mean(v: Numbers) -> Numbers:
        return np.add.reduceat(np.append(v, 0.0), pairs)[::2] / (rows + 1 - first)

    with np.errstate(over="ignore", invalid="ignore"):
        return mean(values**2) - mean(values) ** 2 < (s.pinned * mean(values)) ** 2


# --- signals to states ----------------------------------------------------------------------------


def begun(w: Watch, value: Any, usual: float) -> Any:
    """Whether values are on the far side of the line that begins the state."""
    return value < w.lines[0] * usual if w.lines[0] < w.lines[1] else value > w.lines[0] * usual


def over(w: Watch, value: Any, usual: float) -> Any:
    """Whether values are on the near side of the line that ends the state."""
    return value > w.lines[1] * usual if w.lines[0] < w.lines[1] else value < w.lines[1] * usual


def first(flags: Flags, start: int) -> int:
    """The first true row, counted from `start`; the last row if none is."""
    return start + (int(flags.argmax()) if flags.any() else len(flags) - 1)


def usual_level(
    w: Watch, start: NDArray[np.int64], s: Settings
) -> tuple[Numbers, NDArray[np.int64]]:
    """What the lines are multiples of at each row, nan where unknown,
    and the first row it depends on."""
    if w.floor is None:
        return np.ones(len(start)), np.zeros_like(start)
    since = opening(w.steps, start - 1, s.before, s.least_before)
    span = w.steps[(start - 1).clip(0)] - w.steps[since.clip(0)]
    usual = np.maximum(running_median(w.values, since, start - 1), w.floor)
    return np.where((since >= 0) & (span >= s.before / 2), usual, math.nan), since


def stretches(w: Watch, s: Settings) -> list[Stretch]:
    """All states of a signal. The usual level is that before the state,
    and stays so until a new one is free of it."""
    rows = np.arange(len(w.steps))
    start, calm = (
        opening(w.steps, rows, w.window, s.least),
        opening(w.steps, rows, s.relief, s.least),
    )
    level, relief = running_median(w.values, start, rows), running_median(w.values, calm, rows)
    levels, since = usual_level(w, start, s)
    found: list[Stretch] = []
    usual, free = math.nan, 0
    for i in rows.tolist():
        if not found or found[-1].ended is not None:
            usual = levels[i] if since[i] >= free else usual
            if start[i] >= free and w.allowed[i] and begun(w, level[i], usual):
                began = first(begun(w, w.values[start[i] : i + 1], usual), start[i])
                found.append(Stretch(began, i, None, level[i], usual))
        elif calm[i] > found[-1].began and (
            over(w, relief[i], usual) or (w.freed is not None and w.freed[i])
        ):
            free = first(over(w, w.values[calm[i] : i + 1], usual), calm[i])
            found[-1] = replace(found[-1], ended=free)
    return found


def spells(name: str, w: Watch, s: Settings, says: Callable[[Stretch], str]) -> Iterator[Spell]:
    """The states of a signal in steps and words."""
    for x in stretches(w, s):
        ended = None if x.ended is None else int(w.steps[x.ended])
        yield Spell(name, int(w.steps[x.began]), ended, says(x))


# --- the detectors --------------------------------------------------------------------------------


def d_won_by_energy(rows: Rows, s: Settings) -> Iterator[Spell]:
    """E_real falls far below its usual level while E_fake stands still far above it."""
    # an auto-encoder that starts to learn has won nothing
    rows = [row for row in rows if row["step"] >= s.warm_up]
    steps, real, fake = columns(rows, "E_real", "E_fake")
    ratio = smooth(steps, fake, s.relief, s) / np.maximum(smooth(steps, real, s.relief, s), 1e-12)
    allowed = still(steps, fake, s) & (ratio > s.apart[0])

    def says(x: Stretch) -> str:
        fall = f"E_real fell to {percent(x.level / x.usual)} of its usual {x.usual:.3g}"
        return f"the discriminator won: {fall} while E_fake stood still at {fake[x.seen]:.3g}"

    w = Watch(steps, real, s.fallen, s.steady, allowed, freed=ratio < s.apart[1], floor=0.0)
    yield from spells("d_won", w, s, says)


def d_won_by_loss(rows: Rows, s: Settings) -> Iterator[Spell]:
    """loss_D falls nearly to its D-won value;
    for rows without energies, and only where the equilibrium is given."""
    goal, won = s.equilibrium.get("loss_D", 0.0), s.won.get("loss_D", 0.0)
    if goal == won:
        return
    steps, loss = columns([row for row in rows if "E_real" not in row], "loss_D")

    def says(x: Stretch) -> str:
        level = won + x.level * (goal - won)
        return f"the discriminator won: loss_D fell to {level:.3g}, far below {goal:.3g}"

    w = Watch(steps, (loss - won) / (goal - won), s.sure, s.steady, steps >= s.warm_up + s.steady)
    yield from spells("d_won", w, s, says)


def mode_loss(rows: Rows, s: Settings) -> Iterator[Spell]:
    """Samples are close together as pictures, or as codes far closer than those of reals."""
    rows = [row for row in rows if "diversity" in row or "pull_away" in row]
    alone = 0.74  # for pull_away_real where it is not logged: then the line is at 0.95
    steps, diversity, crowd, usual = columns(
        rows, diversity=1.0, pull_away=0.0, pull_away_real=alone
    )
    # at least 0.3: reals may be crowded themselves
    crowding = (crowd - usual) / np.maximum(1 - usual, 0.3)

    def says(x: Stretch) -> str:
        if 1 - diversity[x.seen] > crowding[x.seen]:
            return f"samples are alike: their diversity is {diversity[x.seen]:.2f} of the data's"
        return f"codes of samples are alike: pull_away is {crowd[x.seen]:.2f}"

    score = np.maximum(1 - diversity, crowding)
    differed = np.logical_or.accumulate(smooth(steps, score, s.steady, s) < s.alike[1])
    allowed = steps >= np.where(differed, s.warm_up, s.warm_up_modes) + s.steady
    w = Watch(steps, score, s.alike, s.steady, allowed)
    yield from spells("mode_loss", w, s, says)


def lost_modes(rows: Rows, s: Settings) -> Iterator[Spell]:
    """Samples of a checkpoint repeat each other, show few classes, or are like few of the reals
    (measure/modes.py): each look counts by itself. Samples that never were otherwise may be so for
    a while."""
    spell, differed = None, False
    for row in rows:
        if "distinct" not in row:
            continue
        step, why = int(row["step"]), modes.collapse(row)
        differed = differed or not why
        if why and spell is None and (differed or step >= s.warm_up_modes):
            spell = Spell("collapse", step, None, why)
        elif spell and not why:
            yield replace(spell, ended=step)
            spell = None
    if spell:
        yield spell


def flat_energy(rows: Rows, s: Settings) -> Iterator[Spell]:
    """E_real equals E_fake, both above the error
    of always answering the mean picture (theorem 2's flat surface)."""
    steps, *energies = columns(rows, "E_real", "E_fake", "predict_mean")
    real, fake, mean = (smooth(steps, v, s.slow, s) for v in energies)
    gap, lower = 2 * np.abs(real - fake) / np.maximum(real + fake, 1e-12), np.minimum(real, fake)

    def says(x: Stretch) -> str:
        poor = f"above the {mean[x.seen]:.3g} of always answering the mean picture"
        return (
            f"the energy is flat: E_real and E_fake differ by {percent(gap[x.seen])}, both {poor}"
        )

    allowed = (steps >= s.warm_up + s.steady) & (lower > mean)
    w = Watch(steps, gap, s.flat, s.steady, allowed, freed=lower < 0.9 * mean)
    yield from spells("flat_energy", w, s, says)


def identity_ae(rows: Rows, s: Settings) -> Iterator[Spell]:
    """Noise is rebuilt as well as reals, and reals better than
    by the mean picture (where that is logged)."""
    steps, *energies = columns(rows, "E_real", "E_noise", predict_mean=1e300)
    real, static, mean = (smooth(steps, v, s.slow, s) for v in energies)

    def says(x: Stretch) -> str:
        return (
            f"the auto-encoder copies anything: noise has {x.level:.2f} times the energy of reals"
        )

    allowed = (steps >= s.warm_up + s.steady) & (real < mean)
    ratio = static / np.maximum(real, 1e-12)
    w = Watch(steps, ratio, s.copied, s.steady, allowed, freed=real > 1.1 * mean)
    yield from spells("identity_ae", w, s, says)


def overfit_d(rows: Rows, s: Settings) -> Iterator[Spell]:
    """Held-out reals are scored away from training reals,
    toward fakes (arXiv 2006.06676, eq. 1)."""

    def says(x: Stretch) -> str:
        way = f"held-out ones lie {percent(x.level)} of the way to fakes"
        return f"the discriminator knows its training pictures by heart: {way}"

    for kind, sign in ("D", 1), ("E", -1):
        steps, real, held_out, fake = columns(
            rows, f"{kind}_real", f"{kind}_held_out", f"{kind}_fake"
        )
        lead, slip = (smooth(steps, sign * (real - v), s.slow, s) for v in (fake, held_out))
        least = 0.5 if kind == "D" else np.maximum(0.1 * smooth(steps, real, s.slow, s), 1e-12)
        w = Watch(
            steps,
            slip / np.maximum(lead, least),
            s.memorised,
            s.steady,
            steps >= s.warm_up + s.steady,
        )
        yield from spells("overfit_d", w, s, says)


def diverged(rows: Rows, s: Settings) -> Iterator[Spell]:
    """A loss or a slope of D grows by orders of magnitude."""
    for name in "loss_D", "loss_G", "grad_real", "grad_fake":
        steps, value = columns(rows, name)
        w = Watch(
            steps, np.abs(value), s.grown, s.burst, np.ones(len(steps), dtype=bool), floor=1.0
        )
        yield from spells("diverged", w, s, partial(explosion, name))


def explosion(name: str, x: Stretch) -> str:
    """Words for a scalar that diverged."""
    return f"{name} grew to {x.level:.3g}, {x.level / x.usual:,.0f} times its usual size"


def not_finite(rows: Rows, s: Settings) -> Iterator[Spell]:
    """Scalars are nan or infinite, until each was logged as a number again."""
    bad: set[str] = set()
    spell = None
    for row in rows:
        now = {
            name
            for name, value in row.items()
            if isinstance(value, float) and not math.isfinite(value)
        }
        bad = (bad - row.keys()) | now
        if bad and spell is None:
            spell = Spell("nan", int(row["step"]), None, f"not finite: {', '.join(sorted(bad))}")
        elif spell and not bad:
            yield replace(spell, ended=int(row["step"]))
            spell = None
    if spell:
        yield spell


DETECTORS = (
    *(
        d_won_by_energy,
        d_won_by_loss,
        mode_loss,
        lost_modes,
        flat_energy,
        identity_ae,
        overfit_d,
        diverged,
        not_finite,
    ),
)
ENDINGS = {
    "d_won": ("recovered", "the discriminator lost its lead"),
    "mode_loss": ("mode_recovered", "samples differ again"),
    "collapse": ("collapse_over", "samples show again what the data show"),
}
COLLAPSES = "d_won", "mode_loss", "collapse", "diverged", "nan"


def states(rows: Rows, settings: Settings) -> list[Spell]:
    """All states of a run in the order in which they began."""
    found = [spell for detector in DETECTORS for spell in detector(rows, settings)]
    return sorted(found, key=lambda spell: spell.began)


def events(rows: Rows, settings: Settings = Settings()) -> list[Event]:
    """What happened, in order of step. More rows add events, they neither move nor remove one."""
    found = []
    for spell in states(rows, settings):
        found.append(Event(spell.began, spell.name, spell.says))
        if spell.ended is not None and spell.name in ENDINGS:
            name, says = ENDINGS[spell.name]
            found.append(
                Event(spell.ended, name, f"{says} after {spell.ended - spell.began:,} steps")
            )
    return sorted(found, key=lambda event: event.step)


def healthy(rows: Rows, settings: Settings = Settings(), step: int | None = None) -> bool:
    """Whether neither player is beaten, no modes are lost and nothing has exploded at the last row;
    or at an earlier step, with the hindsight of all rows: a collapse is found some hundred steps
    after it began."""
    at = step if step is not None else rows[-1]["step"] if rows else 0
    ill = [
        spell for spell in states(rows, settings) if spell.name in COLLAPSES and spell.began <= at
    ]
    return all(spell.ended is not None and spell.ended <= at for spell in ill)


def percent(share: float) -> str:
    """0.27 as "27 %"."""
    return f"{100 * share:.0f} %"
