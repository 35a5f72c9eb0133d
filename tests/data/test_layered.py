"""Clips with layers: what is told of them is what they show, pixel by pixel."""

import cmath
import itertools
import math
import time
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import data_sets
from simulacra.core.errors import Mistake
from simulacra.data import layered
from simulacra.data.layered import (
    INSIDE,
    Layered,
    Options,
    Outline,
    Scene,
    Truth,
    arc,
    coverage,
    ground_truth,
    paint,
)
from simulacra.nn.optical_flow import warp

SMALL = {"height": 48, "width": 80, "frames": 8, "count": 12, "held_out": 6}


@cache
def clip(number: int, split: str = "held_out", **options: object) -> Truth:
    """What is known of one clip, of the default size unless told."""
    return ground_truth(Layered(Options(**options), None).scene(split, number))


def small(**options: object) -> Layered:
    return Layered(Options(**SMALL | options), None)


def psnr(error: Tensor) -> float:
    """Of errors in units of [-1, 1], in dB."""
    return -10 * math.log10(float((error / 2).square().mean()))


# What a clip is


@pytest.mark.parametrize("number", range(3))
def test_frames_are_the_layers_composed(number):
    frames, matte, foreground, background = (one.double() for one in clip(number).layers)
    assert (frames - (matte * foreground + (1 - matte) * background)).abs().max() < 1e-6
    for layer in frames, foreground, background:
        assert layer.shape == (24, 3, 120, 216) and layer.abs().max() <= 1
    assert matte.shape == (24, 1, 120, 216) and matte.min() == 0 and matte.max() == 1
    assert torch.equal(clip(number).mask, matte >= 0.5)


@pytest.mark.parametrize("edge", [1.0, 2.0, 5.0])
def test_the_edge_is_as_wide_as_asked(edge):
    """The ramp's area over the length of the outline,
    both counted in pixels, at whatever scale the object is."""
    truth = clip(1, height=240, width=432, frames=2, edge=edge)
    matte = truth.layers.matte[0, 0]
    ramp = ((matte > 0) & (matte < 1)).sum()
    scene = truth.scene
    around = np.exp(2j * np.pi * np.arange(4000) / 4000)
    sums = sum(wave * around**k for k, wave in enumerate(scene.outline.waves, 2))
    line = scene.pose(scene.outline.radius * (1 + sums.real) * around)[0]
    inside = (line.real > 0) & (line.real < 432) & (line.imag > 0) & (line.imag < 240)
    length = np.abs(np.roll(line, -1) - line)[inside].sum()
    assert ramp / length == pytest.approx(edge, rel=0.1)


def test_depth_is_a_distance():
    """Of a circle exactly, of a blob near its edge against its nearest point by brute force."""
    z = np.array([0, 3 + 4j, -20, 10j])
    assert np.allclose(Outline(10.0, np.zeros(5)).depth(z), [10, 5, -10, 0], atol=1e-5)
    blob = Outline(30.0, 0.4 / np.arange(2, 7) * np.exp(1j * np.arange(5)))
    around = np.exp(2j * np.pi * np.arange(20_000) / 20_000)
    edge = 30 * (1 + sum(wave * around**k for k, wave in enumerate(blob.waves, 2)).real) * around
    assert np.abs(edge).max() < blob.reach and np.abs(edge).min() > 10
    for factor, inside in (0.97, True), (1.03, False):
        near = edge[::500] * factor
        distance = np.abs(near[:, None] - edge).min(1) * (1 if inside else -1)
        assert np.allclose(blob.depth(near), distance, atol=0.15)
    assert (blob.depth(blob.points()) > 0).all() and len(blob.points()) > 200


def test_the_object_stays_inside_and_moves_as_fast_as_asked():
    """Its share in the frame from mattes that reach beyond it;
    its speed over the background from centre and view."""
    source, margin = Layered(Options(), None), 120
    x, y = (
        torch.arange(-margin, 216 + margin, 2) + 0.5,
        torch.arange(-margin, 120 + margin, 2) + 0.5,
    )
    places = (x + 1j * y[:, None]).numpy().ravel()
    within = (
        (places.real > 0) & (places.real < 216) & (places.imag > 0) & (places.imag < 120)
    ).astype(np.float32)
    steps = []
    for number in range(12):
        scene = source.scene("train", number)
        matte = coverage(scene, places)
        assert ((matte @ torch.from_numpy(within)) / matte.sum(1)).min() > INSIDE - 0.04
        steps.append(np.abs(np.diff(scene.view.turn * scene.pose.shift + scene.view.shift)))
    steps = np.stack(steps) / source.options.unit
    assert steps.min() > 1 - 1e-9 and steps.max() < 6 + 1e-9
    assert (steps.max(1) / steps.min(1)).max() > 1.2 and steps.max() > 4.5 and steps.min() < 2.5


