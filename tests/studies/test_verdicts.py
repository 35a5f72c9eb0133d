"""Verdicts on claims: by hand, all claims of a sheet together, and how often any is wrong."""

import math
from statistics import fmean

import numpy as np
import pytest

from simulacra.metrics.intervals import seeds
from simulacra.studies.sheet import Claim
from simulacra.studies.verdicts import MOST, decided, p_values

EXPECTED = ("first is higher", None), ("first is lower", None), ("no difference", 0.5)


def claim(expect, within=None):
    return Claim(says="", metric="coverage", compare=({}, {}), expect=expect, within=within)


def alone(expect, values, within=None):
    (found,) = decided([claim(expect, within)], [values])
    return found


def test_verdicts_by_hand():
    """Differences 1, 2, 3: mean 2, t(0.975, 2) = 4.303, half width 4.303 / sqrt(3) = 2.484;
    t = 2 sqrt(3) = 3.464 with 2 degrees of freedom, of which F = 1/2 + t / (2 sqrt(2 + t^2)), so
    p = 0.0742; n = 4 seeds would do, where the half width is 3.182 / 2 = 1.59."""
    found = alone("first is higher", [1, 2, 3])
    assert found.word == "undecided" and (found.mean, found.n) == (2, 3)
    assert (found.low, found.high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert found.p == found.adjusted == pytest.approx(1 - 12**0.5 / 14**0.5)
    assert found.more == 1 and "leaves both open" in found.why
    near = [1.9, 2.0, 2.1]  # half width 0.248
    for expect, within, word in (
        ("first is higher", None, "supported"),
        ("first is lower", None, "refuted"),
        ("no difference", 2.3, "supported"),
        ("no difference", 2.2, "undecided"),
        ("no difference", 1.7, "refuted"),
    ):
        found = alone(expect, near, within)
        assert found.word == word, (expect, within)
        assert (found.more == 0) == (word != "undecided") == (not found.why)
        mirrored = {"first is higher": "first is lower", "first is lower": "first is higher"}
        assert alone(mirrored.get(expect, expect), [-x for x in near], within).word == word


@pytest.mark.parametrize("values", [[], [5.0], [5.0, 5.1], [5.0, math.nan, 5.1]])
def test_nothing_follows_from_two_seeds_or_fewer(values):
    """Nor from what is no number; it is said why."""
    for expect, within in EXPECTED:
        found = alone(expect, values, within)
        assert found.word == "undecided" and found.n == len(values) and math.isnan(found.p)
        assert found.why.startswith(
            ["not measured", "1 seed; 3 are", "2 seeds; 3 are", "a value is no"][len(values)]
        )
    assert alone("first is higher", [5.0, 5.1]).more == 1


def test_what_does_not_depend_on_the_seed_is_decided():
    assert alone("no difference", [0.0] * 3, 0.0).word == "supported"
    assert alone("first is higher", [0.0] * 3).word == "undecided"
    assert alone("first is higher", [0.0] * 3).more == math.inf, "never"
    assert alone("first is higher", [1.0] * 3).word == "supported"


def test_a_verdict_holds_for_all_claims_of_a_sheet_together():
    """p = 0.016 decides beside two claims of which nothing is known yet, and not beside three."""
    values = [1.0, 2.0, 3.0, 2.5]
    one = alone("first is higher", values)
    assert one.word == "supported" and 0.0125 < one.p < 0.025
    for count, word in ((1, "supported"), (3, "supported"), (4, "undecided"), (9, "undecided")):
        found, *others = decided([claim("first is higher")] * count, [values] + [[]] * (count - 1))
        assert found.word == word and found.adjusted == pytest.approx(min(1, count * one.p))
        assert (found.mean, found.low, found.high) == (one.mean, one.low, one.high), "its own"
        assert found.level == pytest.approx(0.05 / count)
        assert (found.decides_low > 0) == (word == "supported"), "by Holm's interval"
        assert all(other.why == "not measured" for other in others)
    assert "with Holm's correction" in found.why and 0 < found.more < 10
    sure = [1.0, 1.01, 1.02, 1.03]  # p = 2e-6
    both = decided([claim("first is higher")] * 4, [values, sure, sure, sure])
    assert [one.word for one in both] == ["supported"] * 4, (
        "what is decided stands aside for others"
    )


def test_the_interval_that_decides_says_the_same_as_the_verdict():
    dice = np.random.default_rng(0)
    words = set()
    for _ in range(200):
        n, kinds = int(dice.integers(3, 8)), [EXPECTED[i] for i in dice.integers(3, size=4)]
        rows = (dice.normal(0, 1, (4, 1)) + dice.normal(0, 0.4, (4, n))).tolist()
        for (expect, within), found in zip(
            kinds, decided([claim(*k) for k in kinds], rows), strict=True
        ):
            low, high = found.decides_low, found.decides_high
            held = low > 0 if expect == "first is higher" else high < 0
            broken = high < 0 if expect == "first is higher" else low > 0
            if within:
                held, broken = -within < low and high < within, low > within or high < -within
            assert found.word == ("supported" if held else "refuted" if broken else "undecided")
            words.add(found.word)
    assert words == {"supported", "refuted", "undecided"}


def test_so_many_more_seeds_decide_if_mean_and_spread_stay():
    """And one less does not."""
    values = [0.4, 1.0, -0.2, 0.9]
    found = alone("first is higher", values)
    assert found.word == "undecided"

    def stretched(n: int) -> list[float]:
        base = np.linspace(-1, 1, n)
        return (fmean(values) + base * np.std(values, ddof=1) / np.std(base, ddof=1)).tolist()

    total = int(found.more) + len(values)
    assert alone("first is higher", stretched(total)).word == "supported"
    assert alone("first is higher", stretched(total - 1)).word == "undecided"
    assert alone("first is higher", [1e-6, 1.0, -1.0]).more == MOST + 1


@pytest.mark.parametrize("n", [3, 6])
def test_in_at_most_one_sheet_of_twenty_any_claim_is_judged_wrongly(n):
    """Sheets of six claims with no difference at all, or just as much as is allowed, half of them
    about the same numbers. Without Holm's correction several times as many have an error."""
    dice = np.random.default_rng(n)
    claims = [claim("first is higher"), claim("first is lower"), claim("no difference", 1.0)] * 2
    wrong, without = 0, 0
    for _ in range(1000):
        own = dice.normal(0, 1, (6, n))
        own[3:5] = own[:2] + dice.normal(0, 0.1, (2, n))
        own[[2, 5]] += 1.0  # the border, beyond which the claim of no difference is wrong
        both = [p_values(*pair) for pair in zip(claims, own.tolist(), strict=True)]
        # whatever is said of the first two is wrong, of the third what refutes it
        ps = [one[1] if k % 3 == 2 else min(one) for k, one in enumerate(both)]
        steps = seeds.holm([min(one) for one in both])
        wrong += any(
            step.adjusted <= seeds.ALPHA and p == min(one)
            for step, p, one in zip(steps, ps, both, strict=True)
        )
        without += min(ps) <= seeds.ALPHA
    assert wrong / 1000 <= 0.05 < 0.12 < without / 1000
