"""Several objects of a clip as layers: whose each part of the matte is, who is in front of whom,
and the opacities with which layers laid over one another make the clip again.

Masks and mattes of K objects are (T, K, H, W), bool or 0 to 1.

Who is in front: where masks of two objects touch, the one moves over the other. What of an object,
moving on as most of it does, would lie where the other's mask is in the next frame, is covered by
it; and so backwards in time. Of two objects that which covers more pixels than it loses is in front
in the whole clip. Objects of which nothing tells keep the order of their names.
"""

import math
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.stack import Frames
from simulacra.video import layers

TOUCH = 2  # pixels apart within which masks touch
LEAST = 32  # pixels of an object whose motion can be told
SOME = 300  # of its pixels, about, that tell it
MOMENTS = 24  # at which masks touch, about, that are looked at
REACH = 0.05  # how far it may move between frames, share of the diagonal: 25 pixels of 432x240
UNLIKE = 0.3  # greatest difference of colours, of a range of 2, that counts
ALIKE = 0.7  # share of that, on average, from which on nothing is alike


def touching(masks: Tensor) -> list[tuple[int, int]]:
    """The pairs of objects whose masks (K, H, W) bool touch."""
    near = F.max_pool2d(masks[:, None].float(), 2 * TOUCH + 1, 1, TOUCH)[:, 0] > 0
    return [
        (a, b) for a, b in combinations(range(len(masks)), 2) if bool((near[a] & masks[b]).any())
    ]


def shift(frames: Tensor, mask: Tensor) -> tuple[int, int] | None:
    """By how many pixels, down and right, most of an object moves between frames (2, 3, H, W), its
    mask (H, W) bool in the first: where the mean difference of its pixels' colours, each of UNLIKE
    at most, is the least, so that what of it is covered does not matter. Flow is of no use here: it
    follows what covers. None where too little is seen of it, or nothing is alike."""
    H, W = mask.shape
    places = mask.nonzero()
    if len(places) < LEAST:
        return None
    places = places[:: max(1, len(places) // SOME)]
    far, mid = max(2, round(REACH * math.hypot(H, W))), torch.zeros(2, dtype=torch.long)
    for reach, step in (far, 2), (1, 1):
        line = torch.arange(-(reach // step) * step, reach + 1, step)
        ways = torch.cartesian_prod(line, line) + mid
        ways = ways[ways.square().sum(1).argsort(stable=True)]  # of equal ones the smallest
        cost = unlike(frames, places, ways)
        mid = ways[cost.argmin()]
    return (int(mid[0]), int(mid[1])) if cost.min() < ALIKE * UNLIKE else None


def unlike(frames: Tensor, places: Tensor, ways: Tensor) -> Tensor:
    """The mean difference (n,) between the colours at places (m, 2) of the first frame, rows and
    columns, and those so far from there (n, 2) in the second, each of UNLIKE at most."""
    size = torch.tensor(frames.shape[2:])
    to = places + ways[:, None]
    inside = ((to >= 0) & (to < size)).all(2)
    flat = (to.clamp(min=0).minimum(size - 1) * torch.tensor([int(size[1]), 1])).sum(2)
    here = frames[0][:, places[:, 0], places[:, 1]]
    found = torch.zeros(flat.shape)
    for own, other in zip(here, frames[1].flatten(1), strict=True):
        found += (other[flat] - own).abs() / len(here)
    return torch.where(inside, found.clamp(max=UNLIKE), UNLIKE).mean(1)


def moved(mask: Tensor, way: tuple[int, int]) -> Tensor:
    """A mask (H, W) bool so many pixels further down and right."""
    out, (H, W) = torch.zeros_like(mask), mask.shape
    dy, dx = way
    out[max(dy, 0) : H + min(dy, 0), max(dx, 0) : W + min(dx, 0)] = mask[
        max(-dy, 0) : H + min(-dy, 0), max(-dx, 0) : W + min(-dx, 0)
    ]
    return out


def covers(frames: Frames, masks: Frames) -> np.ndarray:
    """How many pixels of object b object a covers over a clip, (K, K) at [a, b]; frames
    (T, 3, H, W)."""
    T, K = masks.shape[:2]
    found = np.zeros((K, K), np.int64)
    pairs = [sorted({*touching(masks[t]), *touching(masks[t + 1])}) for t in range(T - 1)]
    moments = [t for t in range(T - 1) if pairs[t]]
    for t in moments[:: max(1, len(moments) // MOMENTS)]:
        for one, two in (t, t + 1), (t + 1, t):
            for b in sorted({k for pair in pairs[t] for k in pair}):
                way = shift(torch.stack([frames[one], frames[two]]), masks[one][b])
                if way is None:
                    continue
                there = moved(masks[one][b], way)
                for a in range(K):
                    if (min(a, b), max(a, b)) in pairs[t]:
                        found[a, b] += int((there & masks[two][a]).sum())
    return found


def order(frames: Frames, masks: Frames) -> list[int]:
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
