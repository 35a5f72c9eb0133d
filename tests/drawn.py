"""Clips whose masks are known because a test draws them."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor


def texture(height: int, width: int, colour: tuple[float, float, float], seed: int) -> Tensor:
    """A picture (3, height, width) of blurred noise about a colour."""
    noise = np.random.default_rng(seed).standard_normal((3, height, width))
    return (
        torch.tensor(colour).view(3, 1, 1)
        + torch.from_numpy(gaussian_filter(noise, (0, 1.2, 1.2))).float()
    ).clamp(-1, 1)


def square(
    corners: list[tuple[int, int]], side: int = 20, size: tuple[int, int] = (61, 83)
) -> tuple[Tensor, Tensor]:
    """A clip with a textured square whose upper left corner is at these (y, x), which may be
    outside, and its masks (T, 1, H, W)."""
    H, W = size
    ground, thing = texture(H, W, (-0.4, 0.2, 0.0), 1), texture(side, side, (0.5, -0.3, 0.2), 2)
    frames, masks = ground.repeat(len(corners), 1, 1, 1), torch.zeros(len(corners), 1, H, W)
    for frame, mask, (y, x) in zip(frames, masks, corners, strict=True):
        top, left, bottom, right = max(y, 0), max(x, 0), min(y + side, H), min(x + side, W)
        if top < bottom and left < right:
            frame[:, top:bottom, left:right] = thing[:, top - y : bottom - y, left - x : right - x]
            mask[:, top:bottom, left:right] = 1
    return frames, masks


def overlap(soft: Tensor, masks: Tensor) -> list[float]:
    """Intersection over union of each frame; both empty is 1."""
    one, two = soft > 0.5, masks > 0.5
    both, any_ = (one & two).flatten(1).sum(1), (one | two).flatten(1).sum(1)
    return [float(b / a) if a else 1.0 for b, a in zip(both, any_, strict=True)]
