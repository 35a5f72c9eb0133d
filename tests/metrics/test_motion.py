"""Motion: displacements are read off pictures, whatever the law says,
and metrics hold to numbers worked out by hand."""

import json
from functools import cache
from math import log, nan

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.data.shapes import LAWS, Options, Shapes, Truth, coverage, masks, paint, redraw
from simulacra.metrics.futures.motion import (
    BINS,
    FAR,
    SMOOTHING,
    best_of_k_psnr,
    correlation,
    displacement_kl,
    displacements,
    diversity,
    edge_energy_ratio,
    forbidden,
    forbidden_share,
    histogram,
    off_palette,
    pair_kl,
    parts,
    psnr,
    refined,
    ssim,
)
from simulacra.metrics.futures.pairs_report import warped

EMPTY = SMOOTHING / BINS**2  # share of a bin that nothing fell into


@cache
def pairs(law: str = "three", size: int = 64, n: int = 200, antialias: bool = True) -> Truth:
    """n pairs of a law."""
    return Shapes(
        Options(law=law, size=size, count=1, held_out=n, antialias=antialias), None
    ).truth("held_out", n)


def visible(truth: Truth) -> Tensor:
    """The share of each shape (N, S) that the second frame shows."""
    whole = coverage(truth, torch.zeros_like(truth.displacement), truth.options.size // 2).sum(
        (2, 3)
    )
    return masks(truth, "next").visible.sum((2, 3)) / whole.clamp(min=1)


def everywhere(truth: Truth, dx: float, dy: float) -> Tensor:
    """The same displacement for all shapes."""
    return torch.tensor([dx, dy]).expand_as(truth.displacement)


def apart() -> Truth:
    """40 pairs whose shapes are so far apart that all may move by 8 pixels
    and none is hidden or leaves the frame."""
    truth = pairs(n=40)
    return truth._replace(centre=torch.tensor([[19.0, 19], [45, 19], [45, 45]]).expand(40, 3, 2))


