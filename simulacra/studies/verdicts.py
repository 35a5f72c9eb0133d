"""Verdicts: what the seeds of a sheet say of its claims, all claims together.

The unit is a seed: within each, the differences of all pairs of cells that a claim compares are
averaged, and d_1 ... d_n are what n seeds give. The p of a claim is the smallest level at which its
two-sided Student interval of 1 - p decides it:

    first is higher, lower    p = 2 min(P(T >= t), P(T <= t)),    t = mean / (s / sqrt(n));
    no difference within w    for it, the larger p of the two one-sided t tests of mean > -w and of
                              mean < w, twice; against it, the smaller p of those of mean > w and of
                              mean < -w, twice.

(Two one-sided tests are often held to 5 % each. Here each is held to half of that, so that the
verdict is what the interval shows.) Holm's correction over all claims of the sheet follows, those
not measured yet included: a claim whose adjusted p is at most 0.05 is supported or refuted, and the
chance that any claim of a sheet is judged wrongly is at most 5 %. All others are undecided, and so
is what fewer than 3 seeds say.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from simulacra.metrics.intervals import seeds
from simulacra.metrics.intervals.seeds import ALPHA, LEAST, Ends
from simulacra.studies.sheet import Cell, Claim, Sheet, Values, pairs

Word = Literal["supported", "refuted", "undecided"]
Pairs = Sequence[tuple[Sequence[float], Sequence[float]]]
"""Of each pair of cells the values of both, seed by seed."""
MOST = 1000  # seeds, beyond which it is only said that it takes more


class Verdict(NamedTuple):
    """What the seeds say of a claim."""

    word: Word
    mean: float  # difference, first minus second
    low: float  # ends of its own 95 % interval
    high: float
    n: int  # seeds
    p: float = math.nan  # of this claim alone; NaN where there are too few seeds
    adjusted: float = math.nan  # by Holm, over all claims of the sheet
    level: float = ALPHA  # 1 - level is that of the interval which decides
    decides_low: float = math.nan  # ends of that interval
    decides_high: float = math.nan
    improvement: Ends = Ends(math.nan, math.nan, math.nan)  # P(first > second)
    # further seeds that it would take; 0 if decided, MOST + 1 for more, inf never, NaN not known
    more: float = math.nan
    why: str = ""  # undecided


def verdicts(sheet: Sheet, found: Values) -> list[Verdict]:
    """The verdict of each claim of a sheet, in order."""
    compared = [_compared(claim, sheet, found) for claim in sheet.claim]
    words = decided(sheet.claim, [differences(one) for one in compared])
    return [
        verdict._replace(improvement=seeds.improvement(one))
        for verdict, one in zip(words, compared, strict=True)
    ]


def decided(claims: Sequence[Claim], found: Sequence[Sequence[float]]) -> list[Verdict]:
    """The verdicts of claims that are judged together, by the differences that seeds gave."""
    both = [p_values(claim, values) for claim, values in zip(claims, found, strict=True)]
    # a claim of which nothing is known counts as one that nothing speaks for
    known = [1.0 if math.isnan(min(one)) else min(one) for one in both]
    steps = seeds.holm(known)
    return [
        _verdict(claim, values, one, step)
        for claim, values, one, step in zip(claims, found, both, steps, strict=True)
    ]


def p_values(claim: Claim, values: Sequence[float]) -> tuple[float, float]:
    """The p with which the differences speak for a claim, and that against it; NaN where there are
    fewer than LEAST of them, or one is no number."""
    if len(values) < LEAST or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    if claim.expect == "no difference":
        far = claim.within or 0.0
        inside = max(seeds.above(values, -far, or_at=True), seeds.below(values, far, or_at=True))
        outside = min(seeds.above(values, far), seeds.below(values, -far))
        return min(1.0, 2 * inside), min(1.0, 2 * outside)
    up, down = min(1.0, 2 * seeds.above(values, 0.0)), min(1.0, 2 * seeds.below(values, 0.0))
    return (up, down) if claim.expect == "first is higher" else (down, up)


def _verdict(
    claim: Claim, values: Sequence[float], both: tuple[float, float], step: seeds.Step
) -> Verdict:
    held, broken = both
    word: Word = "undecided"
    if step.adjusted <= ALPHA:
        word = "supported" if held <= broken else "refuted"
    mean, low, high = seeds.student(values)
    _, lowest, highest = seeds.student(values, step.level)
    n = len(values)
    far = (claim.within or 0.0) if claim.expect == "no difference" else None
    more = 0.0 if word != "undecided" else seeds.needed(values, far, step.level, MOST)
    if word == "undecided" and n < more <= MOST:
        more -= n
    elif word == "undecided" and more <= MOST:  # as when other claims came to stand before it
        more = 1.0
    adjusted = math.nan if math.isnan(held) else step.adjusted
    told = Verdict(word, mean, low, high, n, min(both), adjusted, step.level)
    told = told._replace(decides_low=lowest, decides_high=highest, more=more)
    return told if word != "undecided" else told._replace(why=_why(told))


def _why(found: Verdict) -> str:
    """Why a claim is undecided."""
    if found.n == 0:
        return "not measured"
    if found.n < LEAST:
        return seeds.too_few(found.n).removeprefix("undecided: ")
    if math.isnan(found.p):
        return "a value is no number"
    if found.p <= ALPHA:
        return "alone it would be decided; with Holm's correction over all claims it is not"
    return "the interval over seeds leaves both open"


def differences(compared: Pairs) -> list[float]:
    """Of each seed, first minus second, the mean over the pairs of cells."""
    each = [[a - b for a, b in zip(*pair, strict=True)] for pair in compared]
    return [math.fsum(of_seed) / len(of_seed) for of_seed in zip(*each, strict=True)]


def _compared(claim: Claim, sheet: Sheet, found: Values) -> Pairs:
    """Of each pair of cells the values of both, by those seeds that have all that the claim
    compares; nothing, where no seed has."""
    cells = list(pairs(claim, sheet))
    rows = [
        [_value(found, cell, seed, claim) for pair in cells for cell in pair]
        for seed in sheet.seeds
    ]
    whole = [[value for value in row if value is not None] for row in rows]
    columns = list(zip(*(row for row in whole if len(row) == 2 * len(cells)), strict=True))
    return list(zip(columns[::2], columns[1::2], strict=True))


def _value(found: Values, cell: Cell, seed: int, claim: Claim) -> float | None:
    row = found.get((str(cell), seed), {}).get(claim.metric, {})
    value = row.get("value")
    return None if value is None else float(value)
