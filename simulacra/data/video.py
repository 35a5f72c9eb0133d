"""Pairs of frames from your own clip, `gap` apart: a folder of frames, a GIF, APNG or WebP, or a
film such as an MP4.

A folder's frames follow one another by name, 2 before 10. The end of the clip is held out, and no
frame is in both splits. The pixels are kept as bytes in a temporary file.

With `stabilise` the camera's translation between the two frames of a pair is removed: the
whole-pixel shift that phase correlation finds (Kuglin and Hines 1975), by cropping both frames to
what they share.
"""

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.data._pairs import Pairs, Split, treatment
from simulacra.data.folder import locate
from simulacra.io.clip import FINE, Clip, blaming, chosen
from simulacra.io.clip import natural as natural
from simulacra.io.film import clip_of
from simulacra.io.listing import watched
from simulacra.io.pictures import eight_bits, fitted, on_white

WHOLE = True  # a film's frames are all decoded anyway, and a fingerprint is cheap beside that
REACH = 4  # a shift is at most a REACH-th of the frame's side


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="video",
):
    """Which clip, and which pairs of frames are made of it."""

    # the folder or file, absolute or inside the data folder; empty: the data folder itself
    path: str = ""
    size: Annotated[int, msgspec.Meta(ge=8, le=1024)] = 64  # width and height in pixels
    mode: Literal["auto", "grey", "colour"] = "auto"  # auto: grey if every frame is
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how a frame that is not square becomes square
    gap: Annotated[int, msgspec.Meta(ge=1)] = 1  # frames from the first to the second of a pair
    stabilise: bool = False  # remove the translation between a pair's frames
    flip: bool = False  # mirror training pairs left to right at random, both frames alike
    # share of the clip's end, but at least one pair in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1


def located(path: str, root: Path | None) -> Path:
    """The folder or file meant."""
    meant = Path(path).expanduser()
    known = root is not None or meant.is_absolute()
    place = (root or Path()) / meant
    return place if known and place.is_file() else locate(path, root)


