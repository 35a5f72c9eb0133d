"""The folder of a decomposed clip: whose layers it holds,
which of its files are whole, and its films."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulacra.core import files
from simulacra.core.errors import Mistake
from simulacra.data._pictures import floats
from simulacra.io import paint as easel
from simulacra.io.clip import blaming
from simulacra.io.film import playing
from simulacra.io.pictures import opened

PARTS = "mask", "matte", "foreground", "background", "composite"  # folders with a PNG a frame
FILMS = "overlay.mp4", "overlay.gif", "background.mp4"
SEEN = "mask_on_first_frame.png"
QUALITY, OF, NETS, SOFT, PLATE = (
    "quality.json",
    "work/of.json",
    "work/net.safetensors",  # one each: net_1, net_2 ...
    "work/soft.safetensors",
    "work/plate.safetensors",
)
MARKS = "frames", "width", "height", "seed"  # which a refusal compares
TINT = 0.6, -0.6, -0.6  # of the object in the overlay
FASTEST = 50.0  # frames per second of a GIF

Facts = dict[str, Any]  # what a folder says of its layers


def read(path: Path) -> Facts:
    """What a JSON file says. A ValueError if it is not whole."""
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict) or not isinstance(found.get("of"), str):
        raise ValueError("it does not say of what it is")
    return found


def write(path: Path, facts: Facts) -> None:
    """Facts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, json.dumps(facts, indent=1) + "\n")


def claim(out: Path, facts: Facts) -> list[str]:
    """Note in the folder whose layers it holds, and say what was wrong with an earlier note. A
    Mistake if it holds the layers of something else, or files of these names that nothing says are
    layers."""
    if (out / QUALITY).is_file():
        try:
            same(out, read(out / QUALITY), facts)
        except (ValueError, OSError):
            raise Mistake(
                f"cannot read {out / QUALITY}; remove it, or name another folder"
            ) from None
        return []
    notes = []
    if (out / OF).is_file():
        try:
            same(out, read(out / OF), facts)
            return []
        except (ValueError, OSError):
            notes = [f"{out / OF} cannot be read; all is made anew"]
            swept(out)
    there = [name for name in (*PARTS, *FILMS) if (out / name).exists()]
    if there and not notes and len(there) < len(PARTS):
        raise Mistake(
            f"{out} holds {', '.join(there)}, which would be overwritten; name another folder"
        )
    write(out / OF, facts)
    return notes


def same(out: Path, found: Facts, wanted: Facts) -> None:
    """A Mistake unless the layers found are of what is wanted."""
    if found["of"] == wanted["of"]:
        return
    differ = [
        f"{key} {found[key]}, now {wanted[key]}"
        for key in MARKS
        if key in found and found[key] != wanted[key]
    ]
    for key, there in wanted["source"].items():
        here = found.get("source", {}).get(key)
        if here and here["digest"] != there["digest"] and not differ:
            differ = [f"{key} {here['name']}, now {there['name']} with other contents"]
    told = f" ({'; '.join(differ)})" if differ else ""
    raise Mistake(
        f"{out} holds the layers of another clip, mask or option{told}; name another folder"
    )


def finished(out: Path) -> Facts | None:
    """What is said of layers that were all written; None if they were not."""
    if not (out / QUALITY).is_file():
        return None
    found = read(out / QUALITY)
    return found if isinstance(found.get("fps"), int | float) else None


def swept(out: Path) -> None:
    """Remove what only a stopped run needs, and nothing else."""
    work = (out / OF).parent
    names = [Path(name).name for name in (SOFT, PLATE, OF)]
    nets = Path(NETS).stem
    for path in *work.glob(f"{nets}_*.safetensors"), *work.glob(f".{nets}_*.partial"):
        path.unlink(missing_ok=True)
    for name in names:
        for path in (work / name, *work.glob(f".{name}.*.partial")):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        work.rmdir()


def layers(out: Path, count: int) -> Iterator[Path]:
    """The paths of all layers of so many frames."""
    return (out / part / f"{number:05d}.png" for part in PARTS for number in range(count))


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


def lacking(out: Path, frames: Tensor) -> tuple[set[Path], set[Path]]:
    """Which layers of the frames (T, 3, H, W), and which films, are not there or damaged."""
    size = frames.shape[3], frames.shape[2]
    lost = {path for path in layers(out, len(frames)) if not is_whole(path, size)}
    films = {
        out / name for name in FILMS if name.endswith(".mp4") and not plays(out / name, len(frames))
    }
    return lost, films | {
        out / name for name in FILMS if name.endswith(".gif") and not is_whole(out / name, size)
    }


def stacked(folder: Path, count: int, mode: str) -> np.ndarray:
    """The layers in a folder, (T, H, W) or (T, H, W, C) uint8."""
    found = []
    for number in range(count):
        path = folder / f"{number:05d}.png"
        with blaming(path), opened(path) as image:
            found.append(np.asarray(image.convert(mode)))
    return np.stack(found)


def tinted(frames: Tensor, matte: Tensor) -> Tensor:
    """Frames (T, 3, H, W) in [-1, 1] with the object, as a matte (T, 1, H, W) has it, in red."""
    return torch.lerp(frames, torch.lerp(frames, torch.tensor(TINT).view(1, 3, 1, 1), 0.5), matte)


def films(out: Path, frames: Tensor, fps: float) -> list[str]:
    """Write the films of the layers in a folder, `frames` (T, 3, H, W) in [-1, 1] being the clip's.
    They are made of the layers' files, so that films made later have the same bytes."""
    matte = torch.from_numpy(stacked(out / "matte", len(frames), "L")).float()[:, None] / 255
    overlay = tinted(frames, matte)
    easel.save_mp4(overlay, out / "overlay.mp4", fps)
    easel.save_gif(overlay, out / "overlay.gif", min(fps, FASTEST))
    ground = stacked(out / "background", len(frames), "RGB").transpose(0, 3, 1, 2)
    easel.save_mp4(floats(ground), out / "background.mp4", fps)
    return (
        [f"{out / 'overlay.gif'} plays at {FASTEST:g} frames per second, the most that a GIF has"]
        if fps > FASTEST
        else []
    )


def write_layers(out: Path, made: Mapping[str, np.ndarray], only: set[Path] | None) -> None:
    """Write layers, each (T, H, W, C) uint8 by the folder's name; only some paths, or all."""
    for part, pixels in made.items():
        for number, one in enumerate(pixels):
            path = out / part / f"{number:05d}.png"
            if only is None or path in only:
                easel.write(path, easel.png(easel.picture(one)))
