"""Moving shapes: each law is what it says, and pictures, masks and flow tell the same story."""

from math import pi, sqrt

import msgspec
import numpy as np
import pytest
import torch
from scipy.stats import chisquare, norm
from torch import Tensor

from simulacra.core import data_sets
from simulacra.core.errors import Mistake
from simulacra.data.shapes import (
    GRID,
    LAWS,
    Options,
    Shapes,
    Truth,
    coverage,
    flow,
    masks,
    paint,
    redraw,
)

RARE = 1e-3  # a true law's chi-square is below this once in a thousand seeds; the seed is fixed


def shapes(law: str = "three", **options: object) -> Shapes:
    """A data set, small unless told."""
    return Shapes(Options(law=law, **{"count": 40, "held_out": 10} | options), None)


def named(truth: Truth, values: Tensor) -> dict[str, np.ndarray]:
    """Values (N, S, ...) by the shapes' names."""
    return {name: values[:, s].numpy() for s, name in enumerate(truth.names)}


def uniform(values: np.ndarray, low: float, high: float, step: float = 1) -> bool:
    """Whether values are low to high in steps, all equally often."""
    places = (values - low) / step
    count = round((high - low) / step) + 1
    exact = np.array_equal(places, places.round()) and places.min() >= 0 and places.max() < count
    return bool(exact and chisquare(np.bincount(places.astype(int), minlength=count)).pvalue > RARE)


def rounded(deviation: float, far: int) -> np.ndarray:
    """Probabilities of -far to far under a normal law, rounded and clipped, (2 far + 1,)."""
    edges = np.array([-np.inf, *np.arange(-far + 0.5, far), np.inf])
    return np.diff(norm.cdf(edges / deviation))


def still(truth: Truth) -> Tensor:
    """No displacement."""
    return torch.zeros_like(truth.displacement)


# The laws


def test_law_three():
    found = shapes(size=128, count=20_000).pairs
    for displacement in found.displacement, redraw(found, 1):
        moved = named(found, displacement)
        (cx, cy), (tx, ty), (sx, sy) = (moved[name].T for name in ("circle", "triangle", "square"))
        assert not cx.any() and not sy.any() and np.array_equal(tx, -ty)
        assert uniform(sx, -10, 10) and uniform(tx, -10, 10)
        noise = np.bincount((cy - tx + 2).astype(int), minlength=5)
        assert chisquare(noise, rounded(0.8, 2) * len(cy)).pvalue > RARE
        assert -0.995 < np.corrcoef(cy, ty)[0, 1] < -0.985
        assert abs(np.corrcoef(sx, tx)[0, 1]) < 0.03
    assert found.present.all() and uniform(found.size.flatten().numpy(), 25, 38)
    low, high = found.centre - found.size[..., None] / 2, found.centre + found.size[..., None] / 2
    assert 0 <= low.min() < 1 and 127 < high.max() <= 128


def test_colours():
    for law in "three", "hierarchical":
        found = shapes(law, count=20_000).pairs
        colour, ground = ((one + 1) * 127.5 for one in (found.colour, found.background))
        assert torch.allclose(ground, ground.round(), atol=1e-3) and uniform(
            ground.round().flatten().numpy(), 181, 255
        )
        assert (colour.amax(2) > 180.5).all() and (colour.sort(2).values[..., 1] < 74.5).all()
        assert torch.equal(
            colour.argmax(2).sort(1).values, torch.arange(3).expand(len(colour), 3)
        ), "one of each"
        assert all(uniform(colour.argmax(2)[:, s].numpy(), 0, 2) for s in range(3)), (
            "any shape may have any"
        )


def test_law_three_has_parameters():
    order = ("square", "circle", "triangle")
    found = shapes(
        size=128, count=5000, step_dist="normal", step_range=6, noise=0, z_order=order
    ).pairs
    assert found.names == order
    moved = named(found, found.displacement)
    assert np.array_equal(moved["circle"][:, 1], moved["triangle"][:, 0]), "no noise"
    for steps in moved["square"][:, 0], moved["triangle"][:, 0]:
        seen = np.bincount((steps + 6).astype(int), minlength=13)
        assert chisquare(seen, rounded(3, 6) * len(steps)).pvalue > RARE > chisquare(seen).pvalue


