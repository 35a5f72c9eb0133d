"""Blocks that belong to no single paper. Images are (B, C, H, W)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)
LEAK = 0.2  # slope of every leaky rectifier here


def normal_init(module: nn.Module, std: float) -> nn.Module:
    """The module, with every convolution's and linear map's weight drawn from N(0, std)
    and their biases 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def kept(layer: nn.Module, gain: float = 1.0, leak: float = LEAK) -> nn.Module:
    """The layer with biases 0 and weights that keep the variance of what passes through it and a
    rectifier of this leak (arXiv 1502.01852, eq. 15; leak 1 is no rectifier), times gain."""
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    fan = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):  # each output feels 1/stride^2 of the kernel
        fan = layer.weight[:, 0].numel() // math.prod(layer.stride)
    nn.init.normal_(layer.weight, std=gain * (2 / (1 + leak**2) / fan) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def kept_init(module: nn.Module) -> nn.Module:
    """The module with `kept` applied to every layer; its last is taken as linear."""
    found = [
        layer
        for layer in module.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    ]
    for layer in found:
        kept(layer, leak=1.0 if layer is found[-1] else LEAK)
    return module


def channels_last(module: Net) -> Net:
    """The module with its weights laid out for channels-last convolutions,
    which are the faster ones."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def norm(kind: str, channels: int) -> nn.Module:
    """A normalisation layer: "batch", "none", or "group", which has at most 32 groups of at least 4
    channels."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(32, max(1, channels // 4)), channels)
    return nn.Identity()


def mlp(sizes: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear maps through these sizes with rectifiers (and dropout) between them;
    the last is linear."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers[: -2 if dropout else -1])


def halve(a: int, b: int, kind: str) -> list[nn.Module]:
    """A 4x4 convolution of stride 2 with normalisation and leaky rectifier:
    a channels to b at half the side."""
    return [nn.Conv2d(a, b, 4, 2, 1), norm(kind, b), nn.LeakyReLU(LEAK)]


def double(a: int, b: int, kind: str) -> list[nn.Module]:
    """A 4x4 transposed convolution of stride 2 with normalisation and leaky rectifier:
    a channels to b at twice the side."""
    return [nn.ConvTranspose2d(a, b, 4, 2, 1), norm(kind, b), nn.LeakyReLU(LEAK)]


class Unflatten(nn.Module):
    """(B, C*H*W) -> (B, C, H, W)."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), *self.shape)


def coarsest(height: int, width: int, levels: int, patch: int = 1) -> tuple[int, int]:
    """The size of the maps after `levels` halvings of patches; ValueError if it does not divide."""
    step = patch * 2**levels
    if height % step or width % step:
        raise ValueError(
            f"these nets take pictures whose sides are multiples of {step}, found {height}x{width}"
        )
    return height // step, width // step
