"""Every metric against another implementation,
explicit loops, closed forms or a documented value."""

from math import e, exp, isnan, log

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy import linalg, stats
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.images.classes import agreement, class_histogram
from simulacra.metrics.images.distances import distances, mean_pairwise, nearest, radii
from simulacra.metrics.images.extractors import load, pixels
from simulacra.metrics.images.frechet import frechet_distance, gaussian_frechet, moments, rank_note
from simulacra.metrics.images.inception import (
    inception_score,
    inception_score_splits,
    modified_inception_score,
)
from simulacra.metrics.images.kid import kernel_distance, squared_mmd, without_parts
from simulacra.metrics.images.memorisation import copied, diversity, memorisation
from simulacra.metrics.images.prdc import coverage
from simulacra.metrics.images.report import (
    Features,
    Training,
    blind,
    compare,
    counts,
    look,
    notes,
    recalled,
    scores,
    spread,
    verdict,
)
from simulacra.metrics.intervals.interval import combined, interval

ONE_HOT = torch.eye(10).repeat(100, 1)


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def skewed(n: int, d: int, seed: int) -> Tensor:
    """Correlated features with a mean, float32."""
    return normal(n, d, seed) @ normal(d, d, seed + 1) + normal(1, d, seed + 2)


# Fréchet distance


def test_frechet_is_scipys():
    a, b = skewed(400, 12, 0), skewed(300, 12, 10)
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    middle = linalg.sqrtm((cov_a @ cov_b).numpy()).real
    expected = (
        (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * np.trace(middle)
    )
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_moments_are_numpys():
    a = skewed(50, 7, 0)
    mean, covariance = moments(a)
    np.testing.assert_allclose(mean, a.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(a.double().numpy(), rowvar=False), rtol=1e-10)


def test_frechet_closed_forms():
    a = skewed(400, 12, 0)
    shift = torch.arange(12.0)
    zero, eye = torch.zeros(3), torch.eye(3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + shift) == pytest.approx(float(shift.square().sum()), rel=1e-5)
    assert gaussian_frechet(zero, eye, zero, eye) == pytest.approx(0, abs=1e-12)
    # sum of (sqrt - sqrt)^2
    wide, narrow = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 0.0, 1.0])
    assert gaussian_frechet(zero, wide.diag(), zero + 2, narrow.diag()) == pytest.approx(
        12 + 1 + 4 + 4, rel=1e-12
    )


def test_frechet_of_too_few_samples_is_finite_and_noted():
    few, many = normal(20, 64, 0), normal(20, 64, 1)
    assert 0 < frechet_distance(few, many) < 1000
    assert frechet_distance(few, few) < 1e-6
    assert "128" in rank_note(20, 64)
    assert rank_note(128, 64) == ""


# Kernel distance


def looped_mmd(a: Tensor, b: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return float(x @ y / len(x) + 1) ** 3

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def test_mmd_is_the_explicit_loop():
    a, b = normal(9, 4, 0).double(), normal(7, 4, 1).double() + 0.5
    assert squared_mmd(a, b) == pytest.approx(looped_mmd(a, b), rel=1e-10)


def test_kernel_distance_is_unbiased_and_repeatable():
    equal = [squared_mmd(normal(50, 8, 2 * i), normal(50, 8, 2 * i + 1)) for i in range(400)]
    assert abs(np.mean(equal)) < 4 * stats.sem(equal)
    assert min(equal) < 0
    a, b = normal(500, 8, 0), normal(500, 8, 1) + 1
    mean, deviation = kernel_distance(a, b, subsets=10, size=100, seed=3)
    assert (mean, deviation) == kernel_distance(a, b, subsets=10, size=100, seed=3)
    assert mean != kernel_distance(a, b, subsets=10, size=100, seed=4)[0]
    assert mean == pytest.approx(squared_mmd(a, b), rel=0.1)
    assert deviation > 0


def test_kernel_distance_refuses_subsets_larger_than_the_set():
    with pytest.raises(Mistake, match=r"11.*2 to 10"):
        kernel_distance(normal(10, 3, 0), normal(20, 3, 1), size=11)


# Scores of posteriors


def test_inception_score_ends():
    assert inception_score(ONE_HOT) == pytest.approx(10)
    assert inception_score(torch.full((50, 10), 0.1)) == pytest.approx(1)
    assert inception_score(ONE_HOT[:1].repeat(50, 1)) == pytest.approx(1)
    assert inception_score_splits(ONE_HOT) == pytest.approx((10, 0))


def test_inception_score_is_the_mean_divergence():
    rows = normal(200, 10, 0).double().softmax(1)
    divergence = stats.entropy(rows.numpy(), rows.mean(0, keepdim=True).numpy(), axis=1)
    assert inception_score(rows) == pytest.approx(exp(divergence.mean()), rel=1e-12)
    parts = [inception_score(part) for part in rows.chunk(10)]
    assert inception_score_splits(rows) == pytest.approx((np.mean(parts), np.std(parts)), rel=1e-6)


@pytest.mark.parametrize(("floor", "expected"), [(1e-4, 35.8), (1e-6, 102.6), (1e-8, 203.8)])
def test_modified_score_of_one_hot_posteriors(floor: float, expected: float):
    assert modified_inception_score(ONE_HOT, floor) == pytest.approx(expected, abs=0.06)


def test_modified_score_is_the_reversed_squared_divergence():
    rows = normal(200, 10, 0).double().softmax(1)
    divergence = stats.entropy(rows.mean(0, keepdim=True).numpy(), rows.numpy(), axis=1)
    assert modified_inception_score(rows) == pytest.approx((divergence**2).mean(), rel=1e-9)
    assert modified_inception_score(torch.full((50, 10), 0.1)) == pytest.approx(0, abs=1e-9)


def test_class_histogram():
    found = class_histogram(
        torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.9, 0.0], [0.9, 0.0, 0.1]])
    )
    assert found["class_min_share"] == 0
    assert found["class_max_share"] == 0.75
    assert found["class_missing"] == 1
    assert found["class_entropy"] == pytest.approx(0.75 * log(4 / 3) + 0.25 * log(4))
    assert found["top_probability"] == pytest.approx(0.75)
    assert class_histogram(ONE_HOT)["class_entropy"] == pytest.approx(log(10))


