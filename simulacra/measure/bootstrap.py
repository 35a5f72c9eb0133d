"""Bootstrap intervals over groups: frames of one track are no independent examples, the tracks are.

What is known of a group are sums over its examples, and a statistic is a function of such sums. A resample of groups is then a
weighted sum, and two statistics of the same groups are compared resample by resample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import nan
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simulacra.errors import Mistake
from simulacra.seeds import fold

RESAMPLES = 10_000
FLAT = 1e-6  # share of all variance, up to which a resample has none

Statistic = Callable[[Tensor], Tensor]
"""Sums (..., S) to numbers (...)."""


@dataclass(frozen=True)
class Grouped:
    """A statistic of sums over G groups."""

    groups: tuple[str, ...]  # their names, in order
    sums: Tensor  # (G, S) float64
    statistic: Statistic


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval, NaN for a single group."""

    value: float
    low: float
    high: float
    groups: int


def grouped(rows: Tensor, groups: Sequence[str], statistic: Statistic) -> Grouped:
    """The statistic of examples (n, S), each of a group (n,); those with a NaN are left out."""
    if len(rows) != len(groups):
        raise ValueError(f"{len(rows)} examples of {len(groups)} groups")
    names = sorted(set(groups))
    place = {name: i for i, name in enumerate(names)}
    rows = rows.detach().double().cpu()
    known, into = ~rows.isnan().any(1), torch.tensor([place[group] for group in groups], dtype=torch.long)
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
    """10 log10(4 / mean squared error) of the errors (n,) of pictures in [-1, 1]: unlike a mean of PSNRs it is not ruled by the
    few that are nearly exact."""
    return grouped(torch.stack([4 * torch.ones_like(squares), squares], 1), groups, lambda s: 10 * quotient(s).log10())


def explained(predicted: Tensor, true: Tensor, groups: Sequence[str]) -> Grouped:
    """R2 of predictions (n,): 1 less the squared error over that of the mean of the true numbers (n,), that of the resample
    where groups are resampled; NaN where these hardly differ."""
    y = true.double() - true.double().nanmean()
    least = FLAT * float(y.square().nanmean())
    rows = torch.stack([torch.ones_like(y), y, y.square(), (predicted.double() - true.double()).square()], 1)

    def r2(s: Tensor) -> Tensor:
        spread = s[..., 2] - s[..., 1].square() / s[..., 0]
        return 1 - s[..., 3] / spread.where(spread > least * s[..., 0], torch.nan)

    return grouped(rows, groups, r2)


@cache
def weights(groups: int) -> Tensor:
    """How often each of the groups is in each resample, (RESAMPLES, groups) float64, the same at every call."""
    dice = np.random.Generator(np.random.PCG64(fold(0, "bootstrap", groups)))
    return torch.from_numpy(dice.multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)).double()


def estimate(one: Grouped) -> Estimate:
    """The statistic over all groups, and its interval."""
    return _estimate(len(one.groups), lambda w: one.statistic(w @ one.sums))


def difference(one: Grouped, other: Grouped) -> Estimate:
    """one - other on the same groups; a Mistake if these differ."""
    if one.groups != other.groups:
        alone = sorted(set(one.groups) ^ set(other.groups))
        raise Mistake(
            f"two measures differ in {len(alone)} groups, {alone[0]} among them; allowed: the same tracks or episodes"
        )
    return _estimate(len(one.groups), lambda w: one.statistic(w @ one.sums) - other.statistic(w @ other.sums))


def _estimate(groups: int, value: Statistic) -> Estimate:
    """Of a function of weights (..., groups)."""
    found = float(value(torch.ones(groups, dtype=torch.float64)))
    if groups < 2:
        return Estimate(found, nan, nan, groups)
    drawn = value(weights(groups))
    drawn = drawn[drawn.isfinite()]  # a resample may lack what is rare
    if not len(drawn):
        return Estimate(found, nan, nan, groups)
    low, high = np.quantile(drawn.numpy(), [0.025, 0.975]).tolist()
    return Estimate(found, low, high, groups)
