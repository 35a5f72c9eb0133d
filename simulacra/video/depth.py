"""Several objects of a clip as layers: whose each part of the matte is, who is in front of whom,
and the opacities with which layers laid over one another make the clip again.

Masks and mattes of K objects are (T, K, H, W), bool or 0 to 1.

Who is in front: where masks of two objects touch, the one moves over the other. What of an object,
moving on as most of it does, would lie where the other's mask is in the next frame, is covered by
it; and so backwards in time. Of two objects that which covers more pixels than it loses is in front
in the whole clip. Objects of which nothing tells keep the order of their names.
"""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.nn.maths import psnr
from simulacra.nn.optical_flow import between
from simulacra.video import layers
from simulacra.video._lasting import LEAST, carried, motions

TOUCH = 2  # pixels apart within which masks touch


def touching(masks: Tensor) -> list[tuple[int, int]]:
    """The pairs of objects whose masks (K, H, W) bool touch."""
    near = F.max_pool2d(masks[:, None].float(), 2 * TOUCH + 1, 1, TOUCH)[:, 0] > 0
    return [
        (a, b) for a, b in combinations(range(len(masks)), 2) if bool((near[a] & masks[b]).any())
    ]


def covered(frames: Tensor, masks: np.ndarray, who: set[int]) -> dict[int, np.ndarray]:
    """Where each of some objects would be in the second of two frames (2, 3, H, W), if it went on
    as most of it does, (H, W) bool by object; masks (2, K, H, W) bool. Without those whose motion
    cannot be told."""
    flow = between(frames[:1], frames[1:]).numpy()
    found = {}
    for k in who:
        if masks[0, k].sum() < LEAST:
            continue
        move = motions(masks[:, k], flow)[0]
        if move is not None:
            found[k] = carried(masks[0, k], move[:2])
    return found


def covers(frames: Tensor, masks: Tensor) -> np.ndarray:
    """How many pixels of object b object a covers over a clip, (K, K) at [a, b]; frames
    (T, 3, H, W)."""
    T, K = masks.shape[:2]
    seen, found = masks.cpu().numpy(), np.zeros((K, K), np.int64)
    for t in range(T - 1):
        pairs = sorted({*touching(masks[t]), *touching(masks[t + 1])})
        who = {k for pair in pairs for k in pair}
        for one, two in ((t, t + 1), (t + 1, t)) if pairs else ():
            there = covered(frames[[one, two]], seen[[one, two]], who)
            for a, b in [*pairs, *(pair[::-1] for pair in pairs)]:
                if b in there:
                    found[a, b] += int((there[b] & seen[two, a]).sum())
    return found


def order(frames: Tensor, masks: Tensor) -> list[int]:
    """The depth of each object, 0 the nearest, K - 1 the farthest."""
    K = masks.shape[1]
    if K == 1:
        return [0]
    counts = covers(frames, masks)
    net, left, depth = counts - counts.T, list(range(K)), [0] * K
    for place in range(K):
        nearest = max(left, key=lambda k: (net[k, left].sum(), -k))
        depth[nearest] = place
        left.remove(nearest)
    return depth


def parts(mattes: Tensor, matte: Tensor) -> Tensor:
    """The share (T, K, H, W) of a common matte (T, 1, H, W) that is each object's, of their own
    mattes (T, K, H, W): in proportion to them, or the nearest object's where none of them has any.
    They sum to the common matte."""
    import cv2

    K = mattes.shape[1]
    if K == 1:
        return matte
    total = mattes.sum(1, keepdim=True)
    share = mattes / total.clamp(min=layers.CLEAR)
    for t in range(len(mattes)):
        bare = (total[t, 0] < layers.CLEAR) & (matte[t, 0] > 0)
        if bare.any():
            free = (mattes[t] <= 0.5).byte().numpy()
            far = np.stack(
                [
                    cv2.distanceTransform(one, cv2.DIST_L2, 5) if not one.all() else one * np.inf
                    for one in free
                ]
            )
            nearest = F.one_hot(torch.from_numpy(far.argmin(0)), K).permute(2, 0, 1)
            share[t] = torch.where(bare, nearest.float(), share[t])
    share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
    return share * matte


def opacities(shares: Tensor, depth: list[int]) -> Tensor:
    """The opacities (T, K, H, W) of layers laid over one another, nearest last, in which each has
    its share (T, K, H, W) of what is seen:

        a_k = share_k / (1 - the sum of the shares before it)"""
    out, left = torch.zeros_like(shares), torch.ones_like(shares[:, 0])
    for k in sorted(range(len(depth)), key=lambda k: depth[k]):
        out[:, k] = torch.where(left > 1e-3, shares[:, k] / left.clamp(min=1e-3), 0.0).clamp(0, 1)
        left = (left - shares[:, k]).clamp(min=0)
    return out


def laid(colours: Tensor, opacity: Tensor, depth: list[int], background: Tensor) -> Tensor:
    """The composite (T, 3, H, W) of objects' colours (T, K, 3, H, W) over a background."""
    found = background
    for k in sorted(range(len(depth)), key=lambda k: -depth[k]):
        found = layers.over(colours[:, k], opacity[:, k, None], found)
    return found


def colours_of(
    frames: Tensor, shares: Tensor, depth: list[int], background: Tensor
) -> tuple[Tensor, Tensor]:
    """The objects' colours (T, K, 3, H, W), and the composite that they make over the background:
    from the farthest to the nearest, each before what is then behind it; none from where a nearer
    object has a share."""
    opacity, behind = opacities(shares, depth), background
    out = torch.zeros(*shares.shape[:2], *frames.shape[1:])
    for k in sorted(range(len(depth)), key=lambda k: -depth[k]):
        nearer = [j for j in range(len(depth)) if depth[j] < depth[k]]
        clear = shares[:, nearer].sum(1) <= layers.CLEAR
        own = torch.where(clear, opacity[:, k], 0.0)[:, None]
        out[:, k] = layers.foregrounds(frames, own, behind)
        behind = layers.over(out[:, k], opacity[:, k, None], behind)
    return out, behind


def fit(composite: Tensor, frames: Tensor) -> dict[str, float]:
    """How well a composite matches the clip, in dB, by the names that `layers.quality` has."""
    again = psnr(composite, frames)
    return {
        "composite_psnr_mean": float(again.mean()),
        "composite_psnr_least": float(again.min()),
    }
