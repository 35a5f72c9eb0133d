"""Linear maps in closed form: principal components,
which an eye has to beat, and ridge regression, which reads its codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.random import fold

# of ridge regression, in units of a standardised input's variance
PENALTIES = tuple(10.0**power for power in range(-8, 2))
SHARE = 0.2  # of the training groups, on which the penalty is chosen
STILL = 1e-5  # standard deviation of an input that stands still, of the largest one's
NOTHING = 1e-6  # variance of a component that is rounding, of the first one's
SURE = -60.0  # log-variance of a code that is not drawn


@dataclass
class Components:
    """Principal components as an eye: codes are coordinates, and know no uncertainty."""

    z_size: int  # Z
    middle: Tensor  # (D,)
    axes: Tensor  # (Z, D), orthonormal
    shape: tuple[int, ...]  # C, H, W

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of pictures (B, C, H, W)."""
        z = (x.flatten(1) - self.middle) @ self.axes.T
        return z, torch.full_like(z, SURE)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (B, C, H, W) of codes (B, Z), not clipped."""
        return (z @ self.axes + self.middle).unflatten(1, self.shape)


def components(x: Tensor, count: int) -> Components:
    """The first principal components of pictures (n, C, H, W), at most `count` and as many as these
    have: from the products of n pictures with each other, which are fewer than those of pixels."""
    flat = x.flatten(1)
    middle = flat.mean(0)
    centred = flat - middle
    values, vectors = torch.linalg.eigh((centred @ centred.T).double())
    count = max(1, min(count, int((values > NOTHING * values[-1]).sum())))
    axes = vectors[:, -count:].flip(1).T.to(x.dtype) @ centred
    return Components(
        count, middle, torch.linalg.qr(axes.T.double()).Q.T.to(x.dtype), tuple(x.shape[1:])
    )


class Linear(NamedTuple):
    """x -> x weight + offset."""

    weight: Tensor  # (D,) float64
    offset: float

    def __call__(self, x: Tensor) -> Tensor:
        """Numbers (n,) float64 of inputs (n, D)."""
        return x.double() @ self.weight + self.offset


def ridge(x: Tensor, y: Tensor, penalty: float) -> Linear:
    """The map of inputs (n, D) to numbers (n,) with the least mean squared error plus penalty
    |w|^2, w being the weights of standardised inputs; an input that stands still has none."""
    x, y = x.double(), y.double()
    middle, spread = x.mean(0), x.std(0, correction=0)
    spread = spread.where(spread > STILL * spread.max(), torch.inf)
    s, centred = (x - middle) / spread, y - y.mean()
    product = s.T @ s / len(s) + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(product, s.T @ centred / len(s)) / spread
    return Linear(weight, float(y.mean() - middle @ weight))


def chosen(x: Tensor, y: Tensor, groups: Sequence[str], seed: int = 0) -> Linear:
    """Ridge regression with the penalty that errs least on a fifth of the groups (n,),
    then fitted to all of them."""
    names = sorted(set(groups), key=lambda group: fold(seed, "penalty", group))
    if len(names) < 2:
        raise Mistake(
            f"a probe fitted on {len(names)} track; needed: 2, one of which chooses the penalty"
        )
    aside = set(names[: max(1, round(SHARE * len(names)))])
    out = torch.tensor([group in aside for group in groups])

    def error(penalty: float) -> float:
        return float((ridge(x[~out], y[~out], penalty)(x[out]) - y[out].double()).square().mean())

    return ridge(x, y, min(PENALTIES, key=error))
