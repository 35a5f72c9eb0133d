"""Clips as they are read from files: a folder of frames, an animated picture, or a film (`_film`).

Whatever is left out, assumed or converted on the way stands in the clip's notes.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from simulacra.core.errors import Mistake
from simulacra.io.listing import fault, listing, usable
from simulacra.io.origin import Origin, Times
from simulacra.io.pictures import (
    Header,
    eight_bits,
    eight_bits_of,
    header,
    is_grey,
    on_white,
    opened,
    suffixes,
    top,
)

FILMS = ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"
FINE = 4  # frames are read at no less than this many times the size that is wanted
# what a picture beside frames may be called
MASK = re.compile(r"(?<![a-z])(mask|matte)s?(?![a-z])")
NAMED = 5  # names that a note lists

Frames = Iterator[tuple[str, Image.Image]]  # what to call a frame, and the frame


class Clip(NamedTuple):
    """A sequence of frames that can be read once."""

    frames: Frames
    grey: bool  # whether every frame is grey
    length: int  # how many frames there are; 0: not known before they are read
    fps: float = 0.0  # frames per second; 0: it does not say
    notes: tuple[str, ...] = ()  # what a person should be told of it
    # width and height as stored, where pixels are not square; upright
    stored: tuple[int, int] | None = None
    origin: Origin = Origin()  # what it says besides its pixels


def natural(name: str) -> tuple[list[str | int], str]:
    """A key that puts 2 before 10."""
    parts = re.split(r"(\d+)", Path(name).stem)
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(parts)], name


@contextmanager
def blaming(what: object) -> Iterator[None]:
    """Whatever a decoder raises becomes a Mistake that names the file or frame."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except Mistake:
        raise
    except Exception as error:  # what decoders raise on damaged files is beyond listing
        raise Mistake(f"cannot read {what}: {fault(error).reason}") from None


