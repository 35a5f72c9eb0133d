"""What decompositions are held against, learned from nothing: the first mask copied, the first mask
carried by the flow, and classical inpainting under the mask (Telea 2004, "An image inpainting
technique based on the fast marching method").

A clip is (T, 3, H, W) in [-1, 1]; masks are (T, 1, H, W) or (T, H, W), bool or 0 to 1.
"""

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.video.mask_scores import near
from simulacra.nn.optical_flow import Flows, warp


def single(mask: Tensor) -> Tensor:
    """The one mask as float (1, 1, H, W)."""
    if mask.ndim < 2 or mask.shape[:-2].numel() != 1 or 0 in mask.shape:
        raise Mistake(
            f"a first mask {tuple(mask.shape)}; "
            "allowed: (H, W), (1, H, W) or (1, 1, H, W), none of them 0"
        )
    one = mask.reshape(1, 1, *mask.shape[-2:]).float()
    if not ((one >= 0) & (one <= 1)).all():
        raise Mistake(
            f"a first mask of {float(one.min()):g} to {float(one.max()):g}; "
            "allowed: bool, or 0 to 1"
        )
    return one


def hard(masks: Tensor) -> Tensor:
    """Masks (T, H, W) bool of masks (T, 1, H, W) or (T, H, W): whether they are above 0.5."""
    if masks.ndim != 3 and (masks.ndim != 4 or masks.shape[1] != 1):
        raise Mistake(f"masks {tuple(masks.shape)}; allowed: (T, H, W) or (T, 1, H, W)")
    return masks.reshape(len(masks), *masks.shape[-2:]).float() > 0.5


def copy_first(mask: Tensor, count: int) -> Tensor:
    """The first mask, (H, W) with or without axes of 1 before them,
    for all of `count` frames, (count, 1, H, W) float."""
    if count < 1:
        raise Mistake(f"a mask copied to {count} frames; allowed: 1 and more")
    return single(mask).repeat(count, 1, 1, 1)


def by_flow(mask: Tensor, flows: Flows) -> Tensor:
    """The first mask, (H, W) with or without axes of 1 before them, carried from frame to frame by
    the backward flow, soft (T, 1, H, W) in 0 to 1: mask t + 1 is mask t warped, bilinear, not
    sharpened in between; what comes from beyond the frame is no object. `hard` makes masks of
    them."""
    first = single(mask)
    if flows.backward.ndim != 4 or flows.backward.shape[1:] != (2, *first.shape[2:]):
        size = "(T - 1, 2, {}, {})".format(*first.shape[2:])
        raise Mistake(
            f"a mask {tuple(first.shape[2:])} and flows {tuple(flows.backward.shape)}; "
            f"allowed: flows {size}"
        )
    soft = [first]
    for flow in flows.backward:
        soft.append(warp(soft[-1], flow[None], "zeros"))
    return torch.cat(soft)


def inpainted(frames: Tensor, masks: Tensor, radius: int = 3) -> Tensor:
    """The baseline for backgrounds: frames (T, 3, H, W), each filled from around its own mask
    alone, (T, 3, H, W) in [-1, 1]. Masks (T, 1, H, W) or (T, H, W) are grown by a disc of `radius`
    pixels, since an object's border bleeds into what is beside it, and each hidden pixel is made of
    known ones up to `radius` pixels away (Telea 2004). What is not under the grown mask stays the
    same number; a frame wholly under it knows nothing and is 0, the middle grey."""
    import cv2  # a fifth of a second that most verbs need not pay

    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape or radius < 1:
        raise Mistake(
            f"frames {tuple(frames.shape)}, radius {radius}; "
            "allowed: (T, 3, H, W), none of them 0, and 1 and more"
        )
    hidden = hard(masks)
    if hidden.shape != (len(frames), *frames.shape[2:]):
        raise Mistake(
            f"frames {tuple(frames.shape)} and masks {tuple(masks.shape)}; "
            "allowed: one mask a frame, of its size"
        )
    pixels = (
        ((frames.detach().cpu() + 1) * 127.5)
        .round()
        .clamp(0, 255)
        .byte()
        .permute(0, 2, 3, 1)
        .contiguous()
        .numpy()
    )
    filled = torch.zeros_like(frames)
    for t, hole in enumerate(near(hidden, radius)):
        if not hole.all():
            # one more unknown pixel all around, or OpenCV lets through what is hidden at the
            # frame's border (its issue 25389)
            frame, mask = (
                np.pad(pixels[t], ((1, 1), (1, 1), (0, 0))),
                np.pad(hole.byte().numpy(), 1, constant_values=1),
            )
            known = torch.from_numpy(
                cv2.inpaint(frame, mask, radius, cv2.INPAINT_TELEA)[1:-1, 1:-1]
            )
            filled[t] = torch.where(
                hole.to(frames.device), known.permute(2, 0, 1).to(frames) / 127.5 - 1, frames[t]
            )
    return filled
