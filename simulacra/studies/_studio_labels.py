"""Labels of a frame's pixels as a studio's page and its work tell them. It imports no torch, so
that the work can begin in a moment."""

from typing import Any

import numpy as np

from simulacra.core.errors import Mistake

# of objects 1 to 8, on any clip; as the page and the palette of masks have them
COLOURS = "#ff4fa3", "#3d9bff", "#ffc928", "#2fc56d", "#ff7a33", "#22c8d6", "#a184ff", "#c4cad1"
OBJECTS = len(COLOURS)
Runs = list[int]  # labels row by row: a label, how often it follows, the next label ...


def to_runs(labels: np.ndarray) -> Runs:
    """Labels (H, W) as a page is told them."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] + 1))
    counts = np.diff(starts, append=len(flat))
    return [int(one) for pair in zip(flat[starts], counts, strict=True) for one in pair]


def from_runs(runs: Any, height: int, width: int) -> np.ndarray:
    """Labels (H, W) uint8 that a page tells. A Mistake if they are none of this size."""
    good = isinstance(runs, list) and all(type(one) is int for one in runs)
    values = np.array(runs[::2] if good else [], np.int64)
    counts = np.array(runs[1::2] if good else [], np.int64)
    if (
        len(values) != len(counts)
        or not ((values >= 0) & (values <= OBJECTS) & (counts > 0)).all()
        or counts.sum() != height * width
    ):
        raise Mistake(
            f"the labels sent are no mask of {width}x{height}; "
            f"allowed: 0 to {OBJECTS} for each pixel"
        )
    return np.repeat(values, counts).reshape(height, width).astype(np.uint8)
