"""What speaks for an object beside its looks: it moves otherwise than the camera makes the
background move, and it differs from the background that other frames show at its place.

Clues are (T, 4, H, W) in 0 to 1: the difference from the background, whether that is known, the
motion, and whether that is known.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.stack import Frames, made
from simulacra.nn.optical_flow import resized
from simulacra.video._background_flow import Ways, background_flow, camera
from simulacra.video.plate import Clip, revealed, safety

MUCH = 0.5  # difference of a colour, of a range of 2, that is 1
USUAL = 4.0  # of the background's median distance from the camera's motion that counts as none
STEP = 1.0  # pixels of motion beside that are 1
BESIDE = 0.2  # how far beside the mask the background is asked for, share of the object's size
NEAR, FAR = 3, 16  # least and most of that, pixels of frames of half the size
BELIEVED = 0.4  # how probable the object must be to be hidden from the background


def unlike(frames: Tensor, background: Tensor) -> Tensor:
    """How far frames (T, 3, H, W) differ from a background, (T, 1, H, W) in 0 to 1: MUCH is 1.
    Colours between the least and the most of the 3x3 pixels around do not."""
    most, least = F.max_pool2d(background, 3, 1, 1), -F.max_pool2d(-background, 3, 1, 1)
    apart = torch.maximum(frames - most, least - frames).amax(1, keepdim=True)
    return (apart / MUCH).clamp(0, 1)


def apart(flow: Tensor) -> Tensor:
    """How far a flow (N, 2, H, W) is from the camera's motion, (N, 1, H, W) in 0 to 1: 1 from USUAL
    times the median and STEP pixels on."""
    found = []
    for one in flow:
        off = (one - camera(one, torch.ones_like(one[0], dtype=torch.bool))).norm(dim=0)
        found.append((off / (USUAL * off.median() + STEP)).clamp(0, 1))
    return torch.stack(found)[:, None]


def motion(flows: Ways, t: int) -> Tensor:
    """What of frame t moves by itself, (1, 1, H, W) in 0 to 1: there and back, whichever is
    less."""
    last = len(flows.forward) - 1
    after, before = min(t, last), max(t - 1, 0)
    if t > last:
        return apart(flows.backward[last : last + 1])
    if t == 0:
        return apart(flows.forward[:1])
    return torch.minimum(
        apart(flows.backward[before : before + 1]), apart(flows.forward[after : after + 1])
    )


def of_motion(flows: Ways, place: Path | None = None) -> Frames:
    """Clues of which only the motion is known."""
    T, _, H, W = flows.forward.shape
    found = made((T + 1, 4, H, W), "half", place)
    for t in range(T + 1):
        moved = motion(flows, t)[0]
        none = torch.zeros_like(moved)
        found[t] = torch.cat([none, none, moved, torch.ones_like(moved)])
    return found


def hidden(soft: Tensor) -> Tensor:
    """Where an object may be (T, 1, h, w) bool, from how probable it is, with a margin."""
    import cv2

    masks = (soft > BELIEVED)[:, 0].byte().numpy()
    out = []
    for mask in masks:
        r = int(np.clip(BESIDE * math.sqrt(mask.sum()), NEAR, FAR))
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
        out.append(cv2.dilate(mask, disk) if mask.any() else mask)
    return torch.from_numpy(np.stack(out)).bool()[:, None]


def behind(clip: Clip, t: int) -> Tensor:
    """How frame t of a clip differs from what others show of what is hidden in it, and whether that
    is known, (1, 2, h, w)."""
    background, known = revealed(clip, t)
    told = unlike(clip.frames[t : t + 1], background[None]) * known
    return torch.cat([told, known[None, None].float()], 1)


def of_background(
    frames: Frames,
    soft: Frames,
    flows: Ways,
    clues: Frames,
    notify: Callable[[float], None],
    place: Path | None = None,
) -> Frames:
    """The clues with the difference from the background that other frames show, in frames of half
    the size; soft (T, 1, H, W) is how probable the object is."""
    T, _, H, W = frames.shape
    half = max(1, H // 2), max(1, W // 2)
    small, safe = made((T, 3, *half), "half", place), made((T, 1, *half), "half", place)
    visible, any_ = made((T, 1, *half), "flags", place), False
    ways = Ways(*(made((T - 1, 2, *half), "half", place) for _ in range(2)))
    for t in range(T):
        mask = hidden(F.interpolate(soft[t : t + 1], half, mode="area"))
        any_ |= bool(mask.any())
        small[t] = F.interpolate(frames[t : t + 1], half, mode="area")[0]
        visible[t], safe[t] = ~mask[0], safety(~mask)[0]
        for way, full in zip(ways, flows, strict=True) if t < T - 1 else ():
            way[t] = resized(full[t : t + 1], half)[0]
    if not any_:
        return clues
    clip = Clip(small, visible, safe, background_flow(small, visible, ways, place))
    found = made((T, 4, H, W), "half", place)
    for t in range(T):
        told = F.interpolate(behind(clip, t), (H, W), mode="bilinear")
        found[t] = torch.cat([told[0], clues[t][2:]])
        notify((t + 1) / T)
    return found
