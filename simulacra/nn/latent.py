"""What models with an encoder and a decoder share:
paths between codes, and how much a code is used. Codes are (B, z_size)."""

import torch
from torch import Tensor

from simulacra.core import distributed
from simulacra.core.errors import choose
from simulacra.nn import maths

PATHS = "spherical", "linear"
SHOWN = 8  # dimensions of z whose divergence is logged


def path(start: Tensor, end: Tensor, steps: int, kind: str = "spherical") -> Tensor:
    """`steps` codes (steps, z_size) from `start` to `end` (z_size,), both included, one step being
    the start alone. "linear": a straight line. "spherical": along the great circle, the length
    changing evenly (arXiv 1609.04468); a straight line where the two point the same way, opposite
    ways, or one is 0."""
    choose("path", kind, list(PATHS))
    t = torch.linspace(0, 1, steps).to(start)[:, None]
    line = torch.lerp(start, end, t)
    lengths = torch.stack([start.norm(), end.norm()])
    if kind == "linear" or lengths.min() == 0:
        return line
    a, b = start / lengths[0], end / lengths[1]
    angle = (a @ b).clamp(-1, 1).arccos()
    if angle.sin() < 1e-4:
        return line
    turned = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return turned * torch.lerp(lengths[0], lengths[1], t)


def active(mean: Tensor) -> Tensor:
    """How many dimensions of posterior means (n, z_size) vary
    by more than 0.01 (arXiv 1509.00519, section 5)."""
    return (mean.var(0, correction=0) > 0.01).float().sum()


def summary(KL: Tensor) -> dict[str, Tensor]:
    """Of the divergence (B, z_size) of each picture and dimension, in nats: KL, the mean of its
    sums, and KL_1, KL_2, ..., the largest of its dimensions' means."""
    each = distributed.all_mean(KL.mean(0)).sort(descending=True).values
    return {"KL": KL.sum(1).mean()} | {f"KL_{i}": nats for i, nats in enumerate(each[:SHOWN], 1)}


def strips(codes: Tensor, rows: int, steps: int) -> Tensor:
    """Paths from each of the first codes to the next one:
    (rows, steps, z_size), at most len(codes) - 1 rows, at least 1."""
    rows = max(1, min(rows, len(codes) - 1))
    return torch.stack([path(codes[i], codes[(i + 1) % len(codes)], steps) for i in range(rows)])


def beside(x: Tensor, rebuilt: Tensor) -> Tensor:
    """Pictures (B, C, H, W), each followed by its reconstruction: (2B, C, H, W)."""
    return torch.stack([x, rebuilt], 1).flatten(0, 1)


def quality(rebuilt: Tensor, x: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Of held-out pictures x: PSNR (dB) of their reconstructions
    and of the mean picture; dimensions of z in use."""
    x, rebuilt, mean = (distributed.all_gather(value) for value in (x, rebuilt, mean))
    flat = maths.psnr(x.mean(0, keepdim=True).expand_as(x), x).mean()
    return {
        "psnr": maths.psnr(rebuilt, x).mean(),
        "psnr_mean_picture": flat,
        "active": active(mean),
    }
