"""The sound of a clip: copied beside its layers, into films that are made of them, and as a WAV.

A stream is copied as it is wherever the file that it goes into can hold it, and is encoded anew
elsewhere.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core import files
from simulacra.core.errors import Mistake
from simulacra.io.clip import blaming

# what a QuickTime file holds of the codecs that films have
QUICKTIME = {"aac", "ac3", "alac", "eac3", "mp3"}
WEBM = {"opus", "vorbis"}
PLAIN = "pcm_s24le"
OPUS = "libopus"
OPUS_RATE = 48_000  # samples per second
EXACT = {"fflags": "+bitexact"}  # no time of day and no random number in the file


def codec_of(stream: Any) -> str:
    """The name of a stream's codec, such as "aac"."""
    return str(stream.codec_context.codec.canonical_name)


def codec_in(sound: Path) -> str:
    """The name of the codec in a file of sound."""
    import av

    with blaming(f"the sound {sound}"), av.open(str(sound)) as source:
        return codec_of(source.streams.audio[0])


def fits(codec: str, container: str) -> bool:
    """Whether a container, mov or webm, holds a codec."""
    if container == "mov":
        return codec in QUICKTIME or codec.startswith("pcm_s")
    return codec in WEBM


def copied(source: Any, stream: Any, target: Any, begins: Fraction, ends: float) -> Iterator[Any]:
    """The packets of a stream of an open film for one of another, from `begins` to `ends` seconds
    later, at the times that are then theirs."""
    for packet in source.demux(stream):
        if packet.pts is None or packet.dts is None:
            continue
        shift = round(begins / packet.time_base)
        packet.pts -= shift
        packet.dts -= shift
        last = (packet.pts + (packet.duration or 0)) * packet.time_base
        if packet.pts * packet.time_base >= ends:
            return
        if last > 0 or (packet.pts < 0 and not shift):  # what a codec needs to begin with
            packet.stream = target
            yield packet


def encoded(source: Any, stream: Any, target: Any, begins: Fraction, ends: float) -> Iterator[Any]:
    """The same of a stream that is decoded, and encoded anew."""
    from av import AudioResampler

    voice = target.codec_context
    change = AudioResampler(voice.format, voice.layout, voice.sample_rate)
    for frame in source.decode(stream):
        moment = frame.pts * frame.time_base - begins
        if moment >= ends:
            break
        if moment + Fraction(frame.samples, frame.sample_rate) <= 0:
            continue
        frame.pts = round(moment / frame.time_base)
        for part in change.resample(frame):
            yield from target.encode(part)
    for part in change.resample(None):
        yield from target.encode(part)
    yield from target.encode(None)


def added(
    source: Any, out: Any, container: str, begins: Fraction = Fraction(0), ends: float = 1e12
) -> Iterator[Any]:
    """Add a stream to an open film that is being written, for the first sound of another; returns
    its packets, which are yet to be read."""
    stream = source.streams.audio[0]
    if fits(codec_of(stream), container):
        return copied(source, stream, out.add_stream_from_template(stream), begins, ends)
    return encoded(source, stream, fresh(stream, out, container), begins, ends)


def fresh(stream: Any, out: Any, container: str) -> Any:
    """A stream of the codec that a container holds, for what was of another: Opus in WebM, at most
    stereo, and plain samples of 24 bits in QuickTime."""
    layout = stream.codec_context.layout
    if container == "webm":
        target = out.add_stream(OPUS, rate=OPUS_RATE)
        target.layout = "mono" if layout.nb_channels == 1 else "stereo"
    else:
        target = out.add_stream(PLAIN, rate=stream.codec_context.sample_rate)
        target.layout = layout.name
    return target


def keep(film: Path, begins: Fraction, length: float, folder: Path) -> tuple[str | None, list[str]]:
    """Copy the first sound of a film, from when its pictures begin and for so many seconds, into
    the folder; returns the file's name, None if there is none then, and what was done to it."""
    import av

    with blaming(f"the sound of {film}"), av.open(str(film)) as source:
        streams = source.streams.audio
        told = f"the first of its {len(streams)} sounds" if len(streams) > 1 else "its sound"
        if streams[0].codec_context is None:
            return None, [f"{told} is of a codec that is not known, and left out"]
        codec = codec_of(streams[0])
        # times of MP4 begin before 0, which Matroska cannot say
        kind = "mov" if fits(codec, "mov") else "matroska"
        path = folder / f"sound.{'mov' if kind == 'mov' else 'mka'}"
        count = 0

        def fill(file: Any) -> None:
            nonlocal count
            with av.open(file, "w", format=kind, options=EXACT) as out:
                target = out.add_stream_from_template(streams[0])
                for packet in copied(source, streams[0], target, begins, length):
                    out.mux(packet)
                    count += 1

        try:
            written(path, fill)
        except ValueError as error:  # of a codec that neither holds
            return None, [f"{told} ({codec}) cannot be copied, and is left out ({error})"]
    if not count:
        path.unlink(missing_ok=True)
        return None, [f"{told} is silent while its frames are shown, and left out"]
    return path.name, [f"{told} ({codec}) is kept as it is, in {path}"]


def save_wave(sound: Path, path: Path) -> Path:
    """The path of a WAV of 24 bits a sample that begins at time 0 of a sound: with silence if that
    begins later."""
    import wave

    import av

    def fill(file: Any) -> None:
        with av.open(str(sound)) as source, wave.open(file, "wb") as out:
            stream = source.streams.audio[0]
            rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
            out.setnchannels(layout.nb_channels)
            out.setsampwidth(3)
            out.setframerate(rate)
            change = av.AudioResampler("s32", layout.name, rate)
            begun = False
            for frame in source.decode(stream):
                late = 0 if begun else max(0, round((frame.time or 0.0) * rate))
                out.writeframes(bytes(3 * layout.nb_channels * late))
                begun = True
                for part in change.resample(frame):
                    samples = part.to_ndarray().astype("<i4").tobytes()
                    out.writeframes(
                        np.frombuffer(samples, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
                    )

    with blaming(f"the sound {sound}"):
        return written(path, fill)


def written(path: Path, fill: Callable[[Any], None]) -> Path:
    """The path, once `fill` has written the whole file."""
    try:
        files.write(path, fill)
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path
