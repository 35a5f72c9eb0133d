"""The folder of a decomposed clip: whose layers it holds,
which of its files are whole, and its films."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulacra.core import files
from simulacra.core.errors import Mistake
from simulacra.core.stack import Frames
from simulacra.data._pictures import floats
from simulacra.io import origin
from simulacra.io import paint as easel
from simulacra.io.clip import blaming
from simulacra.io.clip_and_mask import fitting
from simulacra.io.film import playing
from simulacra.io.pictures import opened
from simulacra.video._background_flow import at_size

PARTS = "mask", "matte", "foreground", "background", "composite"  # folders with a PNG a frame
OWN = "mask", "matte", "foreground"  # which each of several objects has, too
OBJECTS = "objects"  # the folder of theirs
FILMS = "overlay.mp4", "overlay.gif", "background.mp4"
SEEN = "mask_on_first_frame.png"
QUALITY, OF, BEFORE, NETS, SOFT, PLATE = (
    "quality.json",
    "work/of.json",
    # quality.json of the layers that a correction has begun to write over
    "work/before.json",
    "work/net.safetensors",  # one each: net_1, net_2 ...
    "work/soft",  # each with a name and an ending
    "work/plate",
)
MARKS = "frames", "width", "height", "seed", "fast", "features"  # which a refusal compares
USUAL = {"fast": False, "features": "imagenet"}  # what folders that do not say have
# of objects in the overlay, the first again after the last
TINTS = (0.6, -0.6, -0.6), (-0.6, 0.6, -0.6), (-0.2, -0.2, 0.9), (0.7, 0.6, -0.6), (0.6, -0.5, 0.7)
FASTEST = 50.0  # frames per second of a GIF
LARGEST = 432  # longer side of a GIF, pixels

Facts = dict[str, Any]  # what a folder says of its layers


def home_of(out: Path) -> Path:
    """The folder that is there in which results are, or will be."""
    return next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())


def read(path: Path) -> Facts:
    """What a JSON file says. A ValueError if it is not whole."""
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict) or not isinstance(found.get("of"), str):
        raise ValueError("it does not say of what it is")
    return found


def write(path: Path, facts: Facts) -> None:
    """Facts as JSON, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    files.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def claim(out: Path, facts: Facts, earlier: str, anew: bool) -> list[str]:
    """Note in the folder whose layers it is to hold, and say what was wrong with an earlier note. A
    Mistake if it holds the layers of something else, or files of these names that nothing says are
    layers. Of the layers of fewer masks, or with `anew` of other ones of the same clip, only what
    changes will be written. `earlier` is what an earlier version calls the same."""
    whole, doing, notes = None, None, []
    if (out / QUALITY).is_file():
        try:
            whole = read(out / QUALITY)
        except (ValueError, OSError):
            raise Mistake(
                f"cannot read {out / QUALITY}; remove it, or name another folder"
            ) from None
        if whole["of"] in (facts["of"], earlier):
            return []
    if (out / OF).is_file():
        try:
            doing = read(out / OF)
        except (ValueError, OSError):
            notes = [f"{out / OF} cannot be read; all is made anew"]
            swept(out)
    if doing and doing["of"] == facts["of"]:
        return notes
    held = whole or doing
    if held is not None:
        if not (corrects(held, facts) or (anew and same_clip(held, facts))):
            refuse(out, held, facts, anew)
        notes = [instead(out, held, facts, whole is not None)]
        (out / BEFORE).unlink(missing_ok=True)  # the layers may be of neither by now
    there = [name for name in (*PARTS, *FILMS, OBJECTS) if (out / name).exists()]
    if there and not notes and len(there) < len(PARTS):
        raise Mistake(
            f"{out} holds {', '.join(there)}, which would be overwritten; name another folder"
        )
    write(out / OF, facts)
    if held is not None:
        swept(out, but=OF)
    return notes


def instead(out: Path, held: Facts, facts: Facts, whole: bool) -> str:
    """What is said of layers that give way to those of other masks."""
    if not whole:
        return f"{out} holds part of the layers of other masks; all are made anew"
    known = sorted(int(t) for t in masks_of(held))
    more = [t for t in facts["given"] if t not in known]
    now = (
        f"now also with {shown(more)}" if corrects(held, facts) else f"now {shown(facts['given'])}"
    )
    return (
        f"{out} holds the layers of masks of frames {shown(known)}, {now}; "
        "frames whose masks stay the same are left as they are"
    )


def shown(numbers: Sequence[int]) -> str:
    """Numbers of frames or objects, for a person."""
    return ", ".join(map(str, numbers))


def masks_of(facts: Facts) -> dict[str, Facts]:
    """Name and digest of the masks that layers are made of, by frame."""
    source = facts.get("source", {})
    found: dict[str, Facts] = source.get("masks") or {}
    return found or ({"0": source["mask"]} if "mask" in source else {})


