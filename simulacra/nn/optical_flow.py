"""Optical flow between frames: dense inverse search (Kroeger et al., arXiv 1603.03590) as OpenCV
has it, no weights.

Frames are (T, 3, H, W) float in [-1, 1]. A flow is (N, 2, H, W) float32, dx to the right and dy
down, in pixels of its own size: what is at x in the frame that it starts from is at x + flow(x) in
the frame that it ends in.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Flows(NamedTuple):
    """Between neighbouring frames of a clip of T."""

    forward: Tensor  # (T - 1, 2, H, W): starts from frame t, ends in t + 1
    backward: Tensor  # (T - 1, 2, H, W): starts from frame t + 1, ends in t

    def confidence(self) -> tuple[Tensor, Tensor]:
        """`agreement` of both, each (T - 1, 1, H, W)."""
        return agreement(self.forward, self.backward), agreement(self.backward, self.forward)


def grey(frames: Tensor) -> np.ndarray:
    """Luminance as bytes (T, H, W)."""
    # on the CPU, where OpenCV is
    weights = torch.tensor([0.299, 0.587, 0.114], device="cpu").view(3, 1, 1)
    return ((frames.cpu() + 1) * 127.5 * weights).sum(1).round().clamp(0, 255).byte().numpy()


def between(one: Tensor, two: Tensor, preset: Literal["fast", "medium"] = "medium") -> Tensor:
    """The flow (N, 2, H, W) from frames `one` to frames `two`, (N, 3, H, W) each."""
    import cv2  # a fifth of a second that most verbs need not pay

    fast, medium = cv2.DISOPTICAL_FLOW_PRESET_FAST, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    search = cv2.DISOpticalFlow.create({"fast": fast, "medium": medium}[preset])
    found = [
        search.calc(a, b, np.zeros((*a.shape, 2), np.float32))
        for a, b in zip(grey(one), grey(two), strict=True)
    ]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def of_clip(frames: Tensor) -> Flows:
    """Both ways between neighbouring frames (T, 3, H, W), T at least 2."""
    return Flows(between(frames[:-1], frames[1:]), between(frames[1:], frames[:-1]))


def warp(images: Tensor, flow: Tensor, padding: Literal["border", "zeros"] = "border") -> Tensor:
    """Images (N, C, H, W), there where the flow (N, 2, H, W) ends, as seen where it starts: out(x)
    = image(x + flow(x)), bilinear. So frame t + 1 is made of frame t by the backward flow."""
    H, W = images.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(H, device=flow.device) + 0.5,
        torch.arange(W, device=flow.device) + 0.5,
        indexing="ij",
    )
    places = torch.stack([(x + flow[:, 0]) * 2 / W - 1, (y + flow[:, 1]) * 2 / H - 1], 3)
    return F.grid_sample(images, places.to(images.dtype), padding_mode=padding, align_corners=False)


def resized(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """The flow (N, 2, h, w) at another size (H, W), in pixels of that size."""
    h, w = flow.shape[2:]
    scale = torch.tensor([size[1] / w, size[0] / h], dtype=flow.dtype, device=flow.device)
    scale = scale.view(1, 2, 1, 1)
    smaller = size[0] < h or size[1] < w
    return F.interpolate(flow, size, mode="bilinear", antialias=smaller) * scale


def agreement(there: Tensor, back: Tensor) -> Tensor:
    """How far there and back again agree at each place where `there` starts, (N, 1, H, W) in 0 to
    1: exp(-e^2 / (0.5 + 0.01 (|there|^2 + |back|^2))), e the distance to where one began; 0 where
    the flow leaves the frame. The denominator is the usual tolerance (Sundaram, Brox and Keutzer
    2010, eq. 5)."""
    returned = warp(back, there)
    error = (there + returned).square().sum(1, keepdim=True)
    size = there.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    inside = warp(torch.ones_like(there[:, :1]), there, padding="zeros")
    return torch.exp(-error / (0.5 + 0.01 * size)) * (inside > 0.5)
