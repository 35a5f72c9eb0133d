"""The clean background of a clip: what the object hides is fetched from frames that show it, and
painted where none does.

Where the object is (`hidden_by`), the flow between neighbouring frames is not the background's, so
it is completed from around: the camera's motion (`camera`), and a membrane for what parallax adds
(Matsushita et al. 2006; Xu et al., arXiv 1905.02884). Chained from frame to frame it leads each
hidden pixel to frames that show its place. Each such frame is then registered to the hole's
surroundings directly, so that no error adds up along the chain, its light is matched to them, and
all frames vote (`vote`), so that the pieces of the object that a mask missed are outvoted.

What no frame shows is painted by patches of its surroundings (Wexler, Shechtman and Irani 2007,
with the search of Barnes et al. 2009) in the frame that lacks most, and carried to the others along
the completed flow, so that it does not flicker.

Frames are (T, 3, H, W) in [-1, 1], mattes (T, 1, H, W) in [0, 1]. Places are (N, 2, h, w): x and y
in pixels, 0 in the middle of the first.
"""

from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.core.stack import Frames, Instead, Store, made
from simulacra.nn.optical_flow import between, warp
from simulacra.video._background_flow import (
    SMALL,
    Ways,
    at_size,
    background_flow,
    completed,
    flows_of,
    grown,
)
from simulacra.video._lasting import lasting
from simulacra.video._painting import painted, spread

COVERED = 0.1  # matte from which a pixel belongs to the object
# how much farther the hole reaches than the mask, of the frame's side sqrt(H W): masks err, edges
# are blurred
MARGIN = 0.025
# share of that margin that is never looked at; what is farther is, where nothing else shows a place
CLOSE = 0.35
ROUND = 0.12  # how much of the hole's surroundings is looked at, of the same side
SEEN = 0.99  # share of a place's four pixels that must be visible
REACH = 64  # most frames from a hidden pixel to where it is seen
STRIDE = 1.35  # ratio of two distances in time that are tried, after 1, 2, 3
ENOUGH = 6  # frames that show a pixel after which no more are asked
WORTH = 0.005  # share of the hole that a frame must add to be asked
WINDOW = 4  # side of the squares in which misfit and light are averaged, pixels
LIGHT = 0.3  # most difference that counts as light, of a range of 2
DETAIL = 32  # side of the squares whose means are not detail, pixels
# least share of its detail that a frame keeps, however little like the surroundings its own are
LIVELY = 0.5
MISFIT = 0.12  # mean absolute difference around the hole at which a frame's weight falls to 1 / e
AGED = 1.0  # a frame d frames away weighs d^-AGED
AROUND = 8  # pixels around one that tell how far it is from the object
# a frame weighs the power WARY of the share of them that is visible: masks may miss some of the
# object
WARY = 2.0
OUTVOTED = 0.15  # colour distance from the median at which a vote falls to 1 / e
KEYS = 8  # frames painted at most; what they do not show is smooth


class Plate(NamedTuple):
    """The background of a clip."""

    # (T, 3, H, W) in [-1, 1]; the frames themselves, bit for bit, where nothing is hidden
    background: Store
    known: Store  # (T, 1, H, W): 1 where some frame shows the colour, 0 where it is painted


def margin(mattes: Frames) -> int:
    """How much farther a hole reaches than the mask (T, 1, H, W), pixels."""
    return max(2, round(MARGIN * (mattes.shape[2] * mattes.shape[3]) ** 0.5))


def glimpsed(mattes: Frames, flows: Ways, place: Path | None = None) -> Frames:
    """Where the object (T, 1, h, w) is, bool, of the flows' size,
    or may be seen through something that stands before it (`lasting`)."""
    size = tuple(flows.forward.shape[2:])
    seen = made((len(mattes), 1, *size), "flags", place)
    for t in range(len(mattes)):
        seen[t] = at_size((mattes[t : t + 1] >= COVERED).float(), size)[0] >= 0.5
    return lasting(seen, flows.forward, made(seen.shape, "flags", place))


def hidden_by(mattes: Tensor, behind: Tensor | None = None) -> Tensor:
    """Where the object (T, 1, H, W) may be, bool:
    the matte from COVERED on, and what else is `glimpsed`, with a margin."""
    r = margin(mattes)
    hidden = grown(mattes >= COVERED, r)
    return hidden if behind is None else hidden | grown(behind & ~hidden, r)


