"""Clips of one object that moves over a scene, made of real photographs, with everything known that
a clip hides.

frames = matte * foreground + (1 - matte) * background, pixel by pixel. x points right, y down, the
frame's upper left corner is (0, 0) and its first pixel's centre (0.5, 0.5); as a complex number a
place is x + iy. Lengths are given for frames of 432 x 240 and scaled by the root of the frame's
area; so is all else, but for `edge`.

- Background: a photograph, colours a little changed, turned by up to 0.15 rad, mirrored or not; the
  frames' views span 50 to 100 % of it. The camera follows the object by 0 to 80 %, drifts, rolls by
  up to 0.03 rad and zooms by up to 4 %.
- Object: part of another photograph, that of 16 places drawn which has detail all over, in a smooth
  outline of 5 to 16 % of the frame. It goes over the background along an arc of an ellipse, at a
  speed that stays between two drawn from `speed`, turns by up to 0.4 rad and scales by up to 10 %.
  It is rigid; at least 60 % of it is in each frame.
- Contrast: the object's mean colour is moved to 0.15 to 0.4 (root mean square of three channels in
  [-1, 1]) from that of the background which it passes, but within [-0.55, 0.55], and a flat texture
  gets up to twice its contrast. So it is seen, yet colour does not cut it out: the best linear
  threshold on colour in first frames tells object from background, both weighing half, in a median
  of 0.83 of cases over 100 clips, and of 0.86 over six of DAVIS.

- Light, off unless asked for: the ground g (B + 1) - 1 + b takes the background's place in the sum
  above. A shadow is the outline, displaced downwards with a soft edge, in which the gain g falls; a
  reflection is the object mirrored at the level of its lowest place, which takes a share of the
  ground and adds as much of its own colours, less the deeper.

Both splits draw from the same photographs: what is held out are places, shapes, paths and colours.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.data._order import Order
from simulacra.data._pictures import floats
from simulacra.data._plane import Outline, Similarity
from simulacra.data.folder import extent, locate
from simulacra.data.folder import files_if_named as files
from simulacra.io.clip import photograph
from simulacra.io.listing import usable
from simulacra.io.pictures import header
from simulacra.nn.optical_flow import Flows

AREA = 240 * 432  # pixels of the frame that lengths refer to
FINE = 2  # pixels of a photograph, as it is sampled, to one of the frame, each way
# pixels to one of the frame that photographs are first reduced to, so that motion does not alias
SHARP = 0.7
MOST = 2**23  # pixels of a clip
INSIDE = 0.6  # least share of the object inside each frame
TRIES = 20  # paths drawn, each tamer than the one before; the last always fits
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="layered",
):
    """What clips are like, and how many."""

    # a folder of photographs, absolute or inside the data folder; empty: the two of scikit-learn
    path: str = ""
    height: Annotated[int, msgspec.Meta(ge=32, le=512)] = 120  # of a frame in pixels
    # of a frame in pixels; no side above three times the other
    width: Annotated[int, msgspec.Meta(ge=32, le=1024)] = 216
    frames: Annotated[int, msgspec.Meta(ge=2, le=200)] = 24  # in a clip
    count: Count = 1_000  # clips to train on
    held_out: Count = 100  # further clips
    # of the data alone; a run's seed does not change them
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    # least and most of the object relative to the background, px a frame
    speed: tuple[float, float] = (1.0, 6.0)
    # most of the camera's drift besides following, px a frame
    camera: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.5
    # width of the matte's ramp from 0 to 1, px of the frame itself
    edge: Annotated[float, msgspec.Meta(ge=1, le=8)] = 2.0
    # most of the ground's light that the object's shadow takes; 0: there is none
    shadow: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.0
    # most of the ground that the object's mirror image takes; 0: there is none
    reflection: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.0

    @property
    def unit(self) -> float:
        """How many pixels of this frame are one of a frame of 432 x 240."""
        return (self.height * self.width / AREA) ** 0.5


class Sheet(NamedTuple):
    """A photograph without end, mirrored at its borders."""

    colours: Tensor  # (3, h, w) in [-1, 1]
    # (1,), from places on the sheet, in pixels of the frame, to places on the colours
    place: Similarity

    def colours_at(self, places: np.ndarray) -> Tensor:
        """The colours at places (T, n) of the sheet, bilinear, (T, 3, n)."""
        size = torch.tensor([self.colours.shape[2], self.colours.shape[1]])
        there = torch.from_numpy(self.place(places).astype(np.complex64))
        on = torch.view_as_real(there) * 2 / size - 1
        found = F.grid_sample(
            self.colours[None], on[None], padding_mode="reflection", align_corners=False
        )
        return found[0].transpose(0, 1).clamp(-1, 1)


class Light(NamedTuple):
    """What the object does to the light around it."""

    shadow: float = 0.0  # share of the ground's light that its shadow takes
    shift: complex = 0j  # from the object to its shadow, pixels of the frame
    soft: float = 1.0  # width of the shadow's edge, pixels of the frame
    reflection: float = 0.0  # share of the ground that its mirror image takes, at its foot
    fade: float = 1.0  # how far below its foot that share is 1 / e of it, pixels of the frame


class Scene(NamedTuple):
    """All that a clip is painted from."""

    options: Options
    outline: Outline  # of the object, about its centre
    pose: Similarity  # from places about the object's centre to the frame
    view: Similarity  # from the frame to the ground
    figure: Sheet  # the object's
    ground: Sheet  # the background's
    light: Light = Light()


class Layers(NamedTuple):
    """A clip: frames = matte * foreground + (1 - matte) * background, but for its light."""

    frames: Tensor  # (T, 3, H, W) in [-1, 1]
    matte: Tensor  # (T, 1, H, W) in [0, 1]
    # (T, 3, H, W) in [-1, 1]; where the matte is 0, the object's photograph goes on
    foreground: Tensor
    background: Tensor  # (T, 3, H, W) in [-1, 1], without the object and what it does to the light


class Truth(NamedTuple):
    """What is known of a clip."""

    layers: Layers
    mask: Tensor  # (T, 1, H, W) bool: where the matte is at least 0.5
    flow: Flows  # exact, of what is seen: of the object in the mask, of the background elsewhere
    # (T, 1, H, W) bool: in the mask, and the background there is wholly uncovered in another frame
    revealed: Tensor
    centre: Tensor  # (T, 2) x and y of the object's centre
    scene: Scene
    gain: Tensor  # (T, 1, H, W) in [0, 1], of the background's light, black being 0
    add: Tensor  # (T, 3, H, W) in [0, 2], light that comes to it


def sources(options: Options, root: Path | None) -> dict[Path, tuple[int, int]]:
    """The photographs to use, with width and height:
    the folder's, or the pagoda and the flower, CC BY 2.0, of scikit-learn."""
    if options.path:
        folder, names = locate(options.path, root), list(files(options, root))
    else:
        spec = find_spec("sklearn")  # to import it takes a second
        if spec is None or not spec.submodule_search_locations:
            raise Mistake(
                "data set 'layered' needs the package 'scikit-learn', "
                "which is not installed, or data.path"
            )
        folder = Path(spec.submodule_search_locations[0], "datasets", "images")
        names = ["china.jpg", "flower.jpg"]
    if len(names) < 2:
        raise Mistake(
            f"{folder} holds {len(names)} picture; "
            "needed: 2 or more, for the object and for the background"
        )
    found = {
        folder / name: head.size
        for name, head in usable(folder, names, lambda _, path: header(path)).items()
    }
    least = min(options.height, options.width) / 2
    for path, (w, h) in found.items():
        if min(w, h) < least:
            raise Mistake(
                f"picture {path} is {w}x{h}; "
                f"allowed: sides of at least {least:g}, half the frames' shorter side"
            )
    return found


