"""Decompose: a clip and the mask of its first frame into foreground, matte and clean background,
frame by frame.

What is done is kept in the folder `work` inside the results until all is written, so that a stopped
run goes on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.data._pictures import floats
from simulacra.io import paint as easel
from simulacra.io.clip_and_mask import FAST, SLOW, Clip, paced, read_clip, read_mask
from simulacra.tasks import _layer_folder
from simulacra.tasks._layer_folder import Facts
from simulacra.video import layers
from simulacra.video._cache import kept

VERSION = 2  # of what `work` holds; another one is not gone on with
Notify = Callable[[str, float], None]  # hears what is being done and the share of it that is
Said = Callable[[str], None]  # hears at once what is returned as notes, too


def unheard(*_: object) -> None:
    """Tell nobody."""


def decompose(
    path: Path,
    mask: Path,
    out: Path,
    *,
    longest: int = 432,
    frames: int = 0,
    fps: float | None = None,
    seed: int = 0,
    notify: Notify = unheard,
    said: Said = unheard,
) -> tuple[Facts, list[str]]:
    """Into the folder `out`: mask_on_first_frame.png, at once, what the mask was taken for; mask/
    (black or white, what J and F are of), matte/ (soft, with what else of the object shows),
    foreground/ (RGBA), background/ and composite/ with a PNG a frame, overlay.mp4 and overlay.gif,
    background.mp4, and quality.json, written last. Returns what quality.json holds, and what was
    done to the clip and the mask. In a folder that holds these layers already only what is lost or
    damaged is made again, and films of another rate."""
    if longest < 0 or frames < 0 or (fps is not None and not SLOW <= fps <= FAST):
        raise Mistake(
            f"longest = {longest}, frames = {frames}, fps = {fps}; "
            f"allowed: 0 or more, and fps {SLOW:g} to {FAST:g}"
        )
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; layers go into a folder")
    notes: list[str] = []

    def note(lines: list[str]) -> None:
        notes.extend(lines)
        for line in lines:
            said(line)

    clip = read_clip(path, longest, frames, [mask])
    note(clip.notes)
    first, lines = read_mask(mask, clip.frames.shape[2], clip.frames.shape[3], clip.stored)
    note(lines)
    rate, lines = (fps, []) if fps else paced(clip.fps)
    note([f"{path}: {line}" for line in lines])
    facts = facts_of(clip, first, seed, (path.name, mask.name))
    note(_layer_folder.claim(out, facts))
    seen = seen_as(clip.frames)
    easel.write(
        out / _layer_folder.SEEN,
        easel.png(
            easel.picture(easel.to_bytes(_layer_folder.tinted(seen[:1], first[None].float()))[0])
        ),
    )
    note([f"what the mask was taken for: {out / _layer_folder.SEEN}"])
    return done(out, seen, first, facts | {"fps": rate}, notify, note), notes


def done(
    out: Path,
    frames: Tensor,
    first: Tensor,
    facts: Facts,
    notify: Notify,
    note: Callable[[list[str]], None],
) -> Facts:
    """Make whatever the folder lacks of the layers of frames (T, 3, H, W) in [-1, 1],
    and what it then says of them."""
    found = _layer_folder.finished(out)
    lost, films = _layer_folder.lacking(out, frames) if found else (None, set())
    if found is None or lost:
        if lost:
            note(
                [
                    f"{out}: {len(lost)} layers are not there or damaged, such as {min(lost)}; "
                    "made again"
                ]
            )
        found = {**layered(out, frames, first, facts, lost, notify, note), **facts}
    elif films or found["fps"] != facts["fps"]:
        why = (
            "are not there or damaged"
            if films
            else f"had {found['fps']:.4g} frames per second, and now have {facts['fps']:.4g}"
        )
        note([f"{out}: films {why}; written again"])
        found = {**found, "fps": facts["fps"]}
    else:
        _layer_folder.swept(out)
        note([f"{out} holds these layers already"])
        return found
    notify("writing", 0.5)
    note(_layer_folder.films(out, frames, facts["fps"]))
    _layer_folder.write(out / _layer_folder.QUALITY, found)
    _layer_folder.swept(out)
    return found


def layered(
    out: Path,
    frames: Tensor,
    first: Tensor,
    facts: Facts,
    lost: set[Path] | None,
    notify: Notify,
    note: Callable[[list[str]], None],
) -> Facts:
    """Make layers and write those that are lost, or all; returns their quality."""
    T, _, H, W = frames.shape
    of = str(facts["of"])
    soft, lines = kept(
        out / _layer_folder.SOFT,
        of,
        {"soft": (T, 1, H, W)},
        lambda: segmented(frames, first, facts["seed"], notify, (out / _layer_folder.NETS, of)),
    )
    note(lines)
    matte = layers.mattes(frames, soft["soft"])
    shapes = {"background": (T, 3, H, W), "known": (T, 1, H, W)}
    plates, lines = kept(
        out / _layer_folder.PLATE, of, shapes, lambda: plated(frames, matte, notify)
    )
    note(lines)
    background, known = plates["background"].float(), plates["known"].float()
    matte = layers.explained(frames, matte, background, known)
    foreground = layers.foregrounds(frames, matte, background)
    notify("writing", 0.0)
    opacity = easel.to_bytes(2 * matte - 1)
    made = {
        "mask": easel.to_bytes(2 * (soft["soft"] > 0.5).float() - 1),
        "matte": opacity,
        "background": easel.to_bytes(background),
        "composite": easel.to_bytes(layers.over(foreground, matte, background)),
        "foreground": np.concatenate([easel.to_bytes(foreground), opacity], 3),
    }
    _layer_folder.write_layers(out, made, lost)
    return dict(layers.quality(frames, matte, foreground, background, known))


def seen_as(frames: Tensor) -> Tensor:
    """Bytes as floats in [-1, 1]."""
    return floats(frames.numpy())


def facts_of(clip: Clip, first: Tensor, seed: int, names: tuple[str, str]) -> Facts:
    """All that the layers depend on: `of`, its fingerprint,
    and what tells a person how two differ."""
    T, _, H, W = clip.frames.shape
    sources = zip(("clip", "mask"), names, (clip.frames, first), strict=True)
    source = {
        kind: {"name": name, "digest": digest(value.numpy().tobytes())}
        for kind, name, value in sources
    }
    return {
        "of": fingerprint(clip, first, seed),
        "frames": T,
        "height": H,
        "width": W,
        "seed": seed,
        "source": source,
    }


def digest(data: bytes) -> str:
    """A short hash."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def fingerprint(clip: Clip, first: Tensor, seed: int) -> str:
    """Of all that the layers depend on."""
    found = hashlib.blake2b(repr((VERSION, seed, tuple(clip.frames.shape))).encode(), digest_size=8)
    found.update(clip.frames.numpy().tobytes())
    found.update(first.numpy().tobytes())
    return found.hexdigest()


def segmented(
    frames: Tensor, first: Tensor, seed: int, notify: Notify, place: tuple[Path, str]
) -> dict[str, Tensor]:
    """How probable the object is. The nets that find it are left at a place, with the fingerprint
    of the work, as soon as each is whole."""
    from simulacra.video.segment import Kept, segment

    soft = segment(
        frames,
        first,
        seed=seed,
        notify=lambda share: notify("object", share),
        kept=Kept(*place),
    )
    return {"soft": soft.float()}


def plated(frames: Tensor, matte: Tensor, notify: Notify) -> dict[str, Tensor]:
    """The background, and how much of it other frames show."""
    from simulacra.video.plate import clean_plate

    plate = clean_plate(frames, matte, notify=lambda t, T: notify("background", t / T))
    return {"background": plate.background.float(), "known": plate.known.half()}
