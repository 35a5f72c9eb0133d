"""Clips with their first mask, in DAVIS layout: JPEGImages/<res>/<sequence>/*.jpg and
Annotations/<res>/<sequence>/*.png.

One example is one video from its first frame on, and the mask of that frame: no other mask reaches
training, and only `truth`, for measuring, reads them. Training sees `frames` of each video. Held
out is what comes after them: the same videos, again from the first frame, since no later mask is
known, and `roll` times as long; or, if `held_out` names sequences, these, which training never
sees. Frames are resized to one size, whatever their own; flow is found at their own size (dense
inverse search) and resized with them.

Reference: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake, choose
from simulacra.data._order import Order
from simulacra.data._pictures import floats
from simulacra.data.folder import locate
from simulacra.io.clip import blaming, named, natural, sequence
from simulacra.io.mask import read_file
from simulacra.io.pictures import eight_bits, on_white, opened, suffixes
from simulacra.nn import optical_flow

Side = Annotated[int, msgspec.Meta(ge=8, le=4096)]


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="davis",
):
    """Which clips, and how large."""

    # the folder with JPEGImages and Annotations, absolute or inside the data folder
    path: str = "davis"
    resolution: str = ""  # the folder inside those two, such as 480p; empty: the only one there is
    sequences: tuple[str, ...] = ()  # which videos; empty: all that have a first mask
    # which of them training never sees; empty: the training videos, rolled on
    held_out: tuple[str, ...] = ()
    frames: Annotated[int, msgspec.Meta(ge=2)] = 5  # T, of a training clip
    # held-out clips are so many times as long, as far as the shortest video goes
    roll: Annotated[int, msgspec.Meta(ge=1)] = 2
    size: tuple[Side, Side] = (56, 104)  # height and width in pixels


class Clip(NamedTuple):
    """The beginning of one video."""

    video: np.ndarray  # (T, 3, H, W) uint8
    mask: np.ndarray  # (1, H, W) bool, of the first frame
    forward: Tensor  # (T - 1, 2, H, W) pixels of this size
    backward: Tensor  # (T - 1, 2, H, W)


def chosen(folder: Path, resolution: str) -> str:
    """The resolution meant: the only one inside JPEGImages unless named."""
    found = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if resolution:
        return choose("data.resolution", resolution, found)
    if len(found) != 1:
        raise Mistake(
            f"{folder} holds {', '.join(found) or 'no folder'}; "
            "choose one resolution with data.resolution"
        )
    return found[0]


def pictures(folder: Path) -> list[Path]:
    """The frames in a folder, 2 before 10, without pictures that do not follow their numbering."""
    return [folder / name for name in sequence(folder, every(folder))[0]]


def every(folder: Path) -> list[str]:
    """The names of the pictures in a folder, 2 before 10."""
    known = suffixes()
    names = [
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in known and not path.name.startswith(".")
    ]
    return sorted(names, key=natural)


def inside(folder: Path) -> Path:
    """The folder, if it is there."""
    if not folder.is_dir():
        raise Mistake(
            f"{folder} is not there; "
            "the layout is JPEGImages/<res>/<sequence>/*.jpg, Annotations/<res>/<sequence>/*.png"
        )
    return folder


def read_frame(path: Path) -> np.ndarray:
    """One frame, turned as EXIF says, (3, H, W) uint8."""
    with blaming(path), opened(path) as image:
        return np.asarray(
            on_white(eight_bits(ImageOps.exif_transpose(image))).convert("RGB")
        ).transpose(2, 0, 1)


def read_mask(path: Path) -> np.ndarray:
    """One mask, (H, W) bool; `simulacra.io.mask` says what counts as object."""
    return read_file(path).mask


def shrunk(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (T, 3, h, w) at another size, antialiased."""
    return (
        frames
        if frames.shape[2:] == size
        else F.interpolate(frames, size, mode="bilinear", antialias=True)
    )


