"""Several objects as layers: who is in front, whose the matte is, and what layers make again."""

import pytest
import torch
from drawn import texture
from torch import Tensor

from simulacra.nn.maths import psnr
from simulacra.video import depth

H, W = 56, 88


def crossing(nearest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of two squares the first passes the second, before it (0) or behind it (1): frames, masks
    (T, 2, H, W) bool, and the ground."""
    ground = texture(H, W, (-0.4, 0.2, 0.0), 1)
    things = texture(20, 20, (0.5, -0.3, 0.2), 2), texture(24, 24, (-0.2, 0.5, -0.5), 3)
    frames, masks = ground.repeat(8, 1, 1, 1), torch.zeros(8, 2, H, W, dtype=torch.bool)
    for t in range(8):
        boxes = (slice(20, 40), slice(8 + 5 * t, 28 + 5 * t)), (slice(16, 40), slice(40, 64))
        for k in (1 - nearest, nearest):
            frames[t][:, *boxes[k]] = things[k]
            masks[t, :, *boxes[k]] = False
            masks[t, k][boxes[k]] = True
    return frames, masks, ground


@pytest.mark.parametrize("nearest", [0, 1])
def test_who_covers_is_in_front(nearest: int) -> None:
    frames, masks, _ = crossing(nearest)
    assert depth.order(frames, masks) == ([0, 1] if nearest == 0 else [1, 0])
    assert depth.order(frames.flip(0), masks.flip(0)) == ([0, 1] if nearest == 0 else [1, 0])
    counts = depth.covers(frames, masks)
    assert counts[nearest, 1 - nearest] > 200 > 10 * counts[1 - nearest, nearest]


def test_objects_that_never_touch_keep_their_order() -> None:
    frames, masks, _ = crossing(1)
    assert depth.order(frames[:2], masks[:2]) == [0, 1]
    assert depth.order(frames, masks[:, :1]) == [0]


def test_three_in_a_chain() -> None:
    """The last is before the second, the second before the first."""
    counts = torch.tensor([[0, 0, 0], [9, 0, 0], [0, 5, 0]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth, "covers", lambda *_: counts.numpy())
        assert depth.order(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)) == [2, 1, 0]


def test_shares_sum_to_the_common_matte() -> None:
    mattes = torch.zeros(1, 2, 8, 12)
    mattes[0, 0, :, :4], mattes[0, 1, :, 4:8] = 1, 1
    mattes[0, :, :, 4] = torch.tensor([0.75, 0.75])[:, None]
    matte = torch.ones(1, 1, 8, 12) * 0.9
    found = depth.parts(mattes, matte)
    assert torch.allclose(found.sum(1, keepdim=True), matte)
    assert torch.allclose(found[0, :, 0, 4], torch.tensor([0.45, 0.45]))
    assert torch.allclose(found[0, :, 0, 10], torch.tensor([0.0, 0.9])), "the nearest one's"
    assert torch.equal(depth.parts(mattes[:, :1], matte), matte)


def test_opacities_lay_the_shares_over_one_another() -> None:
    shares = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1)
    found = depth.opacities(shares, [1, 0, 2]).flatten()
    assert torch.allclose(found, torch.tensor([0.5 / 0.75, 0.25, 1.0]))


@pytest.mark.parametrize("nearest", [0, 1])
def test_the_layers_make_the_clip_again(nearest: int) -> None:
    """Also where soft edges of both meet; and the colours of the farther are its own there."""
    frames, masks, ground = crossing(nearest)
    soft = torch.nn.functional.avg_pool2d(masks.float(), 3, 1, 1)
    order, background = depth.order(frames, masks), ground.expand_as(frames)
    shares = depth.parts(soft, soft.sum(1, keepdim=True).clamp(max=1))
    colours, composite = depth.colours_of(frames, shares, order, background)
    assert psnr(composite, frames).min() > 27
    opacity = depth.opacities(shares, order)
    again = depth.laid(colours, opacity, order, background)
    assert torch.equal(again, composite) and opacity.max() <= 1 and shares.sum(1).max() < 1.0001
