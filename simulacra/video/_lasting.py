"""Where an object is behind what passes before it: masks rightly leave out a tree, but through its
leaves the object is seen.

Most of the time tells: in coordinates that move with the object, a place belongs to it if it did in
most of the frames before, or does in most of those after.
"""

import numpy as np
import torch

from simulacra.core.stack import Frames, Store

AROUND = 20  # frames before and after that are asked
FEWEST = 4  # frames that can be asked at all: fewer decide nothing
MOST = 0.5  # share of them in which the place was the object
ALIKE = 0.7  # least overlap J of a mask, moved, with the next one: else the motion is not believed
LEAST = 32  # pixels of an object whose motion can be told
SHARE = 2000  # pixels, about, that tell it


def motions(masks: Frames, flow: Frames, seed: int = 0) -> list[np.ndarray | None]:
    """From each frame to the next, the similarity (3, 3) by which most of the object moves; masks
    (T, 1, H, W) bool, flow (T - 1, 2, H, W) forward. None where too little of it is seen, or where
    it leads elsewhere than the masks do."""
    import cv2

    cv2.setRNGSeed(seed)
    found: list[np.ndarray | None] = []
    for t in range(len(masks) - 1):
        mask, after = masks[t][0].numpy(), masks[t + 1][0].numpy()
        moved = flow[t].numpy()
        y, x = (side[:: max(1, int(mask.sum()) // SHARE)] for side in np.nonzero(mask))
        start = np.stack([x, y], 1).astype(np.float32)
        fit = None
        if len(start) >= LEAST:
            fit, _ = cv2.estimateAffinePartial2D(
                start, start + moved[:, y, x].T, method=cv2.RANSAC, ransacReprojThreshold=1.0
            )
        if fit is not None and alike(carried(mask, fit), after) < ALIKE:
            fit = None
        found.append(None if fit is None else np.vstack([fit, [0, 0, 1]]))
    return found


def carried(mask: np.ndarray, move: np.ndarray) -> np.ndarray:
    """A mask (H, W) bool moved by a similarity (2, 3)."""
    import cv2

    return (
        cv2.warpAffine(mask.astype(np.uint8), move, mask.shape[::-1], flags=cv2.INTER_NEAREST) > 0
    )


def alike(one: np.ndarray, two: np.ndarray) -> float:
    """The overlap J of masks, one of them not empty."""
    return float((one & two).sum() / (one | two).sum())


def lasting(masks: Frames, flow: Frames, out: Store) -> Store:
    """Fills `out`: where the object (T, 1, H, W) bool is, and where, moving along by the flow
    (T - 1, 2, H, W) forward, it was in most of the frames before, or is in most of those after."""
    T, _, H, W = masks.shape
    steps = motions(masks, flow)
    for t in range(T):
        found = masks[t][0].numpy()
        for way in (1, -1):
            votes, asked, to = np.zeros((H, W), np.float32), 0, np.eye(3)
            for s in range(t + way, t + way * (AROUND + 1), way):
                step = steps[min(s, s - way)] if 0 <= s < T else None
                if step is None:
                    break
                to = (step if way > 0 else np.linalg.inv(step)) @ to
                asked += 1
                votes += carried(masks[s][0].numpy(), np.linalg.inv(to)[:2])
            if asked >= FEWEST:
                found = found | (votes > MOST * asked)
        out[t] = torch.from_numpy(found)[None]
    return out
