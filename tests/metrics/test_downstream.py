"""MMD against arithmetic and chance; classifiers trained
on samples against those trained on reals."""

from functools import partial
from math import exp

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.images.downstream import (
    Labelled,
    accuracy,
    batches,
    convnet,
    downstream,
    forest,
    scores,
    train_classifier,
    trts,
    tstr,
    weighted_f1,
)
from simulacra.metrics.series.mmd import (
    bandwidths,
    mmd_test,
    squared_mmd,
    tuned_bandwidths,
    tuned_mmd_test,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# MMD


def test_mmd_by_hand():
    a, b = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[2.0], [5.0], [6.0]])
    apart = {"aa": [1, 3, 2], "bb": [3, 4, 1], "ab": [2, 5, 6, 1, 4, 5, 1, 2, 3]}
    assert bandwidths(torch.cat([a, b])) == (0.75, 1.5, 3.0, 6.0, 12.0), (
        "the median of the fifteen distances is 3"
    )
    for widths in (1.0,), (0.5, 2.0):
        mean = {
            name: sum(exp(-d * d / (2 * w * w)) for d in found for w in widths)
            / len(found)
            / len(widths)
            for name, found in apart.items()
        }
        assert squared_mmd(a, b, widths) == pytest.approx(
            mean["aa"] + mean["bb"] - 2 * mean["ab"], rel=1e-12
        )


def test_mmd_of_two_halves_is_about_zero():
    x = normal(300, 6, 2, seed=1)
    verdict = mmd_test(x[:150], x[150:])
    assert abs(verdict.squared) < 0.01 and verdict.p > 0.05
    assert verdict.squared == pytest.approx(squared_mmd(x[:150], x[150:]), rel=1e-9)
    assert (
        verdict == mmd_test(x[:150], x[150:]) and verdict.p != mmd_test(x[:150], x[150:], seed=1).p
    )


def test_mmd_of_shifted_data():
    a, b = normal(100, 6, 2), normal(80, 6, 2, seed=1) + 0.5
    verdict = mmd_test(a, b, permutations=199)
    assert verdict.squared > 0.02 and verdict.p == 1 / 200


def test_mmd_knows_no_order():
    a, b = normal(40, 5, 1), normal(30, 5, 1, seed=1) * 2
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert squared_mmd(a[order], b.flip(0)) == pytest.approx(squared_mmd(a, b), rel=1e-9)
    assert squared_mmd(b, a) == pytest.approx(squared_mmd(a, b), rel=1e-9)


def test_p_is_uniform_where_nothing_differs():
    found = torch.tensor(
        [
            mmd_test(normal(20, 3, seed=2 * i), normal(25, 3, seed=2 * i + 1), permutations=99).p
            for i in range(200)
        ]
    )
    assert found.mean() == pytest.approx(0.5, abs=0.08) and (found <= 0.05).double().mean() < 0.1


def test_mmd_of_samples_that_are_all_the_same():
    same = torch.ones(5, 3, 1)
    assert mmd_test(same, same).p == 1 and squared_mmd(same, same) == 0
    assert mmd_test(same, normal(20, 3, 1)).p < 0.05


def blobs(spread: float, seed: int) -> Tensor:
    """200 points about the 16 corners of a grid, as series of 2 steps."""
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (200, 2, 1), generator=dice) + spread * torch.randn(
        200, 2, 1, generator=dice
    )


def test_a_tuned_kernel_sees_more():
    """Blobs of another width are alike at the scale of their distances."""
    narrow, wide, again = blobs(0.05, 0), blobs(0.15, 1), blobs(0.05, 2)
    plain, tuned = (
        mmd_test(narrow, wide, permutations=99),
        tuned_mmd_test(narrow, wide, share=0.5, permutations=99),
    )
    assert (
        plain.p > 0.3
        and tuned.p == 0.01
        and 0.03 < min(tuned.bandwidths) < 0.2 < min(plain.bandwidths)
    )
    assert tuned_mmd_test(narrow, again, share=0.5, permutations=99).p > 0.05
    assert tuned_bandwidths(narrow, wide, steps=0) == pytest.approx(
        bandwidths(torch.cat([narrow, wide]))
    )


def test_mmd_refuses():
    with pytest.raises(Mistake, match="samples of 6 and 8 values; allowed: equally many"):
        squared_mmd(normal(4, 3, 2), normal(4, 4, 2))
    with pytest.raises(Mistake, match="two or more, all values finite"):
        squared_mmd(normal(1, 3), normal(4, 3))
    with pytest.raises(Mistake, match="two or more, all values finite"):
        squared_mmd(normal(4, 3) / 0, normal(4, 3))
    with pytest.raises(Mistake, match=r"a share of 0\.2 of 8 and 20 samples to tune on"):
        tuned_mmd_test(normal(8, 3), normal(20, 3))


# Classifiers


def pictures(n: int, seed: int = 0) -> Labelled:
    """Three classes: a bright bar in the upper, middle or lower third of a noisy 12x10 picture."""
    x, y = 0.2 * normal(n, 1, 12, 10, seed=seed), torch.arange(n) % 3
    for third in range(3):
        x[y == third, :, 4 * third : 4 * third + 4] += 0.7
    return Labelled(x, y)


