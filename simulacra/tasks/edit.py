"""Edit: new composites of the layers that decompose made:
without the object, before another background, or elsewhere."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.data._pictures import floats
from simulacra.io import origin
from simulacra.io import paint as easel
from simulacra.io.clip import blaming, natural
from simulacra.io.clip_and_mask import WHOLE, coloured
from simulacra.io.film import clip_of
from simulacra.io.pictures import opened
from simulacra.nn.optical_flow import warp
from simulacra.tasks import _stack
from simulacra.video import layers
from simulacra.video.effects import Effects, of_layer

PARTS = "foreground", "background"


def edit(
    folder: Path,
    out: Path,
    *,
    remove: bool = False,
    background: Path | None = None,
    move: tuple[float, float] | None = None,
) -> tuple[list[Path], list[str]]:
    """Into the folder `out`: frames/ with a PNG a frame, edited.mp4 and edited.gif. What the object
    does to the light (effects/, if the layers have it) goes where it goes. `remove` leaves the
    clean background; `background` is a picture, or a clip, that takes its place, cropped about
    its middle and resized; `move` is by how many pixels the object goes right and down. Returns the
    files and what was done to the background."""
    if not (remove or background or move):
        raise Mistake(
            "nothing to edit; allowed: --remove, --background PICTURE, --move DX,DY, "
            "or several of them"
        )
    if remove and move:
        raise Mistake("--remove leaves nothing to --move; allowed: one of them")
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; results go into a folder")
    colours, matte, ground, fps = read_layers(folder)
    light = None if remove else read_effects(folder, ground)
    notes: list[str] = []
    if background is not None:
        ground, notes = other_ground(background, ground, fps)
    if move is not None:
        dx, dy = move
        if not (np.isfinite(dx) and np.isfinite(dy)):
            raise Mistake(
                f"move = {dx},{dy}; allowed: two finite numbers of pixels, right and down"
            )
        way = torch.tensor([-dx, -dy]).view(1, 2, 1, 1).expand(len(matte), 2, *matte.shape[2:])
        matte, colours = warp(matte, way, padding="zeros"), warp(colours, way)
        if light:
            dark, add = (warp(one, way, padding="zeros") for one in (1 - light.gain, light.add))
            light = Effects(1 - dark, add)
    made = ground if remove else layers.over(colours, matte, ground, *(light or ()))
    paths, times = easel.save_pngs(made, out / "frames"), origin.read(folder, fps).times
    return [
        *paths,
        easel.save_mp4(made, out / "edited.mp4", fps, times),
        easel.save_gif(made, out / "edited.gif", min(fps, 50), times),
    ], notes


def read_layers(folder: Path) -> tuple[Tensor, Tensor, Tensor, float]:
    """Foreground colours (T, 3, H, W) and background in [-1, 1], the matte (T, 1, H, W),
    and frames per second."""
    fps = float(_stack.said(folder)["fps"])
    front, ground = (
        read_part(folder / part, mode) for part, mode in zip(PARTS, ("RGBA", "RGB"), strict=True)
    )
    if front[:, :3].shape != ground.shape:
        raise Mistake(
            f"{folder}: foreground {tuple(front.shape)} "
            f"and background {tuple(ground.shape)} differ; decompose again"
        )
    return front[:, :3], (front[:, 3:] + 1) / 2, ground, fps


def read_part(folder: Path, mode: str) -> Tensor:
    """The pictures of a layer, (T, C, H, W) in [-1, 1]."""
    files = sorted(folder.glob("*.png"), key=lambda path: natural(path.name))
    if not files:
        raise Mistake(f"{folder} holds no layers; decompose the clip again")
    frames: list[np.ndarray] = []
    for file in files:
        with blaming(file), opened(file) as image:
            frames.append(np.asarray(image.convert(mode)))
        if frames[-1].shape != frames[0].shape:
            raise Mistake(
                f"layer {file} has another size than the first one; decompose the clip again"
            )
    return floats(np.stack(frames).transpose(0, 3, 1, 2))


def read_effects(folder: Path, like: Tensor) -> Effects | None:
    """What the object does to the light of a background (T, 3, H, W); None of layers that were made
    without."""
    if not (folder / "effects").is_dir():
        return None
    found = read_part(folder / "effects", "RGBA")
    if found[:, :3].shape != like.shape:
        raise Mistake(
            f"{folder}: effects {tuple(found.shape)} and background {tuple(like.shape)} differ; "
            "decompose again"
        )
    return of_layer(found[:, :3], (found[:, 3:] + 1) / 2)


def other_ground(path: Path, like: Tensor, fps: float) -> tuple[Tensor, list[str]]:
    """A picture's or clip's middle at the size and length of a background that is shown at `fps`; a
    shorter clip begins again. And what was done to it."""
    T, _, H, W = like.shape
    if not path.exists():
        raise Mistake(f"no background {path}")
    source = clip_of(path, WHOLE, "background")
    notes = [f"{path}: {one}" for one in source.notes]
    found: list[np.ndarray] = []
    for plain in coloured(path, source, notes):
        w, h = plain.size
        scale = min(w / W, h / H)
        left, top = (w - W * scale) / 2, (h - H * scale) / 2
        crop = (left, top, left + W * scale, top + H * scale)
        found.append(np.asarray(plain.resize((W, H), Image.Resampling.LANCZOS, crop)))
        if len(found) == T:
            break
    if not found:
        raise Mistake(f"background {path} has no frames")
    if (w, h) != (W, H):
        notes.append(f"{path}: cropped and resized from {w}x{h} to {W}x{H}")
    if 1 < len(found) < T:
        notes.append(f"{path}: it has {len(found)} frames, of {T}, and begins again")
    if len(found) > 1 and source.fps and abs(source.fps - fps) > 0.01 * fps:
        notes.append(
            f"{path}: its frames are taken one by one, at {fps:.4g} per second; "
            f"its own are {source.fps:.4g}"
        )
    return floats(np.stack(found).transpose(0, 3, 1, 2))[torch.arange(T) % len(found)], notes