@pytest.mark.parametrize("frames", [2, 24, 200])
def test_speed_is_exact_however_long_the_clip(frames):
    options = Options(frames=frames, height=32, width=32, speed=(3.0, 3.0))
    steps = [
        np.abs(np.diff(arc(options, np.random.default_rng(i)))) / options.unit for i in range(20)
    ]
    assert np.allclose(np.concatenate(steps), 3)
    fast = Options(frames=frames, speed=(0.5, 20.0))
    ways = [arc(fast, np.random.default_rng(i)) for i in range(50)]
    lengths = np.concatenate([np.abs(np.diff(way)) / fast.unit for way in ways])
    assert 0.5 <= lengths.min() < 5 and 15 < lengths.max() <= 20
    assert max(np.abs(way).max() for way in ways) < 2 * 0.35 * 120, "never far"


def test_the_tamest_path_always_fits(monkeypatch):
    """The fastest object and camera, in narrow frames and long clips;
    if no path pleases, the object is in the middle."""
    source = small(height=32, width=96, frames=100, speed=(20.0, 20.0), camera=10.0)
    for number in range(6):
        scene = source.scene("train", number)
        there = scene.pose(scene.outline.points())
        within = (there.real > 0) & (there.real < 96) & (there.imag > 0) & (there.imag < 32)
        assert within.mean(1).min() >= INSIDE
    monkeypatch.setattr(layered, "INSIDE", 2)
    assert np.allclose(source.scene("train", 0).pose.shift, 48 + 16j)


# Flow


def confident(truth: Truth) -> tuple[Tensor, Tensor]:
    """Where frames from the second on show what the frame before shows too:
    of the object, of the background."""
    before, now = warp(truth.layers.matte[:-1], truth.flow.backward), truth.layers.matte[1:]
    inside = warp(torch.ones_like(now), truth.flow.backward, padding="zeros") > 0.99
    return (before > 0.999) & (now > 0.999) & inside, (before < 0.001) & (now < 0.001) & inside


@pytest.mark.parametrize("number", range(4))
def test_frames_follow_one_another_by_the_flow(number):
    """Away from edges and from what was hidden before, and not without the flow."""
    truth = clip(number)
    frames = truth.layers.frames
    error, still = warp(frames[:-1], truth.flow.backward) - frames[1:], frames[:-1] - frames[1:]
    for where in confident(truth):
        seen = where.expand_as(error)
        assert seen.float().mean() > 0.02
        assert psnr(error[seen]) > 30 and psnr(error[seen]) > psnr(still[seen]) + 6
    ahead = warp(frames[1:], truth.flow.forward) - frames[:-1]
    back = warp(truth.layers.matte[1:], truth.flow.forward)
    for where in (back > 0.999) & truth.mask[:-1], (back < 0.001) & (truth.layers.matte[:-1] == 0):
        inside = where & (warp(torch.ones_like(back), truth.flow.forward, padding="zeros") > 0.99)
        assert psnr(ahead[inside.expand_as(ahead)]) > 30


@pytest.mark.parametrize("number", range(4))
def test_flow_of_the_object_is_that_of_its_centre(number):
    """Finite differences of the path; flow is affine inside the object,
    so that reading between pixels is exact."""
    truth = clip(number, frames=12)
    for flow, start, end in (
        (truth.flow.forward, slice(-1), slice(1, None)),
        (truth.flow.backward, slice(1, None), slice(-1)),
    ):
        at, step = truth.centre[start], truth.centre[end] - truth.centre[start]
        places = (at * 2 / torch.tensor([216.0, 120.0]) - 1)[:, None, None]
        read = F.grid_sample(flow, places, align_corners=False)[:, :, 0, 0]
        mid = ((at > 2) & (at < torch.tensor([214.0, 118.0]))).all(1)
        assert mid.any() and torch.allclose(read[mid], step[mid], atol=2e-3)
        assert step.norm(dim=1).max() > 0.2