def test_law_hierarchical():
    found = shapes("hierarchical", size=128, count=20_000).pairs
    there = named(found, found.present)
    s, t = there["square"], there["triangle"]
    for displacement in found.displacement, redraw(found, 1):
        moved = named(found, displacement)
        circle, square, triangle = (moved[name] for name in ("circle", "square", "triangle"))
        assert np.array_equal(circle[:, 0], circle[:, 1]) and uniform(
            circle[:, 0], -12.75, 12.5, 0.25
        )
        assert np.array_equal(square[s, 0], circle[s, 0]) and uniform(
            (square - circle)[s, 1], -12.75, 12.5, 0.25
        )
        assert np.array_equal(triangle[t, 1], circle[t, 1]) and uniform(
            (triangle - circle)[t, 0], -12.75, 12.5, 0.25
        )
        assert not square[~s].any() and not triangle[~t].any() and there["circle"].all()
    shares = [(~s & ~t).sum(), (~s & t).sum(), (s & ~t).sum(), (s & t).sum()]
    assert chisquare(shares, np.array([0.1, 0.2, 0.2, 0.5]) * len(s)).pvalue > RARE
    circle, others = found.centre[:, 0], found.centre[:, 1:] - found.centre[:, :1]
    assert uniform(circle.flatten().numpy(), 38.5, 89.25, 0.25) and uniform(
        others.flatten().numpy(), -25.5, 25.25, 0.25
    )
    assert uniform(found.size.flatten().numpy(), 25.5, 38, 0.25)


def test_law_two_objects():
    found = shapes("two_objects", size=64, count=34_574, held_out=3842).pairs
    for displacement in found.displacement, redraw(found, 1):
        moved = named(found, displacement)
        assert not moved["triangle"][:, 0].any() and not moved["square"][:, 1].any()
        assert uniform(moved["triangle"][:, 1], 6, 10) and uniform(moved["square"][:, 0], 6, 10)
    assert uniform(found.size.flatten().numpy(), 8, 10)
    corners = (found.centre - found.size[..., None] / 2).flatten(1)
    assert len(corners.unique(dim=0)) == GRID and set(corners.unique().tolist()) == set(
        range(0, 40, 3)
    )
    assert (found.background == -1).all() and (
        found.colour.sort(2).values == torch.tensor([-1.0, -1, 1])
    ).all()
    assert (found.colour.argmax(2)[:, 0] != found.colour.argmax(2)[:, 1]).all()


def test_redraw_follows_its_seed():
    truth = shapes().pairs
    one, other = redraw(truth, 1), redraw(truth, 2)
    assert torch.equal(one, redraw(truth, 1))
    assert not torch.equal(one, other) and not torch.equal(one, truth.displacement)


def test_pixels_of_two_objects():
    """A square of 8 and the triangle under the diagonal of one,
    filled as upstream at its own size."""
    truth = shapes("two_objects", size=64, antialias=False, count=GRID - 1, held_out=1).pairs
    eights = (truth.size == 8).all(1).nonzero()[:5, 0]
    truth = truth.select(eights)
    pixels = masks(truth, "image").amodal
    corners = (truth.centre - 4).long()
    triangle, square = (
        torch.tril(torch.ones(8, 8, dtype=torch.bool)),
        torch.ones(8, 8, dtype=torch.bool),
    )
    for seen, corner in zip(pixels, corners, strict=True):
        for one, (x, y), expected in zip(seen, corner.tolist(), (triangle, square), strict=True):
            assert torch.equal(one[y : y + 8, x : x + 8], expected) and one.sum() == expected.sum()


def test_lengths_are_scaled():
    large, small = (shapes(size=size).pairs for size in (128, 48))
    for name in "centre", "size", "displacement":
        assert torch.allclose(getattr(small, name) * 128 / 48, getattr(large, name), atol=1e-4)
    assert torch.equal(large.colour, small.colour)


# Pictures


@pytest.mark.parametrize("law", LAWS)
def test_edges_are_shares_of_pixels(law):
    """A frame is what eight times as many pixels without antialiasing average to."""
    soft, hard = (
        shapes(law, size=size, antialias=size == 64, count=8).pairs.select(slice(8))
        for size in (64, 512)
    )
    coarse = torch.nn.functional.avg_pool2d(paint(hard, hard.displacement), 8)
    difference = (paint(soft, soft.displacement) - coarse).abs()
    assert difference.mean() < 2e-3 and difference.amax((1, 2, 3)).mean() < 0.4
    assert (coarse - coarse.roll(1, 3)).abs().mean() > 10 * difference.mean()


