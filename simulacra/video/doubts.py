"""What in the masks of a clip a person should look at, and which frame's mask would help most.

Of each frame and object are known its area, how much of that is apart from its largest part, and
its confidence: (T, K) float, NaN where nothing has arrived yet. Rules:

- lost: frames without a pixel of the object, unless a mask given there says so;
- jump: from one frame to the next the area more than doubles, or falls below half;
- spill: parts apart from the largest gain more than SPILL of the area before, and the area grows;
- low: a confidence below LOW.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from simulacra.core.stack import Frames

JUMP = 2.0  # times, or one part in so many, by which an area may change
LEAST = 64  # pixels of the larger of two areas that are compared
SPILL = 0.15  # share of the area before that parts apart may gain
LOW = 0.5  # confidence
# frames after which a correction is believed to help half as much; no further than the next mask
HALF = 20.0
WORTH = 0.005  # gain of J, mean over the clip, below which no frame is advised


class Doubt(NamedTuple):
    """What may be wrong with an object in some frames."""

    kind: str  # lost, jump, spill, low
    frames: list[int]  # which, without a gap
    object: int  # its name
    text: str


class Seen(NamedTuple):
    """Of all frames and objects, each (T, K) float64."""

    area: np.ndarray  # pixels above 0.5
    apart: np.ndarray  # pixels of it that its largest part does not hold
    confidence: np.ndarray  # 0 to 1

    @classmethod
    def nothing(cls, frames: int, objects: int) -> "Seen":
        """Nothing has arrived."""
        return cls(*(np.full((frames, objects), np.nan) for _ in cls._fields))

    def put(self, t: int, soft: Tensor, confidence: Tensor) -> None:
        """Note what has arrived of frame t: (K, H, W) and (K,)."""
        import cv2

        for k, one in enumerate((soft > 0.5).byte().cpu().numpy()):
            sizes = cv2.connectedComponentsWithStats(one)[2][1:, cv2.CC_STAT_AREA]
            self.area[t, k] = sizes.sum()
            self.apart[t, k] = sizes.sum() - sizes.max(initial=0)
        self.confidence[t] = confidence.double().cpu().numpy()


def runs(flags: Sequence[bool] | np.ndarray) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, int), [0]])))
    yield from zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True)


def span(first: int, last: int) -> str:
    """The frames, for a person."""
    return f"frame {first}" if first == last else f"frames {first} to {last}"


def lost(area: np.ndarray, given: Collection[int]) -> Iterator[tuple[int, int, str]]:
    """Runs of frames without the object, and what is said of each."""
    for first, last in runs(area == 0):
        if not any(first <= t <= last for t in given):
            yield first, last, "is not found"


def jumps(area: np.ndarray) -> Iterator[tuple[int, int, str]]:
    """Frames whose area is another than that of the frame before."""
    old, new = area[:-1], area[1:]
    least, most = np.minimum(old, new), np.maximum(old, new)
    for t in np.flatnonzero((least > 0) & (most >= LEAST) & (most > JUMP * least)) + 1:
        times = f"{area[t] / area[t - 1]:.2g}"
        yield int(t), int(t), f"has {times} times the area that it has in the frame before"


def spills(area: np.ndarray, apart: np.ndarray) -> Iterator[tuple[int, int, str]]:
    """From frames in which parts apart are gained to the last that has so much of them."""
    old, gain, end = area[:-1], np.diff(apart), -1
    for t in np.flatnonzero((old >= LEAST) & (gain > SPILL * old) & (area[1:] > old)) + 1:
        if t <= end:
            continue
        stays = apart[t:] > apart[t - 1] + SPILL * area[t - 1]
        end = int(t) + int(np.append(~stays, True).argmax()) - 1
        share = f"{(apart[t] - apart[t - 1]) / area[t]:.0%}"
        yield int(t), end, f"gains parts apart from the rest, {share} of its mask"


def lows(area: np.ndarray, confidence: np.ndarray) -> Iterator[tuple[int, int, str]]:
    """Runs of frames of low confidence in which there is a mask."""
    for first, last in runs((confidence < LOW) & (area > 0)):
        least = confidence[first : last + 1].min()
        yield first, last, f"has a confidence below {LOW:g}, down to {least:.2f}"


def doubts(seen: Seen, names: Sequence[int], given: Collection[int]) -> list[Doubt]:
    """All doubts about objects of these names, in the order of their frames; `given` are the frames
    whose masks a person gave."""
    found = []
    for k, name in enumerate(names):
        what = "the object" if len(names) == 1 else f"object {name}"
        area, apart, confidence = (values[:, k] for values in seen)
        for kind, parts in (
            ("lost", lost(area, given)),
            ("jump", jumps(area)),
            ("spill", spills(area, apart)),
            ("low", lows(area, confidence)),
        ):
            found += [
                Doubt(
                    kind,
                    list(range(first, last + 1)),
                    name,
                    f"{span(first, last)}: {what} {text}",
                )
                for first, last, text in parts
                if not (first == last and first in given)
            ]
    return sorted(found, key=lambda one: (one.frames[0], one.frames[-1], one.object))


class Watch:
    """Listens to masks as they arrive, in any order, and says at once what is doubtful, once for
    each run of frames, which may still grow."""

    def __init__(
        self,
        frames: int,
        names: Sequence[int],
        given: Collection[int],
        say: Callable[[str], None],
    ):
        self.seen, self.names, self.given = Seen.nothing(frames, len(names)), names, given
        self.say = say
        self.said: dict[tuple[str, int], set[int]] = {}  # frames by kind and object

    def arrived(self, t: int, soft: Tensor, confidence: Tensor) -> None:
        """Note frame t: soft (K, H, W), confidence (K,)."""
        self.seen.put(t, soft, confidence)
        for one in doubts(self.seen, self.names, self.given):
            said = self.said.setdefault((one.kind, one.object), set())
            if not said & set(range(one.frames[0] - 1, one.frames[-1] + 2)):
                self.say(one.text)
            said |= set(one.frames)


def gains(confidence: np.ndarray, given: Collection[int]) -> np.ndarray:
    """How much J, summed over frames, the mask of each frame is expected to bring (T,), 0 where one
    is given:

        gain(t) = sum over s of (1 - confidence(s)) 0.5^(|t - s| / HALF)

    s between the same given masks as t; confidence (T, K), its mean over the objects."""
    lacking = 1 - np.asarray(confidence, float).mean(1)
    frames = np.arange(len(lacking))
    is_given = np.isin(frames, list(given))
    gap = np.where(is_given, -1, is_given.cumsum())
    lacking = np.where(is_given, 0.0, lacking)
    out = np.zeros(len(lacking))
    for one in set(gap[~is_given].tolist()):
        part = frames[gap == one]
        far = np.abs(part[:, None] - part)
        out[part] = (0.5 ** (far / HALF)) @ lacking[part]
    return out


def advised(confidence: np.ndarray, given: Collection[int]) -> int | None:
    """The frame whose mask would help most; None if none would help much. confidence (T, K)."""
    found = gains(confidence, given)
    best = int(found.argmax())
    return best if found[best] >= WORTH * len(found) else None


def without(area: np.ndarray) -> list[int]:
    """The frames in which no object has a pixel; area (T, K)."""
    frames: list[int] = np.flatnonzero((area == 0).all(1)).tolist()
    return frames


def of_clip(soft: Frames, confidence: Tensor) -> Seen:
    """Of a whole clip: soft (T, K, H, W), confidence (T, K)."""
    seen = Seen.nothing(*confidence.shape)
    for t in range(len(soft)):
        seen.put(t, soft[t], confidence[t])
    return seen
