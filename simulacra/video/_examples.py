"""Examples of one object, made of a frame and its mask (Khoreva et al., arXiv 1703.09554, "lucid
dreams"; Perazzi et al., arXiv 1612.02646, for the rough mask as an input).

The object and its surroundings move, bend and change their light apart from each other; things pass
before it, others move behind it, it casts a shadow. What the net is told, the rough mask and the
clues (`_clues`), is wrong as it is wrong in clips; the mask that it must answer is right. Lengths
without a unit are shares of the object's size, the root of its area.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.video._clues import MUCH
from simulacra.video._windows import bilinear

TURN = 0.1  # deviation of the common rotation (radians) and of the logarithm of scale
MOVE = 0.1  # deviation of the common shift
BEND = 0.04  # deviation of the object's own smooth deformation
APART = 0.6  # share of examples in which the object moves before its surroundings
DRIFT = 1.0  # deviation of the surroundings' shift in those
# deviation of contrast, of brightness, and twice that of each channel's
LIGHT = 0.1
SHADE = 0.07  # deviation of the smooth light and shade that falls on the object alone
GRAIN = 0.02  # deviation of the noise in each pixel
BLUR = 0.25  # share of examples blurred by motion, 3 to 9 pixels
SLIP = 0.07  # deviation of the rough mask's shift; turns by as many radians and bends as much
# share of examples whose rough mask has holes and blots, and share in which it drags a ghost
FLAW = 0.5
GHOST = 0.3  # deviation of the ghost's shift
ABSENT = 0.2  # share without a rough mask: the object must be found
OTHERS = 0.3  # share in which other things move behind the object; and in which it casts a shadow
BEFORE = 0.25  # share in which something stands before it
DIFFERENCE, MOTION = 0.5, 0.7  # shares in which these clues are told
REAL = 0.75  # share with the frame's own clues, if there are any
SPILL = 0.3  # share of those whose rough mask runs over what is around


class Source(NamedTuple):
    """A frame that examples are made of."""

    frame: Tensor  # (1, 3, H, W) in [-1, 1]
    mask: Tensor  # (1, 1, H, W), 0 to 1
    clues: Tensor | None  # (1, CLUES, H, W), if they are known
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

    def between(self, low: float, high: float) -> float:
        """A number, all between two alike probable."""
        return low + (high - low) * float(torch.rand((), generator=self.chance))

    def smooth(self, cells: int) -> Tensor:
        """A smooth random field at the window's size, (h, w, 2), its knots of deviation one."""
        return F.interpolate(
            self.normal(1, 2, cells, cells),
            self.where.shape[:2],
            mode="bicubic",
            align_corners=True,
        )[0].permute(1, 2, 0)

    def blots(self, above: float, cells: int = 6) -> Tensor:
        """Where a smooth field is above a number, (1, 1, h, w), 0 or 1."""
        return (self.smooth(cells)[..., 0] > above).float()[None, None]

    def moved(self, where: Tensor, turn: float, move: float) -> Tensor:
        """Places after a random affine motion about the object's middle: scale and rotation of
        deviation `turn`, shear of half as much, shift of deviation `move`."""
        scale, angle, *shear = (turn * self.normal(4)).tolist()
        c, s = math.exp(scale) * math.cos(angle), math.exp(scale) * math.sin(angle)
        matrix = torch.tensor([[c, -s + shear[0] / 2], [s + shear[1] / 2, c]])
        return (where - self.centre) @ matrix.T + self.centre + move * self.size * self.normal(2)


class Example(NamedTuple):
    """What the net is shown and told, and the mask that it should answer."""

    seen: Tensor  # (1, 3, h, w) in [-1, 1]
    told: Tensor  # (1, TOLD, h, w)
    mask: Tensor  # (1, 1, h, w) in 0 to 1


