"""Precision, recall, density and coverage by nearest neighbours (Naeem et al. 2020, arXiv
2002.09797, section 3)."""

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.images.distances import blocks, feature_sets, radii

NEIGHBOURS = 5


def too_few(held_out: int) -> str:
    """A sentence if so few pictures are held out that none of them has a k-th neighbour, "" if
    not."""
    if held_out > NEIGHBOURS:
        return ""
    return (
        f"{held_out} picture{'s are' if held_out > 1 else ' is'} held out, and nothing can be "
        f"measured against fewer than {NEIGHBOURS + 1}; allowed: more pictures, or a larger share "
        "of them held out in a new run, as by --set data.held_out=0.3"
    )


def coverage(fake: Tensor, real: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """`precision`, `recall`, `density` and `coverage` of fake (N, D) against real (M, D); a
    sample's ball reaches to its k-th neighbour in its own set and does not contain it.

    precision: share of fakes inside some real ball; recall: share of reals inside some fake ball;
    density: real balls around a fake, on average, over k; coverage: share of reals whose ball holds
    a fake.
    """
    if k < 1:
        raise Mistake(f"k = {k} neighbours; allowed: 1 or more")
    fake, real = feature_sets(fake=fake, real=real)
    real_radii, fake_radii = radii(real, k), radii(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.int64)  # real balls around each fake
    recalled = covered = 0
    for rows, apart in blocks(real, fake):
        inside = apart < real_radii[rows, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((apart < fake_radii).any(1).sum())
    return {
        "precision": float((balls > 0).double().mean()),
        "recall": recalled / len(real),
        "density": float(balls.double().mean()) / k,
        "coverage": covered / len(real),
    }
