"""Objects through a clip, from masks of some of its frames: each given mask is followed both ways
as far as the next given one (`segment`), and between two both answers count, the nearer more.

Masks are (H, W) int64: 0 the surroundings, 1 to K the objects.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.video._appearance import Kept
from simulacra.video.segment import segment

SURE = 1e-4  # of how probable an object is, from 0 and 1


class Found(NamedTuple):
    """Where objects are."""

    soft: Tensor  # (T, K, H, W): how probable each is, 0 to 1; above 0.5 is the mask
    # (T, K): the overlap J that each mask is expected to have with the true one, 0 to 1; 1 where
    # the mask was given; of a frame without the object: how sure it is that it is not there
    confidence: Tensor


Arrived = Callable[[int, Tensor, Tensor], None]  # frame, soft (K, H, W), confidence (K,)


def checked(frames: Tensor, masks: Mapping[int, Tensor]) -> int:
    """How many objects the masks name, or what is wrong with them."""
    if frames.ndim != 4 or not len(frames) or frames.shape[1] != 3:
        raise Mistake(f"frames {tuple(frames.shape)}; allowed: (T, 3, H, W), at least one")
    T, _, H, W = frames.shape
    if not masks:
        raise Mistake("no mask; needed: that of one frame, at least")
    for t, mask in masks.items():
        if not 0 <= t < T:
            raise Mistake(f"a mask of frame {t}; the clip has 0 to {T - 1}")
        if mask.shape != (H, W):
            raise Mistake(f"mask {tuple(mask.shape)} of frames {H} x {W}; allowed: ({H}, {W})")
    found = sorted(set(torch.cat([mask.unique() for mask in masks.values()]).tolist()) - {0})
    if not found:
        raise Mistake("no mask shows an object; needed: one that does")
    if found != list(range(1, len(found) + 1)):
        raise Mistake(f"objects {found} in the masks; allowed: 1, 2, 3 ... without a gap")
    return len(found)


def follow(
    frames: Tensor,  # (T, 3, H, W) in [-1, 1]
    masks: Mapping[int, Tensor],  # (H, W) int64 by frame, 0 to K
    *,
    seed: int = 0,
    notify: Callable[[float], None] | None = None,  # hears the share that is done, 0 to 1
    arrived: Arrived | None = None,  # hears of each frame whose masks are there; again if better
    kept: Kept | None = None,  # where the nets are left, so that a stopped run goes on
    fast: bool = False,
) -> Found:
    """Where the objects of the masks are in every frame. The same arguments give the same result.
    Mistake if the shapes do not fit, or no mask shows an object."""
    K, T = checked(frames, masks), len(frames)
    hear = notify or (lambda share: None)
    soft = torch.zeros(T, K, *frames.shape[2:])
    legs = [(k, t, way) for k in range(1, K + 1) for t in sorted(masks) for way in (-1, 1)]
    for n, (k, start, way) in enumerate(legs):
        others = [t for t in masks if (t - start) * way > 0]
        end = (min(others) if way > 0 else max(others)) if others else (T if way > 0 else -1)
        part = list(range(start, end, way))
        if not (masks[start] == k).any() or (len(part) < 2 and start in part and way < 0):
            continue
        one = segment(
            frames[part],
            (masks[start] == k).float(),
            seed=seed,
            notify=lambda share, n=n: hear((n + share) / len(legs)),  # type: ignore[misc]
        )[:, 0]
        for t, mask in zip(part, one, strict=True):
            weight = 1.0 if not others else 1 - abs(t - start) / abs(end - start)
            soft[t, k - 1] += weight * mask
    for t, mask in masks.items():
        soft[t] = torch.stack([mask == k for k in range(1, K + 1)]).float()
    soft = soft / soft.sum(1, keepdim=True).clamp(min=1)
    hard = (soft > 0.5).float()
    sure = torch.minimum(soft, hard).sum((2, 3)) / torch.maximum(soft, hard).sum((2, 3)).clamp(
        min=SURE
    )
    for t in masks:
        sure[t] = 1.0
    for t in range(T):
        if arrived:
            arrived(t, soft[t], sure[t])
    hear(1.0)
    return Found(soft, sure)
