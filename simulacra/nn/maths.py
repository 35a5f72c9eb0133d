"""Densities and statistics that belong to no single paper."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from simulacra.core.errors import Mistake


def pairwise_distance(x: Tensor) -> Tensor:
    """The mean Euclidean distance between two different examples of x (B, ...)."""
    return torch.pdist(x.flatten(1).float()).mean()


def diversity(fake: Tensor, real: Tensor) -> Tensor:
    """How far apart fakes are, relative to reals:
    1 is as diverse as the data, 0 is one picture. Both (B, ...)."""
    return pairwise_distance(fake) / pairwise_distance(real).clamp_min(1e-12)


def error_of_mean(
    shown: Callable[[], Iterator[Tensor]], error: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The mean over all examples x (B, ...) of error(the mean example, x) (B,), in two passes:
    `shown` is called twice and shows the same. -> scalar."""
    total, n = torch.zeros(()).double(), 0
    for x in shown():
        total, n = total + x.double().sum(0), n + len(x)
    mean = (total / n).float()[None]
    errors = torch.stack([error(mean.expand_as(x), x).double().sum() for x in shown()])
    return errors.sum().float() / n


def slope(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The norm of df/dx at each example; f maps (B, ...) to one number an example. -> (B,)."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x).sum(), x)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


def gaussian_kl(
    mean: Tensor, s: Tensor, other: Tensor | float = 0.0, t: Tensor | float = 0.0
) -> Tensor:
    """KL(N(mean, exp s) || N(other, exp t)) of each dimension,
    in nats, at least 0 (arXiv 1312.6114, appendix B)."""
    t = torch.as_tensor(t, dtype=s.dtype, device=s.device)
    return ((mean - other).square() * (-t).exp() + torch.expm1(s - t) - (s - t)) / 2


def psnr(image: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (...) of pictures (..., C, H, W), clipped to [-1, 1], in dB: 10
    log10(4 / mean squared error), at most 100."""
    error = (image.clamp(-1, 1) - true.clamp(-1, 1)).double().square().mean((-3, -2, -1))
    return (10 * (4 / error).log10()).clamp(max=100.0)


def alike(**pair: Tensor) -> None:
    """A Mistake if tensors that are taken element by element have other shapes: (B,) beside (B, 1)
    would become (B, B) without a word."""
    (one, a), (other, b) = pair.items()
    if a.shape != b.shape:
        raise Mistake(
            f"{one} is {tuple(a.shape)} and {other} {tuple(b.shape)}; allowed: equal shapes"
        )
