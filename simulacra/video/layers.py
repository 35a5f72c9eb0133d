"""Layers of a clip: matte and foreground colours from frames, soft masks and background, and what
they make again.

Frames, foregrounds and backgrounds are (T, 3, H, W) in [-1, 1], mattes (T, 1, H, W) in [0, 1]. The
composite is

    I = a F + (1 - a) B      (Porter and Duff 1984, "over")

and where the object changes the background's light (`effects`), g (B + 1) - 1 + b takes B's place:
g a gain, black being 0, and b light that is added.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.nn.maths import psnr

# how far from the mask's edge a matte may be soft, share of the frame's diagonal: 4 pixels at
# 432x240
BAND = 0.008
SMOOTH = 1e-3  # variance of colours in [0, 1] below which the guided filter smooths
OPAQUE = 0.95  # matte above which a pixel is all foreground
# differences from the background, of a range of 2, from which a pixel is in part, and wholly, the
# object
UNLIKE = 0.3, 0.6
CLEAR = 0.05  # matte below which a pixel has no colour of its own


def lit(background: Tensor, gain: Tensor | None = None, add: Tensor | None = None) -> Tensor:
    """g (B + 1) - 1 + b, within the range of colours; B itself without gain (T, 1, H, W) and light
    added (T, 3, H, W)."""
    if gain is None and add is None:
        return background
    light = background + 1 if gain is None else gain * (background + 1)
    return ((light if add is None else light + add) - 1).clamp(-1, 1)


def over(
    foreground: Tensor,
    matte: Tensor,
    background: Tensor,
    gain: Tensor | None = None,
    add: Tensor | None = None,
) -> Tensor:
    """a F + (1 - a) B, B being `lit`."""
    return matte * foreground + (1 - matte) * lit(background, gain, add)


def box(values: Tensor, radius: int) -> Tensor:
    """Means over squares of 2 radius + 1, at the border over what there is."""
    return F.avg_pool2d(values, 2 * radius + 1, 1, radius, count_include_pad=False)


def guided(guide: Tensor, values: Tensor, radius: int, smooth: float = SMOOTH) -> Tensor:
    """Values (T, 1, H, W) smoothed along the edges of a guide (T, C, H, W) in [0, 1]: in each
    square the linear function of the guide's colours that fits best, averaged (He, Sun and Tang
    2013, eq. 14 and 16)."""
    C = guide.shape[1]
    mean, target = box(guide, radius), box(values, radius)
    cross = box(guide * values, radius) - mean * target  # (T, C, H, W)
    pairs = (
        box((guide[:, :, None] * guide[:, None]).flatten(1, 2), radius).unflatten(1, (C, C))
        - mean[:, :, None] * mean[:, None]
    )
    spread = pairs.permute(0, 3, 4, 1, 2) + smooth * torch.eye(C)
    a = torch.linalg.solve(spread, cross.permute(0, 2, 3, 1)[..., None])[..., 0].permute(0, 3, 1, 2)
    b = target - (a * mean).sum(1, keepdim=True)
    return (box(a, radius) * guide).sum(1, keepdim=True) + box(b, radius)


def mattes(frames: Tensor, soft: Tensor) -> Tensor:
    """Mattes from how probable the object is (T, 1, H, W): the mask at 0.5, softened along the
    picture's edges in a band around its outline, and nowhere else."""
    far = max(1, math.ceil(BAND * math.hypot(*frames.shape[2:])))
    found = []
    for frame, one in zip(frames.split(1), soft.split(1), strict=True):
        hard = (one > 0.5).float()
        grown, shrunk = (
            F.max_pool2d(hard, 2 * far + 1, 1, far),
            -F.max_pool2d(-hard, 2 * far + 1, 1, far),
        )
        band = grown > shrunk
        if band.any():
            cut = around(band[0, 0], 2 * far + 1)
            fine = guided((frame[:, :, *cut] + 1) / 2, hard[:, :, *cut], far).clamp(0, 1)
            hard[:, :, *cut] = torch.where(band[:, :, *cut], fine, hard[:, :, *cut])
        found.append(hard)
    return torch.cat(found)