# Neighbours


def test_distances_are_exact_where_rows_are_equal():
    a = normal(40, 64, 0).double() + 100
    found = distances(a, torch.cat([a, a * (1 + 1e-8)]))
    assert torch.equal(found[:, :40].diagonal(), torch.zeros(40, dtype=torch.float64))
    assert torch.equal(found[:, 40:].diagonal(), torch.zeros(40, dtype=torch.float64))
    torch.testing.assert_close(found[0, 1:40], (a[0] - a[1:]).norm(dim=1), rtol=1e-9, atol=0)


def test_neighbours_against_all_pairs(monkeypatch: pytest.MonkeyPatch):
    a, b = normal(31, 6, 0).double(), normal(23, 6, 1).double()
    pairs = torch.cdist(a, a, compute_mode="donot_use_mm_for_euclid_dist")
    monkeypatch.setattr("simulacra.metrics.images.distances.ENTRIES", 100)  # several blocks
    torch.testing.assert_close(radii(a, 3), pairs.sort(1).values[:, 3])
    torch.testing.assert_close(nearest(a, b), torch.cdist(a, b).amin(1))
    assert mean_pairwise(a) == pytest.approx(float(pairs.sum() / (31 * 30)), rel=1e-9)
    with pytest.raises(Mistake, match="31 samples"):
        radii(a, 31)


@pytest.mark.parametrize("k", [1, 5])
def test_coverage_is_the_authors_package(k: int, capsys: pytest.CaptureFixture[str]):
    real, fake = normal(300, 8, 0), normal(200, 8, 1) * 0.8 + 0.2
    assert coverage(fake, real, k) == pytest.approx(
        compute_prdc(real.numpy(), fake.numpy(), k), abs=1e-9
    )


def test_coverage_of_equal_gaussians():
    found = coverage(normal(2000, 64, 0), normal(2000, 64, 1))
    documented = {"precision": 0.72, "recall": 0.70, "density": 1.02, "coverage": 0.97}
    assert found == pytest.approx(documented, abs=0.03)


def test_coverage_of_a_collapsed_set():
    real = normal(2000, 64, 0)
    lonely = real[real.norm(dim=1).argmax()]
    found = coverage(lonely.repeat(2000, 1), real)
    assert found["precision"] == 1
    assert found["recall"] == 0
    assert found["coverage"] == 0.0005


def test_memorisation_tells_copies_from_new_pictures():
    train, held_out = normal(500, 8, 0), normal(300, 8, 1)
    assert memorisation(train[:100], train, held_out) == 0
    assert memorisation(train[:100] + 1e-3, train, held_out) < 0.01
    assert memorisation(normal(300, 8, 2), train, held_out) == pytest.approx(1, abs=0.1)
    assert memorisation(3 * normal(300, 8, 2), train, held_out) > 2


def test_copies_are_told_from_new_pictures_even_where_they_are_few():
    train, held_out, new = normal(2000, 8, 0), normal(1000, 8, 1), normal(1000, 8, 2)
    unseen = nearest(held_out, train)
    # one in twenty, from the end: the median knows nothing of them
    some = torch.cat([train[-50:], new[:950]])
    assert memorisation(some, train, held_out) == pytest.approx(1, abs=0.1)
    assert copied(nearest(some, train), unseen) == pytest.approx(0.05, abs=0.005)
    assert copied(nearest(new, train), unseen) <= 0.005
    assert copied(nearest(train + 1e-3, train), unseen) == 1
    twins = torch.cat([train[:100], held_out])  # held-out pictures may be training pictures, too
    assert copied(nearest(train[-50:], train), nearest(twins, train)) == 1
    assert isnan(memorisation(new, train, train[:10])), (
        "most held-out pictures are training pictures"
    )


