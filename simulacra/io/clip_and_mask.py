"""A person's clip and a mask of it as tensors: a film, an animation or a folder of frames, and a
picture of a mask.

Frames are (T, 3, H, W) uint8, as they were painted, in a file without a name, since clips may be
larger than memory.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simulacra.core import memory
from simulacra.core.errors import Mistake
from simulacra.core.stack import Stack
from simulacra.io import clip as data
from simulacra.io.clip import blaming
from simulacra.io.film import clip_of
from simulacra.io.mask import read_file
from simulacra.io.origin import Origin
from simulacra.io.pictures import eight_bits, on_white

FPS = 24.0  # of a clip that does not say
SLOW, FAST = 0.01, 1000.0  # frames per second that films can have
WHOLE = 1_000_000  # a size that no decoder reduces to
# bytes that decomposing takes: of memory, and besides for a pixel of a frame; of the disk, for each
# pixel of a clip, results included
BASE, NEED, DISK = 700_000_000, 300, 50
MUCH = 1e9  # bytes of the disk that are worth a note
LEAST = 16  # shortest side, pixels


class Clip(NamedTuple):
    """What was read, and what a person should be told of it."""

    frames: Stack  # (T, 3, H, W) uint8
    fps: float  # frames per second; 0: it does not say
    notes: list[str]
    # width and height of the frames as stored, where pixels are not square
    stored: tuple[int, int] | None = None
    origin: Origin = Origin()  # what it says besides its pixels


def frames_that_fit(width: int, height: int, place: Path) -> int:
    """How many frames of this size can be decomposed with what is free on the disk of a folder. A
    Mistake if one needs more than that, or than the memory that is available."""
    free, pixels = memory.free(), width * height
    if free is not None and BASE + NEED * pixels > free:
        raise Mistake(
            f"frames of {width}x{height} need {(BASE + NEED * pixels) / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} are available; take smaller ones with --longest"
        )
    room = shutil.disk_usage(place).free
    if not (count := int(0.9 * room / (DISK * pixels))):
        raise Mistake(
            f"a frame of {width}x{height} needs {DISK * pixels / 1e6:.0f} MB "
            f"on the disk of {place}, {room / 1e6:.0f} are free; name a folder on another one"
        )
    return count


def fitting(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height with the longer side at most `longest`; 0 leaves them."""
    scale = min(1.0, longest / max(width, height)) if longest else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def paced(fps: float) -> tuple[float, list[str]]:
    """Frames per second that a film can have, and a note if they are not the clip's own."""
    if SLOW <= fps <= FAST:
        return fps, []
    said = (
        f"says {fps:g} frames per second"
        if fps
        else "does not say how many frames it has per second"
    )
    return FPS, [f"it {said}; {FPS:g} are assumed (--fps)"]


def stretched(own: tuple[int, int], size: tuple[int, int], stored: tuple[int, int] | None) -> str:
    """A warning if width and height of a mask have another ratio than the clip's,
    as shown or as stored."""

    def fits(one: tuple[int, int]) -> bool:
        return abs(own[0] * one[1] - own[1] * one[0]) <= max(*own, *one)  # a pixel more or less

    if fits(size) or (stored is not None and fits(stored)):
        return ""
    turned = ", as if it were turned by 90 degrees" if fits(size[::-1]) else ""
    return f"; it has another ratio of width to height than the clip{turned}, and is stretched"


def coloured(path: Path, source: data.Clip, notes: list[str]) -> Iterator[Image.Image]:
    """The frames of a clip in RGB, transparency laid on white, which is noted.
    A Mistake if their sizes differ."""
    extent, clear = (0, 0), False
    for i, (name, image) in enumerate(source.frames):
        with blaming(f"{name} of {path}"):
            if not clear and is_clear(image):
                notes.append(f"{path}: transparency is laid on white")
                clear = True
            plain = on_white(eight_bits(image)).convert("RGB")
        if i and plain.size != extent:
            (w, h), (width, height) = plain.size, extent
            raise Mistake(
                f"{path}: {name} is {w}x{h}, those before {width}x{height}; "
                "allowed: frames of one size"
            )
        extent = plain.size
        yield plain