def test_there_and_back_again():
    """Forward and backward flow are inverse where both see the same layer."""
    truth = clip(0)
    returned = warp(truth.flow.forward, truth.flow.backward) + truth.flow.backward
    assert (
        returned[(confident(truth)[0] | confident(truth)[1]).expand_as(returned)].abs().max() < 2e-3
    )


# What is revealed


def matte_at(scene: Scene, t: int, place: complex) -> float:
    """The matte at one place of one frame, written anew with angles."""
    turn, shift = complex(scene.pose.turn[t]), complex(scene.pose.shift[t])
    own = (place - shift) / turn
    phi, rho = cmath.phase(own), abs(own)
    r, slope = 1.0, 0.0
    for k, wave in enumerate(scene.outline.waves.tolist(), 2):
        r += abs(wave) * math.cos(k * phi + cmath.phase(wave))
        slope -= k * abs(wave) * math.sin(k * phi + cmath.phase(wave))
    depth = (scene.outline.radius * r - rho) / math.hypot(1, slope / r) * abs(turn)
    return min(max(depth / scene.options.edge + 0.5, 0.0), 1.0)


@pytest.mark.parametrize("number", [0, 3])
def test_revealed_by_brute_force(number):
    """Every pixel, every other frame, one at a time;
    pixels on a boundary by less than a rounding may go either way."""
    truth = ground_truth(
        small(height=32, width=40, frames=5, speed=(12.0, 20.0)).scene("train", number)
    )
    scene, wrong, count = truth.scene, 0, 0
    turn, shift = scene.view.turn.tolist(), scene.view.shift.tolist()
    for t, y, x in itertools.product(range(5), range(32), range(40)):
        place, seen = x + 0.5 + 1j * (y + 0.5), False
        hidden = matte_at(scene, t, place) >= 0.5
        for s in range(5) if hidden else ():
            there = (turn[t] * place + shift[t] - shift[s]) / turn[s]
            inside = 0.5 <= there.real <= 39.5 and 0.5 <= there.imag <= 31.5
            seen = seen or (s != t and inside and matte_at(scene, s, there) == 0)
        wrong += bool(truth.revealed[t, 0, y, x]) != (hidden and seen)
        count += hidden and seen
    assert count > 40 and wrong <= 2


@pytest.mark.parametrize("number", range(6))
def test_every_clip_reveals_background_and_what_is_revealed_can_be_read(number):
    """The true background where it is revealed is in another frame,
    the views of which are known."""
    truth = clip(number)
    assert not (truth.revealed & ~truth.mask).any()
    assert truth.revealed.sum() > 0.1 * truth.mask.sum()
    scene, t = truth.scene, int(truth.revealed.sum((1, 2, 3)).argmax())
    places = (torch.arange(216) + 0.5 + 1j * (torch.arange(120)[:, None] + 0.5)).numpy().ravel()
    there = scene.view.inverse()(scene.view.select(slice(t, t + 1))(places))
    grid = torch.from_numpy(
        np.stack([there.real * 2 / 216 - 1, there.imag * 2 / 120 - 1], 2)
    ).float()
    read = F.grid_sample(truth.layers.frames, grid.unflatten(1, (120, 216)), align_corners=False)
    error = (read - truth.layers.background[t]).abs().amax(1)
    best = error.amin(0)[truth.revealed[t, 0]]
    assert best.quantile(0.9) < 0.1 < error[t][truth.revealed[t, 0]].median()


# What the object looks like


def test_the_object_is_seen_but_not_by_its_mean_colour():
    """Of 12 clips: layers differ under the object,
    mean colours less than the textures themselves do."""
    apart, own = [], []
    for number in range(12):
        layers = paint(Layered(Options(frames=2), None).scene("train", number))
        solid = (layers.matte == 1).expand_as(layers.frames)
        over, under = layers.foreground[solid], layers.background[solid]
        assert (over - under).square().mean().sqrt() > 0.25
        one, two = (
            (layer * solid).sum((0, 2, 3)) / solid.sum((0, 2, 3))
            for layer in (layers.foreground, layers.background)
        )
        apart.append(float((one - two).square().mean().sqrt()))
        own.append(float((over - under).square().mean().sqrt()))
    assert np.median(apart) < 0.75 * np.median(own)