def test_nearest_of_many_is_exact_in_flat_memory(monkeypatch: pytest.MonkeyPatch):
    a, b = 1000 + normal(40, 6, 0), 1000 + normal(5000, 6, 1)
    whole = torch.cdist(a.double(), b.double()).amin(1)
    monkeypatch.setattr("simulacra.metrics.images.distances.ENTRIES", 700)
    assert nearest(a, b).tolist() == pytest.approx(whole.tolist(), rel=1e-6)
    assert nearest(b[-40:], b).tolist() == [0] * 40


def test_mirrored_copies_are_copies_where_training_mirrors():
    extractor = load("pixels")
    train, held_out = (
        torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (0, 1)
    )
    known = extractor.features(train)
    for mirror, expected in (True, 1.0), (False, 0.0):
        fake, real = (look(x, extractor, mirror) for x in (train.flip(-1), held_out))
        assert copied(recalled(fake, known), recalled(real, known)) == expected


def test_words_for_copies():
    assert verdict(0.0, 1.0, 60_000) == [
        "copied: 100 % of the samples are copies of some of the 60,000 training pictures, "
        "nearer than new pictures come"
    ]
    assert "memorised: samples are 0.40 times as far" in verdict(0.4, 0.0, 500)[0]
    assert verdict(0.97, 0.002, 60_000) == verdict(float("nan"), 0.0, 10) == []


def test_diversity():
    real = normal(500, 8, 0)
    assert diversity(real[:1].repeat(100, 1), real) == 0
    assert diversity(normal(500, 8, 1), real) == pytest.approx(1, abs=0.05)
    assert diversity(real / 2, real) == pytest.approx(0.5)


# Repeats


def test_interval_is_scipys():
    values = [1.0, 2.5, 2.0, 4.0]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    mean, *ends = interval(values)
    assert mean == pytest.approx(2.375)
    assert ends == pytest.approx(expected)


def test_what_repeats_share_is_added_to_the_interval():
    values = [1.0, 2.5, 2.0, 4.0]
    own, shared = np.var(values, ddof=1) / 4, 0.3
    freedom = (own + shared) ** 2 / (own**2 / 3 + shared**2 / 9)
    expected = stats.t.interval(0.95, freedom, loc=np.mean(values), scale=(own + shared) ** 0.5)
    assert combined(values, shared, 9)[1:] == pytest.approx(expected)
    assert combined(values, 0.0, 9) == interval(values)
    assert (
        isnan(combined(values, float("nan"), 9)[1])
        and combined(values, float("nan"), 9)[0] == 2.375
    )
    assert combined([2.0, 2.0], 0.0, 9) == (2, 2, 2)


def test_an_interval_covers_the_choice_of_the_reals_too():
    """Of 60 experiments, each with reals and samples of its own;
    with reals taken as given .62 to .82 are covered."""
    rows = []
    for k in range(60):
        real = Features(normal(200, 4, 100 * k), None, False)
        fakes = [
            Features(1.3 * normal(200, 4, 100 * k + i) + 0.2, None, False) for i in range(1, 6)
        ]
        known = Training(normal(600, 4, 7), recalled(real, normal(600, 4, 7)))
        sets, more = (
            [compare(fake, real, train=known, seed=k) for fake in fakes],
            spread(fakes[0], real, known, seed=k),
        )
        rows.append(
            {name: ([one[name] for one in sets], more[name]) for name in more.keys() & sets[0]}
        )
    for name in (
        "frechet",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "diversity",
        "memorisation",
    ):
        truth = np.mean([np.mean(row[name][0]) for row in rows])
        ends = [combined(*row[name], 9)[1:] for row in rows]
        assert np.mean([low <= truth <= high for low, high in ends]) >= 0.85, name
        error = np.std([np.mean(row[name][0]) for row in rows])
        assert 0.7 * error < np.mean([high - low for low, high in ends]) / 4.2 < 1.7 * error, (
            f"{name}: and no wider than that"
        )
    assert isnan(rows[0]["kid_std"][1]), "a deviation has no interval"


def test_too_few_reals_have_no_interval_of_neighbours():
    real, fake = Features(normal(8, 3, 0), None, False), Features(normal(20, 3, 1), None, False)
    found = spread(fake, real)
    assert all(isnan(found[name]) for name in ("precision", "recall", "density", "coverage"))
    assert found["frechet"] > 0 and found["diversity"] > 0 and found["kid"] > 0


