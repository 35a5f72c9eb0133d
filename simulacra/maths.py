"""Densities and statistics that belong to no single paper."""

from collections.abc import Callable

import torch
from torch import Tensor


def pairwise_distance(x: Tensor) -> Tensor:
    """The mean Euclidean distance between two different examples of x (B, ...)."""
    return torch.pdist(x.flatten(1).float()).mean()


def diversity(fake: Tensor, real: Tensor) -> Tensor:
    """How far apart fakes are, relative to reals: 1 is as diverse as the data, 0 is one picture. Both (B, ...)."""
    return pairwise_distance(fake) / pairwise_distance(real).clamp_min(1e-12)


def slope(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The norm of df/dx at each example; f maps (B, ...) to one number an example. -> (B,)."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x).sum(), x)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)
