"""Any folder of pictures, nested or not, of whatever sizes and kinds Pillow reads.

Every picture becomes a square of `size` pixels. Which ones are held out follows from a hash of each
file's name, so that adding a file moves no other one. The pixels are kept as bytes, in memory up to
512 MiB and in a temporary file beyond.
"""

import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.data._pictures import Pictures, Split
from simulacra.io.listing import Ignored, each, listing
from simulacra.io.paths import lacking
from simulacra.io.pictures import Header, decode, header, is_grey, top

IN_MEMORY = 2**29  # bytes of pixels; more are kept in a temporary file
NAMED = 20  # left out pictures that describe() names
FITS = {
    "crop": "centre crop to a square",
    "pad": "white borders to a square",
    "stretch": "stretched to a square",
}


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="folder",
):
    """Which pictures, and what is done to them."""

    path: str = ""  # the folder, absolute or inside the data folder; empty: the data folder itself
    size: Annotated[int, msgspec.Meta(ge=8, le=1024)] = 64  # width and height in pixels
    mode: Literal["auto", "grey", "colour"] = "auto"  # auto: grey if every file is
    # how a picture that is not square becomes square
    fit: Literal["crop", "pad", "stretch"] = "crop"
    flip: bool = False  # mirror training pictures left to right at random
    # share held out, but at least one picture in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    # of a channel in files of 16 bits; 0: as many as the brightest of the set needs
    bits: Literal[0, 8, 10, 12, 14, 16] = 0
    # leave out pictures that cannot be decoded or are too small, instead of stopping
    skip_broken: bool = False


def locate(path: str, root: Path | None, maker: str = "") -> Path:
    """The folder meant, which exists; where it does not,
    `maker` begins the command that makes it."""
    meant = Path(path).expanduser()
    if root is None and not meant.is_absolute():
        raise Mistake(lacking(path, None))
    folder = meant if root is None else root / meant
    if folder.is_dir():
        return folder
    if folder.exists():
        raise Mistake(f"data.path: {folder} is a file; it must be a folder")
    raise Mistake(lacking(path, root) + (f"; {maker} {folder} makes it" if maker else ""))


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The pictures that are read, by their names in the folder."""
    folder = locate(options.path, root)
    return {name: folder / name for name in listing(folder)[0]}


def files_if_named(options: Any, root: Path | None) -> dict[str, Path]:
    """The pictures of data that are made of a folder's, if a folder is named;
    otherwise they come with a package."""
    return files(options, root) if options.path else {}


def share(name: str) -> float:
    """A number in [0, 1) that follows from a file's name alone."""
    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest(), "big") / 2**64


def held_out(names: Sequence[str], fraction: float) -> set[str]:
    """The names whose number lies below the fraction, but neither none nor all."""
    below = sum(share(name) < fraction for name in names)
    return set(sorted(names, key=share)[: min(max(below, 1), len(names) - 1)])


def space(shape: tuple[int, int, int, int]) -> np.ndarray:
    """An array (N, C, H, W) uint8, on disk if it is large."""
    total = int(np.prod(shape, dtype=np.int64))
    if total <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    place, mega = tempfile.gettempdir(), 2**20
    free = shutil.disk_usage(place).free
    if free < total:
        raise Mistake(
            f"{total // mega} MiB of pixels do not fit in {place}, which has {free // mega}; "
            "set TMPDIR"
        )
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def enough(folder: Path, good: Iterable[str], broken: Mapping[str, str]) -> list[str]:
    """The good names, if they make two splits."""
    names = list(good)
    if len(names) < 2:
        raise Mistake(
            f"{folder} holds too few usable pictures: {len(names)}; "
            f"needed: 2 or more, one of them held out; left out: {left_out(broken)}"
        )
    return names


def left_out(broken: Mapping[str, str]) -> str:
    """How many pictures were left out, and the first of them with their reasons."""
    named = "; ".join(f"{name} ({why})" for name, why in list(broken.items())[:NAMED])
    return f"{len(broken)}: {named}{'; ...' if len(broken) > NAMED else ''}" if broken else "none"


def extent(sizes: Iterable[tuple[int, int]]) -> str:
    """The smallest and the largest of sizes (width, height), by area."""
    ranked = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    texts = [f"{width}x{height}" for width, height in (ranked[0], ranked[-1])]
    return (
        texts[0] if len(ranked) == 1 else f"{texts[0]} to {texts[1]}, {len(ranked)} different ones"
    )


