"""What an object does to the light: found, taken away, taken along; and nothing where it does
nothing."""

from functools import cache

import torch
from torch import Tensor

from simulacra.data.layered import Layered, Options, Truth, ground_truth
from simulacra.video.effects import Effects, affected, effects, zone
from simulacra.video.layers import lit, over
from simulacra.video.plate import COVERED, clean_plate

FAST = {"height": 72, "width": 120, "frames": 10, "speed": (9.0, 10.0)}


@cache
def clip(shadow: float) -> Truth:
    return ground_truth(Layered(Options(**FAST, shadow=shadow), None).scene("held_out", 0))


@cache
def found(shadow: float) -> tuple[Tensor, Effects, Tensor]:
    """Where the effects are, they, and the background."""
    frames, matte, _, _ = clip(shadow).layers
    where = affected(frames, matte)
    plate = clean_plate(frames, matte, unlit=where).background
    return where, *effects(frames, matte, plate, where)


def psnr(one: Tensor, two: Tensor, where: Tensor) -> float:
    return float(10 * torch.log10(4 / (one - two).square().mean(1, keepdim=True)[where].mean()))


def test_a_shadow_is_taken_away() -> None:
    frames, matte, _, truth = clip(0.7).layers
    where = (clip(0.7).gain < 0.97) & (matte < COVERED)
    today = clean_plate(frames, matte).background
    assert psnr(found(0.7)[2], truth, where) > 4 + psnr(today, truth, where)


def test_ground_and_effects_make_the_frames_again() -> None:
    frames, matte, _, _ = clip(0.7).layers
    where, (gain, add), background = found(0.7)
    assert gain.min() >= 0 and gain.max() <= 1 and add.min() >= 0 and (gain < 0.7).any()
    assert psnr(lit(background, gain, add), frames, where & (matte < COVERED)) > 25
    far = ~where & (matte < COVERED)
    assert (gain == 1)[far].all() and (add == 0)[far.expand_as(add)].all()


def test_no_effects_no_change() -> None:
    frames, matte, _, truth = clip(0.0).layers
    assert affected(frames, matte).sum() < 0.05 * (matte >= COVERED).sum()
    nowhere = torch.zeros_like(matte, dtype=torch.bool)
    (gain, add), background = effects(frames, matte, truth, nowhere)
    assert (gain == 1).all() and (add == 0).all() and torch.equal(background, truth)
    few = slice(0, 3)
    plain = clean_plate(frames[few], matte[few]).background
    same = clean_plate(frames[few], matte[few], unlit=nowhere[few]).background
    assert torch.equal(plain, same)


def test_they_are_looked_for_below_the_middle() -> None:
    mask = torch.zeros(2, 1, 60, 60, dtype=torch.bool)
    mask[0, 0, 20:31, 20:31] = True
    around = zone(mask)
    assert not around[0, 0, :25].any() and around[0, 0, 45, 25] and not around[1].any()


def test_light_is_gain_and_what_is_added() -> None:
    """Half of the light of a grey of 0 (half bright) is -0.5; 0.2 added is -0.3; under an opaque
    object nothing of it is seen."""
    grey = torch.zeros(1, 3, 1, 2)
    gain, add = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2), torch.full((1, 3, 1, 2), 0.2)
    assert torch.allclose(lit(grey, gain), torch.tensor(-0.5))
    assert torch.allclose(lit(grey, gain, add), torch.tensor(-0.3))
    assert torch.equal(lit(grey), grey)
    matte = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    made = over(torch.ones(1, 3, 1, 2), matte, grey, gain, add)
    assert torch.allclose(made[0, 0, 0], torch.tensor([1.0, -0.3]))
