"""Kernel distance: unbiased MMD^2 under a cubic kernel (Binkowski et al. 2018, arXiv 1801.01401,
equation 4 and section 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.random import generator
from simulacra.metrics.images.distances import feature_sets

SUBSETS = 50
SIZE = 1_000
ROWS = 1_000  # whose kernel values are held at once


def cubic(a: Tensor, b: Tensor) -> Tensor:
    """The kernel (a.b / D + 1)^3 for all pairs: (N, D) and (M, D) to (N, M)."""
    base = a @ b.T / a.shape[1] + 1
    return base * base * base


def mean_off_diagonal(square: Tensor) -> Tensor:
    """The mean of the entries of (N, N) that are not on the diagonal."""
    n = len(square)
    return (square.sum() - square.diagonal().sum()) / (n * (n - 1))


def squared_mmd(a: Tensor, b: Tensor) -> float:
    """Unbiased MMD^2 of (N, D) and (M, D): mean k(a, a') + mean k(b, b') - 2 mean k(a, b), no
    sample with itself; it may be negative."""
    a, b = a.double(), b.double()
    return float(
        mean_off_diagonal(cubic(a, a)) + mean_off_diagonal(cubic(b, b)) - 2 * cubic(a, b).mean()
    )


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = SUBSETS, size: int = SIZE, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation of MMD^2 over `subsets` random pairs of subsets, each of `size`
    rows without repetition; the deviation tells of one subset, not of the mean."""
    a, b = feature_sets(a=a, b=b)
    if not 2 <= size <= min(len(a), len(b)):
        raise Mistake(
            f"kernel distance with subsets of {size}; "
            f"allowed is 2 to {min(len(a), len(b))}, all there are"
        )
    dice = generator(seed, "kernel_distance")
    values = torch.tensor(
        [
            squared_mmd(random_rows(a, size, dice), random_rows(b, size, dice))
            for _ in range(subsets)
        ]
    )
    return float(values.mean()), float(values.std(correction=0))


def random_rows(features: Tensor, size: int, dice: torch.Generator) -> Tensor:
    """`size` different rows of features (N, D)."""
    return features[torch.randperm(len(features), generator=dice)[:size]]


def without_parts(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
    """Unbiased MMD^2 (G,) of (N, D) and (M, D) without each of the G parts of b, which `part` (M,)
    numbers from 0; less mean k(a, a'), which all of them share."""
    a, b = a.double(), b.double()
    members = F.one_hot(part).double()  # (M, G)
    within, across = (
        members.new_zeros(members.shape[1], members.shape[1]),
        members.new_zeros(members.shape[1]),
    )
    for rows in torch.arange(len(b)).split(ROWS):
        mine = members[rows].T
        within += mine @ cubic(b[rows], b) @ members
        across += mine @ cubic(b[rows], a).sum(1)
    alone = members.T @ (b.square().sum(1) / b.shape[1] + 1) ** 3  # each with itself
    rest = 1 - torch.eye(len(across), dtype=torch.float64)
    n, inside = (
        rest @ members.sum(0),
        torch.einsum("gi,ij,gj->g", rest, within, rest) - rest @ alone,
    )
    return inside / (n * (n - 1)) - 2 * (rest @ across) / (n * len(a))