def wanted(mode: str, headers: Iterable[Header]) -> str:
    """The pixel format all pictures get, "L" or "RGB"; each letter is a channel."""
    grey = {"auto": all(is_grey(head.mode) for head in headers), "grey": True, "colour": False}
    return "L" if grey[mode] else "RGB"


def white(bits: int, headers: Iterable[Header]) -> int:
    """The value that becomes 255 in all pictures of more than 8 bits a channel;
    their brightest says it where `bits` is 0."""
    return 2**bits - 1 if bits else top(head.peak for head in headers)


def taken(headers: Iterable[Header], brightest: int) -> dict[str, str]:
    """What was assumed of pictures of more than 8 bits a channel,
    and of several pages, in words."""
    found = list(headers)
    deep, several = [head for head in found if head.peak], sum(head.several for head in found)
    told = {}
    if deep:
        told["deep"] = (
            f"{len(deep)} pictures have more than 8 bits a channel; 0 to {brightest} "
            f"({brightest.bit_length()} bits) became 0 to 255 in all of them (data.bits chooses)"
        )
    if several:
        told["several"] = f"{several} files hold several pictures, of which the first is taken"
    return told


def remarks(
    folder: Path,
    ignored: Ignored,
    broken: Mapping[str, str],
    headers: Iterable[Header],
    brightest: int,
) -> list[str]:
    """What a person should be told before training."""
    notes = [f"{folder}: {ignored}"] if ignored.kinds or ignored.hidden or ignored.links else []
    notes += [f"{folder}: left out {left_out(broken)}"] if broken else []
    return notes + [f"{folder}: {text}" for text in taken(headers, brightest).values()]


class Folder:
    """Square pictures, grey or colour, without labels."""

    classes = 0
    extractor = "efficientnet_lite0"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options, self.folder = options, locate(options.path, root)
        names, self.ignored = listing(self.folder)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            self.headers, self.broken = each(
                self.folder, names, lambda _, path: header(path), options.skip_broken
            )
            names = enough(self.folder, self.headers, self.broken)
            self.mode = wanted(options.mode, self.headers.values())
            self.white = white(options.bits, self.headers.values())
            self.pictures = self._decoded(names)
        self.notes = remarks(self.folder, self.ignored, self.broken, self._used(), self.white)
        self.draw, self.take, self.size = self.pictures.draw, self.pictures.take, self.pictures.size
        self.part = self.pictures.part

    def _decoded(self, names: list[str]) -> Pictures:
        """The pictures of these names; those that turn out to be broken are noted and left out."""
        size, fit = self.options.size, self.options.fit
        pixels = space((len(names), len(self.mode), size, size))

        def work(row: int, path: Path) -> int:
            pixels[row] = decode(path, self.mode, size, fit, self.white)
            return row

        rows, broken = each(self.folder, names, work, self.options.skip_broken)
        self.broken |= broken
        held = held_out(enough(self.folder, rows, self.broken), self.options.held_out)
        train, rest = (
            np.array([rows[name] for name in rows if (name in held) == side])
            for side in (False, True)
        )
        return Pictures(Split(pixels, None, train), Split(pixels, None, rest), self.options.flip)

    def _used(self) -> list[Header]:
        return [head for name, head in self.headers.items() if name not in self.broken]

    def describe(self) -> dict[str, str]:
        """What was found in the folder and what is done to it."""
        options, found = self.options, self._used()
        modes = ", ".join(
            f"{mode} {count}" for mode, count in Counter(head.mode for head in found).most_common()
        )
        colour = "grey" if self.mode == "L" else "colour"
        treatment = (
            f"{FITS[options.fit]}, antialiased to {options.size}x{options.size}, {colour}, "
            "transparency on white"
        )
        return {
            "folder": f"{self.folder}: {len(found)} pictures used, {self.ignored}",
            "sizes": extent(head.size for head in found),
            "modes": modes,
            "treatment": treatment + ", training pictures mirrored at random" * options.flip,
            "split": f"{options.held_out:.0%} held out by a hash of the file names",
            "left out": left_out(self.broken),
            **taken(found, self.white),
            **self.pictures.describe(),
        }


Data = Folder
