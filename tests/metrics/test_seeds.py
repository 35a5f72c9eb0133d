"""What independent trainings say of two configs: against scipy, by hand, and how often it is
wrong."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from simulacra.metrics.intervals import seeds
from simulacra.metrics.intervals.interval import interval

VALUES = [0.31, 0.12, 0.44, 0.29, -0.05, 0.6, 0.2, 0.33]


def test_one_sided_tests_are_those_of_scipy():
    for bound in (0.0, 0.2, 0.5):
        more = stats.ttest_1samp(VALUES, bound, alternative="greater").pvalue
        less = stats.ttest_1samp(VALUES, bound, alternative="less").pvalue
        assert seeds.above(VALUES, bound) == pytest.approx(more, rel=1e-9)
        assert seeds.below(VALUES, bound) == pytest.approx(less, rel=1e-9)


def test_values_without_spread_decide_alone():
    """What comes out the same whatever the seed."""
    assert (seeds.above([1, 1, 1], 0), seeds.above([1, 1, 1], 1), seeds.above([1, 1], 2)) == (
        0,
        1,
        1,
    )
    assert (seeds.above([1, 1], 1, or_at=True), seeds.below([1, 1], 1, or_at=True)) == (0, 0)
    assert (seeds.below([1, 1, 1], 2), seeds.below([1, 1, 1], 1)) == (0, 1)


def test_intervals_of_any_level():
    """At 5 % that of `interval`; at others that of scipy."""
    assert seeds.student(VALUES) == pytest.approx(interval(VALUES))
    low, high = stats.ttest_1samp(VALUES, 0).confidence_interval(0.99)
    assert seeds.student(VALUES, 0.01)[1:] == pytest.approx((low, high))
    assert math.isnan(seeds.student([1.0]).low) and math.isnan(seeds.student([]).value)
    assert math.isnan(seeds.student([1.0, math.nan]).value)


def test_holm_by_hand():
    """0.01, 0.02, 0.03, 0.04 of Holm's own kind: 4 x 0.01, 3 x 0.02 = 0.06, and there it stops."""
    found = seeds.holm([0.04, 0.01, 0.03, 0.02])
    assert [one.adjusted for one in found] == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert [one.level for one in found] == pytest.approx([0.05 / 3, 0.05 / 4, 0.05 / 3, 0.05 / 3])
    all_held = seeds.holm([0.01, 0.02, 0.001])
    assert [one.adjusted for one in all_held] == pytest.approx([0.02, 0.02, 0.003])
    assert [one.level for one in all_held] == pytest.approx([0.025, 0.05, 0.05 / 3])
    assert seeds.holm([0.3]) == [(0.3, 0.05)] and seeds.holm([]) == []
    assert [one.adjusted for one in seeds.holm([0.9, 1.0])] == [1.0, 1.0]


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.4], [0.1, 0.2, 0.4, 0.9, 0.3]])
def test_more_seeds_are_those_from_which_on_the_expected_interval_decides(values):
    """n and not n - 1: by scipy's interval at the same mean and spread."""
    mean, spread = np.mean(values), np.std(values, ddof=1)

    def ends(n: int, level: float) -> tuple[float, float]:
        return stats.t.interval(1 - level, n - 1, mean, spread / math.sqrt(n))

    for far, level in ((None, 0.05), (None, 0.01), (0.5, 0.05), (0.1, 0.05)):
        n = int(seeds.needed(values, far, level, 1000))

        def decided(n: int, far: float | None = far, level: float = level) -> bool:
            low, high = ends(n, level)
            return low > 0 if far is None else (-far < low and high < far) or low > far

        assert decided(n) and (n == seeds.LEAST or not decided(n - 1)), (far, level, n)


