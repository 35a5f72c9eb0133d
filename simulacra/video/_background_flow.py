"""How the background moves, also where the object hides it: the camera's motion, and a membrane for
what parallax adds."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.stack import Frames, Store, made
from simulacra.nn.optical_flow import agreement, between, grey
from simulacra.video._painting import spread

DRAGGED = 6  # how far around the object it drags the flow along, pixels: most of the search's patch
ENTRIES = 4000  # places, about, that a camera's motion is fitted to
PLAIN = 0.02  # deviation around a pixel, of a range of 2, below which its flow is anything
# pixels off the camera's motion of which half is believed: less is mostly the error of the flow
JITTER = 1.0
# times as far off the camera's motion as half of all, and half a pixel: not the background
APART = 20.0
TRUSTED = 0.3  # least agreement of a flow there and back that is not completed
SMALL = 16  # frames less high or wide are not registered, pixels
FLOW_AT = 854 * 480  # pixels of the frames, at most, in which the clip's flow is searched


class Ways(NamedTuple):
    """`Flows` that may lie in a file, of the frames' size or smaller."""

    forward: Store
    backward: Store


def grown(masks: Tensor, r: int) -> Tensor:
    """Masks (T, 1, H, W) bool and what is at most r pixels away."""
    import cv2

    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    return torch.from_numpy(
        np.stack([cv2.dilate(one, disk) for one in masks[:, 0].byte().numpy()])
    ).bool()[:, None]


def at_size(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Values (N, C, H, W) in frames of another size: means, or bilinear."""
    if tuple(values.shape[2:]) == size:
        return values
    smaller = size[0] < values.shape[2]
    return F.interpolate(values, size, mode="area" if smaller else "bilinear")


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


def flows_of(frames: Frames, place: Path | None = None) -> Ways:
    """The clip's flows, 0 where there is nothing to search in, of the frames' size or, of large
    ones, smaller."""
    T, _, H, W = frames.shape
    scale = min(1.0, (FLOW_AT / (H * W)) ** 0.5)
    size = round(H * scale), round(W * scale)
    flows = Ways(*(made((max(0, T - 1), 2, *size), "half", place) for _ in range(2)))
    last = None
    for t in range(T if min(size) >= SMALL else 0):
        frame = at_size(frames[t : t + 1], size)
        if last is not None:
            flows.forward[t - 1] = between(last, frame)[0]
            flows.backward[t - 1] = between(frame, last)[0]
        last = frame
    return flows


def background_flow(
    frames: Frames, visible: Frames, flows: Ways, place: Path | None = None
) -> Ways:
    """The background's flow everywhere, from the clip's; in pixels of the frames."""
    T, _, H, W = frames.shape
    size = tuple(flows.forward.shape[2:])
    found = Ways(*(made(flows.forward.shape, "half", place) for _ in range(2)))
    scale = torch.tensor([W / size[1], H / size[0]]).view(2, 1, 1)

    def clear(t: int) -> Tensor:
        hidden = at_size((~visible[t : t + 1]).float(), size) > 0
        return ~grown(hidden, DRAGGED) & textured(at_size(frames[t : t + 1], size))

    before = clear(0)
    for t in range(T - 1):
        there, back, after = flows.forward[t : t + 1], flows.backward[t : t + 1], clear(t + 1)
        trusted = before & (agreement(there, back) > TRUSTED)
        found.forward[t] = completed(there, trusted)[0] * scale
        trusted = after & (agreement(back, there) > TRUSTED)
        found.backward[t] = completed(back, trusted)[0] * scale
        before = after
    return found
