"""How players move: descend, Adam, learning rates."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from simulacra.core.contract import HasRates
from simulacra.core.distributed import all_mean_of_list
from simulacra.core.errors import Mistake
from simulacra.core.schedules import Schedule, value_at


def descend(*moves: tuple[Tensor, Optimizer], clip: float = 0.0) -> None:
    """Gradient of each loss with respect to its own optimizer's weights only, all taken before any
    player steps.

    One call with several moves is simultaneous play, several calls are alternating play. Gradients
    are averaged over processes when torch.distributed runs. A weight that its loss cannot feel is
    an error, named. `clip` is the largest norm that the whole gradient of a move keeps; 0 leaves
    it.
    """
    gradients = [
        _gradient(loss, optimizer, last=i == len(moves) - 1)
        for i, (loss, optimizer) in enumerate(moves)
    ]
    if clip:
        gradients = [_clipped(gradient, clip) for gradient in gradients]
    for (_, optimizer), gradient in zip(moves, gradients, strict=True):
        for weight, g in zip(weights(optimizer), gradient, strict=True):
            weight.grad = like_weight(g, weight)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _clipped(gradient: list[Tensor], most: float) -> list[Tensor]:
    """Not in place: autograd may return one tensor for two weights,
    or one number for all of a tensor."""
    norm = torch.stack([g.norm() for g in gradient]).norm()
    factor = (most / (norm + 1e-12)).clamp(max=1)
    return [g * factor for g in gradient]


def like_weight(g: Tensor, weight: Tensor) -> Tensor:
    """The gradient laid out in memory as its weight is. torch.autograd.grad promises no layout
    (only backward does), and fused Adam on the CPU walks raw memory: a gradient laid out otherwise
    would be applied permuted, silently."""
    return g if g.stride() == weight.stride() else torch.empty_like(weight).copy_(g)


def weights(optimizer: Optimizer) -> list[Tensor]:
    """The tensors that this optimizer moves, in its own order."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _gradient(loss: Tensor, optimizer: Optimizer, last: bool) -> list[Tensor]:
    gradient = torch.autograd.grad(
        loss, weights(optimizer), retain_graph=not last, allow_unused=True
    )
    dead = [name for name, g in zip(_names(optimizer), gradient, strict=True) if g is None]
    if dead:
        raise RuntimeError(
            f"dead weights, which their player's loss does not depend on: {', '.join(dead)}"
        )
    return all_mean_of_list([g for g in gradient if g is not None])


def _names(optimizer: Optimizer) -> list[str]:
    return [
        name
        for group in optimizer.param_groups
        for name in group.get("param_names", ["?"] * len(group["params"]))
    ]


def adam(module: nn.Module, rate: Schedule, beta1: float, beta2: float) -> Adam:
    """Adam (arXiv 1412.6980) over a module's named weights, fused. It begins at the rate of step 0;
    a model's `rates` says how it goes on."""
    return Adam(module.named_parameters(), lr=value_at(rate, 0), betas=(beta1, beta2), fused=True)


def set_rates(model: Any, k: int) -> None:
    """Give the optimizers that a model's `rates` names their learning rates of step k, as the loop
    does before every step. A loop of one's own calls it before `model.step(batch, k)`; without it
    all go on at the rate that they have."""
    for name, schedule in model.rates().items() if isinstance(model, HasRates) else ():
        optimizer = getattr(model, name, None)
        if not isinstance(optimizer, Optimizer):
            raise Mistake(
                f"{type(model).__name__}.rates names {name}, which is "
                f"{'not there' if optimizer is None else type(optimizer).__name__}; allowed: "
                "attributes that are optimizers"
            )
        set_rate(optimizer, value_at(schedule, k))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group of the optimizer this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