def opened(path: str, root: Path | None, size: int) -> tuple[Path, Clip]:
    """The place meant, and its frames."""
    place = located(path, root)
    return place, clip_of(place, size, "data.path:")


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The frames that are read, by their names in the folder; a film has no name of its own."""
    place = located(options.path, root)
    if place.is_file():
        return {"film": place}
    return {name: place / name for name in chosen(place)[0]}


def shift(one: np.ndarray, two: np.ndarray) -> tuple[int, int]:
    """By how many pixels, down and right, the content of picture `two` lies off that of `one`, both
    (H, W); at most a quarter of each side. The peak of phase correlation under a Hann window."""
    height, width = one.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    a, b = (np.fft.rfft2((x - x.mean()) * window) for x in (one, two))
    cross = b * a.conj()
    surface = np.fft.irfft2(cross / (np.abs(cross) + 1e-6), one.shape)
    down, right = height // REACH, width // REACH
    near = np.roll(surface, (down, right), (0, 1))[: 2 * down + 1, : 2 * right + 1]
    near[down, right] += 1e-9  # without any peak: no shift
    y, x = np.unravel_index(near.argmax(), near.shape)
    return int(y) - down, int(x) - right


def shared(one: Image.Image, two: Image.Image, y: int, x: int) -> tuple[Image.Image, Image.Image]:
    """The parts that both pictures show, if the second lies y pixels down
    and x right of the first."""
    w, h = one.width - abs(x), one.height - abs(y)
    left, top = max(-x, 0), max(-y, 0)
    return one.crop((left, top, left + w, top + h)), two.crop(
        (left + x, top + y, left + x + w, top + y + h)
    )


def kept(frames: Iterable[np.ndarray]) -> np.ndarray:
    """The frames (C, H, W) uint8 as one array (F, C, H, W) in a temporary file."""
    shape, count = (1, 1, 1), 0
    with tempfile.TemporaryFile() as file:
        for one in frames:
            try:
                file.write(one.tobytes())
                file.flush()
            except OSError as error:
                told = f"{count} frames in {tempfile.gettempdir()}, no more: {error.strerror}"
                raise Mistake(f"{told}; set TMPDIR to a larger place") from None
            shape, count = one.shape, count + 1
        return (
            np.memmap(file, np.uint8, "r", shape=(count, *shape))
            if count
            else np.empty((0, *shape), np.uint8)
        )


class Video:
    """Pairs (t, t + gap) of square frames, grey or colour."""

    classes = 0
    extractor = "pairs"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options = options
        self.place, self.clip = opened(options.path, root, options.size)
        self.mode = {"auto": "L" if self.clip.grey else "RGB", "grey": "L", "colour": "RGB"}[
            options.mode
        ]
        self.count, self.extent = 0, (0, 0)  # frames, and their width and height
        self.shifts: list[tuple[int, int]] = []  # down and right, of each pair
        images = self._images()
        pixels = kept(self._aligned(images) if options.stabilise else map(self._square, images))
        gap, n = options.gap, self.count
        if n < 2 * (gap + 1):
            raise Mistake(
                f"{self.place} has {n} frame{'s' * (n != 1)}; needed: {2 * (gap + 1)}, "
                f"a pair (t, t + data.gap = {gap}) to train on and another one held out"
                + "".join(f"; {one}" for one in self.clip.notes)
            )
        self.cut = min(max(round(n * (1 - options.held_out)), gap + 1), n - gap - 1)
        starts = np.arange(self.cut - gap), np.arange(self.cut, n - gap)
        step, reach = (2, 1) if options.stabilise else (1, gap)
        train, rest = (Split(pixels, step * t, step * t + reach) for t in starts)
        self.pairs = Pairs(train, rest, options.flip)
        self.draw, self.take, self.size = self.pairs.draw, self.pairs.take, self.pairs.size
        self.notes = [f"{self.place}: {one}" for one in self.clip.notes]

    def _images(self) -> Iterator[Image.Image]:
        """All frames in the mode wanted, of one size."""
        for name, image in watched(self.clip.frames, self.clip.length):
            with blaming(f"{name} of {self.place}"):
                plain = on_white(eight_bits(image)).convert(self.mode)
                if self.options.stabilise:
                    plain = plain.reduce(max(1, min(plain.size) // (FINE * self.options.size)))
            if self.count and plain.size != self.extent:
                (w, h), (width, height) = plain.size, self.extent
                raise Mistake(
                    f"{self.place}: {name} is {w}x{h}, those before {width}x{height}; "
                    "allowed: frames of one size"
                )
            self.extent = plain.size
            self.count += 1
            yield plain

    def _square(self, image: Image.Image) -> np.ndarray:
        size = self.options.size
        return (
            np.asarray(fitted(image, size, self.options.fit))
            .reshape(size, size, -1)
            .transpose(2, 0, 1)
        )

    def _aligned(self, images: Iterable[Image.Image]) -> Iterator[np.ndarray]:
        """The two frames of each pair, one after the other,
        without the translation between them."""
        before: deque[tuple[Image.Image, np.ndarray]] = deque(maxlen=self.options.gap)
        for image in images:
            grey = np.asarray(image.convert("L"), np.float32)
            if len(before) == self.options.gap:
                one, seen = before[0]
                self.shifts.append(shift(seen, grey))
                yield from map(self._square, shared(one, image, *self.shifts[-1]))
            before.append((image, grey))

    def describe(self) -> dict[str, str]:
        """What was found in the clip and what is done to it."""
        options, (width, height) = self.options, self.extent
        lengths = np.hypot(*np.array(self.shifts).T) if self.shifts else np.zeros(1)
        found = (
            f"median shift {np.median(lengths):.1f} of those pixels, "
            f"largest {lengths.max():.1f}; cropped to what a pair shares"
        )
        rate = f" at {self.clip.fps:.4g} a second" if self.clip.fps else ""
        return {
            "clip": f"{self.place}: {self.count} frames{rate}, read at {width}x{height}",
            "treatment": treatment(options.fit, options.size, self.mode, options.flip),
            "pairing": f"frames t and t + {options.gap}",
            "stabilised": found if options.stabilise else "no",
            "split": f"frames {self.cut} to {self.count - 1} held out, counted from 0; no frame in "
            "both",
            **self.pairs.describe(),
            **({"note": "; ".join(self.clip.notes)} if self.clip.notes else {}),
        }


Data = Video
