"""A first mask from a box that a person drags around an object: GrabCut (Rother, Kolmogorov, Blake,
SIGGRAPH 2004), as OpenCV has it."""

import cv2
import numpy as np

from simulacra.core.errors import Mistake

ROUNDS = 5  # of models and cuts
AROUND = 0.5  # of the box, on each side of it, from which the surroundings are learnt
PIXELS = 160_000  # that are cut at most; more are reduced, so that a person need not wait
SPECK = 0.02  # of the largest part: smaller parts, and smaller holes, are taken for mistakes
LEAST = 3  # pixels that a box is wide and high


def propose(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Where the object in a box is, (H, W) bool, in a frame (H, W, 3) uint8. The box is left, top,
    right, bottom in pixels, the last two not within. A Mistake if it is no box of the frame, or if
    nothing in it differs from what is around it."""
    H, W, _ = frame.shape
    left, top, right, bottom = box
    if not (0 <= left <= right - LEAST and right <= W and 0 <= top <= bottom - LEAST <= H - LEAST):
        raise Mistake(
            f"a box of {left}, {top} to {right}, {bottom} in a frame of {W}x{H}; "
            f"allowed: inside it, at least {LEAST} pixels wide and high"
        )
    mx, my = round(AROUND * (right - left)) + 8, round(AROUND * (bottom - top)) + 8
    x0, y0, x1, y1 = max(0, left - mx), max(0, top - my), min(W, right + mx), min(H, bottom + my)
    part = frame[y0:y1, x0:x1]
    scale = min(1.0, (PIXELS / (part.shape[0] * part.shape[1])) ** 0.5)
    size = max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    sx, sy = size[0] / part.shape[1], size[1] / part.shape[0]
    inner = (
        slice(int((top - y0) * sy), int(np.ceil((bottom - y0) * sy))),
        slice(int((left - x0) * sx), int(np.ceil((right - x0) * sx))),
    )
    mask = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    mask[inner] = cv2.GC_PR_FGD
    if (mask == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)  # its clusters begin at random
        behind, ahead = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small, mask, (0, 0, 1, 1), behind, ahead, ROUNDS, cv2.GC_INIT_WITH_MASK)
    seen = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    whole = np.zeros((H, W), bool)
    whole[y0:y1, x0:x1] = tidied(cv2.resize(seen, part.shape[1::-1]) > 0.5)
    if not whole.any():
        raise Mistake("nothing in the box differs from what is around it; paint the object instead")
    return whole


def tidied(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) bool without its specks and small holes."""
    least = 0.0
    for value in True, False:
        count, parts, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8))
        sizes = stats[1:count, cv2.CC_STAT_AREA]
        least = least or SPECK * sizes.max(initial=0)
        mask = mask ^ np.isin(parts, 1 + np.flatnonzero(sizes < least))
    return mask
