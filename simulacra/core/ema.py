"""The exponential moving average (EMA) of a network's weights."""

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class EMA(Generic[Net]):
    """A moving average of a module's weights, with which one samples (arXiv 1806.04498).
    Buffers are copied."""

    def __init__(self, module: Net):
        self.source = module
        self.module: Net = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, images: int, seen: int, half_life: float) -> None:
        """After a step on `images` pictures, `seen` in all: keep 0.5^(images / half_life) of the
        old average. The half-life (in pictures) is at most a tenth of what was seen, so that the
        first weights are forgotten; 0 switches averaging off."""
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
        """The averaged weights and the buffers, by the names that the module gives them."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put averaged weights back; the module that is averaged stays as it is."""
        self.module.load_state_dict(state)

    def packed(self) -> dict[str, Tensor]:
        """What is kept where one only looks."""
        return self.module.state_dict()

    def unpack(self, state: dict[str, Tensor]) -> None:
        """Put it back, as the last weights too."""
        for module in self.module, self.source:
            module.load_state_dict(state)
