"""What steadies a game, for every model: instance noise, differentiable augmentation, a spectral
norm that bounds.

A model has `stabilise: Stabilisers` among its hyperparameters and shows its discriminator
`augment(...)` in place of pictures.
"""

from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from simulacra.core.random import noise, uniform
from simulacra.core.schedules import Schedule, value_at

WEIGHTS = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear


class Stabilisers(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What steadies the game; all off."""

    # D's label of reals; 0.9 smooths one side (arXiv 1606.03498, 3.4)
    real_target: Annotated[float, Meta(gt=0, le=1)] = 1.0
    # standard deviation of that label, drawn for each picture
    target_std: Annotated[float, Meta(ge=0)] = 0.0
    # standard deviation of normal noise on all that D sees (arXiv 1610.04490), at a step
    noise: Schedule = 0.0
    # on all that D sees (DiffAugment, arXiv 2006.10738)
    augment: tuple[Literal["translate", "cutout", "colour"], ...] = ()
    # D's weights, those of its recurrences too, have spectral norm 1 (arXiv 1802.05957)
    spectral: bool = False


def targets(h: Stabilisers, like: Tensor) -> Tensor:
    """Labels of reals for D, (B,), at most 1."""
    drawn = like.new_full((len(like),), h.real_target)
    if h.target_std:
        drawn = h.real_target + h.target_std * noise(like)
    return drawn.clamp(0, 1)


def augment(h: Stabilisers, x: Tensor, k: int) -> Tensor:
    """Pictures or series x (B, C, ...) as D sees them at step k, augmented and noisy;
    G's gradient passes through."""
    for name in h.augment:
        x = AUGMENT[name](x)
    std = value_at(h.noise, k)
    return x + std * noise(x, *x.shape[1:]) if std else x


def rounded(number: float) -> int:
    """The nearest whole number, halves up, as DiffAugment's code has it."""
    return int(number + 0.5)


def whole(like: Tensor, count: int) -> Tensor:
    """One of 0 to count - 1 for each picture, (B, 1), all equally likely."""
    return (uniform(like, 1) * count).long()


def translate(x: Tensor) -> Tensor:
    """Each picture (B, C, H, W) moved by whole pixels, up to an eighth of its sides, all moves
    equally likely; zeros, which are mid-grey in [-1, 1], move in, as in DiffAugment's code."""
    B, _, H, W = x.shape
    rows, cols = (
        torch.arange(size, device=x.device)
        + whole(x, 2 * rounded(size / 8) + 1)
        - rounded(size / 8)
        for size in (H, W)
    )
    down = ((rows >= 0) & (rows < H)).view(B, 1, H, 1)
    inside = down & ((cols >= 0) & (cols < W)).view(B, 1, 1, W)
    at_row = x.gather(2, rows.clamp(0, H - 1).view(B, 1, H, 1).expand_as(x))
    moved = at_row.gather(3, cols.clamp(0, W - 1).view(B, 1, 1, W).expand_as(x))
    return torch.where(inside, moved, torch.zeros_like(moved))


def shift(x: Tensor, most: int) -> Tensor:
    """Each picture (B, C, H, W) moved by whole pixels, up to `most` each way, all moves equally
    likely; the pixels of its edge are repeated. With 0 it is x, and nothing is drawn."""
    if not most:
        return x
    rows, cols = (
        (torch.arange(size, device=x.device) + whole(x, 2 * most + 1) - most).clamp(0, size - 1)
        for size in x.shape[2:]
    )
    at_row = x.gather(2, rows[:, None, :, None].expand_as(x))
    return at_row.gather(3, cols[:, None, None].expand_as(x))


def cutout(x: Tensor) -> Tensor:
    """A rectangle of half the sides, its centre anywhere in the picture,
    is mid-grey (0) in each."""
    B, _, H, W = x.shape
    hidden = []
    for size in (H, W):
        cut = rounded(size / 2)
        first = whole(x, size + 1 - cut % 2) - cut // 2
        places = torch.arange(size, device=x.device)
        hidden.append((places >= first) & (places < first + cut))
    rows, cols = hidden
    return x * ~(rows.view(B, 1, H, 1) & cols.view(B, 1, 1, W))


def colour(x: Tensor) -> Tensor:
    """Brightness, saturation and contrast of each picture changed at random, in DiffAugment's
    ranges."""
    x = x + (uniform(x, 1, 1, 1) - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (uniform(x, 1, 1, 1) * 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (uniform(x, 1, 1, 1) + 0.5) + mean


AUGMENT = {"translate": translate, "cutout": cutout, "colour": colour}


def spectral(module: nn.Module) -> nn.Module:
    """The module, every convolution's, linear map's and recurrence's weight divided by its largest
    singular value, which one power iteration a training call estimates. A weight that begins at 0
    has none and begins at random. A batch norm behind such a weight would undo it: ValueError."""
    for parent in list(module.modules()):
        if isinstance(parent, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                "spectral norm bounds nothing where batch norm rescales: switch one of them off"
            )
        if isinstance(parent, WEIGHTS):
            if not parent.weight.any():
                parent.reset_parameters()
            parametrizations.spectral_norm(parent)
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(parent, name, SpectralLSTM(child))
    return module


class SpectralLSTM(nn.Module):
    """An LSTM like the one given (batch first, one layer, with its weights), each kernel divided by
    its largest singular value.

    A parametrised nn.LSTM would turn the vectors several times a call and could not be copied once
    it was called.
    """

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.units, self.both_ways = lstm.hidden_size, lstm.bidirectional
        self.maps = nn.ModuleList()  # for each way: of the inputs, of the state
        for kernel, recurrent, *biases in lstm.all_weights:
            for weight, bias in zip((kernel, recurrent), biases, strict=True):
                layer = nn.Linear(weight.shape[1], weight.shape[0])
                layer.weight, layer.bias = weight, bias
                self.maps.append(parametrizations.spectral_norm(layer))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        weights = [
            w
            for i in range(0, len(self.maps), 2)
            for kind in ("weight", "bias")
            for w in self.pair(i, kind)
        ]
        zeros = x.new_zeros(len(self.maps) // 2, len(x), self.units)
        outputs, last, cell = torch.lstm(
            x, (zeros, zeros), weights, True, 1, 0.0, self.training, self.both_ways, True
        )
        return outputs, (last, cell)

    def pair(self, i: int, kind: str) -> list[Tensor]:
        """The weights or biases of one way."""
        return [getattr(layer, kind) for layer in self.maps[i : i + 2]]
