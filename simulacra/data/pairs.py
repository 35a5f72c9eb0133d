"""A folder of frame pairs: NAME_im1.png and NAME_im2.png, nested or not, of any picture kind,
spaces in names included.

The layout of the Visual Dynamics code bases, without their lists of files. Which pairs are held out
follows from a hash of NAME, so that adding a pair moves no other one.
"""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np

from simulacra.core.errors import Mistake
from simulacra.data._pairs import Pairs, Split, treatment
from simulacra.data.folder import extent, held_out, locate, remarks, space, taken, wanted, white
from simulacra.io.listing import listing, usable
from simulacra.io.pictures import decode, header

ENDS = "_im1", "_im2"
NAMED = 5  # names that a message lists


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="pairs",
):
    """Which pairs, and what is done to them."""

    path: str = ""  # the folder, absolute or inside the data folder; empty: the data folder itself
    size: Annotated[int, msgspec.Meta(ge=8, le=1024)] = 64  # width and height in pixels
    mode: Literal["auto", "grey", "colour"] = "auto"  # auto: grey if every file is
    # how a picture that is not square becomes square
    fit: Literal["crop", "pad", "stretch"] = "crop"
    flip: bool = False  # mirror training pairs left to right at random, both frames alike
    # of a channel in files of 16 bits; 0: as many as the brightest of the set needs
    bits: Literal[0, 8, 10, 12, 14, 16] = 0
    # share held out, but at least one pair in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1


class Pair(NamedTuple):
    """The files of one pair, relative to the folder."""

    first: str
    second: str


def listed(words: list[str]) -> str:
    """The first of the words, and how many more there are."""
    return ", ".join(words[:NAMED]) + (
        f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    )


def partners(folder: Path, pictures: list[str]) -> dict[str, Pair]:
    """The pairs by name, in alphabetical order, each complete;
    pictures of other names are no part of any."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: {end: [] for end in ENDS})
    for picture in pictures:
        stem = str(Path(picture).with_suffix(""))
        if stem.endswith(ENDS):
            found[stem[:-4]][stem[-4:]].append(picture)
    if not found:
        raise Mistake(
            f"{folder} holds {len(pictures)} pictures, but no pairs; "
            "allowed: NAME_im1.png, NAME_im2.png and the like"
        )
    lone = [name + end for name, files in sorted(found.items()) for end in ENDS if not files[end]]
    if lone:
        raise Mistake(
            f"{folder}: of {len(found)} pairs {len(lone)} lack a partner, "
            f"there is no picture {listed(lone)}"
        )
    twice = [
        name + end for name, files in sorted(found.items()) for end in ENDS if len(files[end]) > 1
    ]
    if twice:
        raise Mistake(
            f"{folder}: more than one picture is called {listed(twice)}; allowed: one kind of each"
        )
    if len(found) < 2:
        raise Mistake(
            f"{folder} holds one pair, {next(iter(found))}; needed: 2 or more, one of them held out"
        )
    return {name: Pair(*(files[end][0] for end in ENDS)) for name, files in sorted(found.items())}


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The pictures that are read, by their names in the folder."""
    folder = locate(options.path, root)
    found = partners(folder, listing(folder)[0])
    return {name: folder / name for pair in found.values() for name in pair}


class FramePairs:
    """Pairs of square pictures, grey or colour."""

    classes = 0
    extractor = "pairs"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options, self.folder = options, locate(options.path, root)
        pictures, ignored = listing(self.folder)
        found = partners(self.folder, pictures)
        names = [file for pair in found.values() for file in pair]
        if lone := len(pictures) - len(names):
            ignored.kinds["pictures that are no pair"] += lone
        self.ignored = ignored
        self.headers = usable(self.folder, names, lambda _, path: header(path))
        self._same_sizes(found)
        self.mode = wanted(options.mode, self.headers.values())
        self.white = white(options.bits, self.headers.values())
        self.notes = remarks(self.folder, ignored, {}, self.headers.values(), self.white)
        pixels = space((len(names), len(self.mode), options.size, options.size))

        def work(row: int, path: Path) -> None:
            pixels[row] = decode(path, self.mode, options.size, options.fit, self.white)

        usable(self.folder, names, work)
        held = held_out(list(found), options.held_out)
        side = np.array([name in held for name in found])
        train, rest = (
            Split(pixels, first, first + 1)
            for first in (2 * np.flatnonzero(~side), 2 * np.flatnonzero(side))
        )
        self.pairs = Pairs(train, rest, options.flip)
        self.draw, self.take, self.size = self.pairs.draw, self.pairs.take, self.pairs.size

    def _same_sizes(self, found: dict[str, Pair]) -> None:
        for name, pair in found.items():
            (w1, h1), (w2, h2) = (self.headers[file].size for file in pair)
            if (w1, h1) != (w2, h2):
                raise Mistake(
                    f"{self.folder}: pair {name} has frames of {w1}x{h1} and {w2}x{h2}; "
                    "allowed: one size for both"
                )

    def describe(self) -> dict[str, str]:
        """What was found in the folder and what is done to it."""
        options = self.options
        return {
            "folder": f"{self.folder}: {len(self.headers) // 2} pairs used, {self.ignored}",
            "sizes": extent(head.size for head in self.headers.values()),
            "treatment": treatment(options.fit, options.size, self.mode, options.flip),
            "split": f"{options.held_out:.0%} held out by a hash of the pairs' names",
            **taken(self.headers.values(), self.white),
            **self.pairs.describe(),
        }


Data = FramePairs