def differences(found: Facts, wanted: Facts, kinds: tuple[str, ...]) -> list[str]:
    """How options and these sources differ, for a person."""
    differ = [
        f"{key} {found.get(key, USUAL.get(key))}, now {wanted[key]}"
        for key in MARKS
        if (key in found or key in USUAL) and found.get(key, USUAL.get(key)) != wanted[key]
    ]
    for key in kinds:
        here, there = found.get("source", {}).get(key), wanted["source"][key]
        if here and here["digest"] != there["digest"] and not differ:
            differ = [f"{key} {here['name']}, now {there['name']} with other contents"]
    return differ


def same_clip(found: Facts, wanted: Facts) -> bool:
    """Whether what is found says that it is of the same clip and options."""
    return "clip" in found.get("source", {}) and not differences(found, wanted, ("clip",))


def corrects(found: Facts, wanted: Facts) -> bool:
    """Whether what is wanted is of the same clip, options and objects, and of more masks."""
    before, now = masks_of(found), masks_of(wanted)
    return (
        bool(before)
        and same_clip(found, wanted)
        and all(t in now and one["digest"] == now[t]["digest"] for t, one in before.items())
        and names_of(found) in (names_of(wanted), ())
    )


def names_of(facts: Facts) -> tuple[int, ...]:
    """The names of the objects that layers show; none if they do not say."""
    return tuple(one["name"] for one in facts.get("objects", ()))


def refuse(out: Path, found: Facts, wanted: Facts, anew: bool) -> None:
    """The Mistake that a folder holds other layers than those wanted."""
    differ = differences(found, wanted, ("clip",))
    before, now = (masks_of(facts) for facts in (found, wanted))
    gone = [t for t in before if t not in now]
    other = [t for t in before if t in now and before[t]["digest"] != now[t]["digest"]]
    if not differ and gone:
        differ = [f"it has a mask of frame {gone[0]}, which is not given now"]
    if not differ and other:
        t = other[0]
        which = "mask" if t == "0" else f"mask of frame {t}"
        here, there = before[t]["name"], now[t]["name"]
        differ = [f"{which} {here}, now {there} with other contents"]
    if not differ and names_of(found) not in (names_of(wanted), ()):
        differ = [f"objects {shown(names_of(found))}, now {shown(names_of(wanted))}"]
    told = f" ({'; '.join(differ)})" if differ else ""
    hint = ", or give --anew" if same_clip(found, wanted) and not anew else ""
    raise Mistake(
        f"{out} holds the layers of another clip, mask or option{told}; name another folder{hint}"
    )


def finished(out: Path, facts: Facts, earlier: str) -> Facts | None:
    """What is said of layers that were all written; None if they were not."""
    if not (out / QUALITY).is_file():
        return None
    found = read(out / QUALITY)
    whole = isinstance(found.get("fps"), int | float) and found["of"] in (facts["of"], earlier)
    return found if whole else None


def before(out: Path) -> Facts | None:
    """What was said of the layers that a correction replaces; None if there were none, or if it
    cannot be read."""
    for name in QUALITY, BEFORE:
        try:
            return read(out / name)
        except (ValueError, OSError):
            continue
    return None


def begin_writing(out: Path, facts: Facts) -> None:
    """From here on the folder's layers are no longer those of its quality.json, if that is of
    others."""
    if (out / QUALITY).is_file() and read(out / QUALITY)["of"] != facts["of"]:
        write(out / OF, facts)
        (out / QUALITY).replace(out / BEFORE)
        files.settle((out / BEFORE).parent)
        files.settle(out)


def unfinished(out: Path, facts: Facts) -> bool:
    """Whether a stopped run has left what other layers need, not these."""
    try:
        return bool(read(out / OF)["of"] != facts["of"])
    except (ValueError, OSError):
        return False


def swept(out: Path, but: str = "") -> None:
    """Remove what only a stopped run needs, and nothing else."""
    work = (out / OF).parent
    names = [Path(name).name for name in (BEFORE, OF) if name != but]
    for name in (Path(one).stem for one in (NETS, SOFT, PLATE)):
        for path in (*work.glob(f"{name}_*"), *work.glob(f"{name}.*"), *work.glob(f".{name}*")):
            path.unlink(missing_ok=True)
    for name in names:
        for path in (work / name, *work.glob(f".{name}.*.partial")):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        work.rmdir()


def parts_of(names: Sequence[int]) -> list[str]:
    """The folders with a PNG a frame of objects of these names."""
    own = [f"{OBJECTS}/{name}/{part}" for name in names for part in OWN]
    return [*PARTS, *(own if len(names) > 1 else [])]


def left_over(out: Path, found: Facts, names: Sequence[int], given: Sequence[int]) -> list[Path]:
    """What earlier layers have beside those of objects of these names and given frames."""
    paths = [out / seen_at(t) for t in found.get("given", ()) if t not in given]
    for part in parts_of(names_of(found)):
        if part not in parts_of(names):
            paths += [out / part / f"{number:05d}.png" for number in range(found["frames"])]
    return paths


