"""Deliver: the layers that decompose made as editors and compositors take them: 16-bit PNG, layered
OpenEXR, films with opacity (ProRes 4444, VP9), and an OpenTimelineIO file of all of them.

A format takes its place when it is whole, and not before.
"""

import importlib.util
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from simulacra.core import extras, files
from simulacra.core.errors import Mistake, unknown
from simulacra.io import exr, layer_film, sound, timeline
from simulacra.io.origin import UNSAID, Colours
from simulacra.tasks import _stack
from simulacra.tasks._stack import EFFECTS, Frame, Stack
from simulacra.tasks.decompose import Notify, unheard

# bytes a pixel of a frame that each layer takes at most, as measured on films; noise takes more
NEED = {"png16": 4.0, "exr": 6.0, "prores": 2.5, "vp9": 1.0, "otio": 0.0}
FORMATS = tuple(NEED)
MODULES = {"exr": "OpenEXR", "otio": "opentimelineio"}  # of the extra `clips`
SHOWN = "prores", "vp9", "png16", "exr"  # what a timeline shows, the best first
SAID, SOUND, TIMELINE = "delivered.json", "sound.wav", "timeline.otio"
FULL = 65535


class Work(NamedTuple):
    """What is delivered, where, and who hears of it."""

    stack: Stack
    out: Path
    notify: Notify
    changed: dict[int, int]  # pixels, by frame, in which layers do not make the composite

    def frames(self, kind: str, part: float = 0.0, parts: int = 1) -> Iterator[Frame]:
        """Every frame; `part` of so many passes over them are done."""
        for number, frame in enumerate(self.stack.all()):
            self.notify(kind, (part + number / self.stack.frames) / parts)
            if frame.changed:
                self.changed[number] = frame.changed
            yield frame

    def names(self) -> list[str]:
        """The layers, the nearest first, with the background."""
        return [*(front.name for front in self.stack.fronts), "background"]


def deliver(
    folder: Path, formats: Sequence[str], out: Path, notify: Notify = unheard
) -> tuple[list[Path], list[str]]:
    """Into the folder `out` the layers of `folder` in these formats, in all that are installed if
    there are none: png16/ and exr/ with a file a frame, FOREGROUND.mov and .webm, background.mov
    and .webm, timeline.otio with sound.wav, and delivered.json, which says what the values mean.
    Returns what was written and what a person should be told. A Mistake before anything is written
    if a format is unknown or not installed, if the layers are none, or if the disk is too full."""
    wanted, notes = chosen(formats)
    work = Work(_stack.opened(folder, "composite"), out, notify, {})
    before = earlier(out, work.stack)
    if "otio" in wanted and not {*wanted, *before["formats"]} & {*SHOWN}:
        wanted = ["prores", *wanted]
        notes.append("a timeline needs films to show; prores is made, too")
    for name in (name for kind in wanted for name in places(kind, work)):
        if (out / name).exists() and name not in before["files"]:
            raise Mistake(f"{out / name} is there, but was not delivered; name another folder")
    spacious(work, wanted)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for kind in wanted:
            before["formats"] = [*dict.fromkeys([*before["formats"], kind])]
            before["files"] = [*dict.fromkeys([*before["files"], *places(kind, work)])]
            MAKERS[kind](work, before["formats"])
            files.write_text(out / SAID, json.dumps(facts(work.stack) | before, indent=1) + "\n")
    except OSError as error:
        where = error.filename or out
        raise Mistake(f"cannot write {where}: {error.strerror or error}") from None
    written = [out / name for kind in wanted for name in places(kind, work)]
    return [*dict.fromkeys(written)], notes + doubts(work, wanted)