def noise(*shape: int) -> Tensor:
    """Normal numbers, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# Reading


@pytest.mark.parametrize(
    ("law", "size"), [("three", 64), ("hierarchical", 64), ("two_objects", 64), ("three", 128)]
)
def test_true_pairs_are_read(law, size):
    truth = pairs(law, size, 200 if size == 64 else 60)
    read = displacements(paint(truth, truth.displacement), truth)
    good = truth.present & (visible(truth) >= 0.6)
    assert good.sum() > 1.5 * len(good) and read.matched[good].float().mean() >= 0.99
    error = (read.moved - truth.displacement).norm(dim=2)[good & read.matched]
    assert error.mean() < 0.01 and error.max() < 0.25
    assert (
        torch.equal(read.moved.isnan().all(2), ~read.matched)
        and not read.matched[~truth.present].any()
    )
    assert not read.matched[visible(truth) < 0.2].any(), "what is hidden cannot be read"
    assert forbidden_share(*read, truth) == 0


@pytest.mark.parametrize("how", ["noise", "blur", "hard edges", "a quarter pixel"])
def test_reading_bears(how):
    truth = pairs(antialias=how != "hard edges")
    if how == "a quarter pixel":
        truth = truth._replace(displacement=truth.displacement + 0.25)
    frames = paint(truth, truth.displacement)
    if how == "noise":
        frames = frames + 0.2 * noise(*frames.shape)
    if how == "blur":
        frames = torch.from_numpy(gaussian_filter(frames.numpy(), 0.8, axes=(2, 3), mode="nearest"))
    read = displacements(frames, truth)
    good = visible(truth) >= 0.6
    assert read.matched[good].float().mean() >= 0.99
    assert (read.moved - truth.displacement).norm(dim=2)[good & read.matched].mean() < 0.25
    assert forbidden_share(*read, truth) <= (0.01 if how == "hard edges" else 0)


@pytest.mark.parametrize("copies", [2, 3])
def test_ghosts_are_rejects_and_not_zero_motion(copies):
    truth = pairs()
    places = torch.linspace(-8, 8, copies)  # pixels, so that the copies still overlap
    ghosts = torch.stack([paint(truth, everywhere(truth, 0, float(y))) for y in places]).mean(0)
    good = (visible(truth._replace(displacement=everywhere(truth, 0, 8))) > 0.6).float()
    assert (
        good.sum() > 300
        and (displacements(ghosts, truth).matched * good).sum() <= 0.02 * good.sum()
    )
    assert (
        displacements(paint(truth, everywhere(truth, 0, 8)), truth).matched * good
    ).sum() >= 0.98 * good.sum()


def test_shapes_that_are_missing_doubled_or_recoloured():
    truth = apart()
    places = everywhere(truth, 2, 1)
    frames = paint(truth, places)
    assert displacements(frames, truth).matched.all()
    missing = paint(
        truth._replace(present=torch.tensor([[True, False, True]]).expand(40, 3)), places
    )
    moved = truth._replace(displacement=everywhere(truth, 2, 16))
    doubled = torch.where(
        masks(moved, "next").amodal[:, :1], paint(truth, moved.displacement), frames
    )
    dull = torch.stack([0.2 * truth.colour[:, 0], truth.colour[:, 1], truth.colour[:, 2]], 1)
    recoloured = paint(truth._replace(colour=dull), places)
    assert displacements(missing, truth).matched.all(0).tolist() == [True, False, True]
    assert displacements(doubled, truth).matched.all(0).tolist() == [False, True, True]
    for wrong, s in (missing, 1), (doubled, 0), (recoloured, 0):
        assert not displacements(wrong, truth).matched[:, s].any()


@pytest.mark.parametrize("move", [(7.0, 0.0), (0.0, -7.0), (6.5, 6.5), (-8.0, 3.25)])
def test_a_forbidden_direction_is_read_as_such(move):
    """All shapes move alike, so at least one moves against the law."""
    truth = apart()
    read = displacements(paint(truth, everywhere(truth, *move)), truth)
    assert read.matched.all() and torch.allclose(read.moved, everywhere(truth, *move), atol=0.1)
    axes = {(7.0, 0.0): "square", (0.0, -7.0): "circle"}
    wrong = torch.tensor([[name != axes.get(move) for name in truth.names]]).float()
    assert torch.equal(forbidden(*read, truth), wrong.expand(len(truth.size), 3))
    assert forbidden_share(*read, truth) == pytest.approx(float(wrong.mean()))


def test_each_pixel_is_some_shape_and_in_front_of_or_behind_the_others():
    """A later shape lies over an earlier one: what is earlier, and the ground, is behind it."""
    truth = apart()
    found = parts(paint(truth, everywhere(truth, 0, 0)), truth)
    assert {part.shape for part in found} == {(40, 3, 64, 64)}
    # rows and columns inside each shape, and of the ground
    places = [(19, 19), (19, 45), (45, 45), (2, 60)]
    for s, (row, column) in enumerate(places):
        own, front, behind = (
            part[:, :, row, column].round(decimals=2).unique(dim=0).tolist()
            for part in (found.own, found.front, found.behind)
        )
        s = -1 if s == 3 else s
        assert own == [[float(s == i) for i in range(3)]]
        assert front == [[float(s > i) for i in range(3)]] and behind == [
            [float(s < i) for i in range(3)]
        ]


@pytest.mark.parametrize("move", [(1.75, 1.75), (-1.75, -1.75), (0.75, -0.5)])
def test_the_search_below_a_pixel_goes_no_farther(move):
    truth = apart()
    seen = parts(paint(truth, everywhere(truth, *move)), truth)
    shift = refined(torch.zeros_like(truth.displacement), seen, truth)
    wanted = everywhere(truth, *move).clamp(-1, 1)
    assert torch.allclose(shift, wanted, atol=0.05)


def test_what_cannot_be_read():
    truth = pairs()
    with pytest.raises(
        Mistake, match=r"frames \(200, 3, 32, 32\) of 200 pairs; allowed: \(N, 3, 64, 64\)"
    ):
        displacements(torch.zeros(200, 3, 32, 32), truth)
    assert not displacements(torch.full((2, 3, 64, 64), nan), truth.select(slice(2))).matched.any()


# Displacements


def test_divergence_by_hand():
    """Two of four in the middle bin against one of four: 1.5 pixels at 64 are one bin."""
    true = torch.tensor([[0.0, 0.0], [1.5, 0.0], [1.5, 0.0], [1.5, 0.0]])
    predicted = torch.tensor([[0.5, -0.5], [-0.7, 0.7], [1.5, 0.0], [0.0, 1.5]])
    a, b, c = (0.99 * share + EMPTY for share in (0.5, 0.25, 0.75))
    expected = a * log(a / b) + b * log(b / c) + b * log(b / EMPTY)
    assert displacement_kl(predicted, true, 64) == pytest.approx(expected, rel=1e-9)
    assert displacement_kl(2 * predicted, 2 * true, 128) == pytest.approx(expected, rel=1e-9)
    assert displacement_kl(predicted.repeat(50, 1), true, 64) == pytest.approx(expected, rel=1e-9)
    far, away = torch.tensor([[99.0, 0.0]]), torch.tensor([[-99.0, 0.0]])
    most = (0.99 + EMPTY) * log((0.99 + EMPTY) / EMPTY) + EMPTY * log(EMPTY / (0.99 + EMPTY))
    assert displacement_kl(far, away, 64) == pytest.approx(most, rel=1e-9)
    assert displacement_kl(far, 2 * far, 64) == 0, "the outermost bins have no end"


def test_whole_steps_lie_inside_bins():
    steps = torch.stack(
        torch.meshgrid(torch.arange(-25.0, 26), torch.arange(-25.0, 26), indexing="ij"), 2
    ).flatten(0, 1)
    assert torch.equal(histogram(steps), histogram(steps + 0.49)) and torch.equal(
        histogram(steps), histogram(steps - 0.49)
    )
    line = torch.stack([torch.arange(-10.0, 11), torch.zeros(21)], 1)
    assert (histogram(line) > EMPTY * 1.01).sum() == 7 and histogram(line).max() == pytest.approx(
        0.99 / 7 + EMPTY
    )


def test_divergence_grows_with_what_is_wrong():
    truth = pairs("three", 64, 3000)
    for s, name in enumerate(truth.names):
        true, again = truth.displacement[:, s], redraw(truth, 1)[:, s]
        shrunk, turned = 0.5 * true, torch.stack([-true[:, 1], true[:, 0]], 1)
        values = [displacement_kl(one, true, 64) for one in (true, again, shrunk, 0 * true, turned)]
        assert (
            values[0] == 0
            and 0 < values[1] < 0.02
            and 0.3 < values[2] < values[3]
            and values[4] > 5
        ), name
    circle, triangle = truth.displacement[:, 0, 1], truth.displacement[:, 1, 1]
    others = redraw(truth, 1)
    true = (circle, triangle)
    together, independent, alike = (
        (others[:, 0, 1], others[:, 1, 1]),
        (others[:, 0, 1], triangle),
        (-circle, triangle),
    )
    assert pair_kl(true, true, 64) == 0 and pair_kl(together, true, 64) < 0.05
    assert 2 < pair_kl(independent, true, 64) < pair_kl(alike, true, 64)


def test_divergence_of_nothing():
    for wrong in torch.zeros(0, 2), torch.zeros(3), torch.tensor([[nan, 0.0]]):
        with pytest.raises(Mistake, match=r"allowed: \(N, 2\), at least one, all finite"):
            displacement_kl(wrong, torch.zeros(1, 2), 64)


@pytest.mark.parametrize(
    ("law", "name", "move", "expected"),  # canvas pixels
    [
        ("three", "circle", (0, 8), 0),
        ("three", "circle", (0, -8), 0),
        ("three", "circle", (0.9, 8), 0),
        ("three", "circle", (1.1, 2), 1),
        ("three", "circle", (2, 8), 0),  # 14 degrees
        ("three", "circle", (2.3, 8), 1),  # 16 degrees
        ("three", "circle", (0.9, 0), nan),
        ("three", "square", (-8, 0), 0),
        ("three", "square", (0, 8), 1),
        ("three", "triangle", (-5, 5), 0),
        ("three", "triangle", (5, 5), 1),
        ("two_objects", "triangle", (0, 14), 0),
        ("two_objects", "triangle", (0, -14), 1),
        ("two_objects", "square", (14, 0), 0),
        ("hierarchical", "circle", (5, 5), 0),
        ("hierarchical", "circle", (5, -5), 1),
        ("hierarchical", "square", (0, 8), 0),  # beside the circle's motion, which is (3, 3) here
        ("hierarchical", "square", (8, 0), 1),
        ("hierarchical", "triangle", (-8, 0), 0),
    ],
)
def test_forbidden_by_hand(law, name, move, expected):
    truth = pairs(law, 64, 8).select(slice(1))
    s = truth.names.index(name)
    moved, matched = (
        torch.zeros(1, len(truth.names), 2),
        torch.zeros(1, len(truth.names), dtype=torch.bool),
    )
    matched[:, s], moved[:, s] = True, torch.tensor(move) / 2
    if law == "hierarchical" and name != "circle":
        assert np.isnan(forbidden_share(moved, matched, truth)), "the circle is not known"
        moved, matched[:, 0] = moved + 1.5, True
        moved[:, 0] = 1.5
    assert forbidden(moved, matched, truth)[0, s] == pytest.approx(expected, nan_ok=True)
    matched[:, s] = False
    assert forbidden(moved, matched, truth)[0, s].isnan()


@pytest.mark.parametrize("law", LAWS)
def test_the_law_forbids_nothing_it_does(law):
    truth = pairs(law)
    assert forbidden_share(truth.displacement, truth.present, truth) == 0
    turned = torch.stack([-truth.displacement[..., 1], truth.displacement[..., 0]], 2)
    assert forbidden_share(turned, truth.present, truth) > 0.8


def test_correlation():
    x = torch.tensor([1.0, 2.0, 4.0])
    assert correlation(x, 3 - 2 * x) == pytest.approx(-1) and correlation(x, x) == pytest.approx(1)
    # 1/3 over the root of 14/3 x 2/3
    assert correlation(x, torch.tensor([1.0, 0.0, 1.0])) == pytest.approx(1 / 28**0.5)
    assert np.isnan(correlation(x, 0 * x))
    truth = pairs("three", 64, 3000)
    assert correlation(truth.displacement[:, 0, 1], truth.displacement[:, 1, 1]) == pytest.approx(
        -0.99, abs=0.004
    )


# Pictures


def test_psnr_by_hand():
    zero = torch.zeros(2, 3, 4, 4)
    assert psnr(
        zero, zero + torch.tensor([2e-1, 2.0])[:, None, None, None]
    ).tolist() == pytest.approx([20, 6.0206], abs=1e-4)
    assert psnr(zero + 5, zero).tolist() == pytest.approx([6.0206] * 2, abs=1e-4), "clipped to 1"
    assert (
        psnr(zero + 1.5, zero + 1).tolist() == psnr(zero - 1, zero - 1.5).tolist() == [100] * 2
    ), "either, at either end"
    assert psnr(zero, zero).tolist() == [100] * 2
    samples = torch.tensor([[0.2, 0.02, 0.9], [0.02, -0.2, 0.2]])[:, :, None, None, None].expand(
        2, 3, 3, 4, 4
    )
    assert best_of_k_psnr(samples, zero) == pytest.approx(40)
    assert best_of_k_psnr(samples[:, :1], zero) == pytest.approx(30)


def test_a_flow_of_whole_pixels_moves_whole_pixels():
    """What is shown at a place was 2 pixels right of it and 1 above;
    the border goes on for ever."""
    images = noise(2, 3, 6, 8)
    moved = warped(images, torch.tensor([2.0, -1]).view(1, 2, 1, 1).expand(2, 2, 6, 8))
    rows, columns = (torch.arange(6) - 1).clamp(0, 5), (torch.arange(8) + 2).clamp(0, 7)
    assert torch.allclose(moved, images[:, :, rows][..., columns], atol=1e-5)


def test_diversity_by_hand():
    samples = torch.tensor([[0.0, 0.2, 0.4]])[:, :, None, None, None].expand(1, 3, 3, 4, 4)
    assert diversity(samples) == pytest.approx((20 + 20 + 13.9794) / 3, abs=1e-4)
    assert diversity(samples[:, :1].expand(-1, 4, -1, -1, -1)) == 100
    with pytest.raises(Mistake, match="diversity of 1 sample; allowed: 2 or more"):
        diversity(samples[:, :1])


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Of one channel (H, W), with another's windows:
    those of SciPy cut off at 3.5 deviations, which is 11 x 11."""
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(values):
        return gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x**2) - mx**2, mean(y**2) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.0004, 0.0036
    return float(
        ((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    )


def test_ssim():
    truth = pairs().select(slice(4))
    x, y = paint(truth, everywhere(truth, 0, 0)), paint(truth, truth.displacement)
    y = (y + 0.1 * noise(*y.shape)).clamp(-1, 1)
    expected = [
        np.mean([reference_ssim(x[i, c].numpy(), y[i, c].numpy()) for c in range(3)])
        for i in range(4)
    ]
    assert ssim(x, y).tolist() == pytest.approx(expected, abs=1e-7) and 0.1 < expected[0] < 0.9
    assert ssim(x, x).tolist() == pytest.approx([1.0] * 4)
    flat = torch.full((1, 1, 11, 11), 0.5)
    assert ssim(flat, -flat).item() == pytest.approx((-0.5 + 0.0004) / (0.5 + 0.0004))
    with pytest.raises(Mistake, match="at least 11"):
        ssim(flat[..., 1:], flat[..., 1:])


def test_off_palette():
    truth = pairs("three", 64, 200)
    assert off_palette(paint(truth, truth.displacement), truth) == pytest.approx(0.01, abs=0.002)
    large = pairs("three", 128, 60)
    assert off_palette(paint(large, large.displacement), large, 0.4) == pytest.approx(
        0.01, abs=0.002
    )
    one = truth.select(slice(1))
    frame = one.background[:, :, None, None].expand(1, 3, 64, 64).clone()
    frame[:, :, :8] = one.colour[:, 1, :, None, None]
    assert off_palette(frame, one) == 0
    frame[:, :, :4] = -1 + 0.5 * (frame[:, :, :4] + 1)  # dark
    away = float((frame[0, :, 0, 0] - torch.cat([one.colour[0], one.background])).norm(dim=1).min())
    assert (
        off_palette(frame, one, away - 1e-3) == 4 / 64 and off_palette(frame, one, away + 1e-3) == 0
    )
    assert off_palette(torch.zeros_like(frame), one, FAR) == 1


def test_off_palette_knows_what_is_absent():
    truth = pairs("hierarchical")
    lonely = truth.select((~truth.present[:, 1]).nonzero()[:1, 0])
    frame = lonely.colour[:, 1, :, None, None].expand(1, 3, 64, 64)
    assert (
        off_palette(frame, lonely) == 1
        and off_palette(frame, lonely._replace(present=lonely.present | True)) == 0
    )


def test_edge_energy_by_hand():
    step = torch.zeros(1, 1, 4, 4)
    step[..., 2:] = 1.0  # 4 steps of 1 among 12 neighbours in x
    assert edge_energy_ratio(step, step / 2) == pytest.approx(4) and edge_energy_ratio(
        step.mT, step
    ) == pytest.approx(1)
    ramp = torch.linspace(0, 1, 4).expand(1, 1, 4, 4)
    assert edge_energy_ratio(ramp, step) == pytest.approx(1 / 3)
    truth = pairs()
    frames = paint(truth, truth.displacement)
    assert edge_energy_ratio(frames, paint(truth, redraw(truth, 3))) == pytest.approx(1, abs=0.02)
    assert (
        edge_energy_ratio(torch.from_numpy(gaussian_filter(frames.numpy(), 1, axes=(2, 3))), frames)
        < 0.5
    )


def test_futures_measured_from_the_command_line(simulacra, tmp_path) -> None:
    folder = tmp_path / "run"
    simulacra(
        "train", "visual_dynamics_shapes", "--preset", "tiny", "--run", folder, "--set", "steps=2"
    ).success()
    words = "measure", folder, "--samples", 60, "--repeats", 2
    rows = {row["metric"]: row for row in json.loads(simulacra(*words, "--json").success())}
    assert {row["n_fake"] for row in rows.values()} == {60} and {
        row["n_real"] for row in rows.values()
    } == {10}
    law = {name: row["floor"] for name, row in rows.items()}
    assert (
        law["matched"] > 0.9
        and law["forbidden"] == 0
        and law["circle_triangle_correlation"] < -0.95
    )
    assert law["displacement_kl_circle"] < rows["neighbour_displacement_kl_circle"]["value"]
    assert law["best_of_k_psnr"] > law["copy_psnr"] == rows["copy_psnr"]["value"]
    assert rows["off_palette"]["value"] > law["off_palette"], "an untrained net is no painter"
    assert list(rows) == [
        row["metric"] for row in json.loads(simulacra(*words, "--json").success())
    ]
    assert "the law's own futures as samples" in " ".join(simulacra(*words).success().split())
    assert {row["prior"] for row in rows.values()} == {"mixture"}
    other = {
        row["metric"]: row
        for row in json.loads(simulacra(*words, "--json", "--prior", "empirical").success())
    }
    assert {row["prior"] for row in other.values()} == {"empirical"}
    assert other["diversity_psnr"]["value"] != rows["diversity_psnr"]["value"]
    text = simulacra(*words, "--extractor", "pixels").refusal()
    assert "extractor 'pixels' sees pictures, and these data are pairs; allowed: 'pairs'" in text
