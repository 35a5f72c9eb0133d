"""Liberated Pixel Cup characters that cast, thrust, walk, slash and shoot: neighbouring frames,
split by character.

Source: `sprites_160x9x8.npz`, 160 characters x 9 actions and views x 8 frames, or `sheets/`,
palette pictures of 13 x 21 cells that are laid on one another: body, bottomwear, topwear, hair and
shoes, 3,430 characters. 64x64 pixels on black. CC BY-SA 3.0 / GPL 3.0, by the Liberated Pixel Cup
artists.

A character's name is its layers, "0-6-2-0" = body, bottomwear, topwear, hair, in both sources.
Which ones are held out follows from a hash of that name, so that more characters move no other one.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from zipfile import ZipFile

import msgspec
import numpy as np
from PIL import Image

from simulacra.core.errors import Mistake, choose
from simulacra.core.random import fold
from simulacra.data._order import shuffled
from simulacra.data._pairs import Pairs, Split
from simulacra.data.folder import held_out, locate, space
from simulacra.io.listing import fault, watched
from simulacra.io.pictures import opened

SIDE = 64  # pixels of a cell
ROWS, COLUMNS = 21, 13  # cells of a sheet
LARGEST = 2**32  # bytes of the arrays; the published ones take 141,557,760
NPZ = "sprites_160x9x8.npz"
LAYERS = "body", "bottomwear", "topwear", "hair"  # from below; shoes come last
SHOES = "shoes/1.png"
VIEWS = "back", "left", "front", "right"  # a sheet's rows of one action, from above
# first row and number of frames, by action
SHEETS = {
    "spellcast": (0, 7),
    "thrust": (4, 8),
    "walk": (8, 9),
    "slash": (12, 6),
    "shoot": (16, 13),
}

Action = Literal["spellcast", "thrust", "walk", "slash", "shoot"]
View = Literal["back", "left", "front", "right"]


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="sprites",
):
    """Which characters, what they do, and which pairs of frames are made of it."""

    # the folder of the npz and of sheets/, absolute or inside the data folder
    path: str = "sprites"
    # npz: spellcast, walk, slash from left, front, right; sheets: all
    source: Literal["npz", "sheets"] = "npz"
    actions: tuple[Action, ...] = ()  # empty: all that the source has
    views: tuple[View, ...] = ()  # empty: all that the source has
    # how many, drawn from the source's 160 or 3,430
    characters: Annotated[int, msgspec.Meta(ge=2)] = 160
    size: Literal[64, 32, 16, 8] = 64  # width and height in pixels; below 64 by area averaging
    static: bool = False  # keep pairs whose frames are equal
    both_ways: bool = False  # every pair in reverse order too
    # share of characters, but at least one in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2


class Strip(NamedTuple):
    """One animation: what is done, seen from where, in how many frames."""

    action: str
    view: str
    length: int


class Cast(NamedTuple):
    """Characters that all do the same."""

    names: list[str]
    strips: list[Strip]
    # of a character by number: (sum of lengths, 64, 64, 3) uint8
    frames: Callable[[int], np.ndarray]
    total: int  # how many characters the source has


def chosen(options: Options, total: int) -> np.ndarray:
    """Which of the source's characters, (characters,) int64;
    asking for more of them changes none."""
    if options.characters > total:
        raise Mistake(
            f"data.characters = {options.characters}; "
            f"allowed: 2 to {total}, as many as the {options.source} has"
        )
    return shuffled(total, fold(0, "data", "sprites"))[: options.characters]


def named(indices: Sequence[int]) -> str:
    """A character's name."""
    return "-".join(map(str, indices))


def asked(options: Options, strips: Sequence[Strip]) -> list[int]:
    """Which of the source's strips, by number; a Mistake if it has none of an action or a view."""
    for kind, wishes, has in (
        ("actions", options.actions, [strip.action for strip in strips]),
        ("views", options.views, [strip.view for strip in strips]),
    ):
        for wish in wishes:
            choose(
                f"data.{kind} of data.source = {options.source}:", wish, list(dict.fromkeys(has))
            )
    found = [
        i
        for i, strip in enumerate(strips)
        if (not options.actions or strip.action in options.actions)
        and (not options.views or strip.view in options.views)
    ]
    if not found:
        raise Mistake(
            "data.actions and data.views ask for what "
            f"data.source = {options.source} does not have together"
        )
    return found


