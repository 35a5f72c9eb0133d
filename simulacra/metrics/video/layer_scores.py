"""How good a clip's layers are, held against true masks and, where it is known, the clean plate,
which no training saw.

Frames are (T, 3, H, W) in [-1, 1], masks (T, H, W) bool, mattes and attention (T, 1, H, W) in [0,
1]. Distances are in units of [0, 1]: half of those in [-1, 1]. Each function gives one number a
frame, (T,); where a frame has no pixel to look at, NaN.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.video.mask_scores import jaccard
from simulacra.nn import optical_flow
from simulacra.nn.maths import psnr

SEEN = 0.1  # farther from the empty value than this, a foreground is there


def mean_inside(values: Tensor, where: Tensor) -> Tensor:
    """The mean of values (T, H, W) where the mask (T, H, W) is true, (T,)."""
    count = where.sum((1, 2))
    return (
        torch.where(where, values.double(), 0.0).sum((1, 2))
        / count.masked_fill(count == 0, 0).double()
    )


def far(one: Tensor, two: Tensor | float) -> Tensor:
    """The mean absolute difference of colours, (T, H, W) in [0, 1]."""
    return (one - two).abs().mean(1) / 2


def recon(composite: Tensor, frames: Tensor) -> Tensor:
    """PSNR of composites in dB."""
    return psnr(composite, frames)


def fg_in(foreground: Tensor, frames: Tensor, true: Tensor) -> Tensor:
    """L1 of the foreground inside the true mask."""
    return mean_inside(far(foreground, frames), true)


def fg_out(foreground: Tensor, true: Tensor, empty: float) -> Tensor:
    """Distance of the foreground from its empty value outside the true mask."""
    return mean_inside(far(foreground, empty), ~true)


def fg_bias(foreground: Tensor, frames: Tensor, true: Tensor) -> Tensor:
    """How much brighter the foreground is than the frame inside the true mask; negative: darker."""
    return mean_inside((foreground - frames).mean(1) / 2, true)


def silhouette(foreground: Tensor, empty: float) -> Tensor:
    """Where the foreground differs from its empty value, (T, H, W) bool."""
    return far(foreground, empty) > SEEN


def ranks(values: Tensor) -> Tensor:
    """The rank of each of the values (N,), equal ones sharing the mean of theirs; float64."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[inverse]


def A_keep(attention: Tensor, warped: Tensor, frames: Tensor) -> Tensor:
    """Spearman's rank correlation over pixels between attention and -|Iw - I|, how well the warped
    foreground serves: above 0, attention keeps what may be kept. NaN where either is constant."""
    found = []
    for A, error in zip(attention.flatten(1), far(warped, frames).flatten(1), strict=True):
        a, b = ranks(A), ranks(-error)
        a, b = a - a.mean(), b - b.mean()
        found.append((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
    return torch.stack(found)


def bg_hole(background: Tensor, plate: Tensor, hole: Tensor) -> Tensor:
    """PSNR in dB of the background against the clean plate (T, 3, H, W)
    on the pixels of the hole (T, H, W), at most 100."""
    error = (background.clamp(-1, 1) - plate.clamp(-1, 1)).square().mean(1)
    return (10 * (4 / mean_inside(error, hole)).log10()).clamp(max=100.0)


def bg_leak(background: Tensor, frames: Tensor, plate: Tensor, true: Tensor) -> Tensor:
    """The share of the object's pixels at which the background is nearer
    to the frame than to the clean plate."""
    return mean_inside((far(background, frames) < far(background, plate)).double(), true)


def fg_motion(foreground: Tensor, forward: Tensor, true: Tensor) -> Tensor:
    """End-point error in pixels, inside the true mask of the earlier frame, of the flow found
    between successive foregrounds against the true forward flow (T - 1, 2, H, W); (T - 1,)."""
    found = optical_flow.between(foreground[:-1].clamp(-1, 1), foreground[1:].clamp(-1, 1))
    return mean_inside((found - forward).norm(dim=1), true[:-1])


def measures(
    # composite, foreground, background (T, 3, H, W), mask, attention (T, 1, H, W), warped
    made: Mapping[str, Tensor],
    frames: Tensor,  # the true ones, (T, 3, H, W)
    true: Tensor,  # the true masks, (T, H, W) bool
    empty: float = -1.0,  # what the foreground is where nothing is
    plate: Tensor | None = None,  # the clean plate (T, 3, H, W) where it is known
    forward: Tensor | None = None,  # true flow (T - 1, 2, H, W) where it is known
    # (T, H, W) bool: where in the mask the plate is known; None: everywhere
    seen: Tensor | None = None,
) -> dict[str, float]:
    """Every metric by name, each the mean over the frames that have it."""
    if true.shape != (len(frames), *frames.shape[2:]) or true.dtype != torch.bool:
        shape = (len(frames), *frames.shape[2:])
        raise Mistake(
            f"true masks {tuple(true.shape)} {true.dtype}; allowed: {shape} torch.bool, one a frame"
        )
    foreground, A = made["foreground"], made["attention"][:, 0]
    found = {
        "recon": recon(made["composite"], frames),
        "fg_in": fg_in(foreground, frames, true),
        "fg_out": fg_out(foreground, true, empty),
        "fg_bias": fg_bias(foreground, frames, true),
        "sil_J": jaccard(silhouette(foreground, empty), true),
        "mask_J": jaccard(made["mask"][:, 0] > 0.5, true),
        "A_J": jaccard(A > 0.5, true),
        "A_J_inverse": jaccard(A <= 0.5, true),
        "A_keep": A_keep(made["attention"], made["warped"], frames),
    }
    if plate is not None:
        hole = true if seen is None else seen
        found["bg_hole"] = bg_hole(made["background"], plate, hole)
        found["bg_leak"] = bg_leak(made["background"], frames, plate, hole)
    if forward is not None and len(frames) > 1:
        found["fg_motion"] = fg_motion(foreground, forward, true)
    return {name: float(values.nanmean()) for name, values in found.items()}
