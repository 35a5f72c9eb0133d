"""The networks of ForeGAN, and what they are shown: filled holes, moved foregrounds, patches.

Shapes: frames (B, 3, H, W) in [-1, 1], of any size; masks (B, 1, H, W) in [0, 1]; flows (B, 2, H,
W) in pixels. A foreground is EMPTY where nothing is.

Reference: the public code VOS-ForeGAN, and GANimation, arXiv 1807.09251, from which its generators
come.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.random import uniform
from simulacra.nn import blocks as layers
from simulacra.nn import optical_flow

if TYPE_CHECKING:  # the model imports this file
    from simulacra.models.foregan.foregan import Hyper

Net = TypeVar("Net", bound=nn.Module)
EMPTY = -1.0  # black
LEAK = 0.01  # of the critics' rectifiers
# least agreement of forward and backward flow, where both are of the same thing; about a pixel
AGREE = 0.1


# --- generators -----------------------------------------------------------------------------------


def conv(a: int, b: int, k: int, stride: int = 1) -> nn.Sequential:
    """A padded convolution without bias, instance norm, rectifier."""
    return nn.Sequential(
        nn.Conv2d(a, b, k, stride, (k - 1) // 2, bias=False), nn.GroupNorm(b, b), nn.ReLU()
    )


def double(a: int, b: int) -> nn.Sequential:
    """Twice the side: a transposed convolution without bias, instance norm, rectifier."""
    return nn.Sequential(
        nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.GroupNorm(b, b), nn.ReLU()
    )


class Residual(nn.Module):
    """x plus two convolutions of it."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(*conv(width, width, 3), *list(conv(width, width, 3))[:2])

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.body(x)
        return x + changed


class Trunk(nn.Module):
    """Inputs (B, C, H, W) -> features (B, width, H, W), read at a quarter of the side. Sides that 4
    does not divide are continued with their border and cut again."""

    def __init__(self, inputs: int, width: int, blocks: int):
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, width, 7),
            conv(width, 2 * width, 4, 2),
            conv(2 * width, 4 * width, 4, 2),
            *(Residual(4 * width) for _ in range(blocks)),
            double(4 * width, 2 * width),
            double(2 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        H, W = x.shape[2:]
        whole = F.pad(x, (0, -W % 4, 0, -H % 4), mode="replicate") if H % 4 or W % 4 else x
        features: Tensor = self.body(whole)
        return features[..., :H, :W]


class ConvLSTM(nn.Module):
    """A convolutional LSTM (arXiv 1506.04214, without peepholes);
    output and cell in one tensor (B, 2 width, H, W)."""

    def __init__(self, width: int):
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 4 * width, 3, padding=1)

    def forward(self, x: Tensor, carried: Tensor) -> Tensor:
        h, c = carried.chunk(2, 1)
        i, f, o, g = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return torch.cat([o.sigmoid() * c.tanh(), c], 1)


