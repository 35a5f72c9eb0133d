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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.nn.optical_flow import Flows, agreement, between, grey, of_clip, warp
from simulacra.video._lasting import lasting
from simulacra.video._painting import painted, spread

COVERED = 0.1  # matte from which a pixel belongs to the object
# how much farther the hole reaches than the mask, of the frame's side sqrt(H W): masks err, edges
# are blurred
MARGIN = 0.025
# share of that margin that is never looked at; what is farther is, where nothing else shows a place
CLOSE = 0.35
ROUND = 0.12  # how much of the hole's surroundings is looked at, of the same side
DRAGGED = 6  # how far around the object it drags the flow along, pixels: most of the search's patch
ENTRIES = 4000  # places, about, that a camera's motion is fitted to
PLAIN = 0.02  # deviation around a pixel, of a range of 2, below which its flow is anything
# pixels off the camera's motion of which half is believed: less is mostly the error of the flow
JITTER = 1.0
# times as far off the camera's motion as half of all, and half a pixel: not the background
APART = 20.0
TRUSTED = 0.3  # least agreement of a flow there and back that is not completed
SEEN = 0.99  # share of a place's four pixels that must be visible
REACH = 64  # most frames from a hidden pixel to where it is seen
STRIDE = 1.35  # ratio of two distances in time that are tried, after 1, 2, 3
ENOUGH = 6  # frames that show a pixel after which no more are asked
WORTH = 0.005  # share of the hole that a frame must add to be asked
SMALL = 16  # frames less high or wide are not registered, pixels
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
    background: Tensor
    known: Tensor  # (T, 1, H, W): 1 where some frame shows the colour, 0 where it is painted


def grown(masks: Tensor, r: int) -> Tensor:
    """Masks (T, 1, H, W) bool and what is at most r pixels away."""
    import cv2

    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    return torch.from_numpy(
        np.stack([cv2.dilate(one, disk) for one in masks[:, 0].byte().numpy()])
    ).bool()[:, None]


def margin(mattes: Tensor) -> int:
    """How much farther a hole reaches than the mask (T, 1, H, W), pixels."""
    return max(2, round(MARGIN * (mattes.shape[2] * mattes.shape[3]) ** 0.5))


def glimpsed(mattes: Tensor, flows: Flows) -> Tensor:
    """Where the object (T, 1, H, W) is, bool,
    or may be seen through something that stands before it (`lasting`)."""
    return lasting(mattes.cpu() >= COVERED, flows)


def hidden_by(mattes: Tensor, behind: Tensor | None = None) -> Tensor:
    """Where the object (T, 1, H, W) may be, bool:
    the matte from COVERED on, and what else is `glimpsed`, with a margin."""
    r = margin(mattes)
    hidden = grown(mattes.cpu() >= COVERED, r)
    return hidden if behind is None else hidden | grown(behind & ~hidden, r)


def closely_hidden(mattes: Tensor, behind: Tensor | None = None) -> Tensor:
    """The part of it of which nothing may ever be taken:
    all but the outer part of the matte's own margin."""
    masks, r = mattes.cpu() >= COVERED, margin(mattes)
    close = max(1, round(CLOSE * r))
    inner = grown(masks, close)
    if behind is None:
        return inner
    return inner | grown(behind & ~inner, close) | grown(behind & ~grown(masks, r), r)


