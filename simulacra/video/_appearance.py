"""What one object looks like, learned from one frame and its mask: a small net that corrects a
rough mask of a new frame.

There are no weights to begin with. The net is trained on the first frame alone, which is made into
as many examples as needed: the object and the surroundings move, bend and change their light apart
from each other, the mask that the net is told is a wrong one, the one it must answer is right
(Khoreva et al., arXiv 1703.09554, "lucid dreams"; Perazzi et al., arXiv 1612.02646, for the rough
mask as an input). It sees a window around the object, so that an object's size in the frame matters
little.

Places are (h, w, 2) float, x and y in pixels of a frame, the first pixel's centre at 0.5. Lengths
without a unit are shares of the object's size, the root of its area.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.random import fold, generator, reseed
from simulacra.nn.blocks import channels_last
from simulacra.video import _cache

AREA = 30_000  # pixels of a window, as the net sees it
ZOOM = 2.0  # a window is enlarged by no more than this
MARGIN = 0.35  # of a window around the object's box, share of the box's mean side
# channels of the net at full size; 2, 3 and 4 times as many at a half, a quarter and an eighth
WIDTH = 16
NETS = 3  # states of the net whose answers are averaged
STEPS = 300  # of training between them
CHANCE = "chance"  # the state of the generator of examples, beside a net's weights
# greatest rate of learning, reached after WARM steps; falls to a tenth along half a cosine
RATE = 2e-3
WARM = 20
OVERLAP = 0.3  # weight of the Dice loss beside cross entropy

TURN = 0.1  # deviation of the common rotation (radians) and of the logarithm of scale
MOVE = 0.1  # deviation of the common shift
BEND = 0.04  # deviation of the object's own smooth deformation
APART = 0.6  # share of examples in which the object moves before its surroundings
DRIFT = 1.0  # deviation of the surroundings' shift in those
# deviation of contrast and brightness, and twice that of each channel's; the frame's colours
# deviate by 0.5
LIGHT = 0.1
SHADE = 0.1  # deviation of the smooth light and shade that falls on the object alone
GRAIN = 0.02  # deviation of the noise in each pixel
SLIP = 0.07  # deviation of the rough mask's shift; turns by as many radians and bends as much
# share of examples whose rough mask has holes and blots, and share in which it drags a ghost
FLAW = 0.5
GHOST = 0.3  # deviation of the ghost's shift


# Windows


class Window(NamedTuple):
    """A part of a frame and how large the net sees it, pixels."""

    top: int
    left: int
    bottom: int
    right: int
    height: int
    width: int


def around(mask: Tensor) -> Window | None:
    """The window around a mask (1, 1, H, W), within the frame; None if the mask has no pixel."""
    inside = mask[0, 0] > 0.5
    rows, columns = inside.any(1).nonzero()[:, 0].tolist(), inside.any(0).nonzero()[:, 0].tolist()
    if not rows:
        return None
    margin = MARGIN * math.sqrt((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)) + 8
    top, left = max(0, int(rows[0] - margin)), max(0, int(columns[0] - margin))
    bottom, right = (
        min(n, int(last + 1 + margin))
        for n, last in zip(inside.shape, (rows[-1], columns[-1]), strict=True)
    )
    zoom = min(ZOOM, math.sqrt(AREA / ((bottom - top) * (right - left))))
    return Window(
        top,
        left,
        bottom,
        right,
        max(16, round((bottom - top) * zoom)),
        max(16, round((right - left) * zoom)),
    )


def places(window: Window) -> Tensor:
    """Where in the frame the window's pixels are, (height, width, 2)."""
    top, left, bottom, right, height, width = window
    y = top + (torch.arange(height) + 0.5) * ((bottom - top) / height)
    x = left + (torch.arange(width) + 0.5) * ((right - left) / width)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), 2)


def bilinear(image: Tensor, where: Tensor, padding: str = "border") -> Tensor:
    """An image (1, C, H, W) at places (h, w, 2), bilinear: (1, C, h, w)."""
    size = torch.tensor([image.shape[3], image.shape[2]])
    return F.grid_sample(
        image, (where * 2 / size - 1)[None], padding_mode=padding, align_corners=False
    )


# The net


