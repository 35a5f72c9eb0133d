"""Fréchet distance between two feature sets taken as Gaussians (Heusel et al. 2017, arXiv
1706.08500, equation 6). It is called FID only on the published Inception features, which are not
here."""

import torch
from torch import Tensor

from simulacra.metrics.images.distances import feature_sets


def root(matrix: Tensor) -> Tensor:
    """The symmetric square root (D, D) of a symmetric matrix
    whose negative eigenvalues are rounding."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def gaussian_frechet(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    """|m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a^{1/2} S_b S_a^{1/2})^{1/2}), whose inner matrix is
    symmetric, so that no eigenvalue is complex."""
    half = root(covariance_a.double())
    overlap = torch.linalg.eigvalsh(half @ covariance_b.double() @ half).clamp(min=0).sqrt().sum()
    spread = covariance_a.double().trace() + covariance_b.double().trace() - 2 * overlap
    return float((mean_a.double() - mean_b.double()).square().sum() + spread)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Float64 mean (D,) and unbiased covariance (D, D) of features (N, D)."""
    features = features.double()
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The distance between features (N, D) and (M, D), at least 0;
    biased upwards by about 1/N, so compare equal N."""
    a, b = feature_sets(a=a, b=b)
    return max(0.0, gaussian_frechet(*moments(a), *moments(b)))


def rank_note(samples: int, size: int) -> str:
    """A sentence if `samples` are fewer than twice the feature size, since the covariance is then
    close to singular; else empty."""
    if samples >= 2 * size:
        return ""
    return (
        f"Fréchet distance from {samples} samples of {size} features; "
        f"at least {2 * size} are needed to trust it"
    )
