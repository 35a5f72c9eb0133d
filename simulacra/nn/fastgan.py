"""A small generator of the FastGAN kind (Liu et al. 2021, arXiv 2101.04775, section 3.1): stages
that double the maps, each normalised, and skip-layer excitations, by which coarse maps say which
channels of the fine ones count.

Deviations: maps double by a transposed 4x4 convolution, where the paper enlarges and filters 3x3
(2.25 times the products); leaky rectifiers stand where it has gates, which cost as much again; no
noise is added to the maps; the statistics of batch norm move slowly, since a batch on a CPU is
small.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn import blocks

COARSEST = 4  # side of the square of pixels below which nothing doubles
MOMENTUM = 0.02  # by which a batch moves the running statistics
REACH = 3  # doublings from the maps that excite to those that are excited


def normed(channels: int, norm: str) -> nn.Module:
    """Batch norm whose running statistics move slowly, or, "none", nothing."""
    return nn.Identity() if norm == "none" else nn.BatchNorm2d(channels, momentum=MOMENTUM)


def stage(a: int, b: int, norm: str = "batch") -> nn.Sequential:
    """Maps (B, a, H, W) to (B, b, 2H, 2W): double, normalise, rectify."""
    up = nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)
    return nn.Sequential(up, normed(b, norm), nn.LeakyReLU(blocks.LEAK, inplace=True))


class Excite(nn.Module):
    """Skip-layer excitation (eq. 1 there): maps (B, a, h, w) give each channel of other maps
    (B, b, H, W) a factor in (0, 1)."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.squeeze, self.tell = nn.Conv2d(a, b, COARSEST), nn.Conv2d(b, b, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        seen = F.silu(self.squeeze(F.adaptive_avg_pool2d(coarse, COARSEST)))
        return fine * self.tell(seen).sigmoid()


class Generator(nn.Module):
    """z (B, z_size) -> picture (B, C, H, W) in [-1, 1]; `widths` are the channels of the stages,
    coarse to fine, each with twice the side of the one before; `norm` is "batch" or "none".
    ValueError for pictures whose sides do not halve that often."""

    def __init__(
        self, z_size: int, widths: Sequence[int], shape: tuple[int, int, int], norm: str = "batch"
    ):
        super().__init__()
        C, H, W = shape
        size = blocks.coarsest(H, W, len(widths) - 1)
        self.start = nn.Sequential(
            nn.Linear(z_size, widths[0] * size[0] * size[1], bias=False),
            blocks.Unflatten(widths[0], *size),
            normed(widths[0], norm),
            nn.LeakyReLU(blocks.LEAK),
        )
        self.stages = nn.ModuleList(stage(a, b, norm) for a, b in pairwise(widths))
        self.excite = nn.ModuleList(
            Excite(a, b) for a, b in zip(widths, widths[REACH:], strict=False)
        )
        self.paint = nn.Conv2d(widths[-1], C, 3, padding=1)
        blocks.normal_init(self, 0.02)

    def forward(self, z: Tensor) -> Tensor:
        # unit length, whatever the size of z
        z = F.normalize(z, dim=1) * z.shape[1] ** 0.5
        maps = [self.start(z).contiguous(memory_format=torch.channels_last)]
        for i, double in enumerate(self.stages, 1):
            x = double(maps[-1])
            if i >= REACH:
                x = self.excite[i - REACH](maps[i - REACH], x)
            maps.append(x)
        return self.paint(maps[-1]).tanh()