def chosen(formats: Sequence[str]) -> tuple[list[str], list[str]]:
    """The formats that are asked for, in the order in which they are made, and which are left out
    where none is asked for."""
    for name in formats:
        if name not in FORMATS:
            raise Mistake(unknown(f"format '{name}'", name, FORMATS))
    lacking = [one for one in MODULES if importlib.util.find_spec(MODULES[one]) is None]
    how = extras.install("clips")
    for name in lacking:
        if name in formats:
            raise Mistake(f"{name} needs the package {MODULES[name]}; install it: {how}")
    if formats:
        return [name for name in FORMATS if name in formats], []
    notes = [f"{' and '.join(lacking)} left out; install what is lacking: {how}"] * bool(lacking)
    return [name for name in FORMATS if name not in lacking], notes


def earlier(out: Path, stack: Stack) -> dict[str, list[str]]:
    """Formats and files that were delivered into a folder before. A Mistake if they are of other
    layers."""
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; results go into a folder")
    path = out / SAID
    if not path.is_file():
        return {"formats": [], "files": []}
    try:
        found = json.loads(path.read_text("utf-8"))
        of, before = found["of"], {key: list(found[key]) for key in ("formats", "files")}
    except (ValueError, KeyError, TypeError):
        raise Mistake(f"cannot read {path}; remove it, or name another folder") from None
    if of != stack.of:
        raise Mistake(f"{out} holds what was delivered of other layers; name another folder")
    return before


def places(kind: str, work: Work) -> list[str]:
    """The names in the results of what a format writes."""
    if kind in layer_film.KINDS:
        return [name + layer_film.KINDS[kind].suffix for name in work.names()]
    if kind == "otio":
        return [TIMELINE, *([SOUND] if work.stack.kept.sound else [])]
    return [kind]


def spacious(work: Work, wanted: Sequence[str]) -> None:
    """A Mistake if the disk has less room than the formats will take, by a rough count."""
    stack = work.stack
    pixels = stack.frames * stack.width * stack.height * len(work.names())
    need = sum(NEED[kind] for kind in wanted) * pixels
    home = next(
        place for place in (work.out.absolute(), *work.out.absolute().parents) if place.exists()
    )
    free = shutil.disk_usage(home).free
    if need > free:
        raise Mistake(
            f"{', '.join(wanted)} of {stack.frames} frames of {stack.width}x{stack.height} take "
            f"about {need / 1e6:,.0f} MB; {home} has {free / 1e6:,.0f} MB left"
        )


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A hidden folder to write into, which takes the place of `path` when all is there; nothing is
    left of it otherwise."""
    partial, old = (path.parent / f".{path.name}.{word}" for word in ("partial", "old"))
    for stale in partial, old:
        shutil.rmtree(stale, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        for stale in partial, old:
            shutil.rmtree(stale, ignore_errors=True)


def whole(values: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as uint16."""
    return np.rint(values * FULL).astype(np.uint16)


def tagged(png: bytes, colours: Colours | None) -> bytes:
    """A PNG with the chunk that says its primaries and transfer, where the clip did."""
    if colours is None or UNSAID in colours[:2]:
        return png
    body = b"cICP" + bytes([colours.primaries, colours.transfer, 0, 1])
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]  # after the signature and the header


def pngs(work: Work, _: Sequence[str]) -> None:
    """16 bits a channel: colours and opacity, straight; the background; and mattes, how much is
    seen of each object."""

    def save(folder: Path, number: int, values: np.ndarray) -> None:
        swapped = values[..., [2, 1, 0, 3][: values.shape[2]]] if values.shape[2] > 1 else values
        content = cv2.imencode(".png", whole(swapped))[1].tobytes()
        folder.mkdir(exist_ok=True)
        (folder / f"{number:05d}.png").write_bytes(tagged(content, work.stack.kept.colours))

    with placed(work.out / "png16") as folder:
        for number, frame in enumerate(work.frames("png16")):
            save(folder / "background", number, frame.background)
            seen = _stack.shares([*frame.fronts.values()])
            for (name, pixels), share in zip(frame.fronts.items(), seen, strict=True):
                save(folder / name, number, pixels)
                if name != EFFECTS:
                    save(folder / name.replace("foreground", "matte"), number, share)