def camera(flow: Tensor, trusted: Tensor, rounds: int = 10) -> Tensor:
    """The motion of a plane before a moving camera (Bergen et al. 1992, eq. 11: eight numbers) that
    fits a flow (2, H, W) best where it is trusted (H, W), as a flow; least squares reweighted
    against what moves otherwise."""
    H, W = flow.shape[1:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    o, i = torch.zeros_like(x), torch.ones_like(x)
    basis = torch.stack(
        [
            torch.stack([i, x, y, o, o, o, x * x, x * y]),
            torch.stack([o, o, o, i, x, y, x * y, y * y]),
        ],
        1,
    )
    thin = max(1, int((H * W / ENTRIES) ** 0.5))
    some, wanted = (
        basis[..., ::thin, ::thin].flatten(2).double(),
        flow[:, ::thin, ::thin].flatten(1).double(),
    )
    mask = trusted[::thin, ::thin].flatten().double()
    weight, found = mask, torch.zeros(8, dtype=torch.float64)
    for _ in range(rounds if mask.any() else 0):
        heavy = (some * weight).flatten(1)
        normal = heavy @ some.flatten(1).T + 1e-3 * torch.eye(8, dtype=torch.float64)
        found = torch.linalg.solve(normal, heavy @ wanted.flatten())
        error = (wanted - torch.einsum("i,icn->cn", found, some)).square().sum(0)
        scale = 1.5 * error[mask > 0].sqrt().median().clamp(min=0.1)
        weight = mask / (1 + error / scale**2) ** 2
    return torch.einsum("i,ichw->chw", found.to(flow.dtype), basis)


def completed(flow: Tensor, trusted: Tensor) -> Tensor:
    """The flow (N, 2, H, W) where it is trusted (N, 1, H, W); elsewhere the camera's and a membrane
    of what is left around, without what is too little to be told from noise (JITTER) and what moves
    by itself (APART)."""
    out = []
    for one, known in zip(flow, trusted, strict=True):
        plane = camera(one, known[0])
        left = (one - plane)[None]
        size = left.square().sum(1, keepdim=True)
        usual = size[known[None]].median() if known.any() else size.new_zeros(())
        near = known[None] & (size <= (APART**2 * usual).clamp(min=0.25))
        smooth = spread(left * size / (size + JITTER**2), near)[0]
        out.append(torch.where(known, one, plane + smooth))
    return torch.stack(out)


def textured(frames: Tensor) -> Tensor:
    """Where there is something to follow, (T, 1, H, W) bool:
    deviations around each pixel of PLAIN at least."""
    import cv2

    found = []
    for one in grey(frames).astype(np.float32) / 127.5:
        mean = cv2.blur(one, (9, 9))
        found.append(cv2.blur((one - mean) ** 2, (9, 9)) >= PLAIN**2)
    return torch.from_numpy(np.stack(found))[:, None]


def flows_of(frames: Tensor) -> Flows:
    """The clip's flows, 0 where there is nothing to search in."""
    if len(frames) > 1 and min(frames.shape[2:]) >= SMALL:
        return of_clip(frames)
    none = torch.zeros(len(frames) - 1, 2, *frames.shape[2:])
    return Flows(none, none)


def background_flow(frames: Tensor, visible: Tensor, flows: Flows) -> Flows:
    """The background's flow everywhere, from the clip's."""
    there, back = flows
    clear = ~grown(~visible, DRAGGED) & textured(frames)
    return Flows(
        completed(there, clear[:-1] & (agreement(there, back) > TRUSTED)),
        completed(back, clear[1:] & (agreement(back, there) > TRUSTED)),
    )


def sampled(images: Tensor, places: Tensor, mode: str = "bilinear") -> Tensor:
    """Images (N, C, H, W) at places (N, 2, h, w); beyond the border, the border."""
    H, W = images.shape[2:]
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

    frames: Tensor  # (T, 3, H, W)
    visible: Tensor  # (T, 1, H, W) bool
    safe: Tensor  # (T, 1, H, W): share of visible pixels around each, AROUND to each side
    flows: Flows  # the background's

    def step(self, t: int, to: int, places: Tensor) -> Tensor:
        """Where places of frame t are in its neighbour `to`."""
        return places + sampled(
            self.flows.forward[t : t + 1] if to > t else self.flows.backward[to : to + 1], places
        )

    def sees(self, t: int, places: Tensor) -> Tensor:
        """Where places are in frame t and not hidden there, (1, 1, h, w)."""
        return within(places, self.visible.shape[-2:]) & (
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
    here, clear = clip.frames[t : t + 1, :, *cut], clip.visible[t : t + 1, :, *cut]
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
    T, known = len(clip.frames), clip.visible[t, 0].clone()
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
    clip: Clip, near: Tensor, t: int, background: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Frame t's background (3, H, W) and what is known of it (H, W), with what is lacking taken
    from close to the object: its own pixels that are visible by `near` (T, 1, H, W), or else those
    of other frames."""
    own = near[t, 0] & ~known
    background, known = torch.where(own, clip.frames[t], background), known | own
    if bool(known.all()):
        return background, known
    frames, visible = clip.frames.clone(), near.clone()
    frames[t], visible[t, 0] = background, known
    return revealed(clip._replace(frames=frames, visible=visible), t)


def carried(clip: Clip, key: int, background: Tensor, filled: Tensor) -> None:
    """Fill what is not yet `filled` (T, 1, H, W) of the backgrounds (T, 3, H, W),
    in place, from the whole one of `key`."""
    T, _, H, W = background.shape
    every = grid(slice(0, H), slice(0, W))
    for way in (1, -1):
        places, sound, t = every, torch.ones(1, 1, H, W), key + way
        while 0 <= t < T:
            back = clip.step(t, t - way, every)
            places = sampled(places, back)
            sound = sampled(sound, back) * within(back, (H, W))
            take = ~filled[t : t + 1] & (sound > SEEN) & within(places, (H, W))
            if take.any():
                cut = box(take[0, 0])
                here, done = background[t : t + 1, :, *cut], filled[t : t + 1, :, *cut]
                colour = sampled(background[key : key + 1], places[:, :, *cut], "bicubic")
                colour = colour + blurred((here - colour).clamp(-LIGHT, LIGHT), done)
                background[t : t + 1, :, *cut] = torch.where(
                    take[:, :, *cut], colour.clamp(-1, 1), here
                )
                filled[t : t + 1] |= take
            t += way


def clean_plate(
    frames: Tensor,
    mattes: Tensor,
    *,
    flows: Flows | None = None,
    seed: int = 0,
    notify: Callable[[int, int], object] | None = None,
    unlit: Tensor | None = None,
) -> Plate:
    """The background of frames (T, 3, H, W) in [-1, 1] behind an object of mattes (T, 1, H, W) in
    [0, 1], soft or not; and where the object changes the light (`unlit` (T, 1, H, W) bool, of
    `effects.affected`) if another frame shows the place, else the frame's own. `flows` are the
    clip's, if they are there already; `notify(t, T)` is called before each frame. The same
    arguments give the same plate. Mistake if the shapes do not fit."""
    if (
        frames.ndim != 4
        or frames.shape[1] != 3
        or not len(frames)
        or mattes.shape != (len(frames), 1, *frames.shape[2:])
    ):
        raise Mistake(
            f"frames {tuple(frames.shape)} with mattes {tuple(mattes.shape)}; "
            "allowed: (T, 3, H, W) with (T, 1, H, W)"
        )
    frames, mattes = frames.detach().cpu().float(), mattes.detach().cpu().float()
    T = len(frames)
    flows = flows or flows_of(frames)
    behind = glimpsed(mattes, flows)
    visible, near = ~hidden_by(mattes, behind), ~closely_hidden(mattes, behind)
    if unlit is not None:
        visible &= ~unlit.cpu()
    background, known = frames.clone(), visible.clone()
    if bool(visible.all()):
        return Plate(background, known.float())
    clip = Clip(
        frames,
        visible,
        safety(visible),
        background_flow(frames, visible, flows) if T > 1 else flows,
    )
    for t in range(T):
        if notify:
            notify(t, T)
        background[t], known[t, 0] = grudgingly(clip, near, t, *revealed(clip, t))
    filled = known.clone()
    for _ in range(KEYS):
        key = int((~filled).sum((1, 2, 3)).argmax())
        if bool(filled[key].all()):
            break
        background[key] = painted(
            background[key], filled[key, 0], np.random.default_rng(fold(seed, "plate", key))
        )
        filled[key] = True
        carried(clip, key, background, filled)
    for t in (~filled).flatten(1).any(1).nonzero()[:, 0].tolist():
        background[t : t + 1] = spread(background[t : t + 1], filled[t : t + 1])
    return Plate(background, known.float())
