"""What a few independent repeats say about a mean."""

from collections.abc import Sequence
from math import isfinite, nan
from statistics import fmean, stdev

from scipy.stats import t


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and both ends of its two-sided 95 % Student t interval over independent repeats; one repeat has no interval
    (nan), and values of which one is no number have neither."""
    if not values:
        raise ValueError("interval over 0 values; at least 1 is needed")
    if not all(map(isfinite, values)):
        return nan, nan, nan
    mean = fmean(values)
    if len(values) == 1:
        return mean, nan, nan
    reach = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return mean, mean - reach, mean + reach