def exrs(work: Work, _: Sequence[str]) -> None:
    """OpenEXR, colours multiplied by opacity."""
    said = exr.attributes(work.stack.kept.colours, work.stack.kept.rate)
    with placed(work.out / "exr") as folder:
        for number, frame in enumerate(work.frames("exr")):
            layers = {
                name: np.dstack([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]])
                for name, pixels in frame.fronts.items()
            }
            layers["background"] = frame.background
            exr.save(folder / f"{number:05d}.exr", frame.composite, layers, said)


def films(kind: str) -> Callable[[Work, Sequence[str]], None]:
    """What makes a film of this kind of every layer."""

    def make(work: Work, _: Sequence[str]) -> None:
        names = work.names()
        for part, name in enumerate(names):
            frames = work.frames(kind, part, len(names))
            shown = (
                whole(frame.background if name == "background" else frame.fronts[name])
                for frame in frames
            )
            path = work.out / (name + layer_film.KINDS[kind].suffix)
            layer_film.save(path, layer_film.KINDS[kind], shown, work.stack.kept)

    return make


def editorial(work: Work, made: Sequence[str]) -> None:
    """The timeline, of all formats that are there."""
    stack = work.stack
    depths = {front.name: front.depth for front in stack.fronts}
    tracks = []
    for name in reversed(work.names()):
        media: dict[str, str | tuple[str, str]] = {}
        for kind in (one for one in SHOWN if one in made):
            if kind in layer_film.KINDS:
                media[kind] = name + layer_film.KINDS[kind].suffix
            else:
                media[kind] = ("exr", ".exr") if kind == "exr" else (f"png16/{name}", ".png")
        told = {"layer": name, "depth": depths.get(name), "opacity": opacity(made)}
        tracks.append(timeline.Track(name, media, told))
    heard = None
    if stack.kept.sound:
        heard = sound.save_wave(stack.kept.sound, work.out / SOUND).name
    rate = stack.kept.rate
    timeline.save(work.out / TIMELINE, tracks, heard, stack.frames, rate)


MAKERS: dict[str, Callable[[Work, Sequence[str]], None]] = {
    "png16": pngs,
    "exr": exrs,
    "prores": films("prores"),
    "vp9": films("vp9"),
    "otio": editorial,
}


def opacity(made: Sequence[str]) -> dict[str, str]:
    """Whether colours are multiplied by their opacity, by format."""
    return {one: "multiplied" if one == "exr" else "straight" for one in SHOWN if one in made}


def facts(stack: Stack) -> dict[str, Any]:
    """What delivered.json says of layers."""
    kept = stack.kept
    return {
        "of": stack.of,
        "frames": stack.frames,
        "width": stack.width,
        "height": stack.height,
        "fps": float(kept.rate),
        "layers": [{"name": one.name, "depth": one.depth} for one in stack.fronts],
        "encoding": exr.attributes(kept.colours, kept.rate)["simulacraEncoding"],
        "colours": kept.colours._asdict() if kept.colours else None,
        "opacity": opacity(SHOWN),
        "tick": [kept.times.tick.numerator, kept.times.tick.denominator] if kept.times else None,
        "starts": list(kept.times.starts) if kept.times else None,
    }


def doubts(work: Work, wanted: Sequence[str]) -> list[str]:
    """What a person should be told of what was delivered."""
    notes, kept = [], work.stack.kept
    if work.changed:
        number, pixels = max(work.changed.items(), key=lambda one: one[1])
        notes.append(
            f"in {len(work.changed)} frames the layers do not make composite/, most in frame "
            f"{number} ({pixels} pixels); they are delivered as they are"
        )
    uneven = [kind for kind in wanted if kind not in layer_film.KINDS]
    if kept.times is not None and uneven:
        notes.append(
            f"frames are unequally long, which {', '.join(uneven)} cannot say; "
            f"their times are in {work.out / SAID}"
        )
    if kept.sound is not None:
        codec = sound.codec_in(kept.sound)
        for kind in (one for one in wanted if one in layer_film.KINDS):
            if not sound.fits(codec, layer_film.KINDS[kind].container):
                notes.append(f"its sound ({codec}) is encoded anew for {kind}")
    return notes
