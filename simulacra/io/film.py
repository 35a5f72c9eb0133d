"""The frames of a film: its first video stream, turned and mirrored as it says, in square pixels.

What is dropped, such as sound that nobody keeps, and what is converted, such as pixels that are not
square, stands in the clip's notes; what it says besides its pixels, in its origin.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.io.clip import FILMS, Clip, Frames, animation, blaming, stills, uneven
from simulacra.io.origin import UNSAID, Colours, Origin, Times
from simulacra.io.pictures import suffixes

SLACK = 0.1  # of a frame's time, by which times of a film of even rate may jitter
# by which a film that does not count its frames may end early: share of a frame's time, and seconds
EARLY, LEAST = 0.75, 0.05
# and where there is sound, of which films say more than they hold: seconds, and share of the film
SOUND_EARLY, SOUND_SHARE = 0.3, 0.02
SAID = 0.02  # by which the rate that a film says may differ from that of its times
HIGH = 720  # rows from which films are rarely of BT.601 colours
ODD = 8.0  # times as wide as high, or as high as wide, beyond which no pixels are
FULL_RANGE = 2  # as the library counts: 0 unsaid, 1 limited
HDR = {16: "PQ", 18: "HLG"}  # transfer functions
WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # primaries
LEFT_OUT = {"audio": "sound", "subtitle": "subtitles"}

Turn = Image.Transpose
# by the signs of a and d, or of b and c, of the display matrix: (x, y) of a pixel becomes (a x + c
# y, b x + d y)
STRAIGHT = {
    (1, 1): None,
    (-1, 1): Turn.FLIP_LEFT_RIGHT,
    (1, -1): Turn.FLIP_TOP_BOTTOM,
    (-1, -1): Turn.ROTATE_180,
}
ACROSS = {
    (1, -1): Turn.ROTATE_270,
    (-1, 1): Turn.ROTATE_90,
    (1, 1): Turn.TRANSPOSE,
    (-1, -1): Turn.TRANSVERSE,
}
WORDS = {
    Turn.FLIP_LEFT_RIGHT: "mirrored left to right",
    Turn.FLIP_TOP_BOTTOM: "mirrored top to bottom",
    Turn.ROTATE_180: "turned by 180 degrees",
    Turn.ROTATE_270: "turned by 90 degrees clockwise",
    Turn.ROTATE_90: "turned by 90 degrees counterclockwise",
    Turn.TRANSPOSE: "mirrored about the diagonal",
    Turn.TRANSVERSE: "mirrored about the other diagonal",
}


def matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """a, b, c, d of a frame's display matrix; None without one."""
    for one in frame.side_data:
        if one.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(one))
            return (a, b, c, d) if a * d != b * c else None
    return None


def turn_of(frame: Any) -> tuple[Turn | None, list[str]]:
    """How a frame is to be turned or mirrored, by quarter turns, and what is said of it."""
    found = matrix(frame)
    if found is None:
        return None, []
    a, b, c, d = found
    along, aside = abs(a) + abs(d), abs(b) + abs(c)
    turn = STRAIGHT[_sign(a), _sign(d)] if along >= aside else ACROSS[_sign(b), _sign(c)]
    odd = min(along, aside) > 0.01 * max(along, aside)
    said = WORDS[turn] if turn is not None else "not turned"
    if odd:
        return turn, [f"{said}, which is the nearest to what it says that is no slant"]
    return turn, [f"{said}, as it says"] if turn is not None else []


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


def squared(width: int, height: int, ratio: float) -> tuple[int, int]:
    """The size of a frame in square pixels whose own are `ratio` times as wide as high;
    never smaller."""
    return (round(width * ratio), height) if ratio >= 1 else (width, round(height / ratio))


def shape_of(stream: Any) -> tuple[float, list[str]]:
    """How many times as wide as high a stream's pixels are,
    and a note if what it says cannot be meant."""
    found = float(stream.sample_aspect_ratio or 1)
    if 1 / ODD <= found <= ODD:
        return found, []
    return 1.0, [
        f"its pixels are said to be {found:g} times as wide as high, which is not believed"
    ]