def from_npz(folder: Path, options: Options) -> Cast:
    """The characters of the npz file."""
    file = folder / NPZ
    if not file.is_file():
        raise Mistake(
            f"data.path: {file} is not there; "
            "allowed: a folder that holds it, or data.source = sheets"
        )
    try:
        with ZipFile(file) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > LARGEST:
            raise ValueError(f"its arrays take {total:,} bytes; allowed: {LARGEST:,}")
        with np.load(file) as arrays:
            frames, attributes, actions = (
                arrays[key] for key in ("frames", "attributes", "actions")
            )
    except Exception as error:  # what may be wrong with an archive and its arrays is beyond listing
        raise Mistake(
            f"cannot read {file}: {fault(error).reason}; "
            "needed: arrays frames, attributes and actions"
        ) from None
    whole = (
        frames.ndim == 6
        and frames.dtype == np.uint8
        and frames.shape[3:] == (SIDE, SIDE, 3)
        and frames.shape[2] > 1
    )
    if (
        not whole
        or attributes.shape != (len(frames), len(LAYERS))
        or actions.shape != frames.shape[1:2]
    ):
        raise Mistake(
            f"{file}: frames {frames.dtype} {frames.shape}, attributes {attributes.shape}, "
            f"actions {actions.shape}; allowed: uint8 (characters, actions, frames, 64, 64, 3), "
            "(characters, 4) and (actions,)"
        )
    strips = [Strip(*str(name).rpartition("-")[::2], frames.shape[2]) for name in actions]
    rows, wanted = chosen(options, len(frames)), asked(options, strips)
    names = [named(attributes[row]) for row in rows]
    return Cast(
        names,
        [strips[i] for i in wanted],
        lambda i: np.concatenate(frames[rows[i]][wanted]),
        len(frames),
    )


def kinds(folder: Path, layer: str) -> int:
    """How many pictures of a layer there are: 0.png, 1.png and so on."""
    there = {path.name for path in (folder / layer).glob("*.png")}
    count = next(i for i in range(len(there) + 1) if f"{i}.png" not in there)
    if not count:
        raise Mistake(
            f"data.path: {folder / layer} holds no 0.png; "
            f"needed: the layers {', '.join(LAYERS)}, and {SHOES}"
        )
    return count


def cut(file: Path, rows: np.ndarray, columns: np.ndarray) -> Image.Image:
    """Cells of a sheet below one another, RGBA, (64, 64 n) pixels."""
    try:
        with opened(file) as image:
            size, sheet = image.size, np.asarray(image.convert("RGBA"))
    except Exception as error:  # what decoders raise on damaged files is beyond listing
        raise Mistake(f"sheet {file}: {fault(error).reason}") from None
    if size != (COLUMNS * SIDE, ROWS * SIDE):
        raise Mistake(
            f"sheet {file} is {size[0]}x{size[1]}; allowed: {COLUMNS * SIDE}x{ROWS * SIDE}"
        )
    cells = sheet.reshape(ROWS, SIDE, COLUMNS, SIDE, 4)[rows, :, columns]
    return Image.fromarray(cells.reshape(-1, SIDE, 4))


def from_sheets(folder: Path, options: Options) -> Cast:
    """The characters composed of the sheets' layers, on black."""
    place = folder / "sheets"
    counts = [kinds(place, layer) for layer in LAYERS]
    every = [
        Strip(action, view, length) for action, (_, length) in SHEETS.items() for view in VIEWS
    ]
    strips = [every[i] for i in asked(options, every)]
    rows = [
        SHEETS[strip.action][0] + VIEWS.index(strip.view)
        for strip in strips
        for _ in range(strip.length)
    ]
    cells = np.array(rows), np.concatenate([np.arange(strip.length) for strip in strips])
    layer = cache(lambda name: cut(place / name, *cells))
    people = np.stack(np.unravel_index(chosen(options, math.prod(counts)), counts), 1)

    def frames(i: int) -> np.ndarray:
        out = Image.new("RGBA", (SIDE, SIDE * len(rows)), "black")
        for name in [
            *(f"{kind}/{number}.png" for kind, number in zip(LAYERS, people[i], strict=True)),
            SHOES,
        ]:
            out.alpha_composite(layer(name))
        return np.asarray(out.convert("RGB")).reshape(-1, SIDE, SIDE, 3)

    return Cast([named(one) for one in people], strips, frames, math.prod(counts))


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The npz file, or all pictures of layers."""
    folder = locate(options.path, root)
    if options.source == "npz":
        return {NPZ: folder / NPZ}
    found = [
        path for layer in (*LAYERS, "shoes") for path in (folder / "sheets" / layer).glob("*.png")
    ]
    return {path.relative_to(folder).as_posix(): path for path in found}


def downsample(frames: np.ndarray, size: int) -> np.ndarray:
    """Frames (F, 64, 64, 3) as (F, 3, size, size) uint8, each pixel the mean of those it covers."""
    first = frames.transpose(0, 3, 1, 2)
    by = SIDE // size
    if by == 1:
        return first
    return np.rint(
        first.reshape(*first.shape[:2], size, by, size, by).mean((3, 5), dtype=np.float32)
    ).astype(np.uint8)


def neighbours(
    strips: Sequence[Strip], both_ways: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of one character: numbers of the first and the second frame and of the strip,
    (P,) each."""
    strip = np.repeat(np.arange(len(strips)), [one.length - 1 for one in strips])
    first = np.arange(len(strip)) + strip  # each strip before has one frame more than pairs
    if not both_ways:
        return first, first + 1, strip
    return np.concatenate([first, first + 1]), np.concatenate([first + 1, first]), np.tile(strip, 2)


