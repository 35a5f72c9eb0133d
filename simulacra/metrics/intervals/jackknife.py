"""Intervals over groups: frames of one track are no independent examples, the tracks are.

What is known of a group are sums over its examples, and a statistic is a function of such sums.
Each group is left out in turn (the jackknife), and the interval is Student's t with one degree of
freedom less than there are groups. A percentile bootstrap, which stood here before, covers .50 with
two groups and .88 with eight where 95 % is said; this one covers .94 to .96 from two normal groups
on (means, ratios, roots, decibels, R2), .82 to .90 where groups are log-normal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite, nan
from typing import NamedTuple

import torch
from scipy.stats import t
from torch import Tensor

from simulacra.core.errors import Mistake

FLAT = 1e-6  # share of all variance, up to which some of the groups have none

Statistic = Callable[[Tensor], Tensor]
"""Sums (..., S) to numbers (...)."""


@dataclass(frozen=True)
class Grouped:
    """A statistic of sums over G groups."""

    groups: tuple[str, ...]  # their names, in order
    sums: Tensor  # (G, S) float64
    statistic: Statistic


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval, NaN for a single group,
    and where leaving one out leaves no number."""

    value: float
    low: float
    high: float
    groups: int  # those that hold anything of the number


def grouped(rows: Tensor, groups: Sequence[str], statistic: Statistic) -> Grouped:
    """The statistic of examples (n, S), each of a group (n,); those with a NaN are left out."""
    if len(rows) != len(groups):
        raise ValueError(f"{len(rows)} examples of {len(groups)} groups")
    names = sorted(set(groups))
    place = {name: i for i, name in enumerate(names)}
    rows = rows.detach().double().cpu()
    known, into = (
        ~rows.isnan().any(1),
        torch.tensor([place[group] for group in groups], dtype=torch.long),
    )
    sums = rows.new_zeros(len(names), rows.shape[1]).index_add_(0, into[known], rows[known])
    return Grouped(tuple(names), sums, statistic)


def mean(values: Tensor, groups: Sequence[str]) -> Grouped:
    """The mean of values (n,)."""
    return ratio(values, torch.where(values.isnan(), torch.nan, 1.0), groups)


def ratio(over: Tensor, under: Tensor, groups: Sequence[str]) -> Grouped:
    """The sum of one number (n,) over that of another (n,)."""
    return grouped(torch.stack([over, under], 1), groups, quotient)


def root_ratio(over: Tensor, under: Tensor, groups: Sequence[str]) -> Grouped:
    """The root of such a ratio."""
    return grouped(torch.stack([over, under], 1), groups, lambda sums: quotient(sums).sqrt())


def quotient(sums: Tensor) -> Tensor:
    """The first over the second of sums (..., 2); NaN where both are 0."""
    return sums[..., 0] / sums[..., 1]


def decibels(squares: Tensor, groups: Sequence[str]) -> Grouped:
    """10 log10(4 / mean squared error) of the errors (n,) of pictures in [-1, 1]: unlike a mean of
    PSNRs it is not ruled by the few that are nearly exact."""
    return grouped(
        torch.stack([4 * torch.ones_like(squares), squares], 1),
        groups,
        lambda s: 10 * quotient(s).log10(),
    )


def explained(predicted: Tensor, true: Tensor, groups: Sequence[str]) -> Grouped:
    """R2 of predictions (n,): 1 less the squared error over that of the mean of the true numbers
    (n,), that of the groups that are left where one is left out; NaN where these hardly differ."""
    y = true.double() - true.double().nanmean()
    least = FLAT * float(y.square().nanmean())
    rows = torch.stack(
        [torch.ones_like(y), y, y.square(), (predicted.double() - true.double()).square()], 1
    )

    def r2(s: Tensor) -> Tensor:
        spread = s[..., 2] - s[..., 1].square() / s[..., 0]
        return 1 - s[..., 3] / spread.where(spread > least * s[..., 0], torch.nan)

    return grouped(rows, groups, r2)


def estimate(one: Grouped) -> Estimate:
    """The statistic over all groups, and its interval."""
    return jackknifed(one.sums, one.statistic)


def difference(one: Grouped, other: Grouped) -> Estimate:
    """one - other on the same groups; a Mistake if these differ."""
    if one.groups != other.groups:
        alone = sorted(set(one.groups) ^ set(other.groups))
        raise Mistake(
            f"two measures differ in {len(alone)} groups, {alone[0]} among them; "
            "allowed: the same tracks or episodes"
        )
    width = one.sums.shape[1]
    both = torch.cat([one.sums, other.sums], 1)
    return jackknifed(
        both, lambda sums: one.statistic(sums[..., :width]) - other.statistic(sums[..., width:])
    )


def jackknifed(sums: Tensor, statistic: Statistic) -> Estimate:
    """Of sums (G, S). Groups of which nothing is known (all sums 0) are none."""
    value, there = float(statistic(sums.sum(0))), sums[(sums != 0).any(1)]
    low, high = ends(value, statistic(left_out(there)))
    return Estimate(value, low, high, len(there))


def left_out(sums: Tensor) -> Tensor:
    """What all groups but one add up to, for each of (G, S);
    added anew, so that nothing rounds that a large one would hide."""
    others = 1 - torch.eye(len(sums), dtype=sums.dtype)
    return others @ sums


def ends(value: float, without: Tensor) -> tuple[float, float]:
    """The 95 % interval of a number by what it is without each of the groups (G,)."""
    groups = len(without)
    if groups < 2 or not isfinite(value) or not bool(without.isfinite().all()):
        return nan, nan
    reach = student(groups - 1) * variance(without) ** 0.5
    return value - reach, value + reach


@cache
def student(freedom: float) -> float:
    """How many standard errors a two-sided 95 % Student interval reaches."""
    return float(t.ppf(0.975, freedom))


def variance(without: Tensor) -> float:
    """The jackknife's estimate of a number's variance,
    by what it is without each of the groups (G,)."""
    groups = len(without)
    return (groups - 1) / groups * float((without - without.mean()).square().sum())
