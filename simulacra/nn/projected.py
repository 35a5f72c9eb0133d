"""What a frozen ImageNet network sees in pictures at several scales, mixed at random, and small
nets that judge it: the projections and discriminators of Projected GAN (Sauer et al. 2021, arXiv
2111.01007, section 3), and energies, which rebuild the projected features.

The frozen network is in no checkpoint: its weights are the package's. The random mixtures are
buffers, so that a run keeps its own.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.nn import blocks, efficientnet
from simulacra.nn.efficientnet import EfficientNetLite0

FINEST = 4  # side of maps that a head halves no further
QUIET = 0.1  # what an auto-encoder says at first, beside what it is told
SMALL = 1e-3  # standard deviation below which a channel counts as constant


@cache
def eyes(device: torch.device) -> EfficientNetLite0:
    """The frozen network on a device; the one that others use stays where it is."""
    net = efficientnet.pretrained()
    return net if device.type == "cpu" else copy.deepcopy(net).to(device)


def look(x: Tensor, levels: Sequence[int], side: int) -> list[Tensor]:
    """Pictures (B, 1 or 3, H, W) in [-1, 1], enlarged to `side` pixels (0: as they are), to the
    frozen network's features after these blocks, (B, C, h, w) each, what is finer first. The
    gradient reaches the pictures and no weight."""
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if side and x.shape[-1] != side:
        x = F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    wanted = x.contiguous(memory_format=torch.channels_last)
    return eyes(x.device).levels(wanted, tuple(levels))


def sizes(levels: Sequence[int], side: int) -> list[tuple[int, int]]:
    """Channels and shorter side of what these blocks give of pictures whose shorter side is
    `side`."""
    found, side = [], -(-side // 2)  # the stem halves
    for i, (_, channels, _, _, stride) in enumerate(efficientnet.shapes()):
        side = -(-side // stride)
        if i in levels:
            found.append((channels, side))
    return found


class Projection(nn.Module):
    """Features of several scales, standardised by channel, mixed across channels (3.2) and from
    coarse to fine (3.3) by random convolutions that nothing trains."""

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.scales = len(channels)
        for i, c in enumerate(channels):
            self.register_buffer(f"mean{i}", torch.zeros(1, c, 1, 1))
            self.register_buffer(f"std{i}", torch.ones(1, c, 1, 1))
            mix = nn.init.orthogonal_(torch.empty(c, c))
            self.register_buffer(f"mix{i}", mix.view(c, c, 1, 1))
        for i, (fine, coarse) in enumerate(pairwise(channels)):
            cross = torch.randn(fine, coarse, 3, 3) / (9 * coarse) ** 0.5
            self.register_buffer(f"cross{i}", cross)

    @torch.no_grad()
    def measure(self, parts: Callable[[], Iterable[Sequence[Tensor]]]) -> None:
        """Take each channel's mean and standard deviation from these features, part by part."""
        count, sums, squares = 0, [torch.zeros(())] * self.scales, [torch.zeros(())] * self.scales
        for features in parts():
            count += len(features[0])
            for i, f in enumerate(features):
                sums[i] = sums[i] + f.double().mean((2, 3)).sum(0)
                squares[i] = squares[i] + f.double().square().mean((2, 3)).sum(0)
        for i in range(self.scales):
            mean = sums[i] / count
            spread = (squares[i] / count - mean.square()).clamp(min=SMALL**2).sqrt()
            self.get_buffer(f"mean{i}").copy_(mean.view(1, -1, 1, 1))
            self.get_buffer(f"std{i}").copy_(spread.view(1, -1, 1, 1))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, C, h, w) of each scale to mixtures of the same shapes."""
        mixed: list[Tensor] = []
        for i in reversed(range(self.scales)):
            f = (features[i] - self.get_buffer(f"mean{i}")) / self.get_buffer(f"std{i}")
            y = F.conv2d(f, self.get_buffer(f"mix{i}"))
            if mixed:
                up = F.interpolate(mixed[-1], y.shape[2:], mode="bilinear", align_corners=False)
                cross = F.conv2d(up, self.get_buffer(f"cross{i}"), padding=1)
                y = (y + cross) / 2**0.5
            mixed.append(y)
        return mixed[::-1]


def halvings(side: int) -> int:
    """How often maps of this side are halved on the way to FINEST."""
    return max(0, (side // FINEST).bit_length() - 1)


class Logits(nn.Module):
    """A head of 3.1: mixtures (B, C, h, w) to logits of patches (B, P); every weight has spectral
    norm 1."""

    def __init__(self, channels: int, side: int, width: int):
        super().__init__()
        halved = halvings(side)
        kernel = (4, 2, 1) if halved else (3, 1, 1)
        layers: list[nn.Module] = []
        for a, b in pairwise([channels] + [width] * max(1, halved)):
            layers += [spectral_norm(nn.Conv2d(a, b, *kernel)), nn.LeakyReLU(blocks.LEAK)]
        # without a bias, which pairs of reals and fakes would not feel
        last = nn.Conv2d(width, 1, 3, padding=1, bias=False)
        self.net = nn.Sequential(*layers, spectral_norm(last))

    def forward(self, y: Tensor) -> Tensor:
        return self.net(y).flatten(1)


class Energy(nn.Module):
    """An auto-encoder of mixtures (B, C, h, w), whose error is their energy (B, 1): 0 if it
    rebuilds them, about 1 if it knows their mean alone."""

    def __init__(self, channels: int, side: int, width: int):
        super().__init__()
        kernel, leak = (4, 2, 1) if side > 1 else (1, 1, 0), nn.LeakyReLU(blocks.LEAK)
        down: list[nn.Module] = [nn.Conv2d(channels, width, *kernel), leak]
        up: list[nn.Module] = [nn.ConvTranspose2d(width, channels, *kernel)]
        for _ in range(halvings(side) - 1):
            down += [nn.Conv2d(width, width, 4, 2, 1), leak]
            up = [nn.ConvTranspose2d(width, width, 4, 2, 1), leak, *up]
        code = max(1, width // 4)
        narrow = [nn.Conv2d(width, code, 1), nn.Conv2d(code, width, 1), leak]
        self.net = blocks.kept_init(nn.Sequential(*down, *narrow, *up))
        blocks.kept(up[-1], QUIET, leak=1.0)

    def rebuild(self, y: Tensor) -> Tensor:
        """The mixtures (B, C, h, w) as the auto-encoder has them."""
        rebuilt = self.net(y)
        if rebuilt.shape != y.shape:  # sides that do not halve
            rebuilt = F.interpolate(rebuilt, y.shape[2:], mode="nearest")
        return rebuilt

    def forward(self, y: Tensor) -> Tensor:
        return (self.rebuild(y) - y).square().flatten(1).mean(1, keepdim=True)


class Heads(nn.Module):
    """A head for each scale. Called with pictures (B, C, H, W), which `see` turns into mixtures, it
    says of each scale (B, P); `judge` says it of mixtures that are there."""

    def __init__(
        self,
        kind: Callable[[int, int, int], nn.Module],  # channels, side and width to a head
        sizes: Sequence[tuple[int, int]],  # channels and side of each scale
        width: int,
        see: Callable[[Tensor], list[Tensor]],
    ):
        super().__init__()
        self.heads = nn.ModuleList(kind(channels, side, width) for channels, side in sizes)
        self.see = see

    def judge(self, mixed: Sequence[Tensor]) -> list[Tensor]:
        """Mixtures (B, C, h, w) of each scale to what its head says, (B, P)."""
        return [head(y) for head, y in zip(self.heads, mixed, strict=True)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.judge(self.see(x)))
