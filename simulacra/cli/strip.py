"""Confidence over time as a line of text."""

from collections.abc import Collection, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
DIGITS = "0123456789"  # tenths, where blocks cannot be printed
GONE = "-"  # frames without the object


def columns(frames: int, width: int) -> list[range]:
    """Which frames each character stands for, at most `width` of them."""
    count = min(frames, width)
    return [range(i * frames // count, (i + 1) * frames // count) for i in range(count)]


def strip(confidence: Sequence[float], without: Collection[int], width: int, encoding: str) -> str:
    """A character for each frame, or the least of several frames if there are more than `width`: a
    block the higher the more sure, `-` where all are without the object. Tenths in digits if the
    encoding has no blocks."""
    try:
        BLOCKS.encode(encoding)
        steps = BLOCKS
    except (UnicodeEncodeError, LookupError):
        steps = DIGITS
    found, gone = "", set(without)
    for frames in columns(len(confidence), width):
        least = min(confidence[t] for t in frames)
        place = min(len(steps) - 1, max(0, int(least * len(steps))))
        found += GONE if gone.issuperset(frames) else steps[place]
    return found


def ruler(frames: int, width: int) -> str:
    """The numbers of the first and the last frame below the ends of a strip."""
    wide, first, last = len(columns(frames, width)), "0", str(frames - 1)
    return first + last.rjust(wide - 1) if wide > len(last) else first
