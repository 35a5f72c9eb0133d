"""The networks of Visual Dynamics: cross convolution, motion encoder, the two painters, and the
prior learnt from a picture.

Shapes: frames I1, I2 (B, C, H, W) in [-1, 1]; z (B, z_size); kernels (B, maps, k, k). Every net
takes the model's hyperparameters and the shape (C, H, W) of a frame.

Reference: Xue, Wu, Bouman, Freeman, "Visual Dynamics", arXiv 1607.02586.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn import blocks

if TYPE_CHECKING:  # the model imports this file
    from simulacra.models.visual_dynamics.visual_dynamics import Hyper


DEPTH = 10.0  # how much faster than other weights the order of layers is learnt


# --- cross convolution ----------------------------------------------------------------------------


def grouped(maps: Tensor, kernels: Tensor, pad: int) -> Tensor:
    """Each map with its own kernel, padded by `pad` on all sides:
    maps (B, C, H, W) with (B, C, k, l)."""
    B, C, H, W = maps.shape
    out = F.conv2d(
        maps.reshape(1, B * C, H, W),
        kernels.reshape(B * C, 1, *kernels.shape[2:]),
        padding=pad,
        groups=B * C,
    )
    return out.view(B, C, *out.shape[2:])


class CrossConvolution(torch.autograd.Function):
    """Its gradients are cross convolutions too: of the outer gradient with the kernels turned
    around, and of the maps with the outer gradient as kernels. The library's own gradient of a
    grouped convolution is many times slower on a processor (bench/cross_convolution.py)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(maps, kernels)
        return grouped(maps, kernels, kernels.shape[3] // 2)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of maps and kernels, in their shapes, of the outer one (B, C, H, W)."""
        maps, kernels = ctx.saved_tensors
        pad = kernels.shape[3] // 2
        return grouped(outer, kernels.flip(-1, -2), pad), grouped(maps, outer, pad)


def cross_convolution(maps: Tensor, kernels: Tensor) -> Tensor:
    """Each map with its own kernel, "same" padding (arXiv 1607.02586, section 3.3): maps (B, C, H,
    W) with (B, C, k, k), k odd, in one grouped convolution over B*C channels, differentiable
    twice."""
    moved: Tensor = CrossConvolution.apply(maps, kernels)
    return moved


# --- networks -------------------------------------------------------------------------------------


def conv(a: int, b: int, k: int, norm: str, stride: int = 1) -> nn.Sequential:
    """A padded convolution, normalisation, leaky rectifier."""
    return nn.Sequential(
        nn.Conv2d(a, b, k, stride, k // 2), blocks.norm(norm, b), nn.LeakyReLU(blocks.LEAK)
    )


class MotionEncoder(nn.Module):
    """I1, I2 -> mean and log-variance of z, each (B, z_size)."""

    def __init__(self, h: "Hyper", shape: tuple[int, int, int]):
        super().__init__()
        ends = [2 * shape[0], *h.motion]
        self.read = nn.Sequential(
            *(
                conv(a, b, 5, h.norm, s)
                for a, b, s in zip(ends[:-2], ends[1:-1], h.strides[:-1], strict=True)
            ),
            nn.Conv2d(ends[-2], ends[-1], 5, h.strides[-1], 2),
        )
        self.pool = nn.AdaptiveAvgPool2d(5)
        self.end = nn.Identity() if h.z_maps else nn.Linear(25 * ends[-1], 2 * h.z_size)
        self.maps = h.z_maps

    def forward(self, I1: Tensor, I2: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.pool(self.read(torch.cat([I1, I2 - I1], 1)))
        if not self.maps:
            seen = self.end(F.leaky_relu(seen, blocks.LEAK).flatten(1))
        mean, s = seen.chunk(2, 1)
        return mean.flatten(1), s.flatten(1)


class Difference(nn.Module):
    """The paper's painter: I1, z -> I2, as I1 plus a difference image."""

    def __init__(self, h: "Hyper", shape: tuple[int, int, int]):
        super().__init__()
        C = shape[0]
        self.scales, self.count = h.scales, h.maps
        a, b, c = h.image
        self.encode = nn.ModuleList(
            nn.Sequential(
                conv(C, a, 5, h.norm, 2),
                conv(a, b, 5, h.norm),
                conv(b, c, 5, h.norm, 2),
                nn.Conv2d(c, h.maps, 5, padding=2),
            )
            for _ in h.scales
        )
        if h.z_maps:
            grow = [
                blocks.Unflatten(h.z_size // 25, 5, 5),
                conv(h.z_size // 25, h.hidden, 5, h.norm),
            ]
        else:
            grow = [
                blocks.Unflatten(h.z_size, 1, 1),
                nn.ConvTranspose2d(h.z_size, h.hidden, 5),
                nn.LeakyReLU(blocks.LEAK),
            ]
        self.kernels = nn.Sequential(
            *grow, nn.Conv2d(h.hidden, len(h.scales) * h.maps, 5, padding=2)
        )
        self.decode = nn.Sequential(
            conv(len(h.scales) * h.maps, h.hidden, 9, h.norm),
            conv(h.hidden, h.hidden, 1, h.norm),
            nn.Conv2d(h.hidden, C, 1),
        )

    def forward(self, I1: Tensor, z: Tensor, sharpen: float = 1.0) -> Tensor:
        """I2. Kernels of both signs are no shares of places: nothing is sharpened."""
        kernels = self.kernels(z).split(self.count, 1)
        moved = []
        for factor, encode, kernel in zip(self.scales, self.encode, kernels, strict=True):
            size = [max(4, round(side * factor)) for side in I1.shape[2:]]
            seen = I1
            if factor != 1:
                seen = F.interpolate(I1, size, mode="bilinear", antialias=factor < 1)
            maps = cross_convolution(encode(seen), kernel)
            moved.append(F.interpolate(maps, I1.shape[2:], mode="bilinear"))
        difference: Tensor = self.decode(torch.cat(moved, 1))
        return I1 + difference


def shares(opacity: Tensor, ahead: Tensor) -> Tensor:
    """How much of each pixel shows the background and each layer, (B, 1 + L, 1, H, W), adding up to
    1, of opacities (B, L, 1, H, W) in [0, 1] under an order (B, L, L): 1 where the first is in
    front of the second, 0 where it is behind. A certain order makes Porter and Duff's "over"; where
    it is open, layers share."""
    count = opacity.shape[1]
    found = [(1 - opacity).prod(1)]
    for i in range(count):
        one = opacity[:, i]
        for j in range(count):
            if i != j:
                one = one * (1 - opacity[:, j] * ahead[:, j, i, None, None, None])
        found.append(one)
    all_ = torch.stack(found, 1)
    return all_ / (all_.sum(1, keepdim=True) + 1e-6)


class Layers(nn.Module):
    """Our painter: I1, z -> I2, as layers that are moved and laid over a background,
    in an order that is learnt."""

    def __init__(self, h: "Hyper", shape: tuple[int, int, int]):
        super().__init__()
        C, H, W = shape
        least = 2 ** (len(h.widths) - 1)
        if H % least or W % least:
            raise ValueError(
                f"widths = {h.widths} take frames whose sides are multiples of {least}, "
                f"found {H}x{W}"
            )
        self.count, self.colours, self.side = h.layers, C, h.kernel
        down = [conv(C, h.widths[0], 3, h.norm)]
        down += [conv(a, b, 3, h.norm, 2) for a, b in pairwise(h.widths)]
        self.down = nn.ModuleList(down)
        self.deep = nn.ModuleList(conv(width, width, 3, h.norm) for width in h.widths[1:])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(h.widths))
        self.up = nn.ModuleList(conv(a, a, 3, h.norm) for a in h.widths[:-1])
        self.opacity = nn.Conv2d(h.widths[0], h.layers, 3, padding=1)
        self.fill = nn.Conv2d(h.widths[:2][-1], (1 + h.layers) * C, 3, padding=1)
        self.depth = nn.Linear(h.widths[:2][-1], h.layers)
        self.finish = (
            nn.Sequential(
                conv(1 + h.layers + C, h.finish, 3, "none"), nn.Conv2d(h.finish, C, 3, padding=1)
            )
            if h.finish
            else None
        )
        self.kernels = blocks.mlp([h.z_size, h.hidden, h.hidden, h.layers * h.kernel**2])
        steps = torch.arange(h.kernel) - h.kernel // 2
        near = -(steps[:, None].square() + steps.square()).float() / 2
        end = self.kernels[-1]
        assert isinstance(end, nn.Linear) and self.opacity.bias is not None
        with torch.no_grad():
            end.bias.copy_(near.flatten().repeat(h.layers))  # at first nothing moves far
            self.opacity.bias.fill_(-2.0)  # and the background shows
            # the order is open, and nothing is finished
            for zero in [self.depth, *([self.finish[-1]] if self.finish else [])]:
                for weight in zero.parameters():
                    weight.zero_()

    def opacities(self, I1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Opacities (B, L, 1, H, W) of the layers, how sure it is that the first is in front of the
        second (B, L, L), both in [0, 1], and features at half the side."""
        found = [self.down[0](I1)]
        for down, deep in zip(self.down[1:], self.deep, strict=True):
            found.append(deep(down(found[-1])))
        x = coarse = found.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            coarse = x
            x = up(found.pop() + F.interpolate(narrow(x), scale_factor=2.0, mode="nearest"))
        d = self.depth(coarse.mean((2, 3)))
        ahead = (DEPTH * (d[:, :, None] - d[:, None])).sigmoid()
        return self.opacity(x).sigmoid()[:, :, None], ahead, coarse

    def taken_apart(self, I1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Opacities (B, L, 1, H, W) in [0, 1] of the layers; colours (B, 1 + L, C, H, W) of
        background and layers, those of the picture where it shows them, filled in where it does
        not; and who is in front (B, L, L)."""
        opacity, ahead, coarse = self.opacities(I1)
        fill = F.interpolate(torch.tanh(self.fill(coarse)), I1.shape[2:], mode="bilinear")
        seen = shares(opacity, ahead)
        filled = fill.unflatten(1, (1 + self.count, self.colours))
        return opacity, seen * I1[:, None] + (1 - seen) * filled, ahead

    def forward(self, I1: Tensor, z: Tensor, sharpen: float = 1.0) -> Tensor:
        """I2, the kernels raised to the power `sharpen` and made to sum to 1 again."""
        opacity, colour, ahead = self.taken_apart(I1)
        logits = sharpen * self.kernels(z).view(len(z), self.count, 1, -1)
        kernels = logits.softmax(3).unflatten(3, (self.side, self.side))
        # (B, L, 1 + C, H, W), moved by the layer's one kernel
        each = torch.cat([opacity, opacity * colour[:, 1:]], 2)
        own_kernels = kernels.expand(-1, -1, each.shape[2], -1, -1).flatten(1, 2)
        moved = cross_convolution(each.flatten(1, 2), own_kernels).view_as(each)
        opacity, own = moved[:, :, :1], moved[:, :, 1:] / (moved[:, :, :1] + 1e-4)
        seen = shares(opacity, ahead)
        out = (seen * torch.cat([colour[:, :1], own], 1)).sum(1)
        return out + self.finish(torch.cat([out, seen.flatten(1, 2)], 1)) if self.finish else out


class PriorNet(nn.Module):
    """I1 -> mean and log-variance of z (arXiv 1802.07687)."""

    def __init__(self, h: "Hyper", shape: tuple[int, int, int]):
        super().__init__()
        ends = [shape[0], *h.motion]
        self.read = nn.Sequential(*(conv(a, b, 5, h.norm, 2) for a, b in pairwise(ends)))
        self.end = nn.Linear(25 * ends[-1], 2 * h.z_size)
        nn.init.zeros_(self.end.weight)

    def forward(self, I1: Tensor) -> tuple[Tensor, Tensor]:
        mean, s = self.end(F.adaptive_avg_pool2d(self.read(I1), 5).flatten(1)).chunk(2, 1)
        return mean, s
