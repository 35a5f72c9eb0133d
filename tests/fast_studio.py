"""The work of a studio in a moment: every frame gets the nearest mask that was given, as it is, and
is the less sure the further that is away. Its argument: seconds to wait at each frame."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.studies._studio_work import arrived, work


def nearest(order, tell):
    """Tell of labels frame by frame, then write layers as decompose does."""
    masks = {int(t): np.asarray(Image.open(path)) for t, path in order["masks"].items()}
    if masks.get(0, np.zeros(1)).max() > 2:
        raise Mistake("object 3 of mask 0 is nowhere; needed: where it is")
    paths, out = sorted(Path(order["clip"]).glob("*.png")), Path(order["out"])
    sure = {}
    for t, path in enumerate(paths):
        time.sleep(float(sys.argv[1]))
        near = min(masks, key=lambda one: (abs(one - t), one))
        sure[t] = max(0.2, 1 - 0.12 * abs(near - t))
        tell({"stage": "object", "share": (t + 1) / len(paths)})
        tell(arrived(t, masks[near], [sure[t]] * max(1, int(masks[near].max()))))
        frame, seen = np.asarray(Image.open(path)), masks[near] > 0
        alpha = (255 * seen).astype(np.uint8)
        layers = {
            "matte": alpha,
            "mask": alpha,
            "foreground": np.dstack([frame, alpha]),
            "background": np.where(seen[..., None], 128, frame).astype(np.uint8),
            "composite": frame,
        }
        for part, picture in layers.items():
            (out / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(out / part / f"{t:05d}.png")
    advised = min((t for t in sure if t not in masks), key=sure.get)
    facts = {"of": "x", "frames": len(paths), "advised": advised}
    (out / "quality.json").write_text(json.dumps(facts))
    return facts


if __name__ == "__main__":
    work(nearest)
