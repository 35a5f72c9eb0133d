"""The layers of a decomposed clip as a stack: objects from the nearest to the farthest, what they
do to the light, the background; frame by frame, so that memory does not depend on the length.

Each of them lies over those behind it: it shows a share of itself and lets the rest through.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from simulacra.core.errors import Mistake
from simulacra.io import origin
from simulacra.io.clip import blaming
from simulacra.io.origin import Kept
from simulacra.tasks import _layer_folder

EFFECTS = "effects"
# how far the rounding of files to 8 bits can take layers from the composite of the same layers;
# what differs by more was changed by somebody, and stays
ROUNDED = 4 / 255
ROUNDS = 10
STEP = 0.5 / 255  # of an opacity, or of a colour beyond the common move, in a round
EXACT = 1e-4  # difference from a composite below which opacities stay
FINE = 1e-6
PEAK = {1: 255, 2: 65535}  # by bytes a value


class Front(NamedTuple):
    """A layer before the background."""

    name: str
    folder: Path  # of its frames, RGBA; of effects maybe grey, the share of light that they leave
    depth: int | None  # 0 is the nearest; None of effects


class Frame(NamedTuple):
    """A frame of a stack, floats in [0, 1]."""

    # (H, W, 4) by name, the nearest first: colours, and how opaque it is over what is behind it
    fronts: dict[str, np.ndarray]
    background: np.ndarray  # (H, W, 3)
    composite: np.ndarray  # (H, W, 3)
    changed: int  # pixels in which the layers do not make the composite


class Stack(NamedTuple):
    """The layers in a folder."""

    folder: Path
    fronts: tuple[Front, ...]  # the nearest first
    frames: int
    width: int
    height: int
    of: str  # fingerprint of clip, mask and options
    kept: Kept

    def frame(self, number: int) -> Frame:
        """One frame of all layers, moved by what the rounding of their files to 8 bits lost, so
        that they make the composite."""
        name = f"{number:05d}.png"
        ground = self.read(self.folder / "background" / name)[..., :3]
        composite = self.read(self.folder / "composite" / name)[..., :3]
        fronts = {front.name: self.front(front, name) for front in self.fronts}
        moved, changed = settled([*fronts.values(), ground], composite)
        return Frame(dict(zip(fronts, moved, strict=False)), moved[-1], composite, changed)

    def front(self, front: Front, name: str) -> np.ndarray:
        """A frame of a layer before the background, (H, W, 4) in [0, 1]."""
        path = front.folder / name
        pixels = self.read(path)
        if pixels.shape[2] == 3 or (pixels.shape[2] == 1 and front.depth is not None):
            kind = "colours or greys" if front.depth is not None else "colours"
            raise Mistake(
                f"layer {path} has {kind} without opacity; needed: RGBA"
                + ("" if front.depth is not None else ", or grey")
            )
        return shade(pixels)

    def read(self, path: Path) -> np.ndarray:
        """A layer's frame, (H, W, C) float64 in [0, 1]."""
        with blaming(path):
            pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
                raise ValueError("not a PNG of 8 or 16 bits")
        if pixels.shape[:2] != (self.height, self.width):
            raise Mistake(
                f"layer {path} is {pixels.shape[1]}x{pixels.shape[0]}, "
                f"needed: {self.width}x{self.height}; decompose the clip again"
            )
        pixels = pixels.reshape(self.height, self.width, -1) / PEAK[pixels.dtype.itemsize]
        return np.take(pixels, ([0], [0], [2, 1, 0], [2, 1, 0, 3])[pixels.shape[2] - 1], 2)

    def all(self) -> Iterator[Frame]:
        """Every frame."""
        return map(self.frame, range(self.frames))


def shade(effects: np.ndarray) -> np.ndarray:
    """Effects (H, W, 1 or 4) as a layer (H, W, 4): of grey ones, the share of light that they
    leave, a black one."""
    if effects.shape[2] == 4:
        return effects
    dark = np.zeros((*effects.shape[:2], 4))
    dark[..., 3] = 1 - effects[..., 0]
    return dark


def made_of(layers: list[np.ndarray]) -> list[np.ndarray]:
    """What is seen (H, W, 3) from each layer on to the last, the background, which is opaque:
    the first of them is the composite."""
    found = [layers[-1]]
    for pixels in reversed(layers[:-1]):
        alpha = pixels[..., 3:]
        found.insert(0, alpha * pixels[..., :3] + (1 - alpha) * found[0])
    return found


