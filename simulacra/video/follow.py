"""Objects through a clip, from masks of some of its frames. No other clip is learned from.

1. A net learns each object's looks from the given masks alone (`_appearance`). From each given mask
   it is followed both ways as far as the next given one (`segment`); between two both answers
   count, the nearer more, unless one has lost the object. The net is told what moves otherwise
   than the camera does (`_clues`).
2. With these masks the background that other frames show is found, and what differs from it. The
   net learns on, from the given masks and from frames of which the first pass was sure, with these
   clues (Voigtlaender and Leibe, arXiv 1706.09364, for learning from confident frames), and all is
   followed again. `fast` leaves this out.

Masks are (H, W) int64: 0 the surroundings, 1 to K the objects.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.core.stack import Frames, Picked, Store, made
from simulacra.video import _clues
from simulacra.video._appearance import Kept, Looks, Shown, learned
from simulacra.video._background_flow import Ways, at_size
from simulacra.video.segment import flows_of, walk

BELIEVED = 5  # frames, about, whose masks are believed and learned from
GIVEN = 0.6  # share of what is learned then that is of given masks
PART = 0.2  # a believed mask has at least this share of the given one's area
# Of the agreement of two passes, that gives about the overlap with the true mask: fitted on eleven
# DAVIS clips, checked on eleven others (docs/results/decompose.md).
POWER = 0.8
UNSEEN = 0.2  # confidence of a frame in which nothing was found
# frames are seen with their longer side at LONGEST, or so much larger, up to MOST, that the root of
# the object's area is SIDE pixels
LONGEST, MOST, SIDE = 432, 864, 32

# shares of the time, for who is told: flow, learning, first pass; background, learning on, second
SHARES = 0.08, 0.45, 0.05, 0.25, 0.12, 0.05
FAST_SHARES = 0.12, 0.78, 0.10


class Found(NamedTuple):
    """Where objects are."""

    soft: Frames  # (T, K, H, W): how probable each is, 0 to 1; above 0.5 is the mask
    # (T, K): the overlap J that each mask is expected to have with the true one, 0 to 1
    # (`confidence`); 1 where the mask was given
    confidence: Tensor


Arrived = Callable[[int, Tensor, Tensor], None]  # frame, soft (K, H, W), confidence (K,)


class Leg(NamedTuple):
    """Frames in the order in which an object is followed from a given mask, which is the first."""

    frames: list[int]
    arrive: Frames  # (S - 1, 2, H, W): the flow from each but the first to the one before
    given: bool  # whether the mask of the frame after the last is given, too


def working_size(masks: Mapping[int, Tensor]) -> tuple[int, int]:
    """Height and width at which objects of these masks (H, W) are followed, no more than theirs."""
    H, W = next(iter(masks.values())).shape
    areas = [int((mask == k).sum()) for mask in masks.values() for k in mask.unique() if k]
    side = max(1.0, min(areas, default=H * W) ** 0.5)
    longest = min(max(LONGEST, SIDE / side * max(H, W)), MOST)
    scale = min(1.0, longest / max(H, W))
    return max(1, round(H * scale)), max(1, round(W * scale))


def smaller(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Which object (h, w) has most of each pixel of a smaller size, of labels (H, W), 0 none; of an
    object that would vanish, the pixel of which it has most."""
    if tuple(labels.shape) == size:
        return labels
    numbers = torch.arange(int(labels.max()) + 1)[:, None, None]
    share = at_size((labels == numbers).float()[None], size)[0]
    found = share.argmax(0)
    for k in labels.unique().tolist():
        if not (found == k).any():
            found.view(-1)[share[k].argmax()] = k
    return found


def checked(frames: Frames, masks: Mapping[int, Tensor]) -> int:
    """How many objects the masks name, or what is wrong with them."""
    if len(frames.shape) != 4 or not len(frames) or frames.shape[1] != 3:
        raise Mistake(f"frames {tuple(frames.shape)}; allowed: (T, 3, H, W), at least one")
    T, _, H, W = frames.shape
    if not masks:
        raise Mistake("no mask; needed: that of one frame, at least")
    for t, mask in masks.items():
        if not 0 <= t < T:
            raise Mistake(f"a mask of frame {t}; the clip has 0 to {T - 1}")
        if mask.shape != (H, W):
            raise Mistake(f"mask {tuple(mask.shape)} of frames {H} x {W}; allowed: ({H}, {W})")
    found = sorted(set(torch.cat([mask.unique() for mask in masks.values()]).tolist()) - {0})
    if not found:
        raise Mistake("no mask shows an object; needed: one that does")
    if found != list(range(1, len(found) + 1)):
        raise Mistake(f"objects {found} in the masks; allowed: 1, 2, 3 ... without a gap")
    return len(found)


