"""Parts of a frame, and how large a net sees them.

Places are (h, w, 2) float, x and y in pixels of a frame, the first pixel's centre at 0.5."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ZOOM = 2.0  # a window is enlarged by no more than this
MARGIN = 0.35  # of a window around the object's box, share of the box's mean side
ROOM = 0.45  # and at least this share of the object's size, which what hides it does not lessen
MORE = 8  # and so many pixels
LEAST = 16  # side of what a net sees, pixels


class Window(NamedTuple):
    """A part of a frame and how large the net sees it, pixels."""

    top: int
    left: int
    bottom: int
    right: int
    height: int
    width: int

    @property
    def zoom(self) -> float:
        """Pixels that the net sees to one of the frame."""
        return self.height / (self.bottom - self.top)


def within(box: tuple[float, float, float, float], size: tuple[int, int], zoom: float) -> Window:
    """The window of a box (top, left, bottom, right), cut off at a frame of a size (H, W)."""
    top, left = max(0, int(box[0])), max(0, int(box[1]))
    bottom, right = min(size[0], int(box[2])), min(size[1], int(box[3]))
    return Window(
        top,
        left,
        bottom,
        right,
        max(LEAST, round((bottom - top) * zoom)),
        max(LEAST, round((right - left) * zoom)),
    )


def around(mask: Tensor, area: int, size: float = 0.0) -> Window | None:
    """The window around a mask (1, 1, H, W) of an object whose area has the root `size`, of about
    `area` pixels as the net sees it; None if the mask has no pixel."""
    inside = mask[0, 0] > 0.5
    rows, columns = inside.any(1).nonzero()[:, 0].tolist(), inside.any(0).nonzero()[:, 0].tolist()
    if not rows:
        return None
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    margin = max(MARGIN * math.sqrt((bottom - top) * (right - left)), ROOM * size) + MORE
    H, W = inside.shape
    box = (
        max(0, int(top - margin)),
        max(0, int(left - margin)),
        min(H, int(bottom + margin)),
        min(W, int(right + margin)),
    )
    return within(box, (H, W), fitting(box, area))


def fitting(box: tuple[float, float, float, float], area: float) -> float:
    """The zoom at which a box has about so many pixels, at most ZOOM."""
    return min(ZOOM, math.sqrt(area / max(1.0, (box[2] - box[0]) * (box[3] - box[1]))))


def places(window: Window) -> Tensor:
    """Where in the frame the window's pixels are, (height, width, 2)."""
    top, left, bottom, right, height, width = window
    y = top + (torch.arange(height) + 0.5) * ((bottom - top) / height)
    x = left + (torch.arange(width) + 0.5) * ((right - left) / width)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), 2)


def bilinear(image: Tensor, where: Tensor, padding: str = "border") -> Tensor:
    """An image (1, C, H, W) at places (h, w, 2), bilinear: (1, C, h, w)."""
    size = torch.tensor([image.shape[3], image.shape[2]])
    return F.grid_sample(
        image, (where * 2 / size - 1)[None], padding_mode=padding, align_corners=False
    )
