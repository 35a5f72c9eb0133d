"""What speaks for an object beside its looks: it moves otherwise than the camera makes the
background move, and it differs from the background that other frames show at its place.

Clues are (T, 4, H, W) in 0 to 1: the difference from the background, whether that is known, the
motion, and whether that is known.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.nn.optical_flow import Flows, resized
from simulacra.video.plate import Clip, background_flow, camera, revealed, safety

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


def motion(flows: Flows) -> Tensor:
    """What moves by itself, (T, 1, H, W) in 0 to 1: there and back, whichever is less."""
    after, before = apart(flows.forward), apart(flows.backward)
    return torch.minimum(torch.cat([after[:1], before]), torch.cat([after, before[-1:]]))


def of_motion(flows: Flows) -> Tensor:
    """Clues of which only the motion is known."""
    moved = motion(flows)
    none = torch.zeros_like(moved)
    return torch.cat([none, none, moved, torch.ones_like(moved)], 1)


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


def behind(
    frames: Tensor, mask: Tensor, flows: Flows, notify: Callable[[float], None]
) -> tuple[Tensor, Tensor]:
    """Frames (T, 3, h, w) with what others show behind a mask (T, 1, h, w) bool, and where that is
    known, (T, 1, h, w) bool."""
    visible = ~mask
    clip = Clip(frames, visible, safety(visible), background_flow(frames, visible, flows))
    found = []
    for t in range(len(frames)):
        found.append(revealed(clip, t))
        notify((t + 1) / len(frames))
    return torch.stack([one for one, _ in found]), torch.stack([one for _, one in found])[:, None]


def of_background(
    frames: Tensor, soft: Tensor, flows: Flows, clues: Tensor, notify: Callable[[float], None]
) -> Tensor:
    """The clues with the difference from the background that other frames show, in frames of half
    the size; soft (T, 1, H, W) is how probable the object is."""
    H, W = frames.shape[2:]
    half = max(1, H // 2), max(1, W // 2)
    mask = hidden(F.interpolate(soft, half, mode="area"))
    if not mask.any():
        return clues
    small = F.interpolate(frames, half, mode="area")
    background, known = behind(small, mask, Flows(*(resized(way, half) for way in flows)), notify)
    told = torch.cat([unlike(small, background) * known, known.float()], 1)
    return torch.cat([F.interpolate(told, (H, W), mode="bilinear"), clues[:, 2:]], 1)