class Sprites:
    """Pairs (t, t + 1) within one action, view and character."""

    classes = 0
    extractor = "pairs"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options, self.folder = options, locate(options.path, root)
        self.cast = {"npz": from_npz, "sheets": from_sheets}[options.source](self.folder, options)
        names, length = self.cast.names, sum(strip.length for strip in self.cast.strips)
        first, second, self.strip = neighbours(self.cast.strips, options.both_ways)
        pixels = space((len(names) * length, 3, options.size, options.size))
        self.moves = np.empty((len(names), len(first)), bool)
        for i in watched(range(len(names)), len(names)):
            block = downsample(self.cast.frames(i), options.size)
            pixels[i * length : (i + 1) * length] = block
            self.moves[i] = (block[first] != block[second]).any((1, 2, 3))
        self.held = held_out(names, options.held_out)
        side = np.array([name in self.held for name in names])[:, None]
        kept = self.moves | options.static
        self.rows = {
            split: np.flatnonzero(kept & (side == one))
            for split, one in (("train", False), ("held_out", True))
        }
        if not all(map(len, self.rows.values())):
            raise Mistake(
                f"{self.folder}: the frames do not change; "
                "allowed: some that do, or data.static=true"
            )
        start = np.arange(len(names))[:, None] * length
        train, rest = (
            Split(pixels, (start + first).flat[r], (start + second).flat[r])
            for r in self.rows.values()
        )
        self.pairs = Pairs(train, rest)
        self.draw, self.take, self.size = self.pairs.draw, self.pairs.take, self.pairs.size

    def labels(self, split: str, n: int) -> dict[str, np.ndarray]:
        """Whose pairs `take(split, n)` returns:
        "character", "action" and "view", (n,) texts each."""
        places = self.pairs.order.take(split, n)
        character, pair = np.divmod(self.rows[split][places], len(self.strip))
        strips = self.cast.strips
        return {
            "character": np.array(self.cast.names)[character],
            "action": np.array([strip.action for strip in strips])[self.strip[pair]],
            "view": np.array([strip.view for strip in strips])[self.strip[pair]],
        }

    def describe(self) -> dict[str, str]:
        """Who is shown, doing what."""
        options, strips, names = self.options, self.cast.strips, self.cast.names
        still = int((~self.moves).sum())
        what = dict.fromkeys(f"{strip.action} ({strip.length} frames)" for strip in strips)
        return {
            "folder": f"{self.folder}, {options.source}; CC BY-SA 3.0 / GPL 3.0, by the Liberated "
            "Pixel Cup artists",
            "characters": f"{len(names)} of {self.cast.total}",
            "actions": ", ".join(what),
            "views": ", ".join(dict.fromkeys(strip.view for strip in strips)),
            "treatment": "64x64 on "
            f"black{f', averaged to {options.size}x{options.size}' if options.size < SIDE else ''}",
            "pairing": "frames t and t + 1 of one action and "
            f"view{', in both orders' * options.both_ways}",
            "static pairs": f"{still} of {self.moves.size} do not change: "
            f"{'kept' if options.static else 'left out'}",
            "split": f"{len(self.held)} characters held out by a hash of their layers, no "
            "character in both",
            **self.pairs.describe(),
        }


Data = Sprites