def shares(fronts: list[np.ndarray]) -> list[np.ndarray]:
    """How much (H, W, 1) is seen of each layer before the background, the nearest first."""
    left = np.ones((*fronts[0].shape[:2], 1))
    found = []
    for pixels in fronts:
        found.append(left * pixels[..., 3:])
        left = left - found[-1]
    return found


def settled(layers: list[np.ndarray], composite: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Layers, the nearest first and the background last, moved so that they make the composite
    (H, W, 3): all colours by what it differs, since their shares add up to 1; where colours end
    there (black, white), soft opacities by the little that helps most. And in how many pixels they
    differ by more than rounding, and are left as they are."""
    differs = np.abs(composite - made_of(layers)[0]).max(2)
    some = (differs > FINE) & (differs <= ROUNDED)
    found = [pixels.copy() for pixels in layers]
    if some.any():
        moved = closed([pixels[some][:, None] for pixels in layers], composite[some][:, None])
        for pixels, own in zip(found, moved, strict=True):
            pixels[some] = own[:, 0]
    return found, int((differs > ROUNDED).sum())


def closed(layers: list[np.ndarray], composite: np.ndarray) -> list[np.ndarray]:
    """The layers of pixels (N, 1, C), which are changed, moved so that they make the composite."""

    def error() -> np.ndarray:
        return np.asarray(composite - made_of(layers)[0])

    for _ in range(ROUNDS):
        left = error()
        for pixels in layers:
            pixels[..., :3] = (pixels[..., :3] + left).clip(0, 1)
        seen = shares(layers[:-1])
        for pixels, share in zip(layers, [*seen, 1 - sum(seen)], strict=True):
            # where other layers' colours have ended, this one's move farther
            step = (error() / np.maximum(share, FINE)).clip(-STEP, STEP) * (share > FINE)
            pixels[..., :3] = (pixels[..., :3] + step).clip(0, 1)
        through = np.ones_like(composite[..., :1])
        for i, pixels in enumerate(layers[:-1]):
            left = error()
            change = through * (pixels[..., :3] - made_of(layers[i + 1 :])[0])  # by its opacity
            best = (left * change).sum(2) / (change**2).sum(2).clip(FINE**2)
            soft = (pixels[..., 3] > 0) & (pixels[..., 3] < 1) & (np.abs(left).max(2) > EXACT)
            pixels[..., 3] = (pixels[..., 3] + soft * best.clip(-STEP, STEP)).clip(0, 1)
            through = through * (1 - pixels[..., 3:])
    return layers


def named(name: int) -> str:
    """The layer of one of several objects."""
    return f"foreground_{name}"


def opened(folder: Path, *needed: str) -> Stack:
    """The stack in a folder that decompose made. A Mistake if it is none, or is not finished, or
    lacks a frame of its layers or of what else is needed, by name."""
    facts = said(folder)
    names = [one["name"] for one in ordered(facts)]
    fronts = [
        Front(named(name), folder / "objects" / str(name) / "foreground", depth)
        for depth, name in enumerate(names)
    ] or [Front("foreground", folder / "foreground", 0)]
    if (folder / EFFECTS).is_dir():
        fronts.append(Front(EFFECTS, folder / EFFECTS, None))
    for place in (
        *(front.folder for front in fronts),
        folder / "background",
        *map(folder.joinpath, needed),
    ):
        for number in range(facts["frames"]):
            if not (place / f"{number:05d}.png").is_file():
                raise Mistake(
                    f"{place / f'{number:05d}.png'} is not there; the same decompose command "
                    "makes it again"
                )
    return Stack(
        folder,
        tuple(fronts),
        facts["frames"],
        facts["width"],
        facts["height"],
        facts["of"],
        origin.read(folder, facts["fps"]),
    )


def said(folder: Path) -> dict[str, Any]:
    """What quality.json says of finished layers."""
    path = folder / _layer_folder.QUALITY
    if folder.is_dir() and not path.is_file() and (folder / _layer_folder.OF).is_file():
        raise Mistake(
            f"the layers in {folder} are not finished; the same decompose command goes on"
        )
    if not path.is_file():
        raise Mistake(
            f"{folder} holds no layers; "
            f"`simulacra decompose CLIP --mask MASK -o {folder}` makes them"
        )
    try:
        facts = _layer_folder.read(path)
        if not all(facts[key] > 0 for key in ("frames", "width", "height", "fps")):
            raise ValueError("a number is not above 0")
    except (ValueError, KeyError, TypeError, OSError):
        raise Mistake(f"cannot read {path}; decompose the clip again") from None
    return facts


def ordered(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Objects of layers of several, the nearest first."""
    objects = facts.get("objects") or []
    return sorted(objects, key=lambda one: one.get("depth", 0)) if len(objects) > 1 else []
