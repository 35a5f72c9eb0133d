"""Scores of a classifier's posteriors p(y|x), rows of (N, classes) that sum to one."""

import torch
from torch import Tensor

FLOOR = 1e-6
"""The smallest posterior in the modified score, which this number bounds: 102.6 at most for ten
even classes."""


def inception_score(posteriors: Tensor) -> float:
    """exp(E_x KL(p(y|x) || p(y))), between 1 and the number
    of classes (Salimans et al. 2016, arXiv 1606.03498, section 4)."""
    rows = posteriors.double()
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
    rows = posteriors.double()
    marginal = rows.mean(0)
    divergence = -torch.special.entr(marginal).sum() - rows.clamp(min=floor).log() @ marginal
    return float(divergence.square().mean())
