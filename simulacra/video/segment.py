"""One object through a clip, from the mask of its first frame: optical flow carries the mask to the
next frame, small nets that were trained on the first frame alone correct it, and so on (Khoreva et
al., arXiv 1703.09554). No weights, no other mask, no other clip.

Flow is searched in frames of twice the size: small frames cost it whole points of overlap
(*measured*: carrying the mask by flow alone has a mean J of 0.587 on six clips of 432 x 240 this
way, 0.553 at the frames' own size).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.errors import Mistake
from simulacra.nn.optical_flow import Flows, between, resized, warp
from simulacra.video._appearance import Kept, around, bilinear, learned, places

FINER = 2  # flow is searched in frames so many times the size
REACH = 0.2  # how far beside the carried mask the object may be, share of the root of its area
DOUBT = 4.0  # lowering of the logit at that distance; grows with its square
GONE = 0.02  # an object of less than this share of its first area has left
SURE = 10.0  # logit of the surroundings outside the window, negative
LEARNING = 0.7  # share of the time that training takes, for who is told


def arrivals(frames: Tensor) -> Tensor:
    """The flow (T - 1, 2, H, W) from each frame but the first back to the one before,
    searched in finer frames."""
    size, last, found = frames.shape[2:], None, []
    for frame in frames.split(1):
        fine = F.interpolate(frame, scale_factor=FINER, mode="bicubic").clamp(-1, 1)
        if last is not None:
            found.append(resized(between(fine, last), (size[0], size[1])))
        last = fine
    return torch.cat(found)


def beside(mask: Tensor) -> Tensor:
    """The distance (H, W) of each pixel from a mask (1, 1, H, W), pixels; 0 inside."""
    import cv2

    return torch.from_numpy(
        cv2.distanceTransform((mask[0, 0] <= 0.5).byte().numpy(), cv2.DIST_L2, 5)
    )


def corrected(net: Callable[[Tensor], Tensor], frame: Tensor, carried: Tensor) -> Tensor:
    """The soft mask (1, 1, H, W) of a frame (1, 3, H, W) in the net's colours where flow has
    carried that of the frame before:

        p = sigmoid(net(frame, carried) - DOUBT (d / (REACH size))^2)

    d the distance from the carried mask and size the root of its area. Nothing carried is nothing
    found."""
    window = around(carried)
    if window is None:
        return torch.zeros_like(carried)
    top, left, bottom, right = window[:4]
    where = places(window)
    answer = net(torch.cat([bilinear(frame, where), 2 * bilinear(carried, where) - 1], 1))
    logits = torch.full_like(carried, -SURE)
    logits[..., top:bottom, left:right] = F.interpolate(
        answer, (bottom - top, right - left), mode="bilinear", antialias=True
    )
    far = beside(carried) / (REACH * math.sqrt(float((carried > 0.5).sum())))
    return torch.sigmoid(logits - DOUBT * far.square())


def checked(frames: Tensor, mask: Tensor, flows: Flows | None) -> Tensor:
    """The mask as (1, 1, H, W) float, or what is wrong."""
    if frames.ndim != 4 or not len(frames) or frames.shape[1] != 3:
        raise Mistake(f"frames {tuple(frames.shape)}; allowed: (T, 3, H, W), at least one")
    T, _, H, W = frames.shape
    if mask.shape not in ((H, W), (1, H, W)):
        raise Mistake(
            f"mask {tuple(mask.shape)} of frames {H} x {W}; allowed: ({H}, {W}) or (1, {H}, {W})"
        )
    if flows is not None and flows.backward.shape != (T - 1, 2, H, W):
        raise Mistake(
            f"flows.backward {tuple(flows.backward.shape)} of {T} frames; "
            f"allowed: {(T - 1, 2, H, W)}"
        )
    start = mask.detach().cpu().float().view(1, 1, H, W)
    if not (start > 0.5).any() or start.min() < 0 or start.max() > 1:
        raise Mistake(
            f"mask from {float(start.min()):g} to {float(start.max()):g}; "
            "allowed: 0 to 1, with a pixel above 0.5"
        )
    return start


@torch.no_grad()
def segment(
    frames: Tensor,  # (T, 3, H, W) in [-1, 1]
    mask: Tensor,  # (1, H, W) or (H, W), bool or 0 to 1, of the first frame
    *,
    # between the frames; None: searched for in finer frames, which is better
    flows: Flows | None = None,
    seed: int = 0,
    notify: Callable[[float], None] | None = None,  # hears the share that is done, 0 to 1
    kept: Kept | None = None,  # where the nets are left, so that a stopped run goes on
) -> Tensor:
    """How probable it is that a pixel is the object's, (T, 1, H, W) in 0 to 1; above 0.5 is the
    mask. The first is the mask given. An object that has left does not come back. The same seed
    gives the same result."""
    start = checked(frames, mask, flows)
    hear = notify or (lambda share: None)
    if len(frames) == 1:
        hear(1.0)
        return start
    frames = frames.detach().cpu().float()
    colours = (frames - frames[0].mean((1, 2))[:, None, None]) / (2 * frames[0].std() + 1e-3)
    carry = arrivals(frames) if flows is None else flows.backward.detach().cpu()
    least = GONE * (start > 0.5).sum()
    net = learned(colours[:1], start, seed, lambda share: hear(LEARNING * share), kept)
    found = [start]
    for t, flow in enumerate(carry.split(1), 1):
        now = corrected(net, colours[t : t + 1], warp(found[-1], flow))
        found.append(now if (now > 0.5).sum() >= least else torch.zeros_like(now))
        hear(LEARNING + (1 - LEARNING) * t / len(carry))
    return torch.cat(found)