def crossed(n: int, seed: int = 0) -> Labelled:
    """Series of 4 steps and 2 channels: class 0 where both channels have one sign,
    class 1 where they have two."""
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, -1], [-1, 1]])[torch.arange(n) % 4]
    return Labelled(signs[:, None] * 0.6 + 0.1 * normal(n, 4, 2, seed=seed), torch.arange(n) % 2)


quick = partial(convnet, epochs=1, least=40)
grove = partial(forest, trees=30)


@pytest.mark.parametrize(
    ("learn", "made", "classes"), [(quick, pictures, 3), (grove, pictures, 3), (grove, crossed, 2)]
)
def test_classifiers_learn_and_are_deterministic(learn, made, classes):
    train, test = made(300), made(90, seed=1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    judge = learn(*train, classes, 0)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"
    assert scores(judge, test, "real")["real_accuracy"] > 0.95
    torch.rand(3)
    again, other = (
        learn(*train, classes, 0)(normal(*test.x.shape)),
        learn(*train, classes, 1)(normal(*test.x.shape)),
    )
    first = judge(normal(*test.x.shape))
    assert (
        torch.equal(first, again) and not torch.equal(first, other) and first.dtype == torch.int64
    )


def test_the_classifier_follows_the_shape():
    assert "convnet" in train_classifier.__doc__ and train_classifier(*crossed(40), 2, 0)(
        crossed(8).x
    ).shape == (8,)
    with pytest.raises(Mistake, match=r"shape \(40, 4, 2\); allowed: pictures"):
        convnet(*crossed(40), 2, 0)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 5, 3), (2, 1, 1)])
def test_a_convnet_takes_any_size(shape):
    assert quick(normal(20, *shape), torch.arange(20) % 2, 2, 0)(normal(4, *shape)).shape == (4,)


def test_batches_are_whole_epochs():
    found = batches(300, 5, 0)
    assert [len(rows) for rows in found] == [128] * 5
    assert len(set(torch.cat(found[:2]).tolist())) == 256
    assert [len(rows) for rows in batches(7, 2, 0)] == [7, 7]


def test_scores_are_sklearns():
    y, found = torch.randint(0, 4, (200,)), torch.randint(0, 5, (200,))
    assert weighted_f1(found, y) == pytest.approx(f1_score(y, found, average="weighted"))
    assert accuracy(found, y) == pytest.approx(float(np.mean(y.numpy() == found.numpy())))
    assert weighted_f1(y, y) == accuracy(y, y) == 1


# Train on synthetic, test on real


@pytest.mark.parametrize(("learn", "made", "classes"), [(quick, pictures, 3), (grove, crossed, 2)])
def test_the_same_data_teach_as_much(learn, made, classes):
    train, test = made(300), made(99, seed=1)
    found = downstream(train, train, test, classes=classes, learn=learn)
    assert (
        found["tstr_ratio"] == 1
        and found["tstr_f1"] == found["real_f1"]
        and found["trts_accuracy"] > 0.95
    )
    assert set(found) == {
        "tstr_accuracy",
        "tstr_f1",
        "real_accuracy",
        "real_f1",
        "tstr_ratio",
        "trts_accuracy",
        "trts_f1",
    }


@pytest.mark.parametrize(("learn", "made", "classes"), [(quick, pictures, 3), (grove, crossed, 2)])
def test_shuffled_labels_teach_nothing(learn, made, classes):
    train, test = made(600), made(300, seed=1)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(1))
    found = downstream(Labelled(train.x, train.y[order]), train, test, classes=classes, learn=learn)
    assert found["real_accuracy"] > 0.95
    assert found["tstr_accuracy"] == pytest.approx(1 / classes, abs=0.25)
    assert found["trts_accuracy"] == pytest.approx(1 / classes, abs=0.06)


def test_a_collapsed_generator_is_right_but_teaches_little():
    """One point a class: true to its class, but half of each class is never seen."""
    train, test = crossed(400), crossed(200, seed=1)
    points = train.x[:2].repeat(200, 1, 1)
    judge = grove(*train, 2, 0)
    fake = Labelled(points, torch.arange(400) % 2)
    assert trts(fake, judge) == {"trts_accuracy": 1, "trts_f1": 1}
    assert tstr(fake, test, judge, classes=2, learn=grove)["tstr_accuracy"] < 0.8
    assert tstr(fake, test, judge, classes=2, learn=grove)["tstr_ratio"] < 0.8


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (normal(5, 4, 2), torch.zeros(4, dtype=torch.int64), "one whole number for each"),
        (normal(5, 4, 2), torch.zeros(5), "one whole number for each"),
        (normal(5, 4, 2), torch.full((5,), 2), "labels from 2 to 2; allowed: 0 to 1"),
        (normal(5, 4, 2), torch.full((5,), -1), "labels from -1 to -1; allowed: 0 to 1"),
        (
            normal(5, 4, 2) / 0,
            torch.zeros(5, dtype=torch.int64),
            "40 values of the examples are not finite",
        ),
        (normal(0, 4, 2), torch.zeros(0, dtype=torch.int64), "0 examples"),
    ],
)
def test_examples_refused(x, y, says):
    for act in (
        lambda: forest(x, y, 2, 0),
        lambda: downstream(Labelled(x, y), crossed(8), crossed(8), classes=2, learn=grove),
    ):
        with pytest.raises(Mistake, match=says):
            act()
