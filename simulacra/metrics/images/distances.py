"""Euclidean distances between feature sets, a block of rows at a time:
memory grows with one set, never with both."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from simulacra.core.errors import Mistake

ENTRIES = 4_000_000
"""Distances held at once: 32 MB."""
SAME = 1e-12
"""Squared distances below this share of the squared lengths are zero: features are float32, the
rest is rounding."""


def feature_sets(least: int = 2, **sets: Any) -> list[Tensor]:
    """Sets of features (N, D), tensors, arrays or lists, as tensors; a Mistake if one is of another
    shape, of fewer rows than `least`, or not finite, or if they have different D."""
    found: dict[str, Tensor] = {}
    for name, given in sets.items():
        try:
            rows = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise Mistake(f"{name} is no array of numbers ({error})") from None
        if rows.ndim != 2 or len(rows) < least or not rows.shape[1]:
            shape = tuple(rows.shape)
            raise Mistake(f"{name} has shape {shape}; allowed: (N, D), N at least {least}")
        if not torch.isfinite(rows).all():
            raise Mistake(f"{name} holds numbers that are not finite; allowed: finite ones")
        found[name] = rows if rows.is_floating_point() else rows.float()
    widths = {name: rows.shape[1] for name, rows in found.items()}
    if len({*widths.values()}) > 1:
        many = " and ".join(f"{name} {width}" for name, width in widths.items())
        raise Mistake(f"numbers in a row: {many}; allowed: equally many")
    return list(found.values())


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Float64 distances (N, M) between the rows of float64 a (N, D) and b (M, D);
    equal rows are at exactly 0."""
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    squares = torch.addmm(lengths, a, b.T, alpha=-2)
    return squares.masked_fill_(squares < SAME * lengths, 0).sqrt_()


def blocks(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the rows of a (N, D), each with its distances (rows, M) to b (M, D)."""
    centre = b.double().mean(0)
    a, b = a.double() - centre, b.double() - centre
    rows = max(1, ENTRIES // len(b))
    for start in range(0, len(a), rows):
        part = slice(start, start + rows)
        yield part, distances(a[part], b)


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """The distance (N,) of each row of a (N, D) to its nearest row of b (M, D). Which one that is
    is found in float32, how far it is in float64; memory grows with a alone, so that b may lie on
    disk."""
    a = a.double()
    middle = b[: len(a)].double().mean(0)
    x, best = (a - middle).float(), a.new_full((len(a),), torch.inf)
    for part in b.split(max(1, ENTRIES // len(a))):
        y = (part.double() - middle).float()
        # less what is the same for all of b
        squares = torch.addmm(y.square().sum(1, keepdim=True), y, x.T, alpha=-2)
        apart = (a - part[squares.argmin(0)].double()).square().sum(1)
        best = torch.minimum(best, apart)
    return best.sqrt()


def radii(features: Tensor, k: int) -> Tensor:
    """The distance (N,) of each row of (N, D) to its k-th nearest other row."""
    if len(features) <= k:
        raise Mistake(f"neighbour {k} among {len(features)} samples; at least {k + 1} are needed")
    found = [
        block.topk(k + 1, 1, largest=False).values[:, k] for _, block in blocks(features, features)
    ]
    return torch.cat(found)


def mean_pairwise(features: Tensor) -> float:
    """The mean distance between two different rows of (N, D)."""
    n = len(features)
    return float(sum(block.sum() for _, block in blocks(features, features)) / (n * (n - 1)))
