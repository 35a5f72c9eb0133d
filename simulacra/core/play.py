"""How players move: descend, moving averages, schedules on the step, and what many processes share."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Annotated, Any, Generic, TypeVar

import torch
import torch.distributed as dist
from msgspec import Meta
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

Net = TypeVar("Net", bound=nn.Module)
Weight = Annotated[float, Meta(ge=0)]
Points = Annotated[tuple[tuple[Annotated[int, Meta(ge=0)], Weight], ...], Meta(min_length=1)]
Schedule = Weight | Points
"""A number, or (step, value) points: constant before the first and after the last, linear in between. Two points at the
same step are a jump."""


def descend(*moves: tuple[Tensor, Optimizer], clip: float = 0.0) -> None:
    """Gradient of each loss with respect to its own optimizer's weights only, all taken before any player steps.

    One call with several moves is simultaneous play, several calls are alternating play. Gradients are averaged over
    processes when torch.distributed runs. A weight that its loss cannot feel is an error, named. `clip` is the largest norm
    that the whole gradient of a move keeps; 0 leaves it.
    """
    gradients = [_gradient(loss, optimizer, last=i == len(moves) - 1) for i, (loss, optimizer) in enumerate(moves)]
    if clip:
        gradients = [_clipped(gradient, clip) for gradient in gradients]
    for (_, optimizer), gradient in zip(moves, gradients, strict=True):
        for weight, g in zip(weights(optimizer), gradient, strict=True):
            weight.grad = like_weight(g, weight)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _clipped(gradient: list[Tensor], most: float) -> list[Tensor]:
    """Not in place: autograd may return one tensor for two weights, or one number for all of a tensor."""
    norm = torch.stack([g.norm() for g in gradient]).norm()
    factor = (most / (norm + 1e-12)).clamp(max=1)
    return [g * factor for g in gradient]


def like_weight(g: Tensor, weight: Tensor) -> Tensor:
    """The gradient laid out in memory as its weight is. torch.autograd.grad promises no layout (only backward does), and
    fused Adam on the CPU walks raw memory: a gradient laid out otherwise would be applied permuted, silently."""
    return g if g.stride() == weight.stride() else torch.empty_like(weight).copy_(g)


def weights(optimizer: Optimizer) -> list[Tensor]:
    """The tensors that this optimizer moves, in its own order."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _gradient(loss: Tensor, optimizer: Optimizer, last: bool) -> list[Tensor]:
    gradient = torch.autograd.grad(loss, weights(optimizer), retain_graph=not last, allow_unused=True)
    dead = [name for name, g in zip(_names(optimizer), gradient, strict=True) if g is None]
    if dead:
        raise RuntimeError(f"dead weights, which their player's loss does not depend on: {', '.join(dead)}")
    return _averaged_list([g for g in gradient if g is not None])


def _names(optimizer: Optimizer) -> list[str]:
    return [name for group in optimizer.param_groups for name in group.get("param_names", ["?"] * len(group["params"]))]


def _averaged_list(gradient: list[Tensor]) -> list[Tensor]:
    if processes() == 1:
        return gradient
    flat = torch.cat([g.flatten() for g in gradient])
    dist.all_reduce(flat)
    parts = (flat / processes()).split([g.numel() for g in gradient])
    return [part.view_as(g) for part, g in zip(parts, gradient, strict=True)]


def adam(module: nn.Module, rate: float, beta1: float, beta2: float) -> Adam:
    """Adam (arXiv 1412.6980) over a module's named weights, fused."""
    return Adam(module.named_parameters(), lr=rate, betas=(beta1, beta2), fused=True)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group of the optimizer this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def at(schedule: Schedule, k: int) -> float:
    """The schedule's value at step k."""
    if isinstance(schedule, (int, float)):
        return float(schedule)
    before = [point for point in schedule if point[0] <= k]
    after = [point for point in schedule if point[0] > k]
    if not before or not after:
        return float(before[-1][1] if before else after[0][1])
    (k0, v0), (k1, v1) = before[-1], after[0]
    return v0 + (v1 - v0) * (k - k0) / (k1 - k0)


class Average(Generic[Net]):
    """A moving average of a module's weights, with which one samples (arXiv 1806.04498). Buffers are copied."""

    def __init__(self, module: Net):
        self.source = module
        self.module: Net = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, images: int, seen: int, half_life: float) -> None:
        """After a step on `images` pictures, `seen` in all: keep 0.5^(images / half_life) of the old average. The half-life
        (in pictures) is at most a tenth of what was seen, so that the first weights are forgotten; 0 switches averaging off."""
        half_life = min(half_life, 0.1 * seen)
        keep = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        own: list[Tensor] = list(self.module.parameters())
        new: list[Tensor] = list(self.source.parameters())
        torch._foreach_lerp_(own, new, 1 - keep)
        for mine, theirs in zip(self.module.buffers(), self.source.buffers(), strict=True):
            mine.copy_(theirs)

    def follow(self) -> None:
        """Become the last weights."""
        self.module.load_state_dict(self.source.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state)

    def packed(self) -> dict[str, Tensor]:
        """What is kept where one only looks."""
        return self.module.state_dict()

    def unpack(self, state: dict[str, Tensor]) -> None:
        """Put it back, as the last weights too."""
        for module in self.module, self.source:
            module.load_state_dict(state)


@contextlib.contextmanager
def quiet(*modules: nn.Module) -> Iterator[None]:
    """Modules in evaluation mode, so that looking at them changes no buffer; their modes come back at the end."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)


def processes() -> int:
    """How many processes train together (torchrun); 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def own_rows(whole: Tensor) -> Tensor:
    """This process's equal share of a tensor's rows."""
    return whole if processes() == 1 else whole.tensor_split(processes())[rank()]


def noise(like: Tensor, *shape: int) -> Tensor:
    """Standard normal noise (len(like), *shape) on like's device. It is drawn for all processes and on the CPU, so that the
    numbers depend neither on how many processes there are nor on the device."""
    return own_rows(torch.randn(len(like) * processes(), *shape)).to(like.device)


def uniform(like: Tensor, *shape: int) -> Tensor:
    """As `noise`, uniform in [0, 1)."""
    return own_rows(torch.rand(len(like) * processes(), *shape)).to(like.device)


def gathered(own: Tensor) -> Tensor:
    """The rows of all processes, for losses that look across the batch. The gradient reaches this process's rows, times the
    number of processes, since descend averages."""
    if processes() == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(processes())]
    dist.all_gather(parts, own.detach().contiguous())
    parts[rank()] = own.detach() + processes() * (own - own.detach())
    return torch.cat(parts)


def averaged(value: Tensor) -> Tensor:
    """The mean of a value over processes, without gradient."""
    value = value.detach()
    if processes() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / processes()
