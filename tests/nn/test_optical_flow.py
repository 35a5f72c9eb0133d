"""Optical flow: conventions, units, and what there-and-back-again says."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.nn.optical_flow import Flows, agreement, between, of_clip, resized, warp


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """A smooth random picture (1, 3, H, W) in [-1, 1]."""
    rough = (
        torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed)) * 2
        - 1
    )
    return F.interpolate(rough, (height, width), mode="bicubic").clamp(-1, 1)


def constant(dx: float, dy: float, height: int = 6, width: int = 8) -> Tensor:
    return torch.tensor([dx, dy]).float().view(1, 2, 1, 1).expand(1, 2, height, width).clone()


def test_warp_by_whole_pixels() -> None:
    """out(x) = image(x + flow(x)): a flow to the right fetches from the right."""
    image = torch.arange(48.0).view(1, 1, 6, 8)
    out = warp(image, constant(2, 1), padding="zeros")
    assert (
        torch.allclose(out[..., :5, :6], image[..., 1:, 2:], atol=1e-4) and not out[..., 5, :].any()
    )
    assert torch.allclose(warp(image, constant(0.5, 0))[..., :7], image[..., :7] + 0.5, atol=1e-4)
    assert torch.allclose(
        warp(image, constant(100, 100)), torch.full_like(image, 47.0), atol=1e-4
    ), "borders are repeated"


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-4, 3)])
def test_the_flow_of_a_shifted_picture(dx: int, dy: int) -> None:
    """Content that moves by (dx, dy) has that flow, and the backward flow is its opposite."""
    canvas = texture(112, 128)
    one, two = canvas[:, :, 16:80, 16:96], canvas[:, :, 16 - dy : 80 - dy, 16 - dx : 96 - dx]
    forward, backward = of_clip(torch.cat([one, two]))
    inner = (..., slice(12, -12), slice(12, -12))
    assert torch.allclose(forward[inner].mean((2, 3)), torch.tensor([[dx, dy]]).float(), atol=0.25)
    assert torch.allclose(
        backward[inner].mean((2, 3)), -torch.tensor([[dx, dy]]).float(), atol=0.25
    )
    assert (warp(one, backward) - two)[inner].abs().mean() < 0.2 * (one - two)[inner].abs().mean()
    sure = agreement(forward, backward)
    assert sure.shape == (1, 1, 64, 80) and sure[inner].mean() > 0.9


def test_B5_each_step_has_its_own_flow() -> None:
    """A square that is faster in each step: frame t warped by flow t makes frame t + 1."""
    canvas = texture(64, 160)
    frames = torch.cat([canvas[:, :, :, 40 - x : 120 - x] for x in (0, 1, 3, 6)])
    flows = of_clip(frames)
    for t in range(3):
        inner = (..., slice(8, -8), slice(12, -12))
        errors = [
            (warp(frames[t : t + 1], flows.backward[i : i + 1]) - frames[t + 1])[inner].abs().mean()
            for i in range(3)
        ]
        assert errors[t] == min(errors)


def test_resized_flow_is_in_pixels_of_its_own_size() -> None:
    twice = resized(constant(2, -1), (12, 24))
    assert twice.shape == (1, 2, 12, 24) and torch.allclose(twice, constant(6, -2, 12, 24))
    assert torch.allclose(resized(constant(4, 6), (2, 4)), constant(2, 2, 2, 4))


def test_agreement_by_hand() -> None:
    """There 1 and back 1: sure. There 1 and back 0: e^2 = 1 over 0.5 + 0.01.
    Out of the frame: no."""
    there = constant(1, 0)
    sure = agreement(there, -there)
    assert torch.allclose(sure[..., :7], torch.ones(1, 1, 6, 7)) and not sure[..., 7].any()
    half = agreement(there, torch.zeros_like(there))[..., :7]
    assert torch.allclose(half, torch.full_like(half, float(torch.tensor(-1 / 0.51).exp())))
    both = Flows(there, -there).confidence()
    assert torch.equal(both[0], sure) and not both[1][..., 0].any()


def test_flow_is_a_function_of_the_frames() -> None:
    """The same bits twice, whatever else is in the batch."""
    a, b, c = (texture(48, 64, seed) for seed in range(3))
    assert torch.equal(between(a, b), between(torch.cat([a, b]), torch.cat([b, c]))[:1])
    assert between(a, b, "fast").shape == (1, 2, 48, 64)
