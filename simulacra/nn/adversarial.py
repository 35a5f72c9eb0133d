"""The games that generators and discriminators play, for every model: losses as pure functions of
logits, each (B,), and what tells how a game stands."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import distributed
from simulacra.nn import maths


def cross_entropy(d: Tensor, target: float | Tensor) -> Tensor:
    """-t log sigmoid(d) - (1 - t) log(1 - sigmoid(d)) for logits d (B,) and targets t in [0, 1],
    a number or (B,)."""
    return F.softplus(d) - target * d


def non_saturating_D(d_x: Tensor, d_g: Tensor, target: float | Tensor = 1.0) -> Tensor:
    """-log sigmoid(d_x) - log(1 - sigmoid(d_g)), halved so that indifference costs ln 2 (arXiv
    1406.2661, eq. 1). `target` below 1 smooths the label of reals alone (arXiv 1606.03498, section
    3.4)."""
    return (cross_entropy(d_x, target) + F.softplus(d_g)) / 2


def non_saturating_G(d_g: Tensor, target: float | Tensor = 1.0) -> Tensor:
    """-log sigmoid(d_g) (arXiv 1406.2661, section 3);
    `target` below 1 smooths G's label too, as the published recurrent GANs do."""
    return cross_entropy(d_g, target)


def relativistic(d_winner: Tensor, d_loser: Tensor) -> Tensor:
    """softplus(-(d_winner - d_loser)): R3GAN eq. 2,
    where D wants the real one to win and G the generated one."""
    maths.alike(d_winner=d_winner, d_loser=d_loser)
    return F.softplus(d_loser - d_winner)


def slope_penalty(d: Tensor, x: Tensor | Sequence[Tensor]) -> Tensor:
    """|dD/dx|^2, summed over the pixels of each picture (and over its sizes, if there are several):
    R1 at reals, R2 at fakes (R3GAN eq. 3)."""
    gradients = torch.autograd.grad(d.sum(), x, create_graph=True)
    return torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)


def equilibrium(target: float = 1.0, target_G: float = 1.0) -> dict[str, float]:
    """The losses of the non-saturating game where fakes are like reals and D is optimal:
    D = target / 2 everywhere."""
    d = torch.tensor([math.log(target / (2 - target))], dtype=torch.float64)
    return {
        "loss_D": float(non_saturating_D(d, d, target)),
        "loss_G": float(non_saturating_G(d, target_G)),
    }


def won(target: float = 1.0) -> float:
    """What D's loss in the non-saturating game falls to when it has won:
    half the entropy of the smoothed label."""
    return sum(-p * math.log(p) for p in (target, 1 - target) if p > 0) / 2


def standing(
    judge: Callable[[Tensor], Tensor],  # examples (B, ...) -> logits (B,), D in evaluation mode
    x: Tensor,  # reals of the step
    fake: Tensor,
    unseen: Tensor,  # logits of held-out reals, by the same weights
    scalars: Mapping[str, Tensor],  # what the step told
    equilibrium: Mapping[str, float],
) -> dict[str, Tensor]:
    """The logit of held-out reals, as the weights that told D_real would give it (logits drift
    together); D's slopes; how diverse samples are; how far each loss is from its equilibrium."""
    with torch.no_grad():
        gap = unseen.mean() - judge(x).mean()
    slopes = {
        "grad_real": maths.slope(judge, x).mean(),
        "grad_fake": maths.slope(judge, fake).mean(),
    }
    spread = {"diversity": maths.diversity(distributed.all_gather(fake), distributed.all_gather(x))}
    off = {f"{name}_from_equilibrium": scalars[name] - value for name, value in equilibrium.items()}
    return {"D_held_out": scalars["D_real"] + gap} | slopes | spread | off