def cleared(out: Path, paths: Sequence[Path]) -> None:
    """Remove these files, and the folders inside that are then empty."""
    for path in paths:
        path.unlink(missing_ok=True)
    inside = {folder for path in paths for folder in path.parents if out in folder.parents}
    for folder in sorted(inside, key=lambda one: -len(one.parts)):
        with suppress(OSError):
            folder.rmdir()


def seen_at(t: int) -> str:
    """The name of the picture that shows what the mask of a frame was taken for."""
    return f"mask_on_frame_{t:05d}.png" if t else SEEN


def layers(out: Path, frames: Iterable[int], names: Sequence[int]) -> Iterator[Path]:
    """The paths of all layers of these frames and objects."""
    numbers = list(frames)
    return (out / part / f"{number:05d}.png" for part in parts_of(names) for number in numbers)


def is_whole(path: Path, size: tuple[int, int]) -> bool:
    """Whether a picture of this width and height, or each of a GIF, can be read to its end."""
    try:
        with blaming(path), opened(path) as image:
            for i in range(getattr(image, "n_frames", 1)):
                image.seek(i)
                image.load()
            return image.size == size and (
                image.format != "GIF" or path.read_bytes().endswith(b";")
            )
    except Mistake:
        return False


def plays(path: Path, count: int) -> bool:
    """Whether a film has as many frames."""
    try:
        with playing(path) as (_, stream):
            return bool(stream.frames == count)
    except Mistake:
        return False


def lacking(
    out: Path, size: tuple[int, int], count: int, names: Sequence[int]
) -> tuple[set[Path], set[Path]]:
    """Which layers of so many frames of this width and height and of the objects, and which films,
    are not there or damaged."""
    lost = {path for path in layers(out, range(count), names) if not is_whole(path, size)}
    films = {out / name for name in FILMS if name.endswith(".mp4") and not plays(out / name, count)}
    small = fitting(*size, LARGEST)
    return lost, films | {
        out / name for name in FILMS if name.endswith(".gif") and not is_whole(out / name, small)
    }


def layer(path: Path, mode: str) -> Tensor:
    """A frame of a layer, (C, H, W) in [-1, 1]."""
    with blaming(path), opened(path) as image:
        pixels = np.array(image.convert(mode))
    return floats(pixels[..., None] if pixels.ndim == 2 else pixels).permute(2, 0, 1)


def shrunk(frame: Tensor) -> Tensor:
    """A frame (C, H, W) with a longer side of at most LARGEST, as GIFs have it."""
    width, height = fitting(frame.shape[2], frame.shape[1], LARGEST)
    return at_size(frame[None], (height, width))[0]


def tinted(frames: Tensor, mattes: Tensor) -> Tensor:
    """Frames (T, 3, H, W) in [-1, 1] with objects, as mattes (T, K, H, W) have them, in colours,
    the first in red."""
    found = frames
    for k, matte in enumerate(mattes.split(1, 1)):
        tint = torch.tensor(TINTS[k % len(TINTS)]).view(1, 3, 1, 1)
        found = torch.lerp(found, torch.lerp(frames, tint, 0.5), matte)
    return found


def films(out: Path, frames: Frames, fps: float, names: Sequence[int]) -> list[str]:
    """Write the films of the layers in a folder, `frames` (T, 3, H, W) in [-1, 1] being the clip's,
    at this rate or at the times that the folder keeps of the clip.
    They are made of the layers' files, so that films made later have the same bytes."""
    mattes = [part for part in parts_of(names) if part.endswith("/matte")] or ["matte"]
    times, T = origin.read(out, fps).times, len(frames)

    def overlay(t: int) -> Tensor:
        each = [(layer(out / one / f"{t:05d}.png", "L") + 1) / 2 for one in mattes]
        return tinted(frames[t : t + 1], torch.stack(each, 1))[0]

    easel.save_mp4(map(overlay, range(T)), out / "overlay.mp4", fps, times)
    rate = min(fps, FASTEST)
    easel.save_gif(map(shrunk, map(overlay, range(T))), out / "overlay.gif", rate, times)
    ground = (layer(out / "background" / f"{t:05d}.png", "RGB") for t in range(T))
    easel.save_mp4(ground, out / "background.mp4", fps, times)
    return (
        [f"{out / 'overlay.gif'} plays at {FASTEST:g} frames per second, the most that a GIF has"]
        if fps > FASTEST
        else []
    )


def put(path: Path, data: bytes) -> None:
    """Write a file unless it holds these bytes already."""
    if not (path.is_file() and path.read_bytes() == data):
        easel.write(path, data)


def write_layers(out: Path, made: Mapping[str, np.ndarray], number: int, only: set[Path]) -> None:
    """Write those of the layers of a frame, each (H, W, C) uint8 by the folder's name, whose paths
    are named."""
    for part, pixels in made.items():
        path = out / part / f"{number:05d}.png"
        if path in only:
            easel.write(path, easel.png(easel.picture(pixels)))
