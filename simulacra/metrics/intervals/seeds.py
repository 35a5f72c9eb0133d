"""What independent trainings of two configs say: tests of a mean difference, Holm's correction over
several claims, the interquartile mean, the probability of improvement, and how many seeds more it
would take. The unit is a training: one number a seed.

Reference: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
arXiv 2108.13264; Holm, Scandinavian Journal of Statistics 6 (1979); Schuirmann, Journal of
Pharmacokinetics and Biopharmaceutics 15 (1987), for two one-sided tests.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, inf, isfinite, nan, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

LEAST = 3  # seeds, below which nothing follows
ALPHA = 0.05  # how often any claim of a sheet may be judged wrongly
TINY = 1e-9
Z = 1.959964  # standard deviations of a normal interval of 95 %


class Ends(NamedTuple):
    """A number and its interval, NaN where it is not known."""

    value: float
    low: float
    high: float


def too_few(count: int, what: str = "seed") -> str:
    """Why so few trainings decide nothing between two configs; nothing if they are enough."""
    if count >= LEAST:
        return ""
    one, _, rest = what.partition(" ")
    many = f"{one}{'s' * (count != 1)} {rest}".rstrip()
    return f"undecided: {count} {many}; {LEAST} are the least that decide"


# --- tests of a mean ------------------------------------------------------------------------------


def student(values: Sequence[float], level: float = ALPHA) -> Ends:
    """The mean of independent values and its two-sided Student interval of 1 - level; one value, or
    values of which one is no number, have no interval."""
    if not values or not all(map(isfinite, values)):
        return Ends(nan, nan, nan)
    mean = fmean(values)
    if len(values) == 1:
        return Ends(mean, nan, nan)
    reach = float(stdtrit(len(values) - 1, 1 - level / 2)) * stdev(values) / sqrt(len(values))
    return Ends(mean, mean - reach, mean + reach)


def above(values: Sequence[float], bound: float, *, or_at: bool = False) -> float:
    """The p of the one-sided t test against a true mean of at most `bound`:
    P(T_{n-1} >= (mean - bound) / (s / sqrt(n))). Values without spread, which are the same whatever
    the seed, decide alone: 0 beyond the bound (`or_at` it), 1 otherwise. At least 2 values."""
    mean, error = fmean(values), stdev(values) / sqrt(len(values))
    if error == 0:
        return 0.0 if mean > bound or (or_at and mean == bound) else 1.0
    return float(stdtr(len(values) - 1, (bound - mean) / error))


def below(values: Sequence[float], bound: float, *, or_at: bool = False) -> float:
    """The same against a true mean of at least `bound`."""
    return above([-value for value in values], -bound, or_at=or_at)


class Step(NamedTuple):
    """Where a claim stands among others."""

    adjusted: float  # Holm's p: decided if at most alpha
    level: float  # at which Holm's procedure tested the claim; 1 - level is that of its interval


def holm(ps: Sequence[float], alpha: float = ALPHA) -> list[Step]:
    """Holm's step-down over m tests, in the order given. With p_(1) <= ... <= p_(m),

        adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),

    and the i-th is tested at alpha / (m - i + 1), until one fails: all further ones stay where that
    one was. Whatever the tests have to do with each other, the chance that any true hypothesis is
    rejected is at most alpha."""
    order, m = sorted(range(len(ps)), key=lambda i: ps[i]), len(ps)
    steps, adjusted, level = [Step(1.0, alpha)] * m, 0.0, alpha
    for rank, i in enumerate(order):
        if adjusted <= alpha:  # none has failed so far
            level = alpha / (m - rank)
        adjusted = max(adjusted, min(1.0, (m - rank) * ps[i]))
        steps[i] = Step(adjusted, level)
    return steps


def needed(values: Sequence[float], far: float | None, level: float, most: int) -> float:
    """How many seeds in all it takes, at the mean and the spread of these, until the expected
    interval mean +- t_{n-1, 1 - level/2} s / sqrt(n) excludes 0, or, where no difference is
    expected, lies inside or outside of +-`far`: about the half of such sheets are decided then.
    Infinite if never, NaN for less than 2 values, `most` + 1 for more than `most`."""
    if len(values) < 2 or not all(map(isfinite, values)):
        return nan
    mean, spread = abs(fmean(values)), stdev(values)
    room = mean if far is None else abs(far - mean)
    if spread == 0:
        return LEAST if room or far is not None else inf
    if room == 0:
        return inf

    def decides(n: int) -> bool:
        return float(stdtrit(n - 1, 1 - level / 2)) * spread / sqrt(n) < room

    fewest = Z * spread / room  # its square is what a normal interval of 95 % would need
    if fewest > sqrt(most):
        return most + 1
    some = range(max(LEAST, ceil(fewest**2)), most + 1)
    return some.start + bisect_left(some, True, key=decides)


# --- robust summaries -----------------------------------------------------------------------------


def interquartile_mean(values: Sequence[float]) -> Ends:
    """The mean of the middle half: of n sorted values the first and the last g = floor(n / 4) are
    left out (arXiv 2108.13264, section 4.3: the 25 % trimmed mean); of less than 4 values it is
    their mean. Its 95 % interval is that of Tukey and McLaughlin (1963) in Yuen's form (1974),

        iqm +- t_{h-1} sqrt(SSD_w / (h (h - 1))),    h = n - 2g,

    SSD_w being the sum of squares about the mean of the values winsorised, each left out one
    replaced by the nearest that stays. A percentile bootstrap of so few values is too narrow."""
    if not values or not all(map(isfinite, values)):
        return Ends(nan, nan, nan)
    g, ordered = len(values) // 4, sorted(values)
    middle = ordered[g : len(ordered) - g]
    if len(middle) == 1:
        return Ends(middle[0], nan, nan)
    pulled = [middle[0]] * g + middle + [middle[-1]] * g
    squares, h = stdev(pulled) ** 2 * (len(pulled) - 1), len(middle)
    reach = float(stdtrit(h - 1, 1 - ALPHA / 2)) * sqrt(squares / (h * (h - 1)))
    return Ends(fmean(middle), fmean(middle) - reach, fmean(middle) + reach)


def improvement(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Ends:
    """How probable it is that a training of X gives more than one of Y (arXiv 2108.13264, eq. 1),
    over K pairs of cells with n trainings in each cell:

        P(X > Y) = 1/K sum_k 1/n^2 sum_i sum_j S(x_ki, y_kj),    S = 1, 1/2, 0 for >, =, <.

    Its 95 % interval holds all P with |estimate - P| <= z sqrt(V(P) / K) and the variance of Hanley
    and McNeil (1982), V = P (1 - P) (1 + (n - 1) ((1 - P) / (2 - P) + P / (1 + P))) / n^2, as
    Newcombe (2006) has it: a bootstrap says that three against three that do not overlap are
    certain. NaN without values."""
    if not pairs or not all(map(isfinite, (v for pair in pairs for side in pair for v in side))):
        return Ends(nan, nan, nan)
    n = len(pairs[0][0])
    if not n:
        return Ends(nan, nan, nan)
    share = fmean((a > b) + (a == b) / 2 for ours, theirs in pairs for a in ours for b in theirs)

    def outside(p: float) -> float:
        pull = (n - 1) * ((1 - p) / (2 - p) + p / (1 + p))
        return (share - p) ** 2 - Z**2 * p * (1 - p) * (1 + pull) / n**2 / len(pairs)

    # at 0 and 1, where V is 0, an estimate there has a root that is none of the interval's ends
    low = brentq(outside, 0.0, min(share, 1 - TINY)) if share > 0 else 0.0
    high = brentq(outside, max(share, TINY), 1.0) if share < 1 else 1.0
    return Ends(share, float(low), float(high))