# Which clips


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_batches():
    source = small()
    batch = source.draw(0, 3, seed=5)
    assert list(batch) == ["video", "mask"] and (source.classes, source.extractor) == (0, "clips")
    assert batch["video"].shape == (3, 8, 3, 48, 80) and batch["mask"].shape == (3, 1, 48, 80)
    assert batch["video"].dtype == batch["mask"].dtype == torch.float32
    assert batch["mask"].unique().tolist() == [0, 1] and batch["video"].abs().max() <= 1
    for split in "train", "held_out":
        taken, truth = source.take(split, 3), source.truth(split, 3)
        for i, one in enumerate(truth):
            assert torch.equal(taken["video"][i], one.layers.frames)
            assert torch.equal(taken["mask"][i], one.mask[0].float())


def test_a_clip_follows_from_seed_split_and_number_alone():
    """Not from the batch around it, what was drawn before, or how many clips there are."""
    source = small()
    first = source.draw(0, 4, seed=1)
    assert same(first, small().draw(0, 4, seed=1)) and same(first, source.draw(0, 4, seed=1))
    singles = [source.draw(k, 1, seed=1) for k in (3, 2, 1, 0)][::-1]
    assert same(first, {name: torch.cat([one[name] for one in singles]) for name in first})
    more = small(count=500, held_out=40)
    assert all(
        torch.equal(paint(source.scene(s, 5)).frames, paint(more.scene(s, 5)).frames)
        for s in ("train", "held_out")
    )


def test_clips_differ():
    source = small()
    clips = [
        paint(one.scene(split, i))
        for one in (source, small(seed=1))
        for split in ("train", "held_out")
        for i in range(3)
    ]
    for one, other in itertools.combinations(clips, 2):
        assert not torch.equal(one.matte, other.matte) and not torch.equal(
            one.background, other.background
        )


def test_the_global_generator_is_left_alone():
    source = small()
    state = torch.get_rng_state()
    source.draw(0, 2, 0)
    assert torch.equal(state, torch.get_rng_state())


def test_all_scales_with_the_size():
    """The same clip, twice as large."""
    one, two = (clip(0, frames=4, height=h, width=w) for h, w in ((60, 108), (120, 216)))
    assert torch.allclose(one.centre * 2, two.centre, atol=1e-3)
    assert one.scene.outline.radius * 2 == pytest.approx(two.scene.outline.radius)
    smaller = F.avg_pool2d(two.layers.matte, 2)
    assert (smaller - one.layers.matte).abs().mean() < 0.005
    assert (F.avg_pool2d(two.layers.background, 2) - one.layers.background).abs().mean() < 0.05


# Photographs of one's own


def pictures(folder: Path, *sizes: tuple[int, int]) -> None:
    """A folder of pictures in red, green and blue."""
    folder.mkdir()
    for i, size in enumerate(sizes):
        Image.new("RGB", size, ("red", "lime", "blue")[i % 3]).save(folder / f"{i}.png")


def test_a_folder_of_photographs(tmp_path):
    """All of them are used, whatever their sizes, for object and background,
    and never one for both."""
    pictures(tmp_path / "mine", (90, 60), (60, 300), (400, 64))
    source = Layered(Options(**SMALL | {"path": "mine"}), tmp_path)
    pairs = set()
    for number in range(12):
        scene = source.scene("train", number)
        layers, shapes = (
            paint(scene),
            [one.colours.shape[2] / one.colours.shape[1] for one in (scene.figure, scene.ground)],
        )
        assert abs(math.log(shapes[0] / shapes[1])) > 1, "photographs of different shapes"
        assert (layers.background.std((0, 2, 3)) < 1e-5).all(), (
            "one colour, also beyond the borders"
        )
        pairs.add(int(layers.background.mean((0, 2, 3)).argmax()))
    assert pairs == {0, 1, 2}
    facts = source.describe()
    assert facts["source"].startswith("3 photographs in mine, 90x60 to 400x64, 3 different ones; ")