def developed(image: Image.Image, scale: float, mirrored: bool) -> Tensor:
    """The photograph (3, h, w) in [-1, 1], FINE pixels to one of the frame,
    as which `scale` of its own pixels count."""
    coarse, fine = (
        [max(2, round(side * to / scale)) for side in image.size] for to in (SHARP, FINE)
    )
    smooth = image.resize((coarse[0], coarse[1])).resize((fine[0], fine[1]))
    colours = floats(np.asarray(smooth).transpose(2, 0, 1))
    return colours.flip(2) if mirrored else colours


def blob(options: Options, dice: np.random.Generator) -> Outline:
    """An outline; its waves' lengths add up to less than two thirds."""
    h, w = options.height, options.width
    radius = min((dice.uniform(0.05, 0.155) * h * w / np.pi) ** 0.5, 0.3 * min(h, w))
    lengths = dice.uniform(0, 0.45, 5) / np.arange(2, 7)
    return Outline(radius, lengths * np.exp(1j * dice.uniform(0, 2 * np.pi, 5)))


def sway(count: int, dice: np.random.Generator) -> np.ndarray:
    """A sine within -1 to 1 whose period is 40 to 100 frames, (count,)."""
    return np.sin(dice.uniform(0, 2 * np.pi) + 2 * np.pi / dice.uniform(40, 100) * np.arange(count))