def covered(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask (h, w) at another size, (1, H, W): where it covers more than half of a pixel."""
    return (
        np.asarray(
            Image.fromarray(mask.astype(np.float32)).resize(size[::-1], Image.Resampling.BOX)
        )[None]
        > 0.5
    )


def read_clip(frames: list[Path], annotations: Path, length: int, size: tuple[int, int]) -> Clip:
    """The first `length` frames, the first frame's mask,
    which has its name, and the flow between the frames."""
    found = [read_frame(path) for path in frames[:length]]
    shapes = {one.shape[1:] for one in found}
    if len(shapes) > 1:
        sizes = ", ".join(f"{w}x{h}" for h, w in sorted(shapes))
        raise Mistake(
            f"{frames[0].parent} holds frames of {len(shapes)} sizes, {sizes}; allowed: one"
        )
    path = annotations / f"{frames[0].stem}.png"
    if not path.is_file():
        raise Mistake(
            f"{path} is not there: the first frame of {frames[0].parent.name} has no mask"
        )
    whole = read_mask(path)
    if whole.shape != found[0].shape[1:]:
        (h, w), (height, width) = whole.shape, found[0].shape[1:]
        raise Mistake(f"mask {path} is {w}x{h}, its frame {width}x{height}; allowed: the same size")
    mask = covered(whole, size)
    if not mask.any():
        raise Mistake(
            f"mask {path} covers no pixel of {size[1]}x{size[0]}; "
            "needed: an object in the first frame"
        )
    video = floats(np.stack(found))
    both = optical_flow.of_clip(video)
    pixels = ((shrunk(video, size) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return Clip(pixels, mask, *(optical_flow.resized(one, size) for one in both))


class Layout(NamedTuple):
    """Where the clips are."""

    resolution: str
    frames: Path
    masks: Path
    files: dict[str, list[Path]]  # the frames of each sequence
    length: int  # frames of each that are read


def layout(options: Options, root: Path | None) -> Layout:
    """Where the clips are; a Mistake if one is too short."""
    place = locate(options.path, root)
    resolution = chosen(inside(place / "JPEGImages"), options.resolution)
    frames, masks = (inside(place / kind / resolution) for kind in ("JPEGImages", "Annotations"))
    found = {name: pictures(frames / name) for name in sequences(options, frames, masks)}
    short = min(found, key=lambda name: len(found[name]))
    if len(found[short]) < options.frames:
        raise Mistake(
            f"{frames / short} has {len(found[short])} frames; "
            f"needed: data.frames = {options.frames}"
        )
    return Layout(
        resolution, frames, masks, found, min(options.frames * options.roll, len(found[short]))
    )


def sequences(options: Options, frames: Path, masks: Path) -> list[str]:
    """The sequences meant, all of which are there."""
    there = sorted(
        path.name for path in frames.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    masked = [name for name in there if (masks / name).is_dir() and any((masks / name).iterdir())]
    if not masked:
        raise Mistake(
            f"{masks} holds no masks of the sequences in {frames}; needed: one of each first frame"
        )
    for key in "sequences", "held_out":
        for name in getattr(options, key):
            choose(f"sequence in data.{key}:", name, masked)
    names = list(dict.fromkeys(options.sequences or masked))
    if lost := [name for name in options.held_out if name not in names]:
        raise Mistake(
            f"data.held_out names {lost[0]}, which data.sequences leaves out; "
            f"allowed: {', '.join(names)}"
        )
    if set(names) <= set(options.held_out):
        raise Mistake(f"data.held_out names all {len(names)} sequences; needed: one to train on")
    return names


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The frames that are read, and the first mask of each sequence."""
    there = layout(options, root)
    found = {
        f"{name}/{path.name}": path
        for name, paths in there.files.items()
        for path in paths[: there.length]
    }
    firsts = {
        name: there.masks / name / f"{paths[0].stem}.png" for name, paths in there.files.items()
    }
    return found | {f"{name}/mask of {path.name}": path for name, path in firsts.items()}


# a film of which more is known than of a clip is so many times as long, as far as there are masks
PLATE = 3


class Davis:
    """The beginnings of videos, each with its first mask and its flow."""

    classes = 0
    extractor = "clips"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options = options
        self.resolution, self.frames, self.masks, files, self.length = layout(options, root)
        self.names = list(files)
        read = {
            name: read_clip(files[name], self.masks / name, self.length, options.size)
            for name in self.names
        }
        train = [name for name in self.names if name not in options.held_out]
        self.splits = {"train": train, "held_out": list(options.held_out) or train}
        self.clips, self.counts = read, {name: len(found) for name, found in files.items()}
        self.order = Order({split: len(names) for split, names in self.splits.items()}, "clips")
        self.size = self.order.size

    def _batch(self, names: list[str], length: int) -> Batch:
        clips = [self.clips[name] for name in names]
        return {
            "video": floats(np.stack([clip.video[:length] for clip in clips])),
            "mask": torch.from_numpy(np.stack([clip.mask for clip in clips])).float(),
            "forward": torch.stack([clip.forward[: length - 1] for clip in clips]),
            "backward": torch.stack([clip.backward[: length - 1] for clip in clips]),
        }

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "video" (B, T, 3, H, W) in [-1, 1], "mask" (B, 1, H, W) of frame
        0, 0 or 1, and the flows "forward" and "backward" (B, T - 1, 2, H, W) in pixels."""
        names = self.splits["train"]
        return self._batch([names[i] for i in self.order.draw(k, batch, seed)], self.options.frames)

    def take(self, split: str, n: int) -> Batch:
        """The first n clips of the split's fixed shuffled order; held-out ones are longer."""
        places = self.order.take(split, n)
        return self._batch(
            [self.splits[split][i] for i in places],
            self.options.frames if split == "train" else self.length,
        )

    def truth(self, split: str, n: int) -> list[tuple[Tensor, Tensor]]:
        """Of the clips of `take`, for measuring alone: frames (L, 3, H, W) in [-1, 1] and true
        masks (L, H, W) bool, from the first frame on to beyond the clip's last. A Mistake if a
        frame of the clip has no mask."""
        return [self._film(self.splits[split][i]) for i in self.order.take(split, n)]

    def _film(self, name: str) -> tuple[Tensor, Tensor]:
        files, masks = pictures(self.frames / name)[: PLATE * self.length], []
        for i, file in enumerate(files):
            path = self.masks / name / f"{file.stem}.png"
            if not path.is_file():
                if i < self.length:
                    raise Mistake(
                        f"{path} is not there; "
                        f"to measure, all of the first {self.length} frames need their masks"
                    )
                break
            masks.append(covered(read_mask(path), self.options.size)[0])
        video = floats(np.stack([read_frame(file) for file in files[: len(masks)]]))
        return shrunk(video, self.options.size), torch.from_numpy(np.stack(masks))

    def describe(self) -> dict[str, str]:
        """What was found and what is done to it."""
        height, width = self.options.size
        train, unseen = self.splits["train"], self.options.held_out
        area = np.mean([self.clips[name].mask.mean() for name in train])
        motion = torch.cat([self.clips[name].forward for name in train]).norm(dim=1).mean()
        rest = ", ".join(unseen) if unseen else "the same videos, rolled on"
        strays = [
            f"{name}/{one}"
            for name in self.names
            for one in sequence(self.frames, every(self.frames / name))[1]
        ]
        lost = (
            {"left out": f"not numbered as the other frames are: {named(strays)}"} if strays else {}
        )
        return {
            "clips": f"{len(train)} to train on: {', '.join(train)}",
            "held out": f"{rest}, {self.length} frames from the first",
            "shape": f"{self.options.frames} frames of 3 x {height} x {width}, antialiased, bytes "
            "become floats in [-1, 1]",
            "masks": f"of each first frame alone, {area:.1%} of it on average",
            "flow": f"dense inverse search at the frames' own size, {motion:.2f} pixels of {width} "
            "on average",
            **lost,
        }


Data = Davis
