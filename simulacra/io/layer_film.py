"""Films of layers for editors and pages: ProRes 4444 in QuickTime and VP9 in WebM, both with
opacity.

Opacity is straight: colours are not multiplied by it. The frames' values are written as they are,
with the colour tags of the clip that they came from.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simulacra.core import files
from simulacra.core.errors import Mistake
from simulacra.io import sound as voice
from simulacra.io.origin import UNSAID, Colours, Kept


class Kind(NamedTuple):
    """A kind of film with opacity."""

    codec: str
    container: str
    suffix: str
    formats: tuple[str, str]  # pixels without opacity, and with it
    options: dict[str, str]


PRORES = Kind(
    "prores_ks",
    "mov",
    ".mov",
    ("yuv444p10le", "yuva444p10le"),
    {"profile": "4444", "alpha_bits": "16", "bits_per_mb": "8000", "vendor": "apl0"},
)
VP9 = Kind(
    "libvpx-vp9",
    "webm",
    ".webm",
    ("yuv420p", "yuva420p"),
    # without frames that are not shown, which opacity has no place for
    {"crf": "3", "b": "0", "deadline": "good", "cpu-used": "4", "auto-alt-ref": "0"},
)
KINDS = {"prores": PRORES, "vp9": VP9}
SRGB = Colours(1, 1, 1, False)  # what editors and players take pictures' values for
# by code point of the matrix, what converts to it; others cannot be
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}
BT601, BT2020_NCL, BT2020_CL = 6, 9, 10
LIMITED = 1
BLACK, WHITE = 16, 235  # of brightness, in limited range


def written_as(colours: Colours | None) -> Colours:
    """The tags of a film of frames that came from such a clip: its primaries and transfer; its
    matrix, or the one that it was read by; of limited range. Of pictures BT.709's."""
    if colours is None:
        return SRGB
    matrix = {UNSAID: BT601, BT2020_CL: BT2020_NCL}.get(colours.matrix, colours.matrix)
    if matrix not in MATRICES:  # of RGB, for instance
        matrix = BT2020_NCL if colours.primaries == BT2020_NCL else 1
    return Colours(colours.primaries, colours.transfer, matrix, False)


def save(
    path: Path,
    kind: Kind,
    frames: Iterable[np.ndarray],  # (H, W, 3 or 4) uint16, straight; all of one shape
    kept: Kept,
    with_sound: bool = True,
) -> Path:
    """The path of a film of frames at the times, with the tags and the sound, that layers keep. A
    Mistake if it cannot be written."""
    import av

    frames = iter(frames)
    first = next(frames)

    def fill(file: Any) -> None:
        with av.open(file, "w", format=kind.container, options=voice.EXACT) as out:
            stream = picture_stream(out, kind, first, kept)
            pictures = packets(stream, chain([first], frames), kept)
            if kept.sound is None or not with_sound:
                for packet in pictures:
                    out.mux(packet)
                return
            with av.open(str(kept.sound)) as source:
                sounding = voice.added(source, out, kind.container)
                for packet in merge(pictures, sounding, key=moment):
                    out.mux(packet)

    try:
        files.write(path, fill)
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path


def moment(packet: Any) -> Fraction:
    """When a packet is wanted by who plays it, seconds."""
    return Fraction(packet.dts if packet.dts is not None else packet.pts) * packet.time_base


def picture_stream(out: Any, kind: Kind, like: np.ndarray, kept: Kept) -> Any:
    """A stream of pictures in an open film."""
    height, width, channels = like.shape
    stream = out.add_stream(kind.codec, rate=kept.rate, options=kind.options)
    stream.height, stream.width = height, width
    stream.pix_fmt = kind.formats[channels == 4]
    context, colours = stream.codec_context, written_as(kept.colours)
    context.time_base = kept.times.tick if kept.times else 1 / kept.rate
    context.color_primaries, context.color_trc = colours.primaries, colours.transfer
    context.colorspace, context.color_range = colours.matrix, LIMITED
    context.thread_count = 1  # the bytes depend on nothing else
    if kind is VP9:
        context.bit_rate = 0  # as good as crf says, however many bytes that takes
    return stream


def packets(stream: Any, frames: Iterable[np.ndarray], kept: Kept) -> Iterator[Any]:
    """The encoded frames, each shown as long as the clip's was."""
    from av import VideoFrame
    from av.video.reformatter import Interpolation

    starts = kept.times.starts if kept.times else None
    colours = written_as(kept.colours)
    shallow = not stream.pix_fmt.endswith("10le")  # 8 bits, to which the library rounds worse

    def timed(made: Iterable[Any]) -> Iterator[Any]:
        for packet in made:
            packet.duration = kept.times.lasts(packet.pts) if kept.times else 1
            yield packet

    for i, pixels in enumerate(frames):
        clear = pixels.shape[2] == 4
        if shallow:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
            form = "rgba" if clear else "rgb24"
        else:
            form = "rgba64le" if clear else "rgb48le"
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=form).reformat(
            format=stream.pix_fmt,
            dst_colorspace=MATRICES[colours.matrix],
            dst_color_range="MPEG",
            interpolation=Interpolation.LANCZOS | Interpolation.ACCURATE_RND,
        )
        frame.colorspace, frame.color_range = colours.matrix, LIMITED
        if shallow:
            sharpen(frame, pixels[..., :3])
        frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
        frame.pts = starts[i] if starts else i
        frame.time_base = stream.codec_context.time_base
        yield from timed(stream.encode(frame))
    yield from timed(stream.encode(None))


def sharpen(frame: Any, wanted: np.ndarray) -> None:
    """Give a frame of 8 bits and coarse colours the brightness by which a player's conversion
    comes nearest to what is wanted (H, W, 3): what colours lost to their coarseness is taken from,
    and added to, all three channels, so that the mean of a pixel's differences is 0."""
    lost = (wanted.astype(np.float32) - frame.to_ndarray(format="rgb24")).mean(2)
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size).copy()
    own = rows[:, : plane.width]
    own[:] = np.rint(own + lost * (WHITE - BLACK) / 255).clip(BLACK, WHITE)
    plane.update(rows)