def arc(options: Options, dice: np.random.Generator) -> np.ndarray:
    """The object's way over the ground, about the way's middle, (T,): on an ellipse, which keeps
    every step between two lengths drawn, and the object near, however many frames."""
    slow, fast = np.sort(dice.uniform(*options.speed, 2)) * options.unit
    # rad a frame
    rate = max(dice.uniform(0.03, 0.08), fast / (0.35 * min(options.height, options.width)))
    angle = dice.uniform(0, 2 * np.pi) + dice.choice([-1, 1]) * rate * np.arange(options.frames)
    way = (fast * np.cos(angle) + 1j * slow * np.sin(angle)) / (2 * np.sin(rate / 2))
    way = way * np.exp(1j * dice.uniform(0, 2 * np.pi))
    return way - (way.real.min() + way.real.max() + 1j * (way.imag.min() + way.imag.max())) / 2


def staged(
    options: Options, outline: Outline, dice: np.random.Generator
) -> tuple[Similarity, Similarity]:
    """Pose and view of each frame, such that enough of the object is in it."""
    h, w, count = options.height, options.width, options.frames
    inner, middle = outline.points(), (w + 1j * h) / 2
    for wild in np.linspace(1, 0, TRIES):  # at 0 the camera keeps the object in the middle
        way = arc(options, dice)
        follow = 1 - wild * dice.uniform(0.2, 1)
        drift = (sway(count, dice) + 1j * sway(count, dice)) * options.camera * options.unit
        drift = drift * 40 / (2 * np.pi * 2**0.5)
        start = dice.uniform(-0.4, 0.4) * w + 1j * dice.uniform(-0.4, 0.4) * h
        zoom = np.exp(0.04 * sway(count, dice) + 0.03j * sway(count, dice))
        view = Similarity(zoom, middle + follow * way + wild * drift - zoom * middle)
        turn = np.exp(0.1 * sway(count, dice) + 0.4j * sway(count, dice))
        pose = Similarity(turn, middle + wild * start + way).then(view.inverse())
        there = pose(inner)
        within = (there.real > 0) & (there.real < w) & (there.imag > 0) & (there.imag < h)
        if within.mean(1).min() >= INSIDE:
            break
    return pose, view


