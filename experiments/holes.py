"""How good is what no frame shows? One frame of every sequence in the DAVIS layout, the middle one,
painted under its true mask mirrored left to right; the true object stays hidden too. The frame is
the truth there.

    python experiments/holes.py [--data FOLDER] [--sequences 22] [--seeds 0 1]

distance  Of features in the hole, of a frozen network (EfficientNet-Lite0, its outputs at strides
          4, 8 and 16, each place's channels of length 1): mean squared distance to those of the
          frame, of Telea, Navier-Stokes (both OpenCV) and ours; thousandths.
variance  Of 5x5 pixels around each, mean in the hole over mean in the 12 pixels around it: 1 is as
          lively as the surroundings.
seconds   Processor time of ours.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from layers import Row, printed, sequences
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.load import data_root
from simulacra.nn import efficientnet
from simulacra.video._painting import painted
from simulacra.video.layers import box
from simulacra.video.plate import grown, hidden_by

ENDS = 2, 4, 7  # blocks after which features are taken: strides 4, 8 and 16


@torch.no_grad()
def features(image: Tensor) -> list[Tensor]:
    """Of an image (3, H, W), at three strides, each place's of length 1."""
    found = efficientnet.pretrained().levels(image[None], ENDS)
    return [one / (one.norm(dim=1, keepdim=True) + 1e-6) for one in found]


def distance(one: list[Tensor], two: list[Tensor], hole: Tensor) -> float:
    """Between features in the hole (1, 1, H, W) bool, thousandths."""
    told = []
    for a, b in zip(one, two, strict=True):
        share = F.interpolate(hole.float(), a.shape[2:], mode="area")
        told.append(((a - b).square().sum(1, keepdim=True) * share).sum() / share.sum())
    return float(1000 * torch.stack(told).mean())


def liveliness(image: Tensor, hole: Tensor, ring: Tensor) -> float:
    """The local variance in the hole over that in the ring, (1, 1, H, W) bool both."""
    grey = image.mean(0)[None, None]
    spread = box(grey.square(), 2) - box(grey, 2).square()
    return float(spread[hole].mean() / spread[ring].mean())


def classic(image: Tensor, hole: Tensor, way: int) -> Tensor:
    """OpenCV's inpainting of an image (3, H, W)."""
    import cv2

    pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous().numpy()
    found = cv2.inpaint(pixels, hole[0, 0].byte().numpy(), 3, way)
    return torch.from_numpy(found).permute(2, 0, 1) / 127.5 - 1


def of_hole(frames: Tensor, true: Tensor, seeds: list[int]) -> Row:
    """The middle frame's mirrored hole."""
    import cv2

    t = len(frames) // 2
    frame, mask = frames[t], true[t : t + 1, None]
    own = hidden_by(mask.float())
    unknown = own | hidden_by(mask.flip(-1).float())
    hole = mask.flip(-1) & ~own
    if int(hole.sum()) < 100:  # an object in the middle: half of itself, beside itself
        mask = mask.roll(frame.shape[2] // 2, -1)
        unknown, hole = own | hidden_by(mask.float()), mask & ~own
    ring = grown(unknown, 12) & ~unknown
    target = features(frame)
    row: Row = {}
    for name, way in (("telea", cv2.INPAINT_TELEA), ("ns", cv2.INPAINT_NS)):
        row[name] = distance(features(classic(frame, unknown, way)), target, hole)
    start, made = time.process_time(), []
    for seed in seeds:
        made.append(painted(frame, ~unknown[0, 0], np.random.default_rng(seed)))
    row["seconds"] = (time.process_time() - start) / len(seeds)
    told = [distance(features(one), target, hole) for one in made]
    row |= {"ours": float(np.mean(told)), "over seeds": float(np.std(told))}
    lively = [liveliness(one, hole, ring) for one in made]
    row |= {"variance": float(np.mean(lively)), "true variance": liveliness(frame, hole, ring)}
    return row


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sequences", type=int, default=1000, help="the first so many")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clips = sequences(data_root(asked.data), asked.sequences)
    printed("holes", ((name, of_hole(*clip, asked.seeds)) for name, *clip in clips))


if __name__ == "__main__":
    main()