def read_clip(
    path: Path,
    longest: int = 0,
    frames: int = 0,
    masks: Sequence[Path] = (),
    place: Path | None = None,
) -> Clip:
    """The first `frames` frames of a clip, 0 for all, its longer side reduced to at most `longest`,
    0 for its own; these masks, which may lie among the frames, are none of them. They are kept in a
    folder, that of the system if it is not given. A Mistake if there is none, if sizes differ, or
    if they do not fit."""
    if not path.exists():
        raise Mistake(f"no clip {path}")
    source = clip_of(path, WHOLE, "clip", masks, keeps=True)
    notes = [f"{path}: {one}" for one in source.notes]
    place = place or Path(tempfile.gettempdir())
    found: Stack | None = None
    extent, size, most = (0, 0), (0, 0), 0
    for plain in coloured(path, source, notes):
        if found is None:
            extent, size = plain.size, fitting(*plain.size, longest)
            if min(size) < LEAST:
                raise Mistake(
                    f"{path}: frames of {size[0]}x{size[1]}; "
                    f"allowed: at least {LEAST} pixels high and wide"
                )
            most = frames_that_fit(*size, place)
            found = Stack((0, 3, size[1], size[0]), "bytes", place)
        if len(found) == most:
            raise Mistake(
                f"{path} has more than {most} frames of {size[0]}x{size[1]}, "
                f"which is what fits on the disk of {place}; "
                f"take the first ones with --frames {most}, or smaller ones with --longest"
            )
        pixels = plain if plain.size == size else plain.resize(size, Image.Resampling.LANCZOS)
        found.grow(np.asarray(pixels).transpose(2, 0, 1))
        if len(found) == frames:
            break
    if found is None:
        raise Mistake(f"clip {path} has no frames")
    if (need := len(found) * size[0] * size[1] * DISK) > MUCH:
        notes.append(
            f"{path}: to take it apart needs up to {need / 1e9:.1f} GB on the disk of {place}"
        )
    if size != extent:
        notes.append(
            f"{path}: resized from {extent[0]}x{extent[1]} "
            f"to {size[0]}x{size[1]} (--longest 0 keeps its size)"
        )
    return Clip(found, source.fps, notes, source.stored, source.origin)


def is_clear(image: Image.Image) -> bool:
    """Whether something of a frame is transparent."""
    if not image.has_transparency_data:
        return False
    least = image.convert("RGBA").getchannel("A").getextrema()[0]
    return least < 255  # type: ignore[operator]


class Shown(NamedTuple):
    """What a mask shows at a clip's size."""

    labels: Tensor  # (H, W) int64: which object, 0 none; 1 if the mask has no indices
    indexed: bool  # whether it has
    notes: list[str]  # what it was taken for, and what was done to it


def read_mask(path: Path, height: int, width: int, stored: tuple[int, int] | None = None) -> Shown:
    """The mask that a picture shows, resized to a clip's size, what it was taken for (`mask` has
    the rule), and what was done to it; `stored` is the width and height of the clip's frames as
    stored, if its pixels are not square. It may be empty. A Mistake if it shows nothing else, or
    loses an object at that size."""
    if not path.is_file():
        raise Mistake(
            f"no mask {path}"
            if not path.exists()
            else f"mask {path} is a folder; it must be a picture"
        )
    reading = read_file(path)
    seen, extent = reading.mask, (reading.mask.shape[1], reading.mask.shape[0])
    if seen.all():
        raise Mistake(
            f"mask {path} covers the whole frame; needed: the object in any colour on black "
            f"or on transparency ({'; '.join([reading.rule, *reading.notes])})"
        )
    labels = np.where(seen, 1 if reading.indices is None else reading.indices, 0)
    told = [f"{reading.rule}; it covers {seen.mean():.1%} of the picture", *reading.notes]
    if extent != (width, height):
        doubt = stretched(extent, (width, height), stored)
        told.append(
            f"resized from {extent[0]}x{extent[1]} to {width}x{height}, the clip's size{doubt}"
        )
        there = labels
        labels = smaller(labels, (width, height))
        for one in np.setdiff1d(there, labels):
            which = "" if reading.indices is None else f", object {one}"
            raise Mistake(
                f"mask {path}{which} is empty at {width}x{height}, the clip's size; "
                "needed: a larger object, or --longest 0"
            )
    return Shown(torch.from_numpy(labels.astype(np.int64)), reading.indices is not None, told)


def smaller(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which object (H, W), 0 none, has most of each pixel of another width and height."""
    objects = np.setdiff1d(labels, [0])
    if not len(objects):
        return np.zeros(size[::-1], labels.dtype)
    shares = np.stack(
        [
            np.asarray(
                Image.fromarray((labels == one).astype(np.float32)).resize(
                    size, Image.Resampling.BOX
                )
            )
            for one in objects
        ]
    )
    most = shares.max(0)
    return np.where(most > 1 - shares.sum(0), objects[shares.argmax(0)], 0)