def grounded(
    options: Options, image: Image.Image, view: Similarity, dice: np.random.Generator
) -> tuple[Sheet, float]:
    """The background's sheet, on which all views find room,
    and how many of the photograph's pixels are one of the frame."""
    h, w = options.height, options.width
    tilt = np.exp(1j * dice.uniform(-0.15, 0.15))
    corners = tilt * view(np.array([0, w, 1j * h, w + 1j * h]))
    left, top = corners.real.min(), corners.imag.min()
    wide, high = corners.real.max() - left, corners.imag.max() - top
    scale = dice.uniform(0.5, 1) * min(image.width / wide, image.height / high)
    colours = developed(image, scale, dice.random() < 0.5)
    gain, lift = (
        torch.from_numpy(dice.uniform(*ends, (3, 1, 1))).float()
        for ends in ((0.8, 1.1), (-0.12, 0.12))
    )
    room = np.array([colours.shape[2] / FINE - wide, colours.shape[1] / FINE - high]).clip(0)
    shift = FINE * (room * dice.uniform(0, 1, 2) @ [1, 1j] - left - 1j * top)
    place = Similarity(np.array([FINE * tilt]), np.array([shift]))
    return Sheet((colours * gain + lift).clamp(-1, 1), place), scale


def cut(outline: Outline, image: Image.Image, scale: float, dice: np.random.Generator) -> Sheet:
    """The object's sheet, about as sharp as the background: its outline lies in the photograph
    where, of 16 places, the logarithm of neighbours' differences has the largest mean."""
    bounds = np.array([0.125, 0.48]) * min(image.size) / outline.reach
    scale = np.clip(scale * dice.uniform(0.7, 1.3), *bounds)
    colours = developed(image, scale, dice.random() < 0.5)
    turn = FINE * np.exp(1j * dice.uniform(0, 2 * np.pi, 1))
    middle = np.array([colours.shape[2], colours.shape[1]]) / 2
    room = (middle - FINE * outline.reach).clip(0)  # on either side of the middle
    places = (room * dice.uniform(-1, 1, (16, 2)) + middle) @ [1, 1j]
    here, right, below = (
        Sheet(colours, Similarity(turn, places)).colours_at(outline.points() + step)
        for step in (0, 1, 1j)
    )
    detail = (((right - here).abs() + (below - here).abs()).mean(1) + 0.02).log().mean(1)
    return Sheet(colours, Similarity(turn, places[[int(detail.argmax())]]))


def tinted(figure: Sheet, points: np.ndarray, under: Tensor, dice: np.random.Generator) -> Sheet:
    """The figure with its mean colour at points (n,) moved near the colour `under`, (3,),
    and a low contrast raised."""
    own = figure.colours_at(points[None])[0]
    apart = own.mean(1) - under + torch.from_numpy(dice.normal(0, 0.3, 3)).float()
    length = dice.uniform(0.15, 0.4) / apart.square().mean().sqrt().clamp(min=1e-6)
    mean = (under + apart * length).clamp(-0.55, 0.55)
    gain = (0.35 / own.std(1).mean().clamp(min=1e-6)).clamp(1, 2)
    colours = (figure.colours - own.mean(1)[:, None, None]) * gain + mean[:, None, None]
    return figure._replace(colours=colours.clamp(-1, 1))


def pixels(options: Options) -> np.ndarray:
    """The centres of a frame's pixels, row by row, (H W,)."""
    x, y = np.arange(options.width) + 0.5, np.arange(options.height) + 0.5
    return (x + 1j * y[:, None]).ravel()


def coverage(scene: Scene, places: np.ndarray, edge: float | None = None) -> Tensor:
    """The matte at places (T, n) of the frames, (T, n) in [0, 1]; its edge may be softer."""
    depth = scene.outline.depth(scene.pose.inverse()(places)) * np.abs(scene.pose.turn)[:, None]
    return torch.from_numpy(depth / (edge or scene.options.edge) + 0.5).float().clamp_(0, 1)


