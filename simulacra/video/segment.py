"""One object through frames, from its mask in the first of them: optical flow carries the mask to
the next frame, a net that knows the object's looks corrects it, and so on (Khoreva et al., arXiv
1703.09554). An object that is lost is searched for, in ever wider surroundings of where it should
be, and then in the whole frame.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.stack import Frames, made
from simulacra.nn.optical_flow import between, resized, warp
from simulacra.video import _appearance, _windows
from simulacra.video._appearance import Looks
from simulacra.video._background_flow import Ways

FINER = 2  # flow is searched in frames so many times the size
REACH = 0.3  # how far beside the carried mask the object may be, share of its size
DOUBT = 4.0  # lowering of the logit at that distance; grows with its square
GONE = 0.04  # a mask of less than this share of the object's area shows nothing of it
USUAL = 10  # masks whose median area is the object's
SMALLEST = 0.25  # share of its first area that it has at least
RANGE, WIDER = 1.2, 0.5  # sizes around that are searched at first, and more in each frame after
COASTING = 8  # frames for which a lost object moves on
SHARP = 4.0  # times AREA that a net sees in a search, at most
PATCH, FULL, PLAIN = (
    0.08,
    6.0,
    0.8,
)  # least and most area found, share of the usual, and mean answer


def flows_of(frames: Frames, notify: Callable[[float], None], place: Path | None = None) -> Ways:
    """The flows between frames (T, 3, H, W), searched in finer frames: small ones cost it whole
    points of overlap (*measured*: carrying the mask by flow alone has a mean J of 0.587 on six
    clips of 432 x 240 this way, 0.553 at the frames' own size)."""
    T, _, *size = frames.shape
    flows, last = Ways(*(made((T - 1, 2, *size), "half", place) for _ in range(2))), None
    for t in range(T):
        frame = frames[t : t + 1]
        fine = F.interpolate(frame, scale_factor=FINER, mode="bicubic").clamp(-1, 1)
        if last is not None:
            flows.forward[t - 1] = resized(between(last, fine), (size[0], size[1]))[0]
            flows.backward[t - 1] = resized(between(fine, last), (size[0], size[1]))[0]
        last = fine
        notify((t + 1) / T)
    return flows


def beside(mask: Tensor) -> Tensor:
    """The distance (H, W) of each pixel from a mask (1, 1, H, W), pixels; 0 inside."""
    import cv2

    return torch.from_numpy(
        cv2.distanceTransform((mask[0, 0] <= 0.5).byte().numpy(), cv2.DIST_L2, 5)
    )


def area(soft: Tensor) -> float:
    """Pixels of a mask."""
    return float((soft > 0.5).sum())


class Sight(NamedTuple):
    """A frame and what is known of it."""

    frame: Tensor  # (1, 3, H, W)
    clues: Tensor  # (1, CLUES, H, W)


def corrected(looks: Looks, at: Sight, carried: Tensor, size: float) -> Tensor | None:
    """The soft mask (1, 1, H, W) of an object whose area has the root `size` where flow has carried
    that of the frame before:

        p = sigmoid(net(frame, carried, clues) - DOUBT (d / (REACH size))^2)

    d the distance from the carried mask. None if too little is carried or found."""
    hard = (carried > (0.5 if area(carried) else 0.25)).float()
    window = _appearance.window(hard, size)
    if window is None or area(hard) < GONE * size**2:
        return None
    logits = looks.logits(at.frame, torch.cat([2 * carried - 1, at.clues], 1), window)
    found = torch.sigmoid(logits - DOUBT * (beside(hard) / (REACH * size)).square())
    return found if area(found) >= GONE * size**2 else None


def searched(
    looks: Looks, at: Sight, centre: Tensor, size: float, lost: int, zoom: float
) -> Tensor | None:
    """The soft mask (1, 1, H, W) of an object that has been lost for some frames, if it is found
    around a place (y, x): the part that answers best, of those that are sure and neither too small
    nor too large. `zoom` is that at which the object was learned."""
    H, W = at.frame.shape[2:]
    reach = size * (RANGE + WIDER * lost)
    y, x = centre.tolist()
    box = max(0.0, y - reach), max(0.0, x - reach), min(H, y + reach), min(W, x + reach)
    if box[2] - box[0] < _windows.LEAST / 2 or box[3] - box[1] < _windows.LEAST / 2:
        return None
    zoom = min(zoom, _windows.fitting(box, SHARP * _appearance.AREA))
    unknown = torch.zeros_like(at.clues[:, :1])
    window = _windows.within(box, (H, W), zoom)
    return whole(looks.logits(at.frame, torch.cat([unknown, at.clues], 1), window).sigmoid(), size)


def whole(soft: Tensor, size: float) -> Tensor | None:
    """The connected part of a soft mask that is most probably an object of this size; None if none
    is."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats((soft[0, 0] > 0.5).byte().numpy())
    answers, best, found = soft[0, 0].numpy(), 0.0, 0
    for i in range(1, count):
        pixels = stats[i, cv2.CC_STAT_AREA] / size**2
        mean = float(answers[labels == i].mean())
        if PATCH <= pixels <= FULL and mean >= PLAIN and mean * min(1, 2 * pixels) > best:
            best, found = mean * min(1, 2 * pixels), i
    return soft * torch.from_numpy((labels == found).astype(np.float32)) if found else None


def middle(soft: Tensor) -> Tensor:
    """The mean place (y, x) of a mask that is not empty."""
    return (soft[0, 0] > 0.5).nonzero().float().mean(0)


@torch.no_grad()
def walk(
    looks: Looks,
    frames: Frames,  # (S, 3, H, W) in [-1, 1], in the order of the walk
    start: Tensor,  # (1, 1, H, W), 0 to 1: the mask of the first, not empty
    arrive: Frames,  # (S - 1, 2, H, W): the flow from each frame but the first to the one before
    clues: Frames,  # (S, CLUES, H, W)
    rescue: Frames | None = None,  # (S, 1, H, W): where else to look for an object that is lost
) -> Iterator[Tensor]:
    """How probable it is that a pixel of each frame is the object's, (1, 1, H, W) in 0 to 1; above
    0.5 is the mask. The first is the mask given."""
    last, areas = start, [area(start)]
    window = _appearance.window(start)
    assert window is not None
    centre, speed, lost = middle(start), torch.zeros(2), 0
    yield start
    for t in range(1, len(frames)):
        size = math.sqrt(max(float(np.median(areas[-USUAL:])), SMALLEST * areas[0]))
        at = Sight(frames[t : t + 1], clues[t : t + 1])
        soft = corrected(looks, at, warp(last, arrive[t - 1 : t]), size)
        if soft is None and rescue is not None:
            soft = corrected(looks, at, rescue[t : t + 1], size)
        if soft is None:
            lost += 1
            place = centre + speed * min(lost, COASTING)
            soft = searched(looks, at, place, size, lost, window.zoom)
        if soft is None:
            soft = torch.zeros_like(start)
        else:
            areas.append(area(soft))
            moved = (middle(soft) - centre) / (lost + 1)
            speed = 0.5 * speed + 0.5 * moved if lost < 3 else 0 * speed
            centre, lost = middle(soft), 0
        last = soft
        yield soft