def upright(frame: Any, ratio: float) -> Image.Image:
    """A decoded frame as a picture, in square pixels, turned as it says."""
    clear = any(part.is_alpha for part in frame.format.components)
    image = Image.fromarray(frame.to_ndarray(format="rgba")) if clear else frame.to_image()
    size = squared(image.width, image.height, ratio)
    image = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    turn, _ = turn_of(frame)
    return image if turn is None else image.transpose(turn)


def colours(frame: Any) -> list[str]:
    """What is said of a frame's colours."""
    found = []
    bits = max((part.bits for part in frame.format.components), default=8)
    if bits > 8:
        found.append(f"its {bits} bits a channel become 8")
    if frame.color_trc in HDR:
        found.append(
            f"HDR ({HDR[frame.color_trc]}): its values are kept, not mapped to a screen's range, "
            "and look pale"
        )
    if frame.color_primaries in WIDE:
        found.append(
            f"its wide-gamut colours ({WIDE[frame.color_primaries]}) are read as sRGB, "
            "and look less saturated"
        )
    if frame.color_range == FULL_RANGE and "yuv" in frame.format.name:
        found.append("its colours are of full range, and read as such")
    if (
        frame.colorspace == UNSAID
        and "yuv" in frame.format.name
        and min(frame.height, frame.width) >= HIGH
    ):
        found.append("it does not say its colours' matrix; BT.601 is assumed")
    return found


def tags(frame: Any) -> Colours:
    """What a frame says that its colours are."""
    said = {1: False, FULL_RANGE: True}.get(int(frame.color_range))
    return Colours(int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace), said)


def left_out(container: Any, stream: Any, keeps: bool = False) -> list[str]:
    """What is said of the streams of a film that are not read; `keeps` is whether the caller keeps
    the first one of sound."""
    kinds = [
        LEFT_OUT[kind]
        for kind in LEFT_OUT
        if any(one.type == kind for one in container.streams) and not (keeps and kind == "audio")
    ]
    more = [one for one in container.streams.video if one is not stream and not _is_cover(one)]
    found = (
        [f"its {' and '.join(kinds)} {'are' if kinds[-1] == 'subtitles' else 'is'} left out"]
        if kinds
        else []
    )
    return found + (
        [f"only the first of its {len(more) + 1} pictures' streams is read"] if more else []
    )