def lights(scene: Scene, places: np.ndarray) -> tuple[Tensor, Tensor]:
    """Gain (T, 1, n) and light added (T, 3, n) at places (T, n) of the frames."""
    light = scene.light
    places = np.broadcast_to(places, (scene.options.frames, places.shape[-1]))
    gain = 1 - light.shadow * coverage(scene, places - light.shift, light.soft)[:, None]
    foot = scene.pose(scene.outline.points()).imag.max(1)[:, None]
    deep = places.imag - foot
    mirrored = places - 2j * deep
    share = (
        coverage(scene, mirrored)
        * torch.from_numpy(
            light.reflection * np.exp(-np.maximum(deep, 0) / light.fade) * (deep > 0)
        ).float()
    )
    colours = scene.figure.colours_at(scene.pose.inverse()(mirrored))
    return gain * (1 - share[:, None]), share[:, None] * (colours + 1)


def lit(options: Options, outline: Outline, dice: np.random.Generator) -> Light:
    """What an object of this outline does to the light."""
    radius = outline.radius
    return Light(
        options.shadow * dice.uniform(0.6, 1),
        radius * dice.uniform(0.5, 1) * 1j * np.exp(1j * dice.uniform(-1, 1)),
        radius * dice.uniform(0.15, 0.4),
        options.reflection * dice.uniform(0.6, 1),
        radius * dice.uniform(0.8, 2),
    )


def paint(scene: Scene) -> Layers:
    """The clip of a scene."""
    places, size = pixels(scene.options), (scene.options.height, scene.options.width)
    matte = coverage(scene, places)[:, None].unflatten(2, size)
    figure = scene.figure.colours_at(scene.pose.inverse()(places))
    ground = scene.ground.colours_at(scene.view(places))
    foreground, background = (x.unflatten(2, size).contiguous() for x in (figure, ground))
    ground = background
    if scene.light.shadow or scene.light.reflection:
        gain, add = (x.unflatten(2, size) for x in lights(scene, places))
        ground = gain * (background + 1) - 1 + add
    frames = (matte * foreground + (1 - matte) * ground).clamp_(-1, 1)
    return Layers(frames, matte, foreground, background)


def flows(scene: Scene, mask: Tensor) -> Flows:
    """The exact flow of what is seen, the mask (T, 1, H, W) bool."""
    places, early, late = pixels(scene.options), slice(None, -1), slice(1, None)

    def one(start: slice, end: slice) -> Tensor:
        ways = (
            scene.pose.select(start).inverse().then(scene.pose.select(end)),
            scene.view.select(start).then(scene.view.select(end).inverse()),
        )
        figure, ground = (
            torch.view_as_real(torch.from_numpy(way(places) - places)).float() for way in ways
        )
        seen = torch.where(mask[start].flatten(2).mT, figure, ground)
        return seen.mT.unflatten(2, mask.shape[2:]).contiguous()

    return Flows(one(early, late), one(late, early))


def revealed(scene: Scene, mask: Tensor, bare: bool = False) -> Tensor:
    """Where in the mask (T, 1, H, W) the same place of the background lies, in some other frame,
    between the centres of the outer pixels and where the matte is 0, and, if it has to be `bare`,
    where the object leaves its light alone: bool of that shape."""
    out, places, back = torch.zeros_like(mask), pixels(scene.options), scene.view.inverse()
    for t, hidden in enumerate(mask.flatten(1)):
        there = back(scene.view.select(slice(t, t + 1))(places[hidden.numpy()]))
        x, y = there.real - 0.5, there.imag - 0.5
        right, bottom = scene.options.width - 1, scene.options.height - 1
        inside = (x >= 0) & (x <= right) & (y >= 0) & (y <= bottom)
        seen = (coverage(scene, there) == 0) & torch.from_numpy(inside)
        if bare:
            seen &= lights(scene, there)[0][:, 0] == 1
        out[t].view(-1)[hidden] = seen.any(0)
    return out


def ground_truth(scene: Scene) -> Truth:
    """What is known of the clip of a scene."""
    layers, centre = paint(scene), torch.view_as_real(torch.from_numpy(scene.pose.shift)).float()
    mask, size = layers.matte >= 0.5, layers.matte.shape[2:]
    light = (x.unflatten(2, size) for x in lights(scene, pixels(scene.options)))
    return Truth(layers, mask, flows(scene, mask), revealed(scene, mask), centre, scene, *light)


