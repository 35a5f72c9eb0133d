"""Decompose: a clip and the mask of its first frame into foreground, matte and clean background, frame by frame.

What is done is kept in the folder `work` inside the results until all is written, so that a stopped run goes on."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from simulacra import paint as easel
from simulacra.data._pictures import floats
from simulacra.errors import Mistake
from simulacra.video import layers
from simulacra.video.clip import Clip, read_clip, read_mask

VERSION = 2  # of what `work` holds; another one is not gone on with
TINT = 0.6, -0.6, -0.6  # of the object in the overlay
Told = Callable[[str, float], None]  # hears what is being done and the share of it that is


def unheard(what: str, share: float) -> None:
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
    told: Told = unheard,
) -> tuple[dict[str, object], list[str]]:
    """Into the folder `out`: mask/ (black or white, what J and F are of), matte/ (soft, with what else of the object shows),
    foreground/ (RGBA), background/ and composite/ with a PNG a frame, overlay.mp4 and overlay.gif, background.mp4, and
    quality.json, written last. Returns what quality.json holds, and what was done to the
    clip and the mask. In a folder that holds these layers already nothing is done."""
    if longest < 0 or frames < 0 or (fps is not None and not 0 < fps <= 1000):
        raise Mistake(f"longest = {longest}, frames = {frames}, fps = {fps}; allowed: 0 or more, and fps up to 1000")
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; layers go into a folder")
    clip = read_clip(path, longest, frames)
    first, notes = read_mask(mask, *clip.frames.shape[2:])
    print_ = fingerprint(clip, first, seed)
    claim(out, print_)
    done = out / "quality.json"
    if done.exists():
        return json.loads(done.read_text()), [*clip.notes, *notes, f"{out} holds these layers already"]
    told_of = seen_as(clip.frames)
    soft = kept(out / "work" / "soft.safetensors", lambda: segmented(told_of, first, seed, told))
    matte = layers.mattes(told_of, soft["soft"])
    plates = kept(out / "work" / "plate.safetensors", lambda: plated(told_of, matte, told))
    background, known = plates["background"].float(), plates["known"].float()
    matte = layers.explained(told_of, matte, background, known)
    foreground = layers.foregrounds(told_of, matte, background)
    told("writing", 0.0)
    write(out, told_of, soft["soft"] > 0.5, matte, foreground, background, fps or clip.fps)
    found: dict[str, object] = dict(layers.quality(told_of, matte, foreground, background, known))
    found |= {"fps": fps or clip.fps, "height": told_of.shape[2], "width": told_of.shape[3], "seed": seed, "of": print_}
    easel.write(done, (json.dumps(found, indent=1) + "\n").encode())
    shutil.rmtree(out / "work", ignore_errors=True)
    return found, [*clip.notes, *notes]


def seen_as(frames: Tensor) -> Tensor:
    """Bytes as floats in [-1, 1]."""
    return floats(frames.numpy())


def fingerprint(clip: Clip, first: Tensor, seed: int) -> str:
    """Of all that the layers depend on."""
    found = hashlib.blake2b(repr((VERSION, seed, tuple(clip.frames.shape))).encode(), digest_size=8)
    found.update(clip.frames.numpy().tobytes())
    found.update(first.numpy().tobytes())
    return found.hexdigest()


def claim(out: Path, print_: str) -> None:
    """Note in the folder whose layers it holds; a Mistake if those of something else are in it."""
    for name, key in ("quality.json", "of"), ("work/of.json", "of"):
        if (out / name).is_file():
            try:
                other = json.loads((out / name).read_text())[key]
            except (ValueError, KeyError, OSError):
                raise Mistake(f"cannot read {out / name}; remove it, or name another folder") from None
            if other != print_:
                raise Mistake(f"{out} holds the layers of another clip, mask or option; name another folder")
            return
    easel.write(out / "work" / "of.json", json.dumps({"of": print_}).encode())


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What an earlier, stopped run made, or what is made now and kept."""
    if path.is_file():
        return load_file(path)
    made = make()
    easel.write(path, save({name: value.contiguous() for name, value in made.items()}))
    return load_file(path)  # as a resumed run sees it


def segmented(frames: Tensor, first: Tensor, seed: int, told: Told) -> dict[str, Tensor]:
    """How probable the object is, in half precision."""
    from simulacra.video.segment import segment

    return {"soft": segment(frames, first, seed=seed, told=lambda share: told("object", share)).float()}


def plated(frames: Tensor, matte: Tensor, told: Told) -> dict[str, Tensor]:
    """The background, and how much of it other frames show."""
    from simulacra.video.plate import clean_plate

    plate = clean_plate(frames, matte, told=lambda t, T: told("background", t / T))
    return {"background": plate.background.float(), "known": plate.known.half()}


def write(out: Path, frames: Tensor, mask: Tensor, matte: Tensor, foreground: Tensor, background: Tensor, fps: float) -> None:
    """All pictures and films."""
    composite = layers.over(foreground, matte, background)
    easel.save_pngs(2 * mask.float() - 1, out / "mask")
    easel.save_pngs(2 * matte - 1, out / "matte")
    easel.save_pngs(background, out / "background")
    easel.save_pngs(composite, out / "composite")
    rgba = np.concatenate([easel.to_bytes(foreground), easel.to_bytes(2 * matte - 1)], 3)
    easel.write_all(out / "foreground", ".png", (easel.png(Image.fromarray(one)) for one in rgba))
    tint = torch.tensor(TINT).view(1, 3, 1, 1)
    overlay = torch.lerp(frames, torch.lerp(frames, tint, 0.5), matte)
    easel.save_mp4(overlay, out / "overlay.mp4", fps)
    easel.save_gif(overlay, out / "overlay.gif", min(fps, 50))
    easel.save_mp4(background, out / "background.mp4", fps)