def around(mask: Tensor, more: int) -> tuple[slice, slice]:
    """Rows and columns of a mask (H, W) that is not empty, and so many more."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return (
        slice(max(0, int(rows[0]) - more), int(rows[-1]) + 1 + more),
        slice(max(0, int(columns[0]) - more), int(columns[-1]) + 1 + more),
    )


def explained(frames: Tensor, matte: Tensor, background: Tensor, known: Tensor) -> Tensor:
    """The matte, raised where a background that other frames show (`known` (T, 1, H, W) is 1) does
    not explain the frame: what is glimpsed of the object behind leaves, its dark underside, a thin
    leg. A colour between the least and the most of the 3x3 pixels around is explained; the greatest
    distance of the three colours from there goes from UNLIKE[0] to UNLIKE[1]."""
    little, much = UNLIKE
    most, least = F.max_pool2d(background, 3, 1, 1), -F.max_pool2d(-background, 3, 1, 1)
    unlike = torch.maximum(frames - most, least - frames).amax(1, keepdim=True)
    return torch.maximum(matte, known * ((unlike - little) / (much - little)).clamp(0, 1))


def foregrounds(frames: Tensor, matte: Tensor, background: Tensor) -> Tensor:
    """The object's colours: the frame's where it is opaque; F = (I - (1 - a) B) / a, within the
    range of colours, where it is partly so; and beyond, those of the nearest opaque pixel, so that
    a resized or blurred matte fetches no background."""
    import cv2

    own = ((frames - (1 - matte) * background) / matte.clamp(min=CLEAR)).clamp(-1, 1)
    found = torch.where(matte > OPAQUE, frames, own)
    out = []
    for colours, a in zip(found, matte[:, 0], strict=True):
        far = (a <= CLEAR).byte().numpy()
        if far.all() or not far.any():
            out.append(colours)
            continue
        _, nearest = cv2.distanceTransformWithLabels(
            far, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        places = np.zeros(int(nearest.max()) + 1, np.int64)
        places[nearest[far == 0]] = np.flatnonzero(far == 0)
        out.append(colours.flatten(1)[:, torch.from_numpy(places[nearest])])
    return torch.stack(out)


class Told(NamedTuple):
    """Numbers of one frame that need no truth."""

    again: float  # how well the layers make the frame again, dB
    area: float  # share of the frame that is the object
    hidden: int  # pixels that it hides
    seen: float  # how many of them other frames show
    soft: float  # share of the frame in which the matte is neither


def told(
    frame: Tensor, matte: Tensor, foreground: Tensor, background: Tensor, known: Tensor
) -> Told:
    """Of a frame (1, 3, H, W) and its layers."""
    hidden = matte > 0.5
    return Told(
        float(psnr(over(foreground, matte, background), frame)),
        float(matte.mean()),
        int(hidden.sum()),
        float(known[hidden].sum()),
        float(((matte > CLEAR) & (matte < OPAQUE)).float().mean()),
    )


def quality(each: Sequence[Told]) -> dict[str, float | int | None]:
    """Numbers of a clip, from those of its frames: how well the layers make them again (dB), how
    large the object is, and how much of the background under it was seen in other frames."""
    hidden = sum(one.hidden for one in each)
    return {
        "frames": len(each),
        "composite_psnr_mean": sum(one.again for one in each) / len(each),
        "composite_psnr_least": min(one.again for one in each),
        "object_share_first": each[0].area,
        "object_share_last": each[-1].area,
        "frames_without_object": sum(one.area < 1e-4 for one in each),
        "background_seen_elsewhere": sum(one.seen for one in each) / hidden if hidden else None,
        "matte_soft_share": sum(one.soft for one in each) / len(each),
    }