def refusal(root: Path | None, **options: object) -> str:
    """What the Mistake says."""
    with pytest.raises(Mistake) as caught:
        data_sets.load(Options(**options), root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mistakes(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no pictures; it holds nothing" in refusal(tmp_path, path="empty")
    pictures(tmp_path / "one", (300, 200))
    assert "holds 1 picture; needed: 2 or more" in refusal(tmp_path, path="one")
    pictures(tmp_path / "tiny", (300, 200), (300, 59))
    assert "1.png is 300x59; allowed: sides of at least 60" in refusal(tmp_path, path="tiny")
    (tmp_path / "one" / "x.jpg").write_bytes(b"no")
    assert "x.jpg: not a picture" in refusal(tmp_path, path="one")
    assert "data.path" in refusal(None, path="gone") and "is not there" in refusal(
        tmp_path, path="gone"
    )
    assert (
        refusal(None, height=32, width=128)
        == "data.width x height = 128 x 32; allowed: no side above three times the other"
    )
    assert "200 x 512 x 512 pixels; allowed: 8388608 at most" in refusal(
        None, frames=200, height=512, width=512
    )
    for speed in (0.0, 3.0), (3.0, 2.0), (1.0, 21.0), (math.nan, 2.0):
        assert refusal(None, speed=speed).startswith("data.speed = ")
    with pytest.raises(
        Mistake, match="batch 13 does not fit the 12 training clips; allowed: 1 to 12"
    ):
        small().draw(0, 13, 0)
    with pytest.raises(
        Mistake, match="7 clips of split 'held_out' were asked for; allowed: 1 to 6"
    ):
        small().take("held_out", 7)
    with pytest.raises(Mistake, match="unknown split 'test'"):
        small().truth("test", 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("height", 31), ("width", 1025), ("frames", 1), ("edge", 0.5), ("camera", -1)],
)
def test_options_out_of_range(field, value):
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"name": "layered", field: value}, Options)


def test_describe():
    facts = Layered(Options(), None).describe()
    assert facts == {
        "source": "2 photographs in the package scikit-learn, 640x427; an object cut from one "
        "moves over another; generated from seed 0",
        "clips": "1000 to train on, 100 held out; both splits draw from all photographs",
        "shape": "24 x 3 x 120 x 216 (frames, channels, height, width), floats in [-1, 1]",
        "motion": "by 0.5 to 3 pixels a frame relative to the background",
    }


def test_a_clip_is_painted_in_less_than_half_a_second():
    """Of processor time, on one thread; the first one decodes the photographs."""
    source = Layered(Options(), None)
    source.draw(0, 1, 0)
    start = time.process_time()
    source.draw(1, 4, 0)
    assert (time.process_time() - start) / 4 < 0.5


# Light


def test_light_is_off_unless_asked_for():
    plain, same = clip(0), clip(0, shadow=0.0, reflection=0.0)
    assert (plain.gain == 1).all() and (plain.add == 0).all()
    assert torch.equal(plain.layers.frames, same.layers.frames)
    lit = clip(0, shadow=0.6, reflection=0.5)
    for one, other in zip(lit.layers[1:], plain.layers[1:], strict=True):
        assert torch.equal(one, other), "the layers themselves stay"


def test_frames_are_the_layers_and_the_light_composed():
    truth = clip(0, shadow=0.6, reflection=0.5)
    frames, matte, foreground, background = truth.layers
    ground = truth.gain * (background + 1) - 1 + truth.add
    assert (frames - (matte * foreground + (1 - matte) * ground)).abs().max() < 1e-5
    assert 0.1 < truth.gain.min() < 0.7 and truth.add.max() > 0.1
    shade = clip(0, shadow=0.6)
    assert (shade.add == 0).all() and shade.gain.min() < 0.65
    image = clip(0, reflection=0.5)
    assert (image.gain + image.add.amax(1, keepdim=True) / 2 <= 1 + 1e-5).all()


def test_a_shadow_moves_with_the_object():
    truth = clip(0, shadow=0.6)
    dark = (1 - truth.gain)[:, 0]
    x = torch.arange(216) + 0.5
    middle = (dark.sum(1) * x).sum(1) / dark.sum((1, 2))
    whole = (dark[:, 0] == 0).all(1) & (dark[:, -1] == 0).all(1)
    whole &= (dark[:, :, 0] == 0).all(1) & (dark[:, :, -1] == 0).all(1)
    apart = (middle - truth.centre[:, 0])[whole]
    assert whole.sum() > 3 and apart.max() - apart.min() < 3
    bare = layered.revealed(truth.scene, truth.mask, bare=True)
    assert (truth.revealed | ~bare).all() and bare.sum() < truth.revealed.sum()
