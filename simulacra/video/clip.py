"""A person's clip and its first mask as tensors: a film, an animation or a folder of frames, and a picture of a mask.

Frames are (T, 3, H, W) uint8, as they were painted; `floats` of data/_pictures makes [-1, 1] of them.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simulacra.data._decode import eight_bits, on_white, suffixes
from simulacra.data.video import FILMS, Frames, animation, blaming, film, stills
from simulacra.errors import Mistake
from simulacra.measure.overlap import objects

FPS = 24.0  # of a clip that does not say
WHOLE = 1_000_000  # a size that no decoder reduces to
NEED = 150  # bytes of memory that a pixel of a clip takes while it is decomposed
LEAST = 16  # shortest side, pixels


class Clip(NamedTuple):
    """What was read, and what a person should be told of it."""

    frames: Tensor  # (T, 3, H, W) uint8
    fps: float
    notes: list[str]


def room_for(pixels: int) -> int:
    """How many frames of so many pixels fit into the memory that is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, int(0.7 * free / (NEED * pixels)))


def beat(path: Path) -> tuple[float, bool]:
    """Frames per second of a film, and whether its frames are unequally long."""
    import av

    with blaming(path), av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        rate = float(stream.average_rate or FPS)
    steps = np.diff(np.sort(np.array(times)))
    return rate, bool(len(steps) and steps.max() - steps.min() > 1)


def fitting(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height with the longer side at most `longest`; 0 leaves them."""
    scale = min(1.0, longest / max(width, height)) if longest else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def source(path: Path) -> tuple[Frames, float, list[str]]:
    """The frames of a clip, how many a second, and what a person should be told."""
    end = path.suffix.lower()
    if path.is_dir():
        return stills(path, WHOLE).frames, FPS, []
    if not path.exists():
        raise Mistake(f"no clip {path}")
    if end in FILMS:
        fps, uneven = beat(path)
        told = f"{path}: frames are unequally long; they are taken one by one, at {fps:.4g} per second"
        return film(path).frames, fps, [told] if uneven else []
    if end in suffixes():
        frames = animation(path).frames
        with Image.open(path) as image:
            return frames, 1000 / (image.info.get("duration") or 1000 / FPS), []
    raise Mistake(f"clip {path} ends in '{end}'; allowed: a folder of frames, .gif, .png, .webp, {', '.join(FILMS)}")


def read_clip(path: Path, longest: int = 0, frames: int = 0) -> Clip:
    """The first `frames` frames of a clip, 0 for all, its longer side reduced to at most `longest`, 0 for its own. A Mistake if
    there is none, if sizes differ, or if it does not fit into memory."""
    images, fps, notes = source(path)
    found: list[np.ndarray] = []
    extent, size, most = (0, 0), (0, 0), 0
    for name, image in images:
        with blaming(f"{name} of {path}"):
            plain = on_white(eight_bits(image)).convert("RGB")
        if found and plain.size != extent:
            (w, h), (width, height) = plain.size, extent
            raise Mistake(f"{path}: {name} is {w}x{h}, those before {width}x{height}; allowed: frames of one size")
        if not found:
            extent, size = plain.size, fitting(*plain.size, longest)
            most = room_for(size[0] * size[1])
            if min(size) < LEAST:
                raise Mistake(f"{path}: frames of {size[0]}x{size[1]}; allowed: at least {LEAST} pixels high and wide")
        if len(found) == most:
            raise Mistake(
                f"{path} has more than {most} frames of {size[0]}x{size[1]}, which is what fits into memory; "
                f"take the first ones with --frames {most}, or smaller ones with --longest"
            )
        found.append(np.asarray(plain if plain.size == size else plain.resize(size, Image.Resampling.LANCZOS)))
        if len(found) == frames:
            break
    if not found:
        raise Mistake(f"clip {path} has no frames")
    if size != extent:
        notes.append(f"{path}: resized from {extent[0]}x{extent[1]} to {size[0]}x{size[1]} (--longest 0 keeps its size)")
    return Clip(torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous(), fps, notes)


def read_mask(path: Path, height: int, width: int) -> tuple[Tensor, list[str]]:
    """The mask (1, H, W) bool of a picture that shows the object in any colour on black or transparency, resized to a clip's
    size, and what was done to it. A Mistake if it shows nothing, or nothing else."""
    if not path.is_file():
        raise Mistake(f"no mask {path}" if not path.exists() else f"mask {path} is a folder; it must be a picture")
    with blaming(path), Image.open(path) as image:
        extent, seen = image.size, objects(image)
    notes = []
    if extent != (width, height):
        notes.append(f"{path}: resized from {extent[0]}x{extent[1]} to {width}x{height}, the clip's size")
        seen = np.asarray(Image.fromarray(seen.astype(np.float32)).resize((width, height), Image.Resampling.BOX)) > 0.5
    if not seen.any():
        raise Mistake(f"mask {path} is empty; needed: the object in any colour on black or on transparency")
    if seen.all():
        raise Mistake(f"mask {path} covers the whole frame; needed: the object in any colour on black or on transparency")
    return torch.from_numpy(seen.copy())[None], notes
