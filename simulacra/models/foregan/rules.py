"""The rules and losses of ForeGAN, pure functions of what is painted.

Shapes: frames (n, 3, H, W) in [-1, 1]; masks m and attention A (n, 1, H, W) in [0, 1]. Iw is the
first foreground moved along the flow, Ifg and Ibg what was painted before, C a generator's colours.
"""

import torch
from torch import Tensor

from simulacra.core.contract import Batch
from simulacra.core.random import uniform
from simulacra.models.foregan.nets import EMPTY
from simulacra.nn import optical_flow


def mixed(rule: str, A: Tensor, C: Tensor, warped: Tensor, before: Tensor) -> Tensor:
    """The next foreground. "sum": A (Iw+C) + [(1-A) (Iw+C) - 1], which is Iw + C - 1, so that A
    feels nothing; "sum_fixed": A (Iw+C) - (1-A), black where A is 0; "keep": A Iw + (1-A) C;
    "prev": A Ifg + (1-A) C."""
    if rule == "sum":
        return A * (warped + C) + ((1 - A) * (warped + C) - 1)
    if rule == "sum_fixed":
        return A * (warped + C) + (1 - A) * EMPTY
    return A * (warped if rule == "keep" else before) + (1 - A) * C


def composed(kind: str, foreground: Tensor, background: Tensor, m: Tensor) -> Tensor:
    """The frame. "over": m Ifg + (1-m) Ibg.
    "additive": Ifg + (1-m) Ibg, which asks for a grey Ifg, 0, where m is 0."""
    return (m * foreground if kind == "over" else foreground) + (1 - m) * background


def gated(kind: str, foreground: Tensor, m: Tensor) -> Tensor:
    """The foreground that is handed on: "none", as it is (the source's m Ifg + (1-m) Ifg is that
    too); "grey": m Ifg; "black": EMPTY where m is 0."""
    if kind == "none":
        return foreground
    return m * foreground + (1 - m) * (EMPTY if kind == "black" else 0.0)


def penalty(score_map: Tensor, x: Tensor, of_sum: bool = False) -> Tensor:
    """mean (|dD/dx| - 1)^2 over pictures x (n, ...), D the mean of a picture's score map, as in the
    losses; the public code takes its sum (defect B15). arXiv 1704.00028, eq. 3."""
    D = score_map.flatten(1)
    (gradient,) = torch.autograd.grad(
        (D.sum(1) if of_sum else D.mean(1)).sum(), x, create_graph=True
    )
    return mean((torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square())


def between(real: Tensor, fake: Tensor) -> Tensor:
    """A random point on the line from each real picture to a fake one;
    as many as there are of both."""
    n = min(len(real), len(fake))
    return torch.lerp(real[:n], fake[:n], uniform(real[:n], 1, 1, 1)).detach().requires_grad_()


def mean(values: Tensor) -> Tensor:
    """Their mean; 0 of no values, as where no patch is free."""
    return values.mean() if values.numel() else values.sum()


def total_variation(A: Tensor) -> Tensor:
    """The sum of absolute differences of neighbouring pixels of maps (..., H, W),
    the mean over maps."""
    down, right = A.diff(dim=-2).abs().sum((-1, -2)), A.diff(dim=-1).abs().sum((-1, -2))
    return (down + right).mean()


def flows(batch: Batch) -> tuple[Tensor, Tensor]:
    """Forward and backward flow (B, T-1, 2, H, W) of the clips:
    the batch's, or else found by dense inverse search."""
    if "forward" in batch:
        return batch["forward"], batch["backward"]
    found = [optical_flow.of_clip(clip) for clip in batch["video"]]
    forward, backward = (torch.stack(way).to(batch["video"]) for way in zip(*found, strict=True))
    return forward, backward
