"""Intervals that are said to be of 95 % hold the truth 95 times in a hundred."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.metrics.intervals import jackknife
from simulacra.metrics.intervals.jackknife import Estimate, Grouped

TRIALS = 4000


def sums(*columns: np.ndarray) -> Tensor:
    """(TRIALS, G, S) of columns (TRIALS, G)."""
    return torch.from_numpy(
        np.stack([np.broadcast_to(column, columns[0].shape) for column in columns], -1)
    )


def share(of: Tensor, statistic: Callable[[Tensor], Tensor], truth: float) -> float:
    """How many of the intervals hold the truth."""
    found = [jackknife.jackknifed(one, statistic) for one in of]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def ratio(s: Tensor) -> Tensor:
    return jackknife.quotient(s)


@pytest.mark.parametrize("groups", [2, 3, 5, 10, 20, 50])
def test_a_mean_over_few_normal_groups(groups: int):
    values = np.random.default_rng(groups).normal(3, 2, (TRIALS, groups))
    assert 0.94 <= share(sums(values, np.ones(1)), ratio, 3) <= 0.96


@pytest.mark.parametrize("groups", [5, 10, 20, 50])
def test_ratios_and_roots_over_few_normal_groups(groups: int):
    dice = np.random.default_rng(groups)
    both = sums(dice.normal(10, 1, (TRIALS, groups)), dice.normal(5, 0.5, (TRIALS, groups)))
    assert 0.94 <= share(both, ratio, 2) <= 0.96
    assert 0.94 <= share(both, lambda s: ratio(s).sqrt(), 2**0.5) <= 0.96


@pytest.mark.parametrize("groups", [5, 10, 20, 50])
def test_decibels_and_explained_shares_over_few_groups(groups: int):
    dice = np.random.default_rng(groups)
    squares = dice.normal(0.1, 0.02, (TRIALS, groups))
    decibels = jackknife.decibels(torch.zeros(0), []).statistic
    assert (
        0.94
        <= share(sums(np.full(1, 4.0) + 0 * squares, squares), decibels, 10 * math.log10(40))
        <= 0.96
    )
    y = dice.normal(0, 0.5, (TRIALS, groups, 1)) + dice.normal(0, 1, (TRIALS, groups, 20))
    off = dice.normal(0, 0.5, y.shape)
    rows = sums(20 + 0 * y.sum(2), y.sum(2), (y**2).sum(2), (off**2).sum(2))
    assert (
        0.94
        <= share(
            rows,
            jackknife.explained(torch.ones(2), torch.tensor([0.0, 1.0]), ["a", "b"]).statistic,
            0.8,
        )
        <= 0.96
    )


@pytest.mark.parametrize("groups", [2, 5, 20])
def test_a_difference_of_means_over_few_normal_groups(groups: int):
    dice = np.random.default_rng(groups)
    common, own = 10 * dice.normal(size=(TRIALS, groups)), dice.normal(1, 1, (TRIALS, groups))
    names, ones = tuple(map(str, range(groups))), torch.ones(groups, dtype=torch.float64)

    def apart(one: np.ndarray, other: np.ndarray) -> Estimate:
        first, second = (torch.stack([torch.from_numpy(x), ones], 1) for x in (one, other))
        return jackknife.difference(
            *(Grouped(names, x, jackknife.quotient) for x in (first, second))
        )

    found = [apart(one + other, one) for one, other in zip(common, own, strict=True)]
    assert 0.94 <= np.mean([one.low <= 1 <= one.high for one in found]) <= 0.96


@pytest.mark.parametrize("groups", [8, 50])
def test_skewed_groups_are_covered_less_often_than_said_and_no_less_than_documented(groups: int):
    values = np.exp(np.random.default_rng(groups).normal(0, 1, (TRIALS, groups)))
    assert 0.80 <= share(sums(values, np.ones(1)), ratio, math.exp(0.5)) <= 0.92


def test_two_groups_by_hand():
    found = jackknife.estimate(jackknife.mean(torch.tensor([1.0, 3.0]), ["a", "b"]))
    # t of 1 degree of freedom, error 1
    assert found == pytest.approx((2, 2 - 12.7062, 2 + 12.7062, 2), rel=1e-5)


def test_groups_without_the_number_are_none():
    values = torch.tensor([1.0, 3.0, torch.nan, torch.nan])
    found = jackknife.estimate(jackknife.mean(values, ["a", "b", "c", "d"]))
    assert found == jackknife.estimate(jackknife.mean(values[:2], ["a", "b"])) and found.groups == 2
    alone = jackknife.estimate(jackknife.mean(torch.tensor([1.0, torch.nan]), ["a", "b"]))
    assert alone.value == 1 and math.isnan(alone.low) and alone.groups == 1
    nothing = jackknife.estimate(jackknife.mean(torch.tensor([torch.nan, torch.nan]), ["a", "b"]))
    assert math.isnan(nothing.value) and math.isnan(nothing.high) and nothing.groups == 0


def test_a_number_that_one_group_alone_makes_has_no_interval():
    found = jackknife.estimate(
        jackknife.ratio(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]), ["a", "b"])
    )
    assert found.value == 0.75 and math.isnan(found.low) and math.isnan(found.high)
    exact = jackknife.estimate(jackknife.decibels(torch.zeros(3), ["a", "b", "c"]))
    assert math.isinf(exact.value) and math.isnan(exact.low)


def test_a_group_that_dwarfs_the_others_is_left_out_exactly():
    found = jackknife.left_out(torch.tensor([[1e17], [1.0], [2.0]], dtype=torch.float64))
    assert found[0].item() == 3