@pytest.mark.parametrize("when", ["image", "next"])
@pytest.mark.parametrize("law", LAWS)
def test_masks_agree_with_pictures(law, when):
    """Every pixel has the colour of what is visible there,
    and antialiased ones are nearest to it."""
    for antialias in False, True:
        found = shapes(law, size=64, antialias=antialias)
        truth, frames = found.truth("train", 40), found.take("train", 40)[when]
        visible = masks(truth, when).visible
        assert visible.sum(1).max() == 1
        shown = torch.where(visible.any(1), visible.int().argmax(1) + 1, 0)
        palette = torch.cat([truth.background[:, None], truth.colour], 1)
        present = torch.cat([torch.ones(40, 1, dtype=torch.bool), truth.present], 1)
        away = (
            (frames[:, None] - palette[..., None, None])
            .norm(dim=2)
            .masked_fill(~present[..., None, None], torch.inf)
        )
        same = away.argmin(1) == shown
        if antialias:
            assert same.float().mean() > 0.995 and away.amin(1)[~same].min() > 0.2
        else:
            assert same.all() and away.amin(1).max() < 1e-5


def test_areas():
    for law, areas in (
        ("three", {"circle": pi / 4, "square": 1, "triangle": 1 / 2}),
        ("hierarchical", {"circle": pi / 4, "square": 1, "triangle": sqrt(3) / 4}),
        ("two_objects", {"triangle": 1 / 2, "square": 1}),
    ):
        truth = shapes(law, size=128).pairs
        seen = named(truth, coverage(truth, still(truth), 20).sum((2, 3)) / truth.size.square())
        for name, area in areas.items():
            present = named(truth, truth.present)[name]
            assert (
                seen[name][present] == pytest.approx(area, rel=0.02)
                and not seen[name][~present].any()
            )


def test_order_of_painting():
    for order in ("circle", "triangle", "square"), ("square", "circle", "triangle"):
        truth = shapes(size=32, z_order=order, count=200).pairs
        seen = masks(truth, "image")
        assert (
            torch.equal(seen.visible[:, 2], seen.amodal[:, 2])
            and (seen.visible[:, 0] != seen.amodal[:, 0]).any()
        )
        assert torch.equal(seen.visible.any(1), seen.amodal.any(1))


def warps(
    frames: Tensor, source: Tensor, shift: Tensor, here: Tensor, there: Tensor
) -> tuple[int, int, int]:
    """Of one pair: how many pixels of `frames` (3, H, W) show one thing wholly, how many of these
    are not hidden at the place in `source` that the flow `shift` (2, H, W) points to, and how many
    of these have its colour. `here` and `there` (S, H, W) are the coverages."""
    side = frames.shape[2]
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    qx, qy = (at + move.round().long() for at, move in zip((x, y), shift, strict=True))
    inside = (qx >= 0) & (qx < side) & (qy >= 0) & (qy < side)
    qx, qy = qx.clamp(0, side - 1), qy.clamp(0, side - 1)
    same = (frames - source[:, qy, qx]).abs().amax(0) < 1e-5
    whole = open_ = right = 0
    for s in range(-1, len(here)):
        pure = (here[s] == 1 if s >= 0 else torch.ones_like(inside)) & (here[s + 1 :] == 0).all(0)
        shown = pure & inside & (there[s + 1 :] == 0)[:, qy, qx].all(0)
        whole, open_, right = (
            whole + int(pure.sum()),
            open_ + int(shown.sum()),
            right + int((shown & same).sum()),
        )
    return whole, open_, right


@pytest.mark.parametrize(
    ("law", "size"), [("three", 128), ("hierarchical", 512), ("two_objects", 64)]
)
def test_flow_warps_one_frame_to_the_other(law, size):
    """At sizes where every step is whole pixels, to the bit of a float outside disocclusions."""
    truth = shapes(law, size=size, count=5).pairs.select(slice(5))
    first, second, found = paint(truth, still(truth)), paint(truth, truth.displacement), flow(truth)
    before, after = coverage(truth, still(truth)), coverage(truth, truth.displacement)
    for i in range(5):
        for one in (
            (second[i], first[i], found.backward[i], after[i], before[i]),
            (first[i], second[i], found.forward[i], before[i], after[i]),
        ):
            whole, shown, right = warps(*one)
            assert right == shown > 0.9 * whole > 0.8 * size**2
            assert warps(*one[:2], torch.zeros_like(one[2]), *one[3:])[2] < shown, (
                "without flow it does not fit"
            )