def source(
    frame: Tensor, mask: Tensor, clues: Tensor | None, where: Tensor, chance: torch.Generator
) -> Source:
    """What examples are made of, from a frame (1, 3, H, W) and its mask (1, 1, H, W) that is not
    empty, of a window's places. The object is painted over by Telea's marching (2004)."""
    import cv2

    shown = ((frame[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
    hole = cv2.dilate((mask[0, 0] > 0.3).byte().numpy(), np.ones((5, 5), np.uint8))
    filled = cv2.inpaint(shown.contiguous().numpy(), hole, 3, cv2.INPAINT_TELEA)
    ground = torch.from_numpy(filled).permute(2, 0, 1)[None].float() / 127.5 - 1
    inside = (mask[0, 0] > 0.5).nonzero().float()
    middle, size = inside.mean(0).flip(0) + 0.5, math.sqrt(len(inside))
    return Source(frame, mask, clues, ground, where, middle, size, chance)


def soft(mask: Tensor, side: int = 5) -> Tensor:
    """Means over squares."""
    r = side // 2
    return F.avg_pool2d(F.pad(mask, (r, r, r, r), mode="replicate"), side, 1)


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
    return soft(mask)


def lit(of: Source, mask: Tensor, seen: Tensor) -> tuple[Tensor, float, Tensor]:
    """A picture in another light; and the contrast and brightness (1, 3, 1, 1) of that."""
    seen = seen + SHADE * mask * of.smooth(4)[..., 0]
    contrast, brightness = (LIGHT * of.normal(2)).tolist()
    shift = 0.7 * brightness + 0.35 * LIGHT * of.normal(1, 3, 1, 1)
    lighted = seen * (1 + contrast) + shift + GRAIN * of.normal(*seen.shape)
    return lighted.clamp(-1, 1), 1 + contrast, shift


def blurred(of: Source, seen: Tensor) -> Tensor:
    """Blurred along or across by 3 to 9 pixels."""
    r = int(of.between(1, 5))
    shape = [1, 2 * r + 1] if of.one_in(0.7) else [2 * r + 1, 1]
    edge = [shape[1] // 2, shape[1] // 2, shape[0] // 2, shape[0] // 2]
    return F.avg_pool2d(F.pad(seen, edge, mode="replicate"), shape, 1)


def obstructed(of: Source, made: Example) -> Example:
    """With something before the object, a bar or blots of the surroundings: the mask leaves it out,
    the background has it, too."""
    if of.one_in(0.6):
        angle = of.between(-0.6, 0.6)
        across = torch.tensor([math.cos(angle), math.sin(angle)])
        away = (of.where - of.centre) @ across - 0.5 * of.size * float(of.normal(1))
        before = (away.abs() < of.size * of.between(0.06, 0.3)).float()[None, None]
    else:
        before = of.blots(1.0, 5)
    other = bilinear(of.ground, of.moved(of.where, TURN, 1.5)) + 0.15 * float(of.normal(1))
    told = made.told.clone()
    told[:, 1:2] *= 1 - before
    if of.one_in(0.5):
        told[:, 3:4] *= 1 - before
    seen = (before * other + (1 - before) * made.seen).clamp(-1, 1)
    return Example(seen, told, made.mask * (1 - before))


def difference(of: Source, seen: Tensor, plate: Tensor, mask: Tensor) -> Tensor:
    """Clues (1, 2, h, w) of a background that is a pixel or so off its place, of another light, has
    what the frame has here and there, and is not known everywhere."""
    h, w = mask.shape[2:]
    plate = plate * (1 + 0.03 * float(of.normal(1))) + 0.03 * float(of.normal(1))
    if of.one_in(0.7):
        dy, dx = of.normal(2).tolist()
        shift = torch.tensor([[[1, 0, 2 * dx / w], [0, 1, 2 * dy / h]]])
        to = F.affine_grid(shift, [1, 1, h, w], align_corners=False)
        plate = F.grid_sample(plate, to, padding_mode="border", align_corners=False)
    if of.one_in(0.35):
        same = of.blots(0.8)
        plate = same * seen + (1 - same) * plate
    known = torch.ones_like(mask)
    if of.one_in(0.5):
        known = 1 - (soft(mask, 9) > 0.05).float() * of.blots(of.between(-1, 1), 5)
    apart = ((seen - plate).abs().amax(1, keepdim=True) / MUCH).clamp(0, 1)
    return torch.cat([apart * known, known], 1)


def moving(of: Source, mask: Tensor, others: Tensor) -> Tensor:
    """The clue (1, 1, h, w) of motion, as flow tells it: larger than the object, of any strength,
    with holes, and elsewhere where it is wrong or where other things move; or the object rests."""
    found = torch.zeros_like(mask)
    if of.one_in(0.6):
        wide = soft(mask, 2 * int(of.between(1, 6)) + 1) > of.between(0.05, 0.6)
        found = wide * (of.between(0.3, 1) + 0.3 * of.smooth(4)[..., 0])
        found = torch.maximum(found, others * of.between(0, 1)) * (1 - of.blots(1.3))
    found = torch.maximum(found, of.blots(1.6) * of.between(0, 1))
    return (soft(found, 7) + 0.05 * of.smooth(7)[..., 0].abs()).clamp(0, 1)


def imagined(of: Source, apart: bool, own: Tensor, around: Tensor) -> Example:
    """An example whose clues are made up."""
    mask, thing = bilinear(of.mask, own, "zeros"), bilinear(of.frame, own)
    ground = bilinear(of.ground, around)
    plate = back = ground if apart else mask * ground + (1 - mask) * thing
    others = torch.zeros_like(mask)
    if of.one_in(OTHERS):
        others = of.blots(1.2, 5) * (1 - mask)
        elsewhere = bilinear(of.ground, of.moved(around, TURN, 1.0))
        back = others * elsewhere + (1 - others) * back
    if of.one_in(OTHERS):
        off = of.size * torch.tensor([0.3, -0.45]) * of.normal(2).abs()
        light = 1 - soft(bilinear(of.mask, own + off, "zeros"), 9) * of.between(0.1, 0.5)
        back = back * light - (1 - light) * 0.5
    seen, contrast, brightness = lit(of, mask, mask * thing + (1 - mask) * back)
    if of.one_in(BLUR):
        seen = blurred(of, seen)
    none = torch.zeros_like(mask)
    told = torch.zeros_like(mask) if of.one_in(ABSENT) else 2 * rough(of, own) - 1
    clues = [none, none]
    if of.one_in(DIFFERENCE):
        clues = [difference(of, seen, plate * contrast + brightness, mask)]
    clues += (
        [moving(of, mask, others), torch.ones_like(mask)] if of.one_in(MOTION) else [none, none]
    )
    return Example(seen, torch.cat([told, *clues], 1), mask)


def witnessed(of: Source, clues: Tensor, apart: bool, own: Tensor, around: Tensor) -> Example:
    """An example with the frame's own clues, each moved with what it belongs to; those of the ring
    around the object with the object, because their edges are not the mask's."""
    mask, seen, told = (
        bilinear(of.mask, own, "zeros"),
        bilinear(of.frame, own),
        bilinear(clues, own),
    )
    if apart:
        rest = bilinear(clues * (1 - of.mask), around)
        rest[:, 1:2] = torch.maximum(rest[:, 1:2], bilinear(of.mask, around, "zeros"))
        rest[:, 3:] = 1
        ring = (soft(soft(mask, 9), 9) > 0.05).float()
        told = ring * told + (1 - ring) * rest
        seen = mask * seen + (1 - mask) * bilinear(of.ground, around)
    seen, *_ = lit(of, mask, seen)
    carried = torch.zeros_like(mask) if of.one_in(ABSENT) else 2 * rough(of, own) - 1
    if of.one_in(SPILL):
        carried = torch.maximum(carried, 2 * soft(of.blots(0.9, 5)) - 1)
    known = torch.ones(1, 4, 1, 1)
    for part in slice(0, 2), slice(2, 4):
        if of.one_in(0.15):
            known[:, part] = 0
    return Example(seen, torch.cat([carried, told * known], 1), mask)


def example(of: Source) -> Example:
    """One example."""
    common = of.moved(of.where, TURN, MOVE)
    own = of.moved(common, TURN / 2, MOVE / 2) + of.smooth(5) * (BEND * of.size)
    apart = of.one_in(APART)
    around = of.moved(common, TURN, DRIFT) if apart else own
    if of.clues is not None and of.one_in(REAL):
        made = witnessed(of, of.clues, apart, own, around)
    else:
        made = imagined(of, apart, own, around)
    return obstructed(of, made) if of.one_in(BEFORE) else made