def photograph(path: Path, side: int) -> Image.Image:
    """The photograph in colour, reduced if its shorter side stays no less than `side` pixels."""
    with blaming(path), opened(path) as image:
        image.draft(None, (side, side))  # a large JPEG is decoded at a fraction of its size
        plain = on_white(eight_bits(ImageOps.exif_transpose(image))).convert("RGB")
        return plain.reduce(max(1, min(plain.size) // side))


def named(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )


def numbering(names: list[str]) -> dict[str, list[str]]:
    """The names by how they are numbered: their stems with # for each number;
    with their endings where one stem has several."""
    stems = Counter(Path(name).stem.lower() for name in names)
    found: dict[str, list[str]] = {}
    for name in names:
        path = Path(name)
        key = re.sub(r"\d+", "#", path.stem.lower()) + (
            path.suffix.lower() if stems.most_common(1)[0][1] > 1 else ""
        )
        found.setdefault(key, []).append(name)
    return found


def sequence(folder: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """Of a folder's pictures those that follow one numbering, and those that do not, such as
    mask.png beside 000.png; all of them if they are not numbered. A Mistake if there are two
    numberings as long as each other."""
    groups = numbering(names)
    ranked = sorted((group for key, group in groups.items() if "#" in key), key=len, reverse=True)
    if not ranked or (len(ranked[0]) == 1 and len(names) > 2):
        return names, []
    best = ranked[0]
    if len(ranked) > 1 and len(ranked[1]) == len(best):
        both = " and ".join(f"{group[0]} to {group[-1]}" for group in ranked[:2])
        raise Mistake(
            f"{folder} holds two sequences of {len(best)} pictures, {both}; "
            "allowed: the frames of one clip"
        )
    return best, [name for name in names if name not in set(best)]


def jumps(names: list[str]) -> list[str]:
    """A note if the frames' only number does not grow evenly."""
    found = [re.findall(r"\d+", Path(name).stem) for name in names]
    if any(len(one) != 1 for one in found) or len(names) < 3:
        return []
    numbers = [int(one[0]) for one in found]
    steps = [two - one for one, two in pairwise(numbers)]
    usual = Counter(steps).most_common(1)[0][0]
    odd = next((i for i, step in enumerate(steps) if step != usual), None)
    if odd is None:
        return []
    return [
        f"frames are not evenly numbered, {names[odd + 1]} follows {names[odd]}; "
        "they are taken one by one"
    ]


def at_home(folder: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """The pictures that lie together: those of the folder itself if it holds several, or all, if
    they share one folder inside; and notes."""
    homes = Counter(str(Path(name).parent) for name in names)
    if len(homes) == 1:
        return names, []
    if homes["."] < 2:
        first, second = sorted(homes)[:2]
        raise Mistake(
            f"{folder} holds pictures in {len(homes)} folders, {first}, {second} ...; allowed: one"
        )
    inner = sorted(home for home in homes if home != ".")
    count = len(names) - homes["."]
    lost = f"left out, since they lie in folders inside: {count} pictures in {named(inner)}"
    return [name for name in names if "/" not in name], [lost]


def others(folder: Path) -> list[str]:
    """A note of the files in a folder that are no pictures, hidden ones excepted."""
    known = suffixes()
    names = [
        path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    ]
    lost = sorted((name for name in names if Path(name).suffix.lower() not in known), key=natural)
    return [f"left out, since they are no pictures: {named(lost)}"] if lost else []


def unmasked(folder: Path, names: list[str], masks: Sequence[Path]) -> tuple[list[str], list[str]]:
    """The pictures that are none of these masks,
    nor called mask or matte among others that are not; and notes."""
    own = {mask.resolve() for mask in masks if mask.resolve().is_relative_to(folder.resolve())}
    left = [name for name in names if own and (folder / name).resolve() in own]
    called = [name for name in names if name not in left and MASK.search(Path(name).stem.lower())]
    notes = [f"left out, since it is a mask: {named(left)}"] if left else []
    if called and 2 * len(called) <= len(names):
        notes.append(f"left out, since they are called masks: {named(called)}")
        left += called
    return [name for name in names if name not in left], notes


def chosen(folder: Path, masks: Sequence[Path] = ()) -> tuple[list[str], list[str]]:
    """The names of the frames in a folder, in order, these masks not among them,
    and notes on what is not among them."""
    names, notes = at_home(folder, sorted(listing(folder)[0], key=natural))
    names, more = unmasked(folder, names, masks)
    notes += more
    names, strays = sequence(folder, names)
    if strays:
        notes.append(
            f"left out, since they do not follow the numbering of {names[0]}: {named(strays)}"
        )
    return names, notes + others(folder / Path(names[0]).parent) + jumps(names)


def stills(folder: Path, size: int, masks: Sequence[Path] = ()) -> Clip:
    """The frames that are a folder's pictures,
    but for these masks, in natural order of their names."""
    names, notes = chosen(folder, masks)
    heads = usable(folder, names, lambda _, path: header(path))
    brightest = top(head.peak for head in heads.values())
    notes += taken(heads.values(), brightest)

    def frames() -> Frames:
        for name in names:
            with blaming(folder / name), opened(folder / name) as image:
                # a large JPEG is decoded at a fraction of its size
                image.draft(None, (FINE * size, FINE * size))
                # grey loses its orientation with its depth, colours keep it
                deep = is_grey(image.mode)
                upright = ImageOps.exif_transpose(
                    image if deep else eight_bits_of(folder / name, image, brightest)
                )
                plain = eight_bits(upright, brightest) if deep else upright
            yield name, plain

    return Clip(
        frames(), all(is_grey(head.mode) for head in heads.values()), len(names), notes=tuple(notes)
    )


def taken(heads: Iterable[Header], brightest: int) -> list[str]:
    """Notes on frames of more than 8 bits a channel, and of several pages."""
    found = list(heads)
    deep, several = sum(bool(head.peak) for head in found), sum(head.several for head in found)
    notes = []
    if deep:
        bits = f"0 to {brightest} ({brightest.bit_length()} bits) became 0 to 255 in all of them"
        notes.append(f"{deep} frames have more than 8 bits a channel; {bits}")
    if several:
        notes.append(f"{several} files hold several pictures, of which the first is taken")
    return notes


def colourless(image: Image.Image) -> bool:
    """Whether a frame is grey, by its mode or,
    where that has a palette or colours, by every pixel."""
    if is_grey(image.mode):
        return True
    red, green, blue = image.convert("RGB").split()
    return red == green == blue


MILLISECOND = Fraction(1, 1000)


def beat(durations: list[float], keeps: bool = False) -> tuple[float, list[str]]:
    """Frames per second of frames that last so many milliseconds, 0 if they do not say,
    and what a person should be told; `keeps` is whether their times are kept."""
    if len(durations) < 2 or not all(durations):
        missing = sum(not one for one in durations)
        told = (
            f"{missing} of {len(durations)} frames do not say how long they last"
            if 0 < missing < len(durations)
            else ""
        )
        return 0.0, [told] if told else []
    fps = 1000 * len(durations) / sum(durations)
    if min(durations) == max(durations):
        return fps, []
    least, most = min(durations), max(durations)
    return fps, [f"frames are unequally long, {least:g} to {most:g} ms; {uneven(fps, keeps)}"]


def uneven(fps: float, keeps: bool) -> str:
    """What is said of frames that are unequally long, their times being kept or not."""
    if keeps:
        return f"{fps:.4g} per second on average; their times are kept"
    return f"they are taken one by one, at {fps:.4g} per second"


def lasting(durations: list[float]) -> Times | None:
    """Times of frames that last so many milliseconds; None if equally long, or not said."""
    whole = [round(one) for one in durations]
    if len(whole) < 2 or min(whole) < 1 or len(set(whole)) == 1:
        return None
    return Times((0, *accumulate(whole)), MILLISECOND)


def animation(file: Path, keeps: bool = False) -> Clip:
    """The frames of an animated picture, turned as it says; `keeps` is whether the caller keeps
    what its origin says."""
    notes: list[str] = []
    with blaming(file), opened(file) as image:
        count, start = getattr(image, "n_frames", 1), 0
        if image.format == "MPO" and count > 1:
            notes, count = [f"holds {count} pictures, of which the first is read"], 1
        if image.info.get("default_image") and count > 1:
            notes, start = (
                ["its first picture, which is shown only where animations are not, is left out"],
                1,
            )
        grey, durations = True, []
        for i in range(start, count):
            image.seek(i)
            image.load()
            durations.append(float(image.info.get("duration") or 0))
            grey = grey and colourless(image)

    def frames() -> Frames:
        with opened(file) as image:
            for i in range(start, count):
                with blaming(f"frame {i} of {file}"):
                    image.seek(i)
                    one = ImageOps.exif_transpose(image)
                yield f"frame {i}", one

    fps, more = beat(durations, keeps)
    origin = Origin(fps, lasting(durations))
    return Clip(frames(), grey, count - start, fps, (*notes, *more), origin=origin)