def sureness(soft: Tensor) -> float:
    """How clear-cut a soft mask is: the sum of min(p, m) over that of max(p, m), m the mask; 1
    where there is nothing."""
    hard = (soft > 0.5).float()
    least, most = (float(way(soft, hard).sum()) for way in (torch.minimum, torch.maximum))
    return least / max(most, 1e-6) if most > 0 else 1.0


def confidence(soft: Tensor, before: Tensor | None) -> float:
    """The overlap J that a mask is expected to have with the true one, in 0 to 1: how clear-cut it
    is, times its overlap with that of the pass before, to the power POWER; UNSEEN where both are
    empty. Of one pass alone it only compares frames."""
    sure, mask = sureness(soft), soft > 0.5
    nothing = not bool(mask.any())
    if before is not None:
        one = before > 0.5
        both, either = int((mask & one).sum()), int((mask | one).sum())
        sure *= both / either if either else 1.0
        nothing = not either
    return UNSEEN if nothing else sure**POWER


class Pursuit(NamedTuple):
    """One object of a clip."""

    frames: Frames  # (T, 3, H, W)
    masks: dict[int, Tensor]  # (1, 1, H, W) float by frame; at least one is not empty
    flows: Ways
    place: Path | None = None  # the folder of what does not fit into memory

    def legs(self) -> Iterator[Leg]:
        """All ways from given masks to the next."""
        T, given = len(self.frames), sorted(self.masks)
        for t in given:
            after = min((s for s in given if s > t), default=T)
            before = max((s for s in given if s < t), default=-1)
            if not self.masks[t].any():
                continue
            if after > t + 1:
                arrive = Picked(self.flows.backward, range(t, after - 1))
                yield Leg(list(range(t, after)), arrive, after < T)
            if before < t - 1:
                arrive = Picked(self.flows.forward, range(t - 1, before, -1))
                yield Leg(list(range(t, before, -1)), arrive, before >= 0)

    def followed(
        self,
        looks: Looks,
        clues: Frames,
        rescue: Frames | None,
        notify: Callable[[float], None],
        arrived: Callable[[int, Tensor], None],
    ) -> Frames:
        """The object's soft masks (T, 1, H, W)."""
        T, _, H, W = self.frames.shape
        soft, weight = made((T, 1, H, W), "half", self.place), [0.0] * T
        legs = list(self.legs())
        steps, done = sum(len(leg.frames) - 1 for leg in legs), 0
        for part, arrive, given in legs:
            found = walk(
                looks,
                Picked(self.frames, part),
                self.masks[part[0]],
                arrive,
                Picked(clues, part),
                None if rescue is None else Picked(rescue, part),
            )
            for i, (t, one) in enumerate(zip(part, found, strict=True)):
                if i:
                    done += 1
                    arrived(t, one[0])
                    notify(done / steps)
                share = 1 - i / len(part) if given else 1.0
                if bool((one > 0.5).any()):  # a way that has lost the object does not count
                    soft[t] = soft[t] + share * one[0]
                    weight[t] += share
        for t in range(T):
            if t in self.masks:
                soft[t] = self.masks[t][0]
            elif weight[t]:
                soft[t] = soft[t] / weight[t]
        return soft

    def shown(self, clues: Frames | None) -> list[Shown]:
        """The given masks that are not empty."""
        return [
            Shown(self.frames[t : t + 1], mask, None if clues is None else clues[t : t + 1])
            for t, mask in sorted(self.masks.items())
            if mask.any()
        ]

    def believed(self, soft: Frames, clues: Frames) -> list[Shown]:
        """The given masks, so often that they are GIVEN of all, and frames of which the first pass
        was sure, evenly over the clip."""
        given, T = self.shown(clues), len(soft)
        sure = np.array([sureness(soft[t]) for t in range(T)], np.float32)
        areas = [float((soft[t] > 0.5).sum()) for t in range(T)]
        least = PART * min(float((one.mask > 0.5).sum()) for one in given)
        there = [t for t in range(T) if t not in self.masks and areas[t] > max(least, 1)]
        if not there:
            return given
        typical = np.sort(sure[there])[(len(there) - 1) // 2] - 0.01
        frames = [t for t in there if sure[t] >= typical]
        chosen = sorted(
            {frames[round(i * (len(frames) - 1) / max(1, BELIEVED - 1))] for i in range(BELIEVED)}
        )
        more = [
            Shown(self.frames[t : t + 1], (soft[t : t + 1] > 0.5).float(), clues[t : t + 1])
            for t in chosen
        ]
        times = max(1, round(GIVEN / (1 - GIVEN) * len(more) / len(given)))
        return given * times + more


def follow(
    frames: Frames,  # (T, 3, H, W) in [-1, 1]
    masks: Mapping[int, Tensor],  # (H, W) int64 by frame, 0 to K
    *,
    seed: int = 0,
    notify: Callable[[float], None] | None = None,  # hears the share that is done, 0 to 1
    arrived: Arrived | None = None,  # hears of each frame whose masks are there; again if better
    kept: Kept | None = None,  # where the nets are left, so that a stopped run goes on
    fast: bool = False,  # one pass
    pretrained: bool = True,  # a frozen network trained on ImageNet helps
    place: Path | None = None,  # the folder of what is needed on the way; else it is in memory
) -> Found:
    """Where the objects of the masks are in every frame. The same arguments give the same result.
    Mistake if the shapes do not fit, or no mask shows an object."""
    K, (T, _, H, W) = checked(frames, masks), frames.shape
    hear, tell = notify or (lambda share: None), arrived or (lambda t, soft, sure: None)
    if isinstance(frames, Tensor):
        frames = frames.detach().cpu().float()
    soft, sure = made((T, K, H, W), "half", place), torch.ones(T, K)
    if T > 1:
        shares = FAST_SHARES if fast else SHARES
        flows = flows_of(frames, lambda share: hear(shares[0] * share), place)
        clues = _clues.of_motion(flows, place)
        for k in range(K):
            own = {t: (mask == k + 1).float()[None, None] for t, mask in masks.items()}
            of, progress = Pursuit(frames, own, flows, place), Progress(hear, shares, k, K)

            def one(t: int, now: Tensor, k: int = k) -> None:
                put(soft, t, k, now[0])
                sure[t, k] = confidence(now, None)
                tell(t, soft[t], sure[t])

            nets = kept.named(f"object{k + 1}") if kept else None
            found, trust = pursued(
                of, clues, fold(seed, "object", k), progress, one, nets, fast, pretrained
            )
            sure[:, k] = torch.tensor(trust)
            for t in range(T):
                put(soft, t, k, found[t][0])
    for t in range(T):
        if t in masks:
            soft[t] = torch.stack([masks[t] == k + 1 for k in range(K)]).float()
            sure[t] = 1.0
        elif K > 1:
            soft[t] = soft[t] / soft[t].sum(0, keepdim=True).clamp(min=1)
        tell(t, soft[t], sure[t])
    hear(1.0)
    return Found(soft, sure)


def put(soft: Store, t: int, k: int, one: Tensor) -> None:
    """Object k's mask (H, W) among those of frame t."""
    all_of_them = soft[t].clone()
    all_of_them[k] = one
    soft[t] = all_of_them


class Progress(NamedTuple):
    """Turns the share of a stage that is done into that of all."""

    hear: Callable[[float], None]
    shares: tuple[float, ...]
    k: int  # which object
    K: int

    def stage(self, n: int) -> Callable[[float], None]:
        """What hears of stage n, from 1: flow is stage 0."""
        each = (1 - self.shares[0]) / self.K
        rest = 1 - self.shares[0]
        begun = self.shares[0] + each * (self.k + sum(self.shares[1:n]) / rest)
        return lambda share: self.hear(begun + each * self.shares[n] / rest * share)


def pursued(
    of: Pursuit,
    clues: Frames,
    seed: int,
    progress: Progress,
    arrived: Callable[[int, Tensor], None],
    kept: Kept | None,
    fast: bool,
    pretrained: bool,
) -> tuple[Frames, list[float]]:
    """One object's soft masks (T, 1, H, W) and how far each is to be trusted."""
    T = len(of.frames)
    looks = learned(
        of.shown(None),
        seed,
        progress.stage(1),
        pretrained=pretrained,
        kept=kept.named("first") if kept else None,
    )
    first = of.followed(looks, clues, None, progress.stage(2), arrived)
    if fast:
        return first, [confidence(first[t], None) for t in range(T)]
    clues = _clues.of_background(of.frames, first, of.flows, clues, progress.stage(3), of.place)
    looks = learned(
        of.believed(first, clues),
        seed,
        progress.stage(4),
        pretrained=pretrained,
        before=looks,
        kept=kept.named("clip") if kept else None,
    )
    second = of.followed(looks, clues, first, progress.stage(5), arrived)
    return second, [confidence(second[t], first[t]) for t in range(T)]
