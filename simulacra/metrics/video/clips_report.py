"""All metrics of layers painted for held-out clips: against true masks and, where it is known, the
clean plate.

No training sees these truths. On DAVIS the plate is fetched from frames that show it, with the true
masks (`video/plate.py`), and only what some frame shows is compared; on generated clips it is
exact, and so is the flow. `NAME_beyond` is NAME over the frames after those of a training clip.
Baselines in the same code: the first mask copied or carried by the flow, the first frame copied,
classical inpainting under the true mask.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from simulacra.core.contract import Batch
from simulacra.data.davis import Davis
from simulacra.metrics.images.extractors import digest
from simulacra.metrics.video import layer_scores
from simulacra.metrics.video.classical import by_flow, copy_first, hard, inpainted
from simulacra.metrics.video.mask_scores import boundary_f, jaccard
from simulacra.nn.maths import psnr
from simulacra.nn.optical_flow import Flows, of_clip
from simulacra.video.plate import clean_plate

NAME = "clips"
"""What a data set of clips names as its extractor: there is none, layers are compared as they
are."""
EMPTY = -1.0  # what a foreground is where there is nothing: black
HASH = digest(repr((EMPTY, layer_scores.SEEN)).encode())
"""Of the constants that the numbers depend on, in the place of an extractor's hash."""


class Known(NamedTuple):
    """What is known of one clip."""

    frames: Tensor  # (T, 3, H, W) in [-1, 1]
    mask: Tensor  # (T, H, W) bool
    plate: Tensor  # (T, 3, H, W): the background
    seen: Tensor  # (T, H, W) bool: of the mask, where the plate is to be trusted
    flows: Flows  # exact if generated, else found

    def select(self, frames: slice) -> "Known":
        """Some of its frames."""
        between = slice(frames.start, max(frames.start, min(frames.stop, len(self.frames)) - 1))
        cut = Flows(*(way[between] for way in self.flows))
        return Known(
            self.frames[frames], self.mask[frames], self.plate[frames], self.seen[frames], cut
        )


class Reals(NamedTuple):
    """Held-out clips as a model sees them, and what is known of them."""

    batch: Batch
    known: list[Known]
    trained: int  # frames after the first that training clips have


def reals(source: Any, count: int) -> Reals:
    """At most `count` held-out clips of a data set of clips."""
    n = min(count, source.size("held_out"))
    batch = source.take("held_out", n)
    if isinstance(source, Davis):
        clips = zip(
            source.truth("held_out", n),
            zip(batch["forward"], batch["backward"], strict=True),
            strict=True,
        )
        known = [fetched(*truth, Flows(*flows), batch["video"].shape[1]) for truth, flows in clips]
    else:
        known = [
            Known(
                one.layers.frames, one.mask[:, 0], one.layers.background, one.mask[:, 0], one.flow
            )
            for one in source.truth("held_out", n)
        ]
    return Reals(batch, known, source.options.frames - 1)


def fetched(frames: Tensor, masks: Tensor, flows: Flows, count: int) -> Known:
    """What is known of the first `count` frames of a film (L, 3, H, W) with true masks (L, H, W)
    bool: the background that any of its frames shows."""
    plate = clean_plate(frames, masks[:, None].float())
    seen = masks & (plate.known[:, 0] > 0)
    return Known(frames[:count], masks[:count], plate.background[:count], seen[:count], flows)


def compare(made: Iterable[Mapping[str, Tensor]], reals: Reals) -> dict[str, float]:
    """Every metric by name: the mean over clips
    of what was painted for their frames from the second on."""
    rows = [scores(one, known, reals.trained) for one, known in zip(made, reals.known, strict=True)]
    return mean(rows)


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of every number over clips, without those that lack it (NaN)."""
    return {
        name: float(torch.tensor([row[name] for row in rows]).double().nanmean())
        for name in rows[0]
    }


def scores(made: Mapping[str, Tensor], known: Known, trained: int) -> dict[str, float]:
    """One clip's numbers: `made` (S, C, H, W) are layers of frames 1 to S."""
    steps = len(made["mask"])
    found: dict[str, float] = {}
    for part, end in ((slice(0, trained), ""), (slice(trained, steps), "_beyond")):
        if part.start < steps:
            true = known.select(slice(part.start + 1, min(part.stop, steps) + 1))
            some = {name: values[part] for name, values in made.items()}
            found |= {name + end: value for name, value in of_part(some, true).items()}
    return found


def of_part(made: Mapping[str, Tensor], true: Known) -> dict[str, float]:
    """The numbers of some frames."""
    found = layer_scores.measures(
        made, true.frames, true.mask, EMPTY, true.plate, true.flows.forward, true.seen
    )
    mask = hard(made["mask"])
    return found | {"mask_F": float(boundary_f(mask, true.mask).mean())}


def perfect(reals: Reals) -> dict[str, float]:
    """What the true layers score, but for a foreground of the frame's own colours
    and attention that is the mask."""
    made = []
    for _, (frames, mask, plate, _, _) in zip(reals.batch["video"], reals.known, strict=True):
        a = mask[1:, None].float()
        foreground = torch.where(mask[1:, None], frames[1:], EMPTY)
        layer = {
            "composite": frames[1:],
            "foreground": foreground,
            "background": plate[1:],
            "mask": a,
            "attention": a,
        }
        made.append(layer | {"warped": frames[1:]})
    return compare(made, reals)


def baseline(reals: Reals) -> dict[str, float]:
    """Simple means, over the frames that training clips have."""
    rows = []
    for known, first in zip(reals.known, reals.batch["mask"], strict=True):
        true = known.select(slice(0, reals.trained + 1))
        copied = hard(copy_first(first, len(true.mask)))[1:]
        carried = hard(by_flow(first, of_clip(true.frames)))[1:]
        plain = inpainted(true.frames, true.mask)[1:]
        rows.append(
            {
                "copy_mask_J": float(jaccard(copied, true.mask[1:]).mean()),
                "flow_mask_J": float(jaccard(carried, true.mask[1:]).mean()),
                "copy_recon": float(
                    psnr(true.frames[:1].expand_as(true.frames[1:]), true.frames[1:]).mean()
                ),
                "telea_bg_hole": float(
                    layer_scores.bg_hole(plain, true.plate[1:], true.seen[1:]).nanmean()
                ),
            }
        )
    return mean(rows)


def notes(reals: Reals) -> list[str]:
    """For the reader."""
    n, T, _, H, W = reals.batch["video"].shape
    return [
        f"{n} clips of {T} frames of {H} x {W}, of which training clips have {reals.trained + 1}; "
        "masks at this size"
    ]