def check(options: Options) -> None:
    """A Mistake if the options contradict one another."""
    h, w, (slow, fast) = options.height, options.width, options.speed
    if max(h, w) > 3 * min(h, w):
        raise Mistake(
            f"data.width x height = {w} x {h}; allowed: no side above three times the other"
        )
    if options.frames * h * w > MOST:
        raise Mistake(
            f"data.frames x height x width = {options.frames} x {h} x {w} pixels; "
            f"allowed: {MOST} at most"
        )
    if not 0 < slow <= fast <= 20:
        raise Mistake(
            f"data.speed = {slow:g}, {fast:g}; allowed: 0 < least <= most <= 20 pixels a frame"
        )


class Layered:
    """Clips of an object over a scene, each with the first frame's mask."""

    classes = 0
    extractor = "clips"

    def __init__(self, options: Options, root: Path | None) -> None:
        check(options)
        self.options, self.photographs = options, sources(options, root)
        self.order = Order({"train": options.count, "held_out": options.held_out}, "clips")
        self.size = self.order.size
        paths, side = list(self.photographs), 3 * max(options.height, options.width)
        # the photographs last used stay decoded
        self._picture = lru_cache(8)(lambda i: photograph(paths[i], side))

    def scene(self, split: str, number: int) -> Scene:
        """The scene of a split's clip of that number from 0;
        how many clips there are does not change it."""
        seed = fold(self.options.seed, "data", "layered", split, int(number))
        dice = np.random.Generator(np.random.PCG64(seed))
        two = dice.choice(len(self.photographs), 2, replace=False)
        behind, before = (self._picture(int(i)) for i in two)
        outline = blob(self.options, dice)
        pose, view = staged(self.options, outline, dice)
        ground, scale = grounded(self.options, behind, view, dice)
        under = ground.colours_at(view(pose(outline.points()))).mean((0, 2))
        figure = tinted(cut(outline, before, scale, dice), outline.points(), under, dice)
        sun = np.random.Generator(np.random.PCG64(fold(seed, "light")))
        light = lit(self.options, outline, sun)
        return Scene(self.options, outline, pose, view, figure, ground, light)

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "video" (batch, T, 3, H, W),
        and "mask" (batch, 1, H, W), the first frames', 0 or 1."""
        return self._painted("train", self.order.draw(k, batch, seed))

    def take(self, split: str, n: int) -> Batch:
        """The first n clips of the split's fixed shuffled order."""
        return self._painted(split, self.order.take(split, n))

    def truth(self, split: str, n: int) -> list[Truth]:
        """What is known of the clips of `take`, in the same order."""
        return [ground_truth(self.scene(split, number)) for number in self.order.take(split, n)]

    def _painted(self, split: str, numbers: np.ndarray) -> Batch:
        clips = [paint(self.scene(split, number)) for number in numbers]
        masks = torch.stack([(clip.matte[0] >= 0.5).float() for clip in clips])
        return {"video": torch.stack([clip.frames for clip in clips]), "mask": masks}

    def describe(self) -> dict[str, str]:
        """How the clips are made."""
        o, (slow, fast) = self.options, (speed * self.options.unit for speed in self.options.speed)
        return {
            "source": f"{len(self.photographs)} photographs in "
            f"{o.path or 'the package scikit-learn'}, {extent(self.photographs.values())}; "
            f"an object cut from one moves over another; generated from seed {o.seed}",
            "clips": f"{o.count} to train on, {o.held_out} held out; both splits draw from all "
            "photographs",
            "shape": f"{o.frames} x 3 x {o.height} x {o.width} (frames, channels, height, width), "
            "floats in [-1, 1]",
            "motion": f"by {slow:.2g} to {fast:.2g} pixels a frame relative to the background",
        }


Data = Layered