def test_more_seeds_where_there_is_nothing_to_see_or_to_say():
    assert seeds.needed([-1.0, 1.0], None, 0.05, 1000) == math.inf
    assert seeds.needed([0.0, 0.0, 0.0], None, 0.05, 1000) == math.inf
    assert seeds.needed([0.0, 2.0, 1.0], 1.0, 0.05, 1000) == math.inf, "just at the border"
    assert seeds.needed([-1.0, 1.0, 1e-3], None, 0.05, 1000) == 1001
    assert seeds.needed([-1e300, 1e300, 1e-300], None, 0.05, 1000) == 1001
    assert seeds.needed([2.0, 2.0], None, 0.05, 1000) == seeds.LEAST
    assert math.isnan(seeds.needed([2.0], None, 0.05, 1000))
    assert math.isnan(seeds.needed([], None, 0.05, 1000))


def test_the_interquartile_mean_is_scipys_trimmed_mean():
    """Its interval is what Yuen's test of two such means holds of one."""
    for values in (VALUES, VALUES[:7], VALUES[:5], VALUES[:4], VALUES[:3]):
        found, n = seeds.interquartile_mean(values), len(values)
        assert found.value == pytest.approx(stats.trim_mean(values, 0.25))
        h = n - 2 * (n // 4)
        moved = [value + 1 for value in values]
        yuen = stats.ttest_ind(moved, values, trim=0.25, equal_var=False)
        error = 1 / yuen.statistic / math.sqrt(2)
        assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, h - 1) * error)
        assert found.value - found.low == pytest.approx(found.high - found.value)
    assert seeds.interquartile_mean(VALUES[:3]) == pytest.approx(interval(VALUES[:3]))
    assert math.isnan(seeds.interquartile_mean([1.0]).low)
    assert math.isnan(seeds.interquartile_mean([]).value)


def test_the_probability_of_improvement_is_that_of_mann_and_whitney():
    ours, theirs = VALUES, [0.1, 0.2, 0.29, 0.4, 0.05, 0.0, 0.5, 0.12]
    u = stats.mannwhitneyu(ours, theirs).statistic
    found = seeds.improvement([(ours, theirs)])
    assert found.value == pytest.approx(u / 64) and 0 < found.low < found.value < found.high < 1
    turned = seeds.improvement([(theirs, ours)])
    assert turned == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))
    half = seeds.improvement([(ours, theirs), (theirs, ours)])
    assert half.value == pytest.approx(0.5) and half.high - half.low < found.high - found.low
    assert seeds.improvement([([1, 1], [1, 1])]).value == 0.5
    assert math.isnan(seeds.improvement([]).value) and math.isnan(
        seeds.improvement([([], [])]).value
    )
    assert math.isnan(seeds.improvement([([math.nan], [1.0])]).value)


def test_three_that_do_not_overlap_are_not_certain():
    """(1 - P)^2 = z^2 P (1 - P) (1 + 2 ((1 - P) / (2 - P) + P / (1 + P))) / 9 at its lower end."""
    found = seeds.improvement([([4, 5, 6], [1, 2, 3])])
    p = found.low
    v = p * (1 - p) * (1 + 2 * ((1 - p) / (2 - p) + p / (1 + p))) / 9
    assert (found.value, found.high) == (1, 1) and (1 - p) ** 2 == pytest.approx(1.959964**2 * v)
    assert p == pytest.approx(0.501, abs=1e-3)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_hold_the_truth(n: int):
    dice = np.random.default_rng(n)
    for shift in (0.0, 1.0, 2.0):
        truth = NormalDist().cdf(shift / math.sqrt(2))
        x, y = dice.normal(shift, 1, (500, n)), dice.normal(0, 1, (500, n))
        found = [seeds.improvement([pair]) for pair in zip(x.tolist(), y.tolist(), strict=True)]
        held = np.mean([one.low <= truth <= one.high for one in found])
        assert held >= (0.86 if n == 3 else 0.92), shift
    middle = [seeds.interquartile_mean(row) for row in dice.normal(0, 1, (1000, n)).tolist()]
    assert 0.92 <= np.mean([one.low <= 0 <= one.high for one in middle]) <= 0.97