def closely_hidden(mattes: Tensor, behind: Tensor | None = None) -> Tensor:
    """The part of it of which nothing may ever be taken:
    all but the outer part of the matte's own margin."""
    masks, r = mattes >= COVERED, margin(mattes)
    close = max(1, round(CLOSE * r))
    inner = grown(masks, close)
    if behind is None:
        return inner
    return inner | grown(behind & ~inner, close) | grown(behind & ~grown(masks, r), r)


def sampled(
    images: Tensor,
    places: Tensor,
    mode: str = "bilinear",
    size: tuple[int, ...] = (),
) -> Tensor:
    """Images (N, C, H, W) at places (N, 2, h, w) of frames of a size, the images' own if it is not
    given; beyond the border, the border."""
    H, W = size or images.shape[2:]
    grid = torch.stack([(2 * places[:, 0] + 1) / W - 1, (2 * places[:, 1] + 1) / H - 1], 3)
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


def within(places: Tensor, size: tuple[int, ...]) -> Tensor:
    """Which places (N, 1, h, w) lie in a frame of that size, its outer pixels as wide as all."""
    x, y = places[:, :1], places[:, 1:]
    return (x >= -0.5) & (y >= -0.5) & (x <= size[1] - 0.5) & (y <= size[0] - 0.5)


def safety(visible: Tensor) -> Tensor:
    """The share of visible pixels (T, 1, H, W) AROUND each."""
    import cv2

    window = (2 * AROUND + 1, 2 * AROUND + 1)
    return torch.from_numpy(
        np.stack([cv2.blur(one, window) for one in visible[:, 0].float().numpy()])
    )[:, None]


class Clip(NamedTuple):
    """What all frames need of one another."""

    frames: Frames  # (T, 3, H, W)
    visible: Frames  # (T, 1, H, W) bool
    safe: Frames  # (T, 1, H, W): share of visible pixels around each, AROUND to each side
    flows: Ways  # the background's

    def step(self, t: int, to: int, places: Tensor) -> Tensor:
        """Where places of frame t are in its neighbour `to`."""
        flow = self.flows.forward[t : t + 1] if to > t else self.flows.backward[to : to + 1]
        return places + sampled(flow, places, size=tuple(self.frames.shape[2:]))

    def sees(self, t: int, places: Tensor) -> Tensor:
        """Where places are in frame t and not hidden there, (1, 1, h, w)."""
        return within(places, tuple(self.visible.shape[-2:])) & (
            sampled(self.visible[t : t + 1].float(), places) > SEEN
        )


def grid(rows: slice, columns: slice) -> Tensor:
    """The places (1, 2, h, w) of a box of pixels."""
    y, x = torch.meshgrid(
        torch.arange(rows.start, rows.stop),
        torch.arange(columns.start, columns.stop),
        indexing="ij",
    )
    return torch.stack([x, y])[None].float()


def box(mask: Tensor) -> tuple[slice, slice]:
    """Rows and columns around a mask (H, W), with ROUND of the side."""
    H, W = mask.shape
    more = ceil(ROUND * (H * W) ** 0.5)
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return (
        slice(max(0, int(rows[0]) - more), min(H, int(rows[-1]) + 1 + more)),
        slice(max(0, int(columns[0]) - more), min(W, int(columns[-1]) + 1 + more)),
    )