class Generator(nn.Module):
    """Trunk, temporal path, and the heads of colour C and attention A; Gf has the mask's head too.

    Temporal paths: "none"; "reductor", heads of their own for each of `steps` time steps, which see
    half of the channels before them; "shared", feat_t = trunk_t + tanh(conv(feat_t-1)); "convlstm".
    The first channels of all features, `width` of them, are those that the mask's head reads."""

    def __init__(self, h: "Hyper", inputs: int, temporal: str, steps: int, mask: str = "attention"):
        super().__init__()
        self.trunk, self.temporal, self.width = Trunk(inputs, h.width, h.blocks), temporal, h.width
        widths = [h.width]
        if temporal == "reductor":
            for _ in range(steps - 1):
                widths.append(h.width + widths[-1] // 2)
            halves = (
                nn.Sequential(nn.Conv2d(w, w // 2, 3, padding=1), nn.ReLU()) for w in widths[:-1]
            )
            self.reduce = nn.ModuleList(halves)
        elif temporal == "shared":
            self.carry = nn.Conv2d(h.width, h.width, 3, padding=1, bias=False)
        elif temporal == "convlstm":
            self.cell = ConvLSTM(h.width)
        # three channels of C, one of A
        self.heads = nn.ModuleList(nn.Conv2d(w, 4, 7, padding=3, bias=False) for w in widths)
        self.mask: nn.Module | None = None  # m is A
        self.reads_foreground = mask == "foreground"
        if mask == "foreground":
            self.mask = nn.Conv2d(3, 1, 7, padding=3)
        elif mask == "features":
            self.mask = nn.Conv2d(h.width, 1, 3, padding=1, bias=False)

    def forward(
        self, x: Tensor, carried: Tensor | None, t: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features, C (B, 3, H, W), A (B, 1, H, W), and what the next step's call is given;
        None before the first."""
        features = self.trunk(x)
        if self.temporal == "convlstm":
            if carried is None:
                carried = torch.zeros_like(features.repeat(1, 2, 1, 1))
            carried = self.cell(features, carried)
            features = carried[:, : self.width]
        elif self.temporal == "shared":
            before = torch.zeros_like(features) if carried is None else carried
            features = features + torch.tanh(self.carry(before))
        elif self.temporal == "reductor":
            if t >= len(self.heads):
                raise ValueError(
                    f"temporal = reductor has heads for {len(self.heads)} steps, "
                    f"and step {t + 1} was asked for"
                )
            if carried is not None:
                features = torch.cat([features, self.reduce[t - 1](carried)], 1)
        head = t if self.temporal == "reductor" else 0
        kept = carried if self.temporal == "convlstm" and carried is not None else features
        C, A = self.heads[head](features).split([3, 1], 1)
        return features, C.tanh(), A.sigmoid(), kept

    def matte(self, features: Tensor, foreground: Tensor, A: Tensor, gain: float) -> Tensor:
        """The mask m: A itself, or sigmoid(gain x) of a convolution of the foreground
        or of the features."""
        if self.mask is None:
            return A
        read: Tensor = self.mask(foreground if self.reads_foreground else features[:, : self.width])
        return (gain * read).sigmoid()


# --- critics --------------------------------------------------------------------------------------


class Critic(nn.Module):
    """Pictures -> a map of scores (B, 1, h, w), 1x1 for pictures of the patch's size. Halvings,
    then two convolutions and a last one as large as what is left of a patch: 2x4, 2x2 and 1x3 for
    patches of 60x112 and four halvings. Only differences of scores matter, so that the last has no
    bias."""

    def __init__(
        self,
        widths: tuple[int, ...],
        tail: tuple[int, int],
        patch: tuple[int, int],
        masks: bool = False,
    ):
        super().__init__()
        rows, cols = (side // 2 ** len(widths) for side in patch)
        if not rows or not cols:
            raise ValueError(
                f"widths_D halves {len(widths)} times, and patches are {patch[0]}x{patch[1]}"
            )
        ends, k1 = [3, *widths], (min(2, rows), min(4, cols))
        rows, cols = rows - k1[0] + 1, cols - k1[1] + 1
        k2 = min(2, rows), min(2, cols)
        k3 = rows - k2[0] + 1, cols - k2[1] + 1
        body = [
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(LEAK)) for a, b in pairwise(ends)
        ]
        body += [nn.Sequential(nn.Conv2d(ends[-1], tail[0], k1), nn.LeakyReLU(LEAK))]
        body += [nn.Sequential(nn.Conv2d(tail[0], tail[1], k2), nn.LeakyReLU(LEAK))]
        self.body, self.end = nn.Sequential(*body), nn.Conv2d(tail[1], 1, k3, bias=False)
        self.end_of_masks = nn.Conv2d(tail[1], 1, k3, bias=False) if masks else None

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.end(self.body(x))
        return score

    def of_masks(self, m: Tensor) -> Tensor:
        """Scores of masks (B, 1, H, W): the same body, an end of their own."""
        assert self.end_of_masks is not None
        score: Tensor = self.end_of_masks(self.body(m.expand(-1, 3, -1, -1)))
        return score


# --- what they are shown --------------------------------------------------------------------------


def flow_as_input(motion: Tensor, reach: float, as_bytes: bool = False) -> Tensor:
    """A flow (B, 2, H, W) as networks see it: in units of `reach` times the frame's width, clipped
    to [-1, 1]. `as_bytes` is the public code's mapping to bytes and [0, 1], in which motion wraps
    around (defect B6)."""
    x = (motion / (reach * motion.shape[3])).clamp(-1, 1)
    return torch.trunc(127.5 * x - 127.5).remainder(256) / 255 if as_bytes else x


def moved(
    foreground: Tensor, forward: Tensor, backward: Tensor, at_destination: bool = False
) -> Tensor:
    """The foreground of frame t as it lies in frame t + 1: I(x + F_backward(x)), EMPTY where that
    is outside, or where the two flows show that it is elsewhere by now. `at_destination` is I(x -
    F_forward(x)), the forward flow read where it ends (defect B7)."""
    if at_destination:
        return optical_flow.warp(foreground - EMPTY, -forward, padding="zeros") + EMPTY
    return (
        optical_flow.warp(foreground - EMPTY, backward, padding="zeros")
        * (optical_flow.agreement(backward, forward) > AGREE)
        + EMPTY
    )


def filled(frames: Tensor, mask: Tensor, how: str) -> Tensor:
    """The frames without what the mask (1 or 0) covers: black, uniform noise (what the public
    code's bytes of normal noise come to), each row's nearest uncovered pixel ("replicate"), or
    inpainted after Telea 2004."""
    if how == "telea":
        return telea(frames, mask)
    if how == "replicate":
        return replicated(frames, mask)
    fill = uniform(frames, *frames.shape[1:]) * 2 - 1 if how == "noise" else EMPTY
    return torch.where(mask > 0.5, fill, frames)


def replicated(frames: Tensor, mask: Tensor) -> Tensor:
    """Covered pixels take the colour of the nearest uncovered one in their row, or else in the
    nearest row with any; grey if there is none at all."""
    found, open_ = frames, mask[:, 0] < 0.5
    for axis in 2, 1:  # along rows, then along columns
        length = open_.shape[axis]
        shape = [length if i == axis else 1 for i in range(3)]
        place = torch.arange(length, device=frames.device).view(shape).expand_as(open_)
        before = place.masked_fill(~open_, -(4 * length)).cummax(axis).values
        after = place.masked_fill(~open_, 4 * length).flip(axis).cummin(axis).values.flip(axis)
        nearest = torch.where(place - before <= after - place, before, after)
        index = nearest.clamp(0, length - 1)[:, None].expand_as(frames)
        found = found.gather(axis + 1, index)
        open_ = open_.any(axis, keepdim=True).expand_as(open_)
    return found * open_[:, None]


def telea(frames: Tensor, mask: Tensor) -> Tensor:
    """The frames inpainted under the mask by the fast marching method, as OpenCV has it."""
    import cv2  # a fifth of a second that most verbs need not pay

    bytes_ = ((frames.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).byte()
    pixels = bytes_.numpy(force=True)
    holes = (mask[:, 0] > 0.5).byte().numpy(force=True)
    both = zip(map(np.ascontiguousarray, pixels), map(np.ascontiguousarray, holes), strict=True)
    done = [cv2.inpaint(picture, hole, 3, cv2.INPAINT_TELEA) for picture, hole in both]
    found = torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).to(frames) / 127.5 - 1
    return torch.where(mask > 0.5, found, frames)


def augmented(x: Tensor, colour: bool) -> Tensor:
    """Each picture (B, C, H, W) mirrored or not, turned by up to 8 degrees, moved down or up by up
    to 2.5 %, scaled by 0.75 to 1.25, and, with `colour`, its brightness and contrast changed by up
    to 30 %; EMPTY comes in from outside."""
    B, _, H, W = x.shape
    mirror, angle, shift, scale, bright, contrast = (uniform(x, 6) * 2 - 1).unbind(1)
    turn, size = angle * torch.pi * 8 / 180, 1 / (1 + 0.25 * scale)
    side = torch.where(mirror > 0, 1.0, -1.0) * size
    zero = torch.zeros_like(turn)
    theta = torch.stack(
        [
            turn.cos() * side,
            -turn.sin() * size * H / W,
            zero,
            turn.sin() * side * W / H,
            turn.cos() * size,
            0.05 * shift,
        ],
        1,
    )
    places = F.affine_grid(theta.view(B, 2, 3), [B, 1, H, W], align_corners=False)
    if colour:
        inside = x > EMPTY
        changed = (x - EMPTY) * (1 + 0.3 * bright).view(B, 1, 1, 1) + EMPTY
        x = torch.where(inside, (changed * (1 + 0.3 * contrast).view(B, 1, 1, 1)).clamp(-1, 1), x)
        return F.grid_sample(x - EMPTY, places, align_corners=False) + EMPTY
    return F.grid_sample(x, places, align_corners=False)


# --- patches --------------------------------------------------------------------------------------


def places(mask: Tensor, patch: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Whether the patch at each place of the grid touches the mask (B, 1, H, W):
    (B, places), row by row."""
    return F.max_pool2d(mask, patch, stride).flatten(1) > 0


def sample_places(allowed: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` different allowed places of each row, those of the highest scores, in [0, 1):
    allowed and scores (M, places) -> which row and which place, (n,) each. Fewer where fewer are
    allowed, at once (defect B12)."""
    best = scores.masked_fill(~allowed, -1.0).topk(min(count, scores.shape[1]), 1)
    row, column = (best.values >= 0).nonzero(as_tuple=True)
    return row, best.indices[row, column]


def cut(
    frames: Tensor, row: Tensor, place: Tensor, patch: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """The patches (n, C, *patch) of frames (M, C, H, W) at these places."""
    columns = (frames.shape[3] - patch[1]) // stride[1] + 1
    y = (place // columns * stride[0])[:, None] + torch.arange(patch[0], device=place.device)
    x = (place % columns * stride[1])[:, None] + torch.arange(patch[1], device=place.device)
    found = frames.permute(0, 2, 3, 1)[row[:, None, None], y[:, :, None], x[:, None, :]]
    return found.permute(0, 3, 1, 2)


def initial(net: Net) -> Net:
    """The network with weights from N(0, 0.02), laid out for the faster convolutions."""
    layers.normal_init(net, 0.02)
    return layers.channels_last(net)