# Drawing


@pytest.mark.parametrize("law", LAWS)
def test_contract(law):
    found = data_sets.load(Options(law=law, size=32, count=20, held_out=5), None)
    batch = found.draw(0, 8, 0)
    assert list(batch) == ["image", "next"]
    for frames in batch.values():
        assert (
            frames.shape == (8, 3, 32, 32)
            and frames.dtype == torch.float32
            and frames.abs().max() <= 1
        )
    assert not torch.equal(batch["image"], batch["next"])
    assert (found.classes, found.extractor) == (0, "pairs") and (
        found.size("train"),
        found.size("held_out"),
    ) == (20, 5)
    assert all(isinstance(value, str) for value in found.describe().values())
    both = torch.cat(
        [found.take(split, found.size(split))["image"] for split in ("train", "held_out")]
    )
    assert len(both.flatten(1).unique(dim=0)) == 25


@pytest.mark.parametrize("law", LAWS)
def test_truth_is_what_take_shows(law):
    found = shapes(law, size=32)
    truth, batch = found.truth("held_out", 10), found.take("held_out", 10)
    assert torch.equal(paint(truth, still(truth)), batch["image"])
    assert torch.equal(paint(truth, truth.displacement), batch["next"])
    assert torch.equal(found.take("held_out", 3)["next"], batch["next"][:3])


def test_same_seed_same_bytes():
    asked = [(k, batch, seed) for seed in (0, 1) for batch in (3, 7) for k in (0, 5, 6, 40)]
    found = shapes(size=32)
    there = [found.draw(*one) for one in asked]
    torch.rand(3)  # the global generator is nothing to it
    back = [shapes(size=32).draw(*one) for one in reversed(asked)][::-1]
    for one, two in zip(there, back, strict=True):
        assert torch.equal(one["image"], two["image"]) and torch.equal(one["next"], two["next"])
    assert not torch.equal(there[0]["image"], found.draw(0, 3, 1)["image"])
    assert not torch.equal(
        found.take("train", 3)["image"], shapes(size=32, seed=1).take("train", 3)["image"]
    )


def test_an_epoch_holds_every_pair_once():
    found = shapes(size=16)
    every = {one.numpy().tobytes() for one in found.take("train", 40)["next"]}
    for epoch in 0, 3:
        drawn = torch.cat([found.draw(4 * epoch + i, 10, 5)["next"] for i in range(4)])
        assert {one.numpy().tobytes() for one in drawn} == every and len(every) == 40
    first, second = (found.draw(k, 40, 5)["image"] for k in (0, 1))
    assert not torch.equal(first, second), "each epoch has its own order"


# Refusals


@pytest.mark.parametrize(
    "wrong",
    [
        {"law": "four"},
        {"size": 15},
        {"size": 513},
        {"count": 0},
        {"held_out": 0},
        {"seed": -1},
        {"step_range": 0},
        {"step_range": 21},
        {"step_dist": "cauchy"},
        {"noise": -0.1},
        {"noise": 2.1},
        {"z_order": ["circle", "triangle"]},
        {"z_order": ["circle", "triangle", "star"]},
        {"speed": 1},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "shapes", **wrong}, Options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"law": "two_objects", "count": GRID},
            "data.count + held_out = 39416 pairs of law two_objects; allowed: 38416 ",
        ),
        (
            {"z_order": ("circle", "circle", "square")},
            "data.z_order = circle, circle, square; allowed: circle, triangle and ",
        ),
        (
            {"law": "hierarchical", "noise": 0.0},
            "data.noise = 0.0 under data.law = hierarchical; allowed: 0.8",
        ),
        (
            {"law": "two_objects", "step_range": 5},
            "data.step_range = 5 under data.law = two_objects; allowed: 10",
        ),
    ],
)
def test_options_that_contradict(options, says):
    with pytest.raises(Mistake) as caught:
        Shapes(Options(**options), None)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_what_cannot_be_drawn():
    found = shapes()
    with pytest.raises(Mistake, match=r"batch 41 .*allowed: 1 to 40"):
        found.draw(0, 41, 0)
    with pytest.raises(Mistake, match=r"split 'held_out'.*allowed: 1 to 10"):
        found.truth("held_out", 11)
