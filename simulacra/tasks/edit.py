"""Edit: new composites of the layers that decompose made: without an object, before another
background, or elsewhere. Frame by frame, so that memory does not depend on the length."""

from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.stack import Stack
from simulacra.io import paint as easel
from simulacra.io.clip_and_mask import WHOLE, coloured
from simulacra.io.film import clip_of
from simulacra.io.given_masks import in_words
from simulacra.nn.optical_flow import warp
from simulacra.tasks import _layer_folder, _stack
from simulacra.tasks._layer_folder import home_of

Ground = Stack | None  # another background, (T or fewer, 3, H, W) bytes
Move = tuple[float, float]


def edit(
    folder: Path,
    out: Path,
    *,
    remove: bool = False,
    background: Path | None = None,
    move: Move | None = None,
    objects: tuple[int, ...] = (),
) -> tuple[list[Path], list[str]]:
    """Into the folder `out`: frames/ with a PNG a frame, edited.mp4 and edited.gif. `remove` leaves
    objects out; `background` is a picture, or a clip, that takes the background's place, cropped
    about its middle and resized; `move` is by how many pixels objects go right and down. `objects`
    are the names of those that are meant, all if none is. What they do to the light (effects/, if
    the layers have it) goes where all of them go. Returns the files and what was done to the
    background. A Mistake if there is nothing to edit, or no such layers or objects."""
    if not (remove or background or move):
        raise Mistake(
            "nothing to edit; allowed: --remove, --background PICTURE, --move DX,DY, "
            "or several of them"
        )
    if remove and move:
        raise Mistake("--remove leaves nothing to --move; allowed: one of them")
    if move and not np.isfinite(move).all():
        raise Mistake(
            f"move = {move[0]},{move[1]}; allowed: two finite numbers of pixels, right and down"
        )
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; results go into a folder")
    stack = _stack.opened(folder)
    meant = chosen(stack, objects)
    if objects and not (remove or move):
        raise Mistake("--object goes with --remove or --move; a background is behind all objects")
    rate = float(stack.kept.rate)
    ground: Ground = None
    notes: list[str] = []
    if background is not None:
        ground, notes = other_ground(background, stack, rate, home_of(out))
    frames = (composed(stack, t, meant, remove, move, ground) for t in range(stack.frames))
    pictures = (easel.picture((255 * one).round().clip(0, 255).astype(np.uint8)) for one in frames)
    paths = easel.write_all(out / "frames", ".png", stack.frames, map(easel.png, pictures))

    times, slow = stack.kept.times, min(rate, _layer_folder.FASTEST)
    one, two = (map(_layer_folder.layer, paths, repeat("RGB")) for _ in range(2))
    film = easel.save_mp4(one, out / "edited.mp4", rate, times)
    gif = easel.save_gif(map(_layer_folder.shrunk, two), out / "edited.gif", slow, times)
    return [*paths, film, gif], notes


def chosen(stack: _stack.Stack, objects: tuple[int, ...]) -> set[str]:
    """The names of the layers that are objects of these names, all if there are none; and of what
    they do to the light, if they are all."""
    fronts = [front.name for front in stack.fronts if front.depth is not None]
    own = {_stack.named(name): name for name in objects} if len(fronts) > 1 else {}
    for layer, name in own.items():
        if layer not in fronts:
            known = sorted(int(one.rpartition("_")[2]) for one in fronts)
            raise Mistake(f"object {name} is not in {stack.folder}; allowed: {in_words(known)}")
    if objects and len(fronts) == 1:
        raise Mistake(f"{stack.folder} holds the layers of one object; allowed: no --object")
    found = set(own) or set(fronts)
    return found | ({_stack.EFFECTS} if found == set(fronts) else set())


def composed(
    stack: _stack.Stack,
    t: int,
    meant: set[str],
    remove: bool,
    move: Move | None,
    ground: Ground,
) -> np.ndarray:
    """A new frame, (H, W, 3) in [0, 1]."""
    name = f"{t:05d}.png"
    behind = stack.read(stack.folder / "background" / name)[..., :3]
    if ground is not None:
        behind = ground[t % len(ground)].permute(1, 2, 0).numpy() / 255
    layers = []
    for front in stack.fronts:
        if remove and front.name in meant:
            continue
        pixels = stack.front(front, name)
        layers.append(moved(pixels, move) if move and front.name in meant else pixels)
    return _stack.made_of([*layers, behind])[0]


def moved(pixels: np.ndarray, move: Move) -> np.ndarray:
    """A layer (H, W, 4) so many pixels further right and down; what comes in is clear."""
    there = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
    way = torch.tensor([-move[0], -move[1]]).view(1, 2, 1, 1).expand(1, 2, *pixels.shape[:2])
    colours, opacity = warp(there[:, :3], way), warp(there[:, 3:], way, padding="zeros")
    found: Tensor = torch.cat([colours, opacity], 1)[0].permute(1, 2, 0)
    return found.double().numpy()


def other_ground(
    path: Path, stack: _stack.Stack, fps: float, place: Path
) -> tuple[Stack, list[str]]:
    """A picture's or clip's middle at the size and up to the length of layers that are shown at
    `fps`, kept in a folder; a shorter clip begins again. And what was done to it."""
    T, H, W = stack.frames, stack.height, stack.width
    if not path.exists():
        raise Mistake(f"no background {path}")
    source = clip_of(path, WHOLE, "background")
    notes = [f"{path}: {one}" for one in source.notes]
    found = Stack((0, 3, H, W), "bytes", place)
    for plain in coloured(path, source, notes):
        w, h = plain.size
        scale = min(w / W, h / H)
        left, top = (w - W * scale) / 2, (h - H * scale) / 2
        crop = (left, top, left + W * scale, top + H * scale)
        pixels = np.asarray(plain.resize((W, H), Image.Resampling.LANCZOS, crop))
        found.grow(pixels.transpose(2, 0, 1))
        if len(found) == T:
            break
    if not len(found):
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
    return found, notes
