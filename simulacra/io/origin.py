"""What a clip says besides its pixels: when frames are shown, what their colours mean, and its
sound. Layers keep it beside them, as times.json and a file of sound, and what is made of them later
says it again.
"""

import json
from bisect import bisect_left
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from simulacra.core import files
from simulacra.core.errors import Mistake

NAME = "times.json"
UNSAID = 2  # code point of a colour property that is not tagged
SPREAD = 1001  # greatest denominator of a frame rate: 24000/1001
NEAR = 1e-3  # of a rate, by which --fps may differ from it and the sound still fit


class Times(NamedTuple):
    """When frames are shown that are unequally long: frame i from starts[i] to starts[i + 1]."""

    starts: tuple[int, ...]  # T + 1 of them, rising from 0; the last is where the last frame ends
    tick: Fraction  # their unit, seconds

    def first(self, count: int) -> "Times":
        """Those of the first frames alone."""
        return Times(self.starts[: count + 1], self.tick)

    def lasts(self, start: int) -> int:
        """How many ticks the frame is shown that begins at one."""
        place = bisect_left(self.starts, start)
        return self.starts[place + 1] - start


class Colours(NamedTuple):
    """What the values of a film mean, as code points of ITU-T H.273; 2: it does not say."""

    primaries: int = UNSAID
    transfer: int = UNSAID
    matrix: int = UNSAID
    full: bool | None = None  # whether 0 is black, and not 16; None: it does not say


class Origin(NamedTuple):
    """What a clip says besides its pixels."""

    fps: float = 0.0  # frames per second; 0: it does not say
    times: Times | None = None  # None: frames are equally long
    colours: Colours | None = None  # None: pictures, whose values are sRGB
    sound: Path | None = None  # the film whose sound it is; None: it has none
    begins: Fraction = Fraction(0)  # when the first frame is shown, in that film's seconds


class Kept(NamedTuple):
    """What layers keep of it."""

    rate: Fraction  # frames per second; of unequally long frames their mean
    times: Times | None = None
    colours: Colours | None = None
    sound: Path | None = None  # a file of sound alone, which begins with the first frame

    def seconds(self, frames: int) -> float:
        """How long so many frames are shown."""
        if self.times is not None:
            return float(self.times.starts[frames] * self.times.tick)
        return float(frames / self.rate)


def even(fps: float) -> Fraction:
    """A rate as the fraction that is meant: 23.976 is 24000/1001."""
    return Fraction(fps).limit_denominator(SPREAD)


def keep(folder: Path, origin: Origin, frames: int, fps: float) -> list[str]:
    """Write into a folder of layers what the clip of its first so many frames says. `fps` is the
    rate of what is made of them; frames and sound keep their times only if it is the clip's own.
    Returns what a person should be told."""
    from simulacra.io import sound

    own = bool(origin.fps) and abs(fps - origin.fps) <= NEAR * origin.fps
    times = origin.times.first(frames) if own and origin.times is not None else None
    if times is not None and len(times.starts) != frames + 1:
        times = None  # two fields a packet, or a film that holds more frames than it counts
    rate = Fraction(frames, times.starts[-1]) / times.tick if times else even(fps)
    facts: dict[str, Any] = {
        "frames": frames,
        "fps": float(rate),
        "rate": [rate.numerator, rate.denominator],
        "tick": [times.tick.numerator, times.tick.denominator] if times else None,
        "starts": list(times.starts) if times else None,
        "colours": origin.colours._asdict() if origin.colours else None,
        "sound": None,
    }
    notes: list[str] = []
    if origin.sound is not None:
        if own:
            length = Kept(rate, times).seconds(frames)
            facts["sound"], notes = sound.keep(origin.sound, origin.begins, length, folder)
        else:
            notes = ["its sound is left out, since its frames are shown at another rate"]
    files.write_text(folder / NAME, json.dumps(facts) + "\n")
    return notes


def read(folder: Path, fps: float) -> Kept:
    """What a folder of layers keeps of its clip; of one that keeps nothing, frames of this rate. A
    Mistake if it cannot be read, or names a sound that is not there."""
    path = folder / NAME
    if not path.is_file():
        return Kept(even(fps))
    try:
        found = json.loads(path.read_text("utf-8"))
        times = None
        if found["starts"] is not None:
            starts = tuple(int(one) for one in found["starts"])
            rising = all(a < b for a, b in pairwise(starts))
            if len(starts) != found["frames"] + 1 or starts[0] != 0 or not rising:
                raise ValueError("its times do not rise")
            times = Times(starts, Fraction(*found["tick"]))
        colours = Colours(**found["colours"]) if found["colours"] else None
        voice = folder / Path(found["sound"]).name if found["sound"] else None
        kept = Kept(Fraction(*found["rate"]), times, colours, voice)
        if kept.rate <= 0:
            raise ValueError("its rate is not above 0")
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        why = str(error) or type(error).__name__
        raise Mistake(
            f"cannot read {path} ({why}); remove it, and films have even times and no sound"
        ) from None
    if kept.sound is not None and not kept.sound.is_file():
        raise Mistake(
            f"{path} names {kept.sound.name}, which is not there; decompose the clip again"
        )
    return kept
