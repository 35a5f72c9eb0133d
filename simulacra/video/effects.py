"""What an object does to the light around it: its shadow, its mirror image, dust that it raises.

    ground = g (B + 1) - 1 + b      where the clean background B alone does not explain the frame

A place around the object that other frames show from afar, when the object has passed on or has not
yet come, is compared with them. What differs more than elsewhere, keeps on differing while the
object moves, and hangs together with it belongs to it (`affected`). There the background is fetched
from other frames, too (`plate.clean_plate` hides it), and the gain g and the light b that is added
follow from frame and background (`effects`): g the slope that fits best around each pixel, common
to the three channels, with b kept small.

Frames and backgrounds are (T, 3, H, W) in [-1, 1], mattes (T, 1, H, W) in [0, 1].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.video import plate
from simulacra.video._background_flow import SMALL, Ways, background_flow, flows_of, grown
from simulacra.video._lasting import motions
from simulacra.video._painting import spread
from simulacra.video.layers import box

SEEN_AT = 26_000  # pixels, about, of the frames in which effects are looked for
# how far around the object they are looked for: times the root of its area, and of the frame's side
REACH, LEAST, MOST = 0.6, 0.06, 0.2
BELOW = 0.8  # times its height, how much farther below it
LASTING = 7  # frames before and after in which a difference has to last
DOUBT = 0.5  # share of its deviation over them that a mean difference is believed less
STRONG, WEAK = 0.09, 0.035  # differences, of a range of 2, that begin and that continue an effect
NOISE = 2.5  # times the usual difference around the object that these are at least
WARY = 3.0  # power of the distance from the object that a frame is trusted by
DISTANCES = 3, 7, 15, 31  # in frames, of those that are compared
ROUNDS = 2  # of comparing, the later ones without what is already found in the other frames
GAP = 2  # pixels between the object and what hangs together with it
MARGIN = 2  # pixels of those frames by which an effect reaches farther than what was found of it
WINDOW = 0.016  # radius of the squares in which a gain is fitted, of the side sqrt(H W)
SMALL_ADD = 0.1  # how much light that is added costs in the fit, to light that is taken
DARKEST = 0.2  # gain below which what is left of the light does not tell the background
GRAIN = 0.03  # differences of a pixel from the fit that are the background's error, of a range of 2


class Effects(NamedTuple):
    """What the object does to the light of the background."""

    gain: Tensor  # (T, 1, H, W) in [0, 1]: 1 where it does nothing
    add: Tensor  # (T, 3, H, W) in [0, 2 (1 - gain)]: 0 where it does nothing


def nothing(frames: Tensor) -> Effects:
    """No effects on frames (T, 3, H, W)."""
    return Effects(torch.ones_like(frames[:, :1]), torch.zeros_like(frames))


def zone(masks: Tensor) -> Tensor:
    """Where around masks (T, 1, H, W) bool effects are looked for, (T, 1, H, W) bool: as far as the
    object is large, farther below it, and nowhere above its middle, since light falls from above
    and water lies flat."""
    side = (masks.shape[2] * masks.shape[3]) ** 0.5
    out = []
    for mask in masks.split(1):
        rows = mask.flatten(0, 2).any(1).nonzero()[:, 0]
        if not len(rows):
            out.append(mask)
            continue
        top, bottom = int(rows[0]), int(rows[-1])
        r = round(min(max(REACH * float(mask.sum()) ** 0.5, LEAST * side), MOST * side))
        down = round(BELOW * (bottom - top + 1))
        around = grown(mask, r).float()
        below = F.max_pool2d(F.pad(around, (0, 0, down, 0)), (down + 1, 1), 1) > 0
        below[:, :, : (top + bottom) // 2] = False
        out.append(below)
    return torch.cat(out)


class Shown(NamedTuple):
    """What other frames show of the hidden box of one."""

    cut: tuple[slice, slice]  # the box
    hole: Tensor  # (h, w) bool: what of it is hidden
    colours: Tensor  # (K, 3, n), of K frames at the hidden pixels
    weights: Tensor  # (K, 1, n), 0 where they do not show them
    places: Tensor  # (K, 2, n): where in them
    frames: list[int]  # which they are

    def voted(self, affected: Tensor) -> tuple[Tensor, Tensor]:
        """The colours (3, n) they agree upon, and which are any (n,), without those of places that
        are affected (T, 1, H, W)."""
        bare = [
            1 - plate.sampled(affected[s : s + 1].float(), one[None, :, None])[0, :, 0]
            for s, one in zip(self.frames, self.places, strict=True)
        ]
        weights = self.weights * torch.stack(bare).clamp(min=0) ** 2
        return plate.vote(self.colours, weights), weights.sum((0, 1)) > 0


def shown(clip: plate.Clip, t: int, around: Tensor) -> Shown | None:
    """What other frames, ever farther away, show of what is `around` (T, 1, H, W) the object."""
    T = len(clip.frames)
    visible = clip.visible[:].clone()
    visible[t] &= ~around[t]
    if not around[t].any():
        return None
    clip = clip._replace(visible=visible)
    cut = plate.box(around[t, 0])
    hole = around[t, 0][cut]
    found = []
    for way in (1, -1):
        places, passed = plate.grid(*cut), 0
        for d in DISTANCES:
            s = t + way * d
            if not 0 <= s < T:
                break
            for i in range(passed, d):
                places = clip.step(t + way * i, t + way * (i + 1), places)
            passed = d
            if not bool(clip.sees(s, places)[0, 0][hole].any()):
                continue
            found.append((s, *(x[0][:, hole] for x in plate.asked(clip, t, s, places, cut))))
    if not found:
        return None
    frames, colours, weights, there = zip(*found, strict=True)
    return Shown(
        cut, hole, torch.stack(colours), torch.stack(weights), torch.stack(there), list(frames)
    )


def distance(masks: Tensor) -> Tensor:
    """What a place is trusted, by how far it is from the mask, (T, 1, H, W) in (0, 1]."""
    import cv2

    side = (masks.shape[2] * masks.shape[3]) ** 0.5
    far = [cv2.distanceTransform((~m).byte().numpy(), cv2.DIST_L2, 3) for m in masks[:, 0]]
    return torch.from_numpy(np.stack(far))[:, None].div(MOST * side).clamp(0.05, 1) ** WARY


def compared(shows: list[Shown | None], frames: Tensor, affected: Tensor) -> tuple[Tensor, Tensor]:
    """The frames (T, 3, H, W) with what others show in place of the hidden, and which pixels
    (T, 1, H, W) bool that are."""
    found, known = frames.clone(), torch.zeros_like(frames[:, :1], dtype=torch.bool)
    for t, one in enumerate(shows):
        if one is not None:
            colours, any_ = one.voted(affected)
            whole = torch.zeros_like(known[t, 0])
            whole[one.cut] = torch.zeros_like(one.hole).masked_scatter(one.hole, any_)
            found[t][:, whole] = colours[:, any_]
            known[t, 0] = whole
    return found, known


def lasting(values: Tensor, known: Tensor, masks: Tensor, flows: Ways) -> Tensor:
    """The mean of values (T, C, H, W) where known (T, 1, H, W) over the frames around each, in
    coordinates that move with the object."""
    import cv2

    T, _, H, W = values.shape
    steps = motions(masks, flows.forward)
    both = torch.cat([values * known, known.float()], 1).permute(0, 2, 3, 1).contiguous().numpy()
    out = []
    for t in range(T):
        total = both[t].copy()
        for way in (1, -1):
            to = np.eye(3)
            for s in range(t + way, t + way * (LASTING + 1), way):
                step = steps[min(s, s - way)] if 0 <= s < T else None
                if step is None:
                    break
                to = (step if way > 0 else np.linalg.inv(step)) @ to
                total += cv2.warpAffine(both[s], np.linalg.inv(to)[:2], (W, H))
        out.append(total[..., :-1] / np.maximum(total[..., -1:], 1))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


def strengths(
    frames: Tensor, background: Tensor, known: Tensor, masks: Tensor, flows: Ways
) -> Tensor:
    """By how much frames differ from a background where it is known, (T, 1, H, W): the mean, in
    coordinates that move with the object, less a share of the deviation."""
    left = box((frames - background) * known, 2) / box(known.float(), 2).clamp(min=1e-6)
    mean, square = lasting(torch.cat([left, left.square()], 1), known, masks, flows).split(3, 1)
    spread_ = (square - mean.square()).clamp(min=0).mean(1, keepdim=True).sqrt()
    size = mean.square().mean(1, keepdim=True).sqrt()
    return (size - DOUBT * spread_).clamp(min=0)


def attached(strength: Tensor, usual: float, masks: Tensor) -> Tensor:
    """Where strengths (T, 1, H, W) hang together with the object, (T, 1, H, W) bool: what is WEAK,
    touches it, and has something STRONG in it."""
    import cv2

    weak, strong = max(WEAK, NOISE * usual), max(STRONG, 2 * NOISE * usual)
    out = np.zeros(masks.shape, bool)
    for t, (one, mask) in enumerate(zip(strength[:, 0].numpy(), masks, strict=True)):
        near = grown(mask[None], GAP)[0, 0].numpy()
        _, part = cv2.connectedComponents(((one > weak) | near).astype(np.uint8), connectivity=4)
        own = np.isin(part, np.unique(part[near]))
        _, part = cv2.connectedComponents((own & ~mask[0].numpy()).astype(np.uint8))
        kept = np.unique(part[own & (one > strong)])
        out[t, 0] = np.isin(part, kept[kept > 0]) & (one > weak)
    return torch.from_numpy(out)


def affected(
    frames: Tensor,
    mattes: Tensor,
    *,
    notify: Callable[[int, int], object] | None = None,
) -> Tensor:
    """Where the object, of mattes (T, 1, H, W), changes the light of frames (T, 3, H, W) around it,
    (T, 1, H, W) bool; nowhere in what other frames never show without it."""
    T, _, H, W = frames.shape
    scale = min(1.0, (SEEN_AT / (H * W)) ** 0.5)
    size = round(H * scale), round(W * scale)
    nowhere = torch.zeros(T, 1, H, W, dtype=torch.bool)
    masks = mattes >= plate.COVERED
    if T < 2 or min(size) < SMALL or not masks.any():
        return nowhere
    if size != (H, W):
        frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
        masks = F.interpolate(masks.float(), size, mode="bilinear", antialias=True) > plate.COVERED
    hidden = grown(masks, 1)
    around, flows = zone(hidden) & ~hidden, flows_of(frames)
    clip = plate.Clip(frames, ~hidden, distance(hidden), background_flow(frames, ~hidden, flows))
    shows: list[Shown | None] = []
    for t in range(T):
        if notify:
            notify(t, T)
        shows.append(shown(clip, t, around | hidden))
    found = torch.zeros_like(hidden)
    for _ in range(ROUNDS):
        background, known = compared(shows, frames, found)
        known &= around
        if not known.any():
            return nowhere
        strength = strengths(frames, background, known, masks, flows) * around
        found = attached(strength, float(strength[known].median()), hidden)
        found = grown(found, MARGIN) & ~hidden
    return F.interpolate(found.float(), (H, W), mode="bilinear") > 0.5


def fitted(I: Tensor, B: Tensor, use: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """Gain (1, 1, H, W) and light added (1, 3, H, W) that make B (1, 3, H, W) of I where they are
    of use (1, 1, H, W), 0 or 1, all above 0, black being 0."""
    share = box(use, r).clamp(min=1e-6)
    mean_I, mean_B = box(I * use, r) / share, box(B * use, r) / share
    keep = 1 / (1 + SMALL_ADD)
    above = (box(I * B * use, r) / share - keep * mean_I * mean_B).sum(1, keepdim=True)
    below = (box(B * B * use, r) / share - keep * mean_B * mean_B).sum(1, keepdim=True)
    gain = 1 + ((above / below.clamp(min=1e-4)).clamp(0, 1) - 1) * box(use, 2)  # fades at borders
    left = I - gain * B
    smooth = box(left * use, 2) / box(use, 2).clamp(min=1e-6)
    detail = left - smooth
    left = smooth + detail.sign() * (detail.abs() - GRAIN).clamp(min=0)
    gain = 1 - torch.maximum(1 - gain, left.amax(1, keepdim=True) / 2).clamp(0, 1)
    add = torch.minimum(left.clamp(min=0), 2 * (1 - gain))
    return torch.where(use > 0, gain, torch.ones_like(gain)), add * use


def effects(
    frames: Tensor, mattes: Tensor, background: Tensor, where: Tensor, flows: Ways | None = None
) -> tuple[Effects, Tensor]:
    """What the object, of mattes (T, 1, H, W), does to the light of a background (T, 3, H, W) in
    the frames, in the places (T, 1, H, W) bool, and under its edge; and the background, of which
    what no other frame shows is freed from what the effect is elsewhere in time."""
    clear = mattes < plate.COVERED
    use = where & clear
    if not use.any():
        return nothing(frames), background
    r = max(2, round(WINDOW * (frames.shape[2] * frames.shape[3]) ** 0.5))
    fetched = use & (frames != background).any(1, keepdim=True)
    gain, add = torch.ones_like(mattes), torch.zeros_like(frames)
    for t in range(len(frames)):
        if fetched[t].any():
            there = fetched[t : t + 1].float()
            gain[t : t + 1], add[t : t + 1] = fitted(
                frames[t : t + 1] + 1, background[t : t + 1] + 1, there, r
            )
    own = use & ~fetched
    if own.any() and len(frames) > 1:
        told = lasting(
            torch.cat([gain, add, fetched.float()], 1),
            fetched,
            ~clear,
            flows or flows_of(frames),
        )
        own &= (told[:, 4:] > 0.5) & (told[:, :1] > DARKEST)
        gain, add = torch.where(own, told[:, :1], gain), torch.where(own, told[:, 1:4], add)
        free = ((frames + 1 - add) / gain.clamp(min=DARKEST) - 1).clamp(-1, 1)
        background = torch.where(own, free, background)
    both = torch.cat([gain, add], 1)
    for t in (~clear).flatten(1).any(1).nonzero()[:, 0].tolist():
        both[t : t + 1] = spread(both[t : t + 1], clear[t : t + 1])  # under the object's edge
    return Effects(both[:, :1].clamp(0, 1), both[:, 1:].clamp(min=0)), background


def cleaned(
    frames: Tensor,
    mattes: Tensor,
    *,
    seed: int = 0,
    notify: Callable[[int, int], object] | None = None,
) -> tuple[plate.Plate, Effects]:
    """The clean plate of frames (T, 3, H, W) behind an object of mattes (T, 1, H, W), without what
    it does to the light, and that. `notify(t, T)` is called before each frame of the plate."""
    flows = flows_of(frames)
    where = affected(frames, mattes)
    found = plate.clean_plate(
        frames, mattes, flows=flows, seed=seed, notify=notify, unlit=where if where.any() else None
    )
    light, background = effects(frames, mattes, found.background[:], where, flows)
    return found._replace(background=background), light


def as_layer(light: Effects) -> tuple[Tensor, Tensor]:
    """The same as colours (T, 3, H, W) in [-1, 1] over the background, and their opacity
    (T, 1, H, W): g (B + 1) - 1 + b is opacity * colours + (1 - opacity) * B."""
    opacity = 1 - light.gain
    return (light.add / opacity.clamp(min=1e-6) - 1).clamp(-1, 1), opacity


def of_layer(colours: Tensor, opacity: Tensor) -> Effects:
    """What `as_layer` made."""
    return Effects(1 - opacity, opacity * (colours + 1))
