"""An OpenTimelineIO file of layers: a track each, the background lowest, and one of sound.

Media are named relative to the file, so that the folder may be moved.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from simulacra.core import files
from simulacra.core.errors import Mistake

DIGITS = 5  # of a frame's number in a file's name


class Track(NamedTuple):
    """A layer in a timeline, and the files that show it."""

    name: str
    # by kind, the first of them is shown: a film, or a folder of numbered frames and their ending
    media: Mapping[str, str | tuple[str, str]]
    told: Mapping[str, Any] = {}  # what else is said of it


def save(
    path: Path,
    tracks: Sequence[Track],  # the lowest first
    sound: str | None,  # a file of sound
    frames: int,
    rate: Fraction,  # frames per second
) -> Path:
    """The path of a timeline in which so many frames of every track are shown at once. A Mistake if
    it cannot be written."""
    from opentimelineio import adapters, opentime, schema

    whole = opentime.TimeRange(
        opentime.RationalTime(0, float(rate)), opentime.RationalTime(frames, float(rate))
    )

    def reference(place: str | tuple[str, str]) -> Any:
        if isinstance(place, str):
            return schema.ExternalReference(target_url=place, available_range=whole)
        return schema.ImageSequenceReference(
            target_url_base=place[0],
            name_suffix=place[1],
            start_frame=0,
            frame_step=1,
            rate=float(rate),
            frame_zero_padding=DIGITS,
            available_range=whole,
        )

    def track(one: Track, kind: str) -> Any:
        clip = schema.Clip(
            name=one.name, source_range=whole, metadata={"simulacra": dict(one.told)}
        )
        media = {name: reference(place) for name, place in one.media.items()}
        clip.set_media_references(media, next(iter(media)))
        return schema.Track(name=one.name, kind=kind, children=[clip])

    timeline = schema.Timeline(name=path.stem)
    for one in tracks:
        timeline.tracks.append(track(one, schema.TrackKind.Video))
    if sound:
        heard = Track("sound", {"wav": sound})
        timeline.tracks.append(track(heard, schema.TrackKind.Audio))
    try:
        files.write_text(path, adapters.write_to_string(timeline, "otio_json"))
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path
