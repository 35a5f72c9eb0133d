"""What a few independent repeats say about a mean."""

from collections.abc import Sequence
from math import isfinite, nan
from statistics import fmean, variance

from simulacra.metrics.intervals.jackknife import student


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and both ends of its two-sided 95 % Student t interval over independent repeats; one
    repeat has no interval (nan), and values of which one is no number have neither."""
    return combined(values, 0.0, 1)


def combined(
    values: Sequence[float],
    further: float,  # variance that is common to all repeats, and so in none of their differences
    freedom: int,  # degrees of freedom with which it was estimated
) -> tuple[float, float, float]:
    """The same where the repeats share something random:
    variances add up, degrees of freedom by Welch and Satterthwaite."""
    if not values:
        raise ValueError("interval over 0 values; at least 1 is needed")
    if not all(map(isfinite, values)):
        return nan, nan, nan
    mean = fmean(values)
    if len(values) == 1 or not isfinite(further):
        return mean, nan, nan
    own = variance(values) / len(values)
    below = own**2 / (len(values) - 1) + further**2 / freedom
    reach = student((own + further) ** 2 / below) * (own + further) ** 0.5 if below else 0.0
    return mean, mean - reach, mean + reach
