"""Scores of a classifier's posteriors p(y|x), rows of (N, classes) that sum to one."""

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.images.distances import feature_sets

FLOOR = 1e-6
"""The smallest posterior in the modified score, which this number bounds: 102.6 at most for ten
even classes."""


def posterior_rows(posteriors: Tensor) -> Tensor:
    """The rows (N, classes) as float64; a Mistake if they are no probabilities."""
    (rows,) = feature_sets(least=1, posteriors=posteriors)
    rows = rows.double()
    if rows.min() < 0 or (rows.sum(1) - 1).abs().max() > 1e-3:
        low, high = float(rows.sum(1).min()), float(rows.sum(1).max())
        raise Mistake(
            f"posteriors: rows sum to {low:.4g} to {high:.4g}, the least entry is "
            f"{float(rows.min()):.4g}; allowed: probabilities, which sum to 1"
        )
    return rows


def inception_score(posteriors: Tensor) -> float:
    """exp(E_x KL(p(y|x) || p(y))), between 1 and the number
    of classes (Salimans et al. 2016, arXiv 1606.03498, section 4)."""
    rows = posterior_rows(posteriors)
    marginal = rows.mean(0)
    return float(
        (torch.special.entr(marginal).sum() - torch.special.entr(rows).sum(1).mean()).exp()
    )


PARTS = 10
"""Consecutive parts of the published protocol of the score."""


def inception_score_splits(posteriors: Tensor, splits: int = PARTS) -> tuple[float, float]:
    """Mean and standard deviation of the score over consecutive parts, the published protocol;
    parts of n samples lower it by about (classes - 1) / 2n of its value."""
    scores = torch.tensor([inception_score(part) for part in posteriors.tensor_split(splits)])
    return float(scores.mean()), float(scores.std(correction=0))


def modified_inception_score(posteriors: Tensor, floor: float = FLOOR) -> float:
    """E_x KL(p(y) || p(y|x))^2, posteriors not below `floor` (Zhao et al. 2017, arXiv 1609.03126,
    section 4.1: the arguments reversed, squared, no exponential); higher is better, only within one
    classifier and floor."""
    rows = posterior_rows(posteriors)
    marginal = rows.mean(0)
    divergence = -torch.special.entr(marginal).sum() - rows.clamp(min=floor).log() @ marginal
    return float(divergence.square().mean())