def distances(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 5, 7, 9 ...: denser near."""
    d = 1
    while d <= most:
        yield d
        d = max(d + 1, round(d * STRIDE))


def blurred(values: Tensor, known: Tensor, side: int = WINDOW) -> Tensor:
    """Values (1, C, h, w) where known (1, 1, h, w),
    in means over squares, spread smoothly over all."""
    size, edge = values.shape[2:], [0, -values.shape[3] % side, 0, -values.shape[2] % side]
    coarse = F.avg_pool2d(F.pad(torch.cat([values * known, known.float()], 1), edge), side)
    share = coarse[:, -1:]
    smooth = spread(coarse[:, :-1] / share.clamp(min=1e-6), share > 0.2)
    return F.interpolate(smooth, scale_factor=side, mode="bilinear")[:, :, : size[0], : size[1]]


def asked(
    clip: Clip, t: int, s: int, places: Tensor, cut: tuple[slice, slice]
) -> tuple[Tensor, Tensor, Tensor]:
    """The colours (1, 3, h, w) that frame s has for a box of frame t, if its pixels are about at
    these places there, what they weigh (1, 1, h, w), 0 where s does not show them, and where just
    they are, (1, 2, h, w)."""
    here, clear = (of[t : t + 1][:, :, *cut] for of in (clip.frames, clip.visible))
    if min(here.shape[2:]) >= SMALL:
        seen = clip.sees(s, places)
        other = torch.where(seen, sampled(clip.frames[s : s + 1], places), here)
        left = between(torch.where(clear, here, other), other)
        moved = left + warp(places, left) - grid(*cut)
        places = grid(*cut) + completed(moved, clear & seen)
    seen = clip.sees(s, places)
    both = clear & seen
    colours = sampled(clip.frames[s : s + 1], places, "bicubic")
    colours = colours + blurred((here - colours).clamp(-LIGHT, LIGHT), both)
    theirs, ours = colours - blurred(colours, seen, DETAIL), here - blurred(here, clear, DETAIL)
    like = blurred(
        torch.cat([(theirs * ours).sum(1, keepdim=True), theirs.square().sum(1, keepdim=True)], 1),
        both,
        DETAIL,
    )
    gain = ((like[:, :1] + 1e-4) / (like[:, 1:] + 1e-4)).clamp(LIVELY, 1)
    error = blurred((here - colours).abs().mean(1, keepdim=True), both)
    weight = (torch.exp(-((error / MISFIT) ** 2)) + 1e-6) * abs(t - s) ** -AGED
    weight = weight * sampled(clip.safe[s : s + 1], places) ** WARY
    return colours - (1 - gain) * theirs, weight * seen, places


def vote(colours: Tensor, weights: Tensor) -> Tensor:
    """The mean (3, n) of colours (K, 3, n) with weights (K, 1, n),
    each less the farther it is from their weighted median."""
    ranked, order = colours.sort(0)
    below = weights.expand_as(colours).gather(0, order).cumsum(0)
    middle = (below < below[-1:] / 2).sum(0, keepdim=True).clamp(max=len(colours) - 1)
    away = (colours - ranked.gather(0, middle)).square().sum(1, keepdim=True)
    weights = weights * (torch.exp(-away / OUTVOTED**2) + 1e-6)
    return (colours * weights).sum(0) / weights.sum(0).clamp(min=1e-30)


def revealed(clip: Clip, t: int) -> tuple[Tensor, Tensor]:
    """Frame t (3, H, W) with what other frames show of its hidden pixels,
    and which pixels (H, W) are then known."""
    T, known = len(clip.frames), clip.visible[t][0].clone()
    out = clip.frames[t].clone()
    if bool(known.all()) or T == 1:
        return out, known
    cut = box(~known)
    hole = ~known[cut]
    count = torch.zeros(int(hole.sum()))
    places = {1: grid(*cut), -1: grid(*cut)}
    colours, weights = [], []
    passed = {1: 0, -1: 0}
    for d in distances(min(REACH, T - 1)):
        for way in (1, -1):
            s = t + way * d
            lacking = count < ENOUGH
            if not 0 <= s < T or not lacking.any():
                continue
            for i in range(passed[way], d):
                places[way] = clip.step(t + way * i, t + way * (i + 1), places[way])
            passed[way] = d
            if int((clip.sees(s, places[way])[0, 0][hole] & lacking).sum()) <= WORTH * len(count):
                continue
            colour, weight, _ = asked(clip, t, s, places[way], cut)
            colours.append(colour[0][:, hole])
            weights.append(weight[0][:, hole])
            count += weights[-1][0] > 0
    if colours:
        found = count > 0
        where = torch.zeros_like(known)
        where[cut] = torch.zeros_like(hole).masked_scatter(hole, found)
        out[:, where] = vote(torch.stack(colours), torch.stack(weights))[:, found].clamp(-1, 1)
        known |= where
    return out, known


def grudgingly(
    clip: Clip, near: Frames, t: int, background: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Frame t's background (3, H, W) and what is known of it (H, W), with what is lacking taken
    from close to the object: its own pixels that are visible by `near` (T, 1, H, W), or else those
    of other frames."""
    own = near[t][0] & ~known
    background, known = torch.where(own, clip.frames[t], background), known | own
    if bool(known.all()):
        return background, known
    frames, visible = Instead(clip.frames, {t: background}), Instead(near, {t: known[None]})
    return revealed(clip._replace(frames=frames, visible=visible), t)


def carried(clip: Clip, key: int, background: Store, filled: Store) -> None:
    """Fill what is not yet `filled` (T, 1, H, W) of the backgrounds (T, 3, H, W),
    in place, from the whole one of `key`."""
    T, _, H, W = background.shape
    every, painted_one = grid(slice(0, H), slice(0, W)), background[key : key + 1]
    for way in (1, -1):
        places, sound, t = every, torch.ones(1, 1, H, W), key + way
        while 0 <= t < T:
            back = clip.step(t, t - way, every)
            places = sampled(places, back)
            sound = sampled(sound, back) * within(back, (H, W))
            whole = filled[t : t + 1]
            take = ~whole & (sound > SEEN) & within(places, (H, W))
            if take.any():
                cut, frame = box(take[0, 0]), background[t : t + 1]
                here, done = frame[:, :, *cut], whole[:, :, *cut]
                colour = sampled(painted_one, places[:, :, *cut], "bicubic")
                colour = colour + blurred((here - colour).clamp(-LIGHT, LIGHT), done)
                frame[:, :, *cut] = torch.where(take[:, :, *cut], colour.clamp(-1, 1), here)
                background[t], filled[t] = frame[0], (whole | take)[0]
            if not (sound > SEEN).any():
                break
            t += way


def clip_of(
    frames: Frames,
    mattes: Frames,
    flows: Ways,
    unlit: Tensor | None,
    place: Path | None,
) -> tuple[Clip, Frames]:
    """What all frames need of one another, and what is visible of each (T, 1, H, W) bool if one
    looks close to the object, too."""
    T, _, H, W = frames.shape
    visible, near = (made((T, 1, H, W), "flags", place) for _ in range(2))
    safe = made((T, 1, H, W), "half", place)
    behind = glimpsed(mattes, flows, place) if T > 1 else None
    for t in range(T):
        one, through = mattes[t : t + 1], None
        if behind is not None:
            through = at_size(behind[t : t + 1].float(), (H, W)) > 0.5
        seen = ~hidden_by(one, through)
        near[t] = ~closely_hidden(one, through)[0]
        if unlit is not None:
            seen &= ~unlit[t : t + 1]
        visible[t], safe[t] = seen[0], safety(seen)[0]
    moves = background_flow(frames, visible, flows, place) if T > 1 else flows
    return Clip(frames, visible, safe, moves), near


def clean_plate(
    frames: Frames,
    mattes: Frames,
    *,
    flows: Ways | None = None,
    seed: int = 0,
    notify: Callable[[int, int], object] | None = None,
    unlit: Tensor | None = None,
    place: Path | None = None,
) -> Plate:
    """The background of frames (T, 3, H, W) in [-1, 1] behind an object of mattes (T, 1, H, W) in
    [0, 1], soft or not; and where the object changes the light (`unlit` (T, 1, H, W) bool, of
    `effects.affected`) if another frame shows the place, else the frame's own. `flows` are the
    clip's, if they are there already; `notify(t, T)` is called before each frame; `place` is the
    folder of all that is larger than a frame, which is in memory if it is not given. The same
    arguments give the same plate. Mistake if the shapes do not fit."""
    T, sizes = len(frames), (tuple(frames.shape), tuple(mattes.shape))
    if len(sizes[0]) != 4 or sizes[0][1] != 3 or not T or sizes[1] != (T, 1, *sizes[0][2:]):
        raise Mistake(
            f"frames {sizes[0]} with mattes {sizes[1]}; allowed: (T, 3, H, W) with (T, 1, H, W)"
        )
    H, W = sizes[0][2:]
    if isinstance(frames, Tensor):
        frames = frames.detach().cpu().float()
    if isinstance(mattes, Tensor):
        mattes = mattes.detach().cpu().float()
    clip, near = clip_of(frames, mattes, flows or flows_of(frames, place), unlit, place)
    background = made((T, 3, H, W), "colours", place)
    known = made((T, 1, H, W), "flags", place)
    filled, lacking = made((T, 1, H, W), "flags", place), np.zeros(T, np.int64)

    def fill(t: int, colours: Tensor, there: Tensor) -> None:
        background[t], filled[t] = colours, there
        lacking[t] = int((~there).sum())

    for t in range(T):
        if notify:
            notify(t, T)
        colours, there = grudgingly(clip, near, t, *revealed(clip, t))
        known[t] = there[None]
        fill(t, colours, there[None])
    for _ in range(KEYS):
        key = int(lacking.argmax())
        if not lacking[key]:
            break
        chance = np.random.default_rng(fold(seed, "plate", key))
        fill(key, painted(background[key], filled[key][0], chance), torch.ones(1, H, W).bool())
        carried(clip, key, background, filled)
        lacking[:] = [int((~filled[t]).sum()) if lacking[t] else 0 for t in range(T)]
    for t in np.flatnonzero(lacking).tolist():
        background[t] = spread(background[t : t + 1], filled[t : t + 1])[0]
    return Plate(background, known)
