"""The small net that turns a rough mask into the right one, given the picture, what speaks for the
object (`_clues`) and, if wanted, what a frozen network trained on ImageNet sees there."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn import efficientnet

CLUES = 4  # channels of `_clues`
TOLD = 1 + CLUES  # the rough mask and these
WIDTHS = 8, 16, 32, 48, 64  # channels at full size, a half, a quarter, an eighth and a sixteenth


def block(into: int, out: int, convolutions: int = 2) -> nn.Sequential:
    """Convolutions, each with its norm."""
    layers: list[nn.Module] = []
    for a in (into, *[out] * (convolutions - 1)):
        layers += [nn.Conv2d(a, out, 3, padding=1), nn.GroupNorm(4, out), nn.ReLU()]
    return nn.Sequential(*layers)


class Net(nn.Module):
    """A U-Net of five sizes (Ronneberger et al., arXiv 1505.04597): colours (N, 3, h, w) in [-1, 1]
    and what is told (N, TOLD, h, w), the rough mask from -1 to 1 with 0 for unknown, to logits
    (N, 1, h, w). With `pretrained` a frozen EfficientNet-Lite0 looks at the colours, too, and each
    smaller size is given what it sees at that size."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        seen = efficientnet.LEVELS.values() if pretrained else (0, 0, 0, 0)
        self.first = block(3 + TOLD, WIDTHS[0], 1)
        self.norms = nn.ModuleList(
            nn.GroupNorm(1, n, affine=False) if n else nn.Identity() for n in seen
        )
        self.down = nn.ModuleList(
            block(a + n + TOLD, b) for (a, b), n in zip(pairwise(WIDTHS), seen, strict=True)
        )
        self.up = nn.ModuleList(block(a + b, a) for a, b in reversed(list(pairwise(WIDTHS))))
        self.out = nn.Conv2d(WIDTHS[0], 1, 1)
        self.pretrained = pretrained

    def forward(self, colours: Tensor, told: Tensor) -> Tensor:
        seen: list[Tensor] = []
        if self.pretrained:
            with torch.no_grad():
                wanted = colours.contiguous(memory_format=torch.channels_last)
                seen = efficientnet.pretrained().levels(wanted)
        x = self.first(torch.cat([colours, told], 1).contiguous(memory_format=torch.channels_last))
        sides = []
        for i, (down, norm) in enumerate(zip(self.down, self.norms, strict=True)):
            sides.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True)
            parts = [x, F.interpolate(told, x.shape[2:], mode="area")]
            if self.pretrained:
                parts.append(norm(F.interpolate(seen[i], x.shape[2:], mode="bilinear")))
            x = down(torch.cat(parts, 1))
        for up, side in zip(self.up, reversed(sides), strict=True):
            x = up(torch.cat([side, F.interpolate(x, side.shape[2:], mode="bilinear")], 1))
        return self.out(x)
