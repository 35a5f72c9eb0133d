"""What no frame shows, painted by patches of its surroundings (Wexler, Shechtman and Irani 2007,
with the search of Barnes et al. 2009), or smoothly."""

from math import log2

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PATCH = 7  # side of the patches that paint, pixels
COARSEST = 3  # depth of the hole, pixels, at the coarsest of the painted sizes
# deviation of a pixel's weight over its patch, pixels: less is sharper, more hides seams
FOCUS = 1.2
# share of a patch's own variation, up to that of the hole's surroundings, which its cost is less
LIVELY = 0.85
ROUND = np.ones((31, 31), np.uint8)  # what counts as surroundings, pixels of each size


def spread(values: Tensor, known: Tensor, rounds: int = 4) -> Tensor:
    """The values (N, C, H, W) where known (N, 1, H, W) is, and a membrane over the rest: averages
    from coarse to fine, and on each size some rounds of Jacobi's method for Laplace's equation.
    Where nothing is known at all: 0."""
    H, W = values.shape[2:]
    if min(H, W) <= 2 or bool(known.all()):
        mean = (values * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(
            min=1
        )
        return torch.where(known, values, mean)
    halved = F.avg_pool2d(
        F.pad(torch.cat([values * known, known.to(values.dtype)], 1), (0, W % 2, 0, H % 2)), 2
    )
    share = halved[:, -1:]
    coarse = spread(halved[:, :-1] / share.clamp(min=0.25), share > 0, rounds)
    out = torch.where(
        known, values, F.interpolate(coarse, scale_factor=2, mode="bilinear")[:, :, :H, :W]
    )
    for _ in range(rounds):
        wide = F.pad(out, (1, 1, 1, 1), mode="replicate")
        ring = (
            wide[:, :, 2:, 1:-1]
            + wide[:, :, :-2, 1:-1]
            + wide[:, :, 1:-1, 2:]
            + wide[:, :, 1:-1, :-2]
        )
        out = torch.where(known, values, ring / 4)
    return out


def searched(
    image: np.ndarray,
    target: np.ndarray,
    source: np.ndarray,
    match: np.ndarray,
    rng: np.random.Generator,
    lively: np.ndarray | None = None,
    wanted_lively: np.ndarray | None = None,
) -> np.ndarray:
    """One round of search for the patches of an image (H, W, 3) most like those at the targets
    (n,), flat places: each asks its neighbours' matches, then ever nearer to its own (Barnes et al.
    2009, section 3). `source` (H, W) bool: where matches may be; `match` (n,): the matches so far.
    A patch's own variation `lively` (H, W), up to what is wanted at the target (n,), is taken off
    its cost in a share LIVELY: else flat patches fit what is blurred best, and all becomes flat.
    Returns better ones."""
    H, W = source.shape
    if lively is None or wanted_lively is None:
        lively, wanted_lively = np.zeros(source.shape, np.float32), np.zeros(len(target))
    credit = lively.reshape(-1)
    flat, free = image.reshape(-1, 3), source.reshape(-1)
    wanted = flat[target[:, None] + around(W)]
    cost = np.square(wanted - flat[match[:, None] + around(W)]).sum((1, 2))
    cost -= LIVELY * np.minimum(credit[match], wanted_lively)
    field = np.full(H * W, -1)

    def tried(candidate: np.ndarray, sound: np.ndarray) -> None:
        inside = sound & (candidate >= 0) & (candidate < H * W)
        rows = np.flatnonzero(inside & free[np.where(inside, candidate, 0)] & (candidate != match))
        price = np.square(wanted[rows] - flat[candidate[rows][:, None] + around(W)]).sum((1, 2))
        price -= LIVELY * np.minimum(credit[candidate[rows]], wanted_lively[rows])
        better = price < cost[rows]
        match[rows[better]], cost[rows[better]] = candidate[rows[better]], price[better]

    match = match.copy()
    for step in (1, W, -1, -W):
        field[target] = match
        near = field[target - step]
        tried(near + step, near >= 0)
    reach = max(H, W) // 2
    while reach >= 1:
        y, x = rng.integers(-reach, reach + 1, (2, len(match)))
        column = match % W + x
        tried(match + y * W + x, (column >= 0) & (column < W))
        reach //= 3
    return match


def around(width: int) -> np.ndarray:
    """From a pixel to those of its patch (PATCH^2,), flat places of pictures so wide."""
    side = np.arange(PATCH) - PATCH // 2
    return (side[:, None] * width + side).reshape(-1)


def variation(image: np.ndarray) -> np.ndarray:
    """How much the patch around each pixel of an image (H, W, 3) varies: the sum of its squared
    differences from its mean, (H, W)."""
    import cv2

    size = (PATCH, PATCH)
    mean, square = cv2.blur(image, size), cv2.blur(np.square(image), size)
    return PATCH**2 * np.maximum(square - np.square(mean), 0).sum(2)


def woven(image: np.ndarray, target: np.ndarray, match: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) with each pixel under the patches at `target` the mean of what their
    matches have there, patches that fit better, and those with the pixel near their middle,
    counting more (Wexler et al., eq. 5)."""
    H, W, _ = image.shape
    flat, places = image.reshape(-1, 3), around(W)
    cost = np.square(flat[target[:, None] + places] - flat[match[:, None] + places]).sum((1, 2))
    weight = np.exp(-cost / (np.quantile(cost, 0.75) + 1e-6))[:, None] + 1e-6
    total, share = np.zeros_like(flat), np.zeros((H * W, 1), np.float32)
    side = np.square(np.arange(PATCH) - PATCH // 2)
    for place, off in zip(places, (side[:, None] + side).reshape(-1), strict=True):
        near = weight * np.exp(-off / (2 * FOCUS**2), dtype=np.float32)
        total[target + place] += near * flat[match + place]
        share[target + place] += near
    return (total / np.maximum(share, 1e-12)).reshape(H, W, 3)


def copied(image: np.ndarray, target: np.ndarray, match: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) with each pixel at the middle of a patch at `target` what its match has
    there: no mean, so that the grain of the surroundings stays."""
    flat = image.reshape(-1, 3)
    out = flat.copy()
    out[target] = flat[match]
    return out.reshape(image.shape)


def painted(image: Tensor, known: Tensor, rng: np.random.Generator) -> Tensor:
    """The image (3, H, W) where it is known (H, W), the rest painted by its patches, from coarse to
    fine; where there are no whole patches to paint with, smooth."""
    import cv2

    depth = float(cv2.distanceTransform((~known).byte().numpy(), cv2.DIST_L2, 3).max())
    sizes = [(image[None] * known, known[None, None].float())]
    while len(sizes) <= log2(depth / COARSEST + 1) and min(sizes[-1][0].shape[2:]) >= 6 * PATCH:
        sizes.append(
            (
                F.avg_pool2d(sizes[-1][0], 2, ceil_mode=True),
                F.avg_pool2d(sizes[-1][1], 2, ceil_mode=True),
            )
        )
    half, block = PATCH // 2, np.ones((PATCH, PATCH), np.uint8)
    out, field = image, None  # field: row and column (2, h, w) of each pixel's match, -1: none
    for i, (colour, share) in reversed(list(enumerate(sizes))):
        full, (H, W) = share[0, 0] > 0.5, share.shape[2:]
        start = spread(colour / share.clamp(min=1e-6), share > 0.5)[0]
        if field is not None:
            start = torch.where(
                full, start, F.interpolate(out[None], scale_factor=2, mode="bilinear")[0, :, :H, :W]
            )
        picture = np.pad(
            start.permute(1, 2, 0).numpy(), ((half, half), (half, half), (0, 0)), mode="edge"
        )
        whole, hole = (
            np.pad(full.numpy(), half).astype(np.uint8),
            np.pad(~full.numpy(), half).astype(np.uint8),
        )
        source = cv2.erode(whole, block, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        touched = np.pad((cv2.dilate(hole, block) > 0)[half:-half, half:-half], half)
        free, target = np.flatnonzero(source), np.flatnonzero(touched)
        if len(free) and len(target):
            lively = variation(picture)
            near = np.pad(cv2.dilate(hole, ROUND), 0) > 0
            told = torch.from_numpy(np.where(source & near, lively, 0))[None, None]
            around_it = spread(told, torch.from_numpy(source & near)[None, None])
            wanted = around_it[0, 0].numpy().reshape(-1)[target]
            match = rng.choice(free, len(target))
            y, x = np.divmod(target, source.shape[1])
            if field is not None:
                sy, sx = (
                    2 * field[:, (y - half) // 2, (x - half) // 2]
                    + np.stack([y - half, x - half]) % 2
                )
                fits = (sy >= 0) & (sx >= 0) & (sy < H) & (sx < W)
                fits[fits] = source[sy[fits] + half, sx[fits] + half]
                match[fits] = (sy[fits] + half) * source.shape[1] + sx[fits] + half
            for _ in range(min(5, 1 + 2 * i)):
                for _ in range(2):
                    match = searched(picture, target, source, match, rng, lively, wanted)
                picture = np.where(hole[..., None] > 0, woven(picture, target, match), picture)
            if not i:
                picture = np.where(hole[..., None] > 0, copied(picture, target, match), picture)
            field = np.full((2, H, W), -1)
            field[:, y - half, x - half] = np.stack(np.divmod(match, source.shape[1])) - half
        out = torch.from_numpy(picture[half:-half, half:-half]).permute(2, 0, 1).contiguous()
    return torch.where(known, image, out)