def block(into: int, out: int) -> nn.Sequential:
    """Two convolutions, each with its norm."""
    one, two = nn.Conv2d(into, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
    return nn.Sequential(one, nn.GroupNorm(4, out), nn.ReLU(), two, nn.GroupNorm(4, out), nn.ReLU())


class Net(nn.Module):
    """A U-Net of four sizes (Ronneberger et al., arXiv 1505.04597): colours and a rough mask in -1
    to 1, (N, 4, h, w), to logits (N, 1, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [WIDTH, 2 * WIDTH, 3 * WIDTH, 4 * WIDTH]
        self.down = nn.ModuleList(
            block(a, b) for a, b in zip([4, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(block(a + b, a) for a, b in pairwise(widths))
        self.out = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, sides = self.down[0](x.contiguous(memory_format=torch.channels_last)), []
        for down in self.down[1:]:
            sides.append(x)
            x = down(F.max_pool2d(x, 2, ceil_mode=True))
        for up, side in zip(reversed(self.up), reversed(sides), strict=True):
            x = up(torch.cat([side, F.interpolate(x, side.shape[2:], mode="bilinear")], 1))
        return self.out(x)


# Examples


class Source(NamedTuple):
    """A frame that examples are made of."""

    frame: Tensor  # (1, 3, H, W), as the net sees colours
    mask: Tensor  # (1, 1, H, W), 0 to 1
    ground: Tensor  # (1, 3, H, W): the frame with the object painted over
    where: Tensor  # (h, w, 2): places of the window
    centre: Tensor  # (2,): x and y of the object's middle
    size: float  # root of the object's area
    chance: torch.Generator

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers of deviation one."""
        return torch.randn(shape, generator=self.chance)

    def one_in(self, share: float) -> bool:
        """Whether this is one of a share of cases."""
        return float(torch.rand((), generator=self.chance)) < share

    def smooth(self, cells: int) -> Tensor:
        """A smooth random field at the window's size, (h, w, 2), its knots of deviation one."""
        return F.interpolate(
            self.normal(1, 2, cells, cells),
            self.where.shape[:2],
            mode="bicubic",
            align_corners=True,
        )[0].permute(1, 2, 0)

    def moved(self, where: Tensor, turn: float, move: float) -> Tensor:
        """Places after a random affine motion about the object's middle: scale and rotation of
        deviation `turn`, shear of half as much, shift of deviation `move`."""
        scale, angle, *shear = (turn * self.normal(4)).tolist()
        c, s = math.exp(scale) * math.cos(angle), math.exp(scale) * math.sin(angle)
        matrix = torch.tensor([[c, -s + shear[0] / 2], [s + shear[1] / 2, c]])
        return (where - self.centre) @ matrix.T + self.centre + move * self.size * self.normal(2)


def source(frame: Tensor, mask: Tensor, chance: torch.Generator) -> Source:
    """What examples are made of, from a frame (1, 3, H, W) and its mask (1, 1, H, W) that is not
    empty. The object is painted over by Telea's marching (2004)."""
    import cv2

    low, high = frame.min(), frame.max()
    shown = (
        ((frame[0] - low) * (255 / (high - low + 1e-6)))
        .round()
        .byte()
        .permute(1, 2, 0)
        .contiguous()
        .numpy()
    )
    hole = cv2.dilate((mask[0, 0] > 0.3).byte().numpy(), np.ones((5, 5), np.uint8))
    filled = (
        torch.from_numpy(cv2.inpaint(shown, hole, 3, cv2.INPAINT_TELEA))
        .permute(2, 0, 1)[None]
        .float()
    )
    inside = (mask[0, 0] > 0.5).nonzero().float()
    window = around(mask)
    assert window is not None
    middle, size = inside.mean(0).flip(0) + 0.5, math.sqrt(len(inside))
    return Source(
        frame, mask, filled * ((high - low) / 255) + low, places(window), middle, size, chance
    )


def rough(of: Source, where: Tensor) -> Tensor:
    """A mask (1, 1, h, w) in 0 to 1 that is wrong as one carried along by flow is wrong: displaced,
    bent, with holes, with blots near the object, dragging a part of itself behind, and blurred."""
    off = of.moved(where, SLIP, SLIP) + of.smooth(7) * (SLIP * of.size)
    mask = bilinear(of.mask, off, "zeros")
    if of.one_in(FLAW):
        field = of.smooth(6)[..., 0]
        near = F.interpolate(
            F.max_pool2d(F.interpolate(mask, scale_factor=0.25), 9, 1, 4), mask.shape[2:]
        )
        mask = torch.where(field > 1.2, 0.0, torch.where((field < -1.2) & (near > 0.5), 1.0, mask))
    if of.one_in(FLAW):
        ghost = bilinear(of.mask, off + GHOST * of.size * of.normal(2), "zeros")
        mask = torch.maximum(mask, ghost * (of.smooth(4)[..., 0] > 0))
    return F.avg_pool2d(F.pad(mask, (2, 2, 2, 2), mode="replicate"), 5, 1)


def example(of: Source) -> tuple[Tensor, Tensor]:
    """What the net is shown (1, 4, h, w) and the mask it should answer (1, 1, h, w)."""
    common = of.moved(of.where, TURN, MOVE)
    own = of.moved(common, TURN / 2, MOVE / 2) + of.smooth(5) * (BEND * of.size)
    mask, seen = bilinear(of.mask, own, "zeros"), bilinear(of.frame, own)
    if of.one_in(APART):
        seen = mask * seen + (1 - mask) * bilinear(of.ground, of.moved(common, TURN, DRIFT))
    seen = seen + SHADE * mask * of.smooth(4)[..., 0]
    contrast, brightness = (LIGHT * of.normal(2)).tolist()
    seen = (
        seen * (1 + contrast)
        + brightness
        + LIGHT / 2 * of.normal(1, 3, 1, 1)
        + GRAIN * of.normal(*seen.shape)
    )
    return torch.cat([seen, 2 * rough(of, own) - 1], 1), mask


# Training


def loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy + OVERLAP (1 - (2 sum pm + 1) / (sum p + sum m + 1)),
    p the sigmoid of the logits, m the mask."""
    p = logits.sigmoid()
    dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + OVERLAP * dice


def cycle(net: Net, of: Source, notify: Callable[[float], None]) -> None:
    """Train a net on STEPS examples, the rate of learning rising and falling once."""
    optimizer = torch.optim.AdamW(net.parameters(), RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    for k in range(STEPS):
        optimizer.param_groups[0]["lr"] = (
            RATE * min(1, (k + 1) / WARM) * (0.55 + 0.45 * math.cos(math.pi * k / STEPS))
        )
        seen, wanted = example(of)
        optimizer.zero_grad()
        loss(net(seen), wanted).backward()
        optimizer.step()
        notify((k + 1) / STEPS)


class Kept(NamedTuple):
    """Where a stopped training leaves each net that is whole: NAME_1, NAME_2 ... beside `path`."""

    path: Path
    of: str  # the fingerprint of all that the nets depend on

    def file(self, n: int) -> Path:
        """That of net n, from 1."""
        return self.path.with_name(f"{self.path.stem}_{n}{self.path.suffix}")

    def restored(self, net: Net, chance: torch.Generator) -> list[Net]:
        """The nets that were left, the first ones without a gap; the net and the generator of
        examples then are as they were after the last."""
        shapes = {name: tuple(value.shape) for name, value in self._state(net, chance).items()}
        nets: list[Net] = []
        while len(nets) < NETS:
            found, why = _cache.fault(self.file(len(nets) + 1), self.of, shapes)
            if why:
                break
            chance.set_state(found.pop(CHANCE))
            net.load_state_dict(found)
            nets.append(deepcopy(net).requires_grad_(False))
        return nets

    def keep(self, n: int, net: Net, chance: torch.Generator) -> None:
        """Leave net n."""
        _cache.keep(self.file(n), self._state(net, chance), self.of)

    @staticmethod
    def _state(net: Net, chance: torch.Generator) -> dict[str, Tensor]:
        return {**net.state_dict(), CHANCE: chance.get_state()}


@torch.enable_grad()
def learned(
    frame: Tensor,
    mask: Tensor,
    seed: int,
    notify: Callable[[float], None],
    kept: Kept | None = None,  # goes on with the nets that were left there, to the same bits
) -> Callable[[Tensor], Tensor]:
    """What answers with the object's logits (1, 1, h, w) when shown colours and a rough mask (1, 4,
    h, w), learned from a frame (1, 3, H, W) and its mask (1, 1, H, W) that is not empty: the mean
    of one net at the ends of NETS cycles of its rate of learning (Huang et al., arXiv 1704.00109),
    because where the surroundings are new each errs in its own way. `notify` hears the share that
    is done."""
    of = source(frame, mask, generator(seed, "appearance", "examples"))
    with torch.random.fork_rng(devices=[]):
        reseed(fold(seed, "appearance", "weights"))
        net = channels_last(Net())
    nets = kept.restored(net, of.chance) if kept else []
    for n in range(len(nets), NETS):
        cycle(net, of, lambda share, n=n: notify((n + share) / NETS))  # type: ignore[misc]
        nets.append(deepcopy(net).requires_grad_(False))
        if kept:
            kept.keep(n + 1, net, of.chance)
    return lambda seen: torch.stack([one(seen) for one in nets]).mean(0)