def test_the_kernel_without_parts_is_that_of_the_rest():
    a, b = normal(30, 4, 0), normal(25, 4, 1) + 0.5
    part = torch.arange(25) % 4
    found = without_parts(a, b, part)
    expected = torch.tensor([squared_mmd(a, b[part != g]) for g in range(4)], dtype=torch.float64)
    assert (found - found.mean()).tolist() == pytest.approx(
        (expected - expected.mean()).tolist(), rel=1e-6
    )


def test_no_number_no_interval():
    assert all(np.isnan(interval([1.0, float("nan"), 2.0])))


def test_interval_of_few():
    mean, low, high = interval([e])
    assert mean == e
    assert isnan(low)
    assert isnan(high)
    with pytest.raises(ValueError, match="0 values"):
        interval([])


# All together

DISTANCES = {"frechet", "kid", "kid_std", "precision", "recall", "density", "coverage", "diversity"}
SCORES = {"inception_score", "inception_score_parts", "inception_score_parts_std"}
CLASSES = {
    "class_min_share",
    "class_max_share",
    "class_missing",
    "class_entropy",
    "top_probability",
}


def seen(n: int, seed: int, classes: int = 0, own: bool = False) -> Features:
    posteriors = normal(n, classes, seed).softmax(1) if classes else None
    return Features(normal(n, 8, seed), posteriors, own)


def test_compare_reports_what_applies():
    plain = compare(seen(60, 0), seen(80, 1))
    assert set(plain) == DISTANCES
    known = Training(normal(90, 8, 2), recalled(seen(80, 1), normal(90, 8, 2)))
    assert set(compare(seen(60, 0), seen(80, 1), train=known)) == DISTANCES | {
        "memorisation",
        "copied",
    }
    assert set(compare(seen(60, 0, 1000), seen(80, 1, 1000))) == DISTANCES | SCORES
    everything = compare(seen(60, 0, 10, own=True), seen(80, 1, 10, own=True))
    assert set(everything) == DISTANCES | SCORES | CLASSES | {"modified_inception_score"}
    assert all(type(value) is float for value in everything.values())
    assert plain == compare(seen(60, 0), seen(80, 1))
    assert notes(seen(60, 0), seen(15, 1)) == [rank_note(15, 8)]
    assert notes(seen(60, 0), seen(80, 1)) == []


def test_pictures_that_noise_would_cover_are_said():
    """Noise pictures as reals are as near to noise as to each other; flat ones are far from it."""
    eye = pixels()
    noise = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    (told,) = blind(noise, eye, look(noise, eye), seed=0)
    assert told.startswith("pictures of noise cover 1.00 of the held-out ones as pixels sees them")
    flat = torch.linspace(-1, 1, 20).view(20, 1, 1, 1).expand(20, 1, 16, 16)
    assert blind(noise, eye, look(flat, eye), seed=0) == []


def test_scores_of_parts_say_that_they_are_of_parts():
    posteriors = normal(1000, 10, 0).mul(3).softmax(1)
    found = scores(Features(normal(1000, 8, 0), posteriors, True))
    assert (
        found["inception_score_parts"],
        found["inception_score_parts_std"],
    ) == inception_score_splits(posteriors)
    assert found["inception_score_parts"] < found["inception_score"], "fewer samples, a lower score"
    assert "inception_score_std" not in found
    assert (
        counts("inception_score_parts", 1000, 900)
        == counts("inception_score_parts_std", 1000, 900)
        == {"n_fake": 100}
    )
    assert counts("kid_std", 1000, 900) == {"n_fake": 450, "n_real": 450}
    assert counts("inception_score", 1000, 900) == counts("kid", 1000, 900) == {}


def test_shares_of_classes_that_were_asked_for_are_left_out():
    asked = torch.arange(1000) % 10
    right = Features(normal(1000, 8, 0), ONE_HOT[:10].repeat(100, 1), True, None, asked)
    assert (
        not {"class_min_share", "class_max_share", "class_missing", "class_entropy"}
        & scores(right).keys()
    )
    assert scores(right)["class_agreement"] == scores(right)["class_agreement_min"] == 1
    seven = Features(normal(1000, 8, 0), ONE_HOT[:10][7].repeat(1000, 1), True, None, asked)
    assert (
        scores(seven)["class_agreement"] == pytest.approx(0.1)
        and scores(seven)["class_agreement_min"] == 0
    )
    assert "class by class" in notes(right, right)[0]


def test_agreement_by_hand():
    posteriors = torch.tensor([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.7, 0.3, 0], [0.6, 0.4, 0]])
    found = agreement(posteriors, torch.tensor([0, 1, 1, 0]))
    assert found == {"class_agreement": 0.75, "class_agreement_min": 0.5}