def _is_cover(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


@contextmanager
def decoding(file: Path) -> Iterator[None]:
    """What the library says of a broken film becomes a Mistake in words."""
    from av.error import FFmpegError, PermissionError

    try:
        yield
    except PermissionError:
        raise
    except FFmpegError as error:
        raise Mistake(
            f"cannot read {file}: it is damaged, cut off or no film ({error.strerror})"
        ) from None


@contextmanager
def playing(file: Path) -> Iterator[tuple[Any, Any]]:
    """A film's container and its first video stream.
    A Mistake if it has none; a cover picture is none."""
    import av  # a tenth of a second that most data sets need not pay

    with blaming(file), decoding(file), av.open(str(file)) as container:
        stream = next((one for one in container.streams.video if not _is_cover(one)), None)
        if stream is None:
            raise Mistake(f"{file} has no pictures, only sound or text")
        if stream.codec_context is None:
            raise Mistake(f"{file} is damaged, cut off, or of a codec that is not known")
        yield container, stream


class Pace(NamedTuple):
    """When the frames of a film are shown."""

    fps: float  # frames per second; 0: it does not say
    times: Times | None  # None: equally long
    begins: Fraction  # seconds, of the first frame
    short: str  # what is lacking of a film that was cut off; "" of others


def pace(file: Path) -> Pace:
    """When the frames of a film are shown, by its packets, none of which is decoded."""
    with playing(file) as (container, stream):
        found, count, ends = [], 0, 0.0
        for packet in container.demux():
            if packet.pts is None:
                continue
            lasts = packet.duration or 0
            ends = max(ends, float((packet.pts + lasts) * packet.time_base))
            if packet.stream.index == stream.index:
                count += 1
                if not packet.is_discard:
                    found.append((packet.pts, lasts))
        rate, tick = float(stream.average_rate or 0), Fraction(stream.time_base or 0)
        found.sort()
        times = np.array([start for start, _ in found], np.int64)
        steps = np.diff(times)
        usual = float(np.median(steps)) if len(steps) else 0.0
        if found and not found[-1][1]:
            ends = max(ends, float(tick) * (found[-1][0] + usual))
        short = cut_off(container, stream, count, ends)
    begins = found[0][0] * tick if found else Fraction(0)
    if len(steps) and tick and times[-1] > times[0]:
        # what is said besides may be a default
        timed = len(steps) / (float(tick) * float(times[-1] - times[0]))
        rate = rate if abs(rate - timed) <= SAID * timed else timed
    if len(steps) and steps.max() - steps.min() > max(1.0, SLACK * usual):
        last = found[-1][1] or max(1, int(usual))
        starts = [int(one - times[0]) for one in times]
        rising = tick > 0 and steps.min() > 0
        return Pace(
            rate, Times((*starts, starts[-1] + last), tick) if rising else None, begins, short
        )
    return Pace(rate, None, begins, short)


def cut_off(container: Any, stream: Any, count: int, ends: float) -> str:
    """What a film lacks that holds so many packets of pictures and ends at so many seconds, by what
    it says of itself; "" if nothing."""
    if 0 < count < stream.frames:
        return f"cut off after {count} of its {stream.frames} frames"
    said = ((container.duration or 0) + (container.start_time or 0)) / 1e6
    silent = all(one.type == "video" for one in container.streams)
    slack = (
        max(LEAST, EARLY / float(stream.average_rate or 1))
        if silent
        else max(SOUND_EARLY, SOUND_SHARE * said)
    )
    if "matroska" in container.format.name and count and said - ends > slack:
        return f"cut off after {ends:.4g} of its {said:.4g} seconds"
    return ""


def film(file: Path, keeps: bool = False) -> Clip:
    """The frames of a film's first video stream, turned as it says, in square pixels; `keeps` is
    whether the caller keeps what its origin says. One that was cut off is a Mistake once all frames
    that are there were taken."""
    paced = pace(file)
    with playing(file) as (container, stream):
        notes = left_out(container, stream, keeps)
        sound = file if any(one.type == "audio" for one in container.streams) else None
        ratio, said = shape_of(stream)
        notes += said
        grey, count = str(stream.codec_context.pix_fmt).startswith("gray"), stream.frames
        frame = next(container.decode(stream), None)
        stored = said_colours = None
        if frame is not None:
            said_colours = tags(frame)
            turn, said = turn_of(frame)
            notes += said + colours(frame)
            if frame.interlaced_frame:
                notes.append("it is interlaced: each frame holds two moments, in alternate rows")
            width, height = squared(frame.width, frame.height, ratio)
            if (width, height) != (frame.width, frame.height):
                notes.append(
                    f"its pixels are not square ({frame.width}x{frame.height}); "
                    f"resampled to {width}x{height}"
                )
                stored = (
                    (frame.height, frame.width)
                    if turn in ACROSS.values()
                    else (frame.width, frame.height)
                )

    def frames() -> Frames:
        with playing(file) as (container, stream):
            for i, frame in enumerate(container.decode(stream)):
                yield f"frame {i}", upright(frame, ratio)
        if paced.short:
            raise Mistake(
                f"{file} is {paced.short}; needed: all of it, or only its first frames (--frames)"
            )

    if paced.times is not None:
        notes.append(f"frames are unequally long; {uneven(paced.fps, keeps)}")
    origin = Origin(paced.fps, paced.times, said_colours, sound, paced.begins)
    return Clip(frames(), grey, count, paced.fps, tuple(notes), stored, origin)


def clip_of(
    place: Path, size: int, what: str, masks: Sequence[Path] = (), keeps: bool = False
) -> Clip:
    """The clip in a folder of frames, these masks not among them, an animated picture or a film, of
    which frames of `size` pixels are wanted; `keeps` is whether the caller keeps what its origin
    says (times, sound). A Mistake that begins with `what` if the file is none of them."""
    end = place.suffix.lower()
    if place.is_dir():
        return stills(place, size, masks)
    if end in FILMS:
        return film(place, keeps)
    if end in suffixes():
        return animation(place, keeps)
    raise Mistake(
        f"{what} {place} ends in '{end}'; "
        f"allowed: a folder of frames, .gif, .png, .webp, {', '.join(FILMS)}"
    )
