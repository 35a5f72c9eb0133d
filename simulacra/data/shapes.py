"""Pairs of frames of moving shapes, painted on the fly, with exact masks and flow: what moved where
is known.

Three laws, each given on a canvas of 128 x 128 and scaled to `size`; x points right, y down, the
frame's upper left corner is (0, 0) and its first pixel's centre (0.5, 0.5). Frames are flat shapes
over a flat ground, painted back to front.

- three: Xue et al. 2016 (arXiv 1607.02586), fitted to the eight true pairs that are public (Git-JK/
  Unsupervised-Intuitive-Physics-from-Past-Experiences, demo grid 127). Squares go left or right by
  U{-10..10}; triangles, apex down, by (d, -d), d of the same law; circles by (0, d + noise): where
  the triangle goes up, the circle goes down. Sizes U{25..38}; the first frame holds all shapes
  wholly, wherever they are. Directions, colours, correlation and order fit all eight; the
  distributions of steps, noise and places are guesses.
- hierarchical: Xu et al. 2019 (zhenjia-xu/psd, data_generator.py). A circle moves along the main
  diagonal by (m, m); a square and a triangle, apex up, hang on it and move by (0, u) and (v, 0)
  besides; m, u, v are U{-51..50} / 4. In 30 % of pairs each of the two is missing.
- two_objects: tensorflow/models, next_frame_prediction, example_gen.py. On black, a right triangle
  always falls and a square always goes right by U{6..10} / 64 of the side, from places on a grid:
  14^4 = 38,416 pairs, each once. Unlike there the colours always differ, and where the two overlap
  the square is in front (there both channels light up).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.data._order import Order

CANVAS = 128  # pixels that the laws' lengths refer to
GRID = 14**4  # pairs of the law two_objects
CHUNK = 32  # frames painted together: their planes fit the cache
Name = Literal["circle", "triangle", "square"]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="shapes",
):
    """Which shapes, and how many pairs. The four after `seed` belong to law three."""

    law: Literal["three", "hierarchical", "two_objects"] = "three"
    size: Annotated[int, msgspec.Meta(ge=16, le=512)] = 64  # side of a frame in pixels
    count: Count = 20_000  # pairs to train on; with held_out at most 38,416 under law two_objects
    held_out: Count = 1_000  # further pairs
    # of the data alone; a run's seed does not change them
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    step_range: Annotated[int, msgspec.Meta(ge=1, le=20)] = 10  # longest step, canvas pixels
    # normal: deviation step_range / 2, then rounded and clipped
    step_dist: Literal["uniform", "normal"] = "uniform"
    # deviation of circles, canvas pixels; rounded, clipped to +-2
    noise: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.8
    z_order: tuple[Name, Name, Name] = ("circle", "triangle", "square")  # from back to front
    antialias: bool = True  # edges a pixel wide; else each pixel is all shape or all ground


class Truth(NamedTuple):
    """What pairs show: S shapes, from back to front, in N pairs. Lengths in pixels."""

    options: Options
    names: tuple[str, ...]  # (S,)
    colour: Tensor  # (N, S, 3) in [-1, 1]
    background: Tensor  # (N, 3) in [-1, 1]
    centre: Tensor  # (N, S, 2) x and y in the first frame
    size: Tensor  # (N, S) side of the shape's box
    displacement: Tensor  # (N, S, 2) dx and dy; 0 where absent
    present: Tensor  # (N, S) bool

    def select(self, rows: Tensor | slice) -> "Truth":
        """The pairs of these numbers."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields[2:]})

    def chunks(self, count: int = CHUNK) -> Iterator[slice]:
        """The rows, `count` at a time."""
        return (slice(start, start + count) for start in range(0, len(self.size), count))


class Scene(NamedTuple):
    """First frames: colours in bytes, lengths in canvas pixels."""

    colour: np.ndarray  # (n, S, 3)
    background: np.ndarray  # (n, 3)
    centre: np.ndarray  # (n, S, 2)
    size: np.ndarray  # (n, S)
    present: np.ndarray  # (n, S)


class Law(NamedTuple):
    """How first frames and displacements are drawn."""

    names: tuple[str, ...]  # from back to front
    scenes: Callable[[int, np.random.Generator], Scene]
    # name: (dx, dy), canvas pixels, each (n,)
    steps: Callable[[Options, int, np.random.Generator], dict[str, tuple]]
    # its corners, clockwise, from the centre in units of its size
    triangle: tuple[tuple[float, float], ...]
    reach: float  # longest step in x or y that any options allow, canvas pixels
    # name: direction in which it moves, beside its carrier's motion
    axes: dict[str, tuple[float, float]]
    carrier: str | None = None  # the shape that the others hang on
    one_way: bool = False  # whether they never move against their axes


# The laws


def vivid(n: int, dice: np.random.Generator) -> np.ndarray:
    """A reddish, a greenish and a bluish colour in random order, (n, 3, 3) bytes."""
    low = dice.integers(0, 75, (n, 3, 3))
    order = dice.permuted(np.tile(np.arange(3), (n, 1)), axis=1)
    return np.take_along_axis(np.where(np.eye(3, dtype=bool), 255 - low, low), order[..., None], 1)


def three_scenes(n: int, dice: np.random.Generator) -> Scene:
    """Three shapes anywhere in the frame, on a light ground."""
    size = dice.integers(25, 38, (n, 3), endpoint=True)
    half = size[..., None] / 2
    centre = dice.integers(np.ceil(half), np.floor(CANVAS - half), (n, 3, 2), endpoint=True)
    return Scene(
        vivid(n, dice), 255 - dice.integers(0, 75, (n, 3)), centre, size, np.ones((n, 3), bool)
    )


def three_steps(options: Options, n: int, dice: np.random.Generator) -> dict[str, tuple]:
    """The square alone, the circle against the triangle."""
    far = options.step_range
    if options.step_dist == "uniform":
        d, dx = dice.integers(-far, far, (2, n), endpoint=True)
    else:
        d, dx = np.clip(np.rint(dice.normal(0, far / 2, (2, n))), -far, far)
    noise = np.clip(np.rint(dice.normal(0, options.noise, n)), -2, 2)
    return {"circle": (0 * d, d + noise), "triangle": (d, -d), "square": (dx, 0 * dx)}


def hierarchical_scenes(n: int, dice: np.random.Generator) -> Scene:
    """A circle about the middle, the others about it; one pair in ten shows it alone."""
    offset = dice.integers(-102, 102, (n, 3, 2)) / 4
    centre = CANVAS / 2 + offset[:, :1] + offset * [[0], [1], [1]]
    mode = dice.integers(0, 10, n)
    present = np.stack([mode >= 0, mode > 2, ~np.isin(mode, [0, 3, 4])], 1)
    size = dice.integers(102, 152, (n, 3), endpoint=True) / 4
    return Scene(vivid(n, dice), 255 - dice.integers(0, 75, (n, 3)), centre, size, present)


def hierarchical_steps(options: Options, n: int, dice: np.random.Generator) -> dict[str, tuple]:
    """The circle carries the others, which add their own step."""
    m, down, right = dice.integers(-51, 51, (3, n)) / 4
    return {"circle": (m, m), "square": (m, m + down), "triangle": (m + right, m)}


def two_objects_scenes(n: int, dice: np.random.Generator) -> Scene:
    """Two small shapes of two pure colours on black, no places twice."""
    cells = np.stack(np.unravel_index(dice.permutation(GRID)[:n], (14, 14, 14, 14)), 1).reshape(
        n, 2, 2
    )
    size = 2 * dice.integers(8, 10, (n, 2), endpoint=True)
    channels = dice.permuted(np.tile(np.arange(3), (n, 1)), axis=1)[:, :2]
    black, present = np.zeros((n, 3)), np.ones((n, 2), bool)
    return Scene(255 * np.eye(3)[channels], black, 6 * cells + size[..., None] / 2, size, present)


def two_objects_steps(options: Options, n: int, dice: np.random.Generator) -> dict[str, tuple]:
    """Down and right."""
    down, right = 2 * dice.integers(6, 10, (2, n), endpoint=True)
    return {"triangle": (0 * down, down), "square": (right, 0 * right)}


LAWS = {
    "three": Law(
        names=("circle", "triangle", "square"),
        scenes=three_scenes,
        steps=three_steps,
        triangle=((-0.5, -0.5), (0.5, -0.5), (0, 0.5)),
        reach=22,
        axes={"circle": (0, 1), "triangle": (1, -1), "square": (1, 0)},
    ),
    "hierarchical": Law(
        names=("circle", "square", "triangle"),
        scenes=hierarchical_scenes,
        steps=hierarchical_steps,
        # equilateral, about its centroid
        triangle=((0, -(3**-0.5)), (0.5, 12**-0.5), (-0.5, 12**-0.5)),
        reach=25.5,
        axes={"circle": (1, 1), "square": (0, 1), "triangle": (1, 0)},
        carrier="circle",
    ),
    "two_objects": Law(
        names=("triangle", "square"),
        scenes=two_objects_scenes,
        steps=two_objects_steps,
        triangle=((-0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)),
        reach=20,
        axes={"triangle": (0, 1), "square": (1, 0)},
        one_way=True,
    ),
}


def order(options: Options) -> tuple[str, ...]:
    """The shapes' names from back to front."""
    return options.z_order if options.law == "three" else LAWS[options.law].names


def moves(options: Options, present: Tensor, dice: np.random.Generator) -> Tensor:
    """Displacements (N, S, 2) in pixels by the law, of shapes present (N, S)."""
    steps = LAWS[options.law].steps(options, len(present), dice)
    canvas = np.stack([np.stack(steps[name], -1) for name in order(options)], 1)
    return torch.from_numpy(canvas * options.size / CANVAS).float() * present[..., None]


def sample_pairs(options: Options) -> Truth:
    """All pairs, those to train on first."""
    n, scale = options.count + options.held_out, options.size / CANVAS
    dice = np.random.Generator(np.random.PCG64(fold(options.seed, "data", "shapes")))
    scene = LAWS[options.law].scenes(n, dice)
    present = torch.from_numpy(scene.present)
    return Truth(
        options=options,
        names=order(options),
        colour=torch.from_numpy(scene.colour / 127.5 - 1).float(),
        background=torch.from_numpy(scene.background / 127.5 - 1).float(),
        centre=torch.from_numpy(scene.centre * scale).float(),
        size=torch.from_numpy(scene.size * scale).float(),
        displacement=moves(options, present, dice),
        present=present,
    )


def redraw(truth: Truth, seed: int) -> Tensor:
    """Other displacements (N, S, 2) in pixels that the law gives the same first frames:
    a draw from p(next | image)."""
    return moves(
        truth.options,
        truth.present,
        np.random.Generator(np.random.PCG64(fold(seed, "redraw", "shapes"))),
    )


# Painting


def depth(kind: str, law: Law, x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """How deep inside the shape's edge, in pixels, (N, Y, X), are places x (N, 1, X) and y (N, Y,
    1) from its centre; size (N, 1, 1)."""
    if kind == "circle":
        return (size / 2).sub((x.square() + y.square()).sqrt_())
    if kind == "square":
        return torch.minimum(size / 2 - x.abs(), size / 2 - y.abs())
    inside = None
    for (ax, ay), (bx, by) in zip(law.triangle, (*law.triangle[1:], law.triangle[0]), strict=True):
        length = float(np.hypot(bx - ax, by - ay))
        nx, ny = (ay - by) / length, (bx - ax) / length  # the edge's normal, inwards
        edge = nx * x + (ny * y - (nx * ax + ny * ay) * size)
        inside = edge if inside is None else torch.minimum(inside, edge, out=inside)
    assert inside is not None
    return inside


def coverage(truth: Truth, displacement: Tensor, margin: int = 0) -> Tensor:
    """The share 0 to 1 of each pixel that lies in each shape, hidden or not, (N, S, H, W), after
    displacements (N, S, 2) in pixels; H = W = the frame's side and a margin on every side."""
    options = truth.options
    pixels = torch.arange(-margin, options.size + margin) + 0.5
    out = torch.empty(*truth.size.shape, len(pixels), len(pixels))
    for s, kind in enumerate(truth.names):
        x, y = (pixels - (truth.centre[:, s] + displacement[:, s])[..., None]).unbind(1)
        inside = depth(
            kind, LAWS[options.law], x[:, None], y[..., None], truth.size[:, s, None, None]
        )
        soft = inside.add_(0.5).clamp_(0, 1) if options.antialias else (inside > -1e-3).float()
        torch.mul(soft, truth.present[:, s, None, None], out=out[:, s])
    return out


def paint(truth: Truth, displacement: Tensor) -> Tensor:
    """Frames (N, 3, H, W) in [-1, 1] of the shapes
    of the first frames after displacements (N, S, 2) in pixels."""
    n, side = len(truth.size), truth.options.size
    out, palette = (
        torch.empty(n, 3, side, side),
        torch.cat([truth.colour, truth.background[:, None]], 1),
    )
    for part in truth.chunks():
        layers = coverage(truth.select(part), displacement[part])
        shares = torch.ones(len(layers), layers.shape[1] + 1, side, side)
        rest = shares[:, -1]  # what shows through all layers in front; in the end, the ground
        for s in reversed(range(layers.shape[1])):
            torch.mul(layers[:, s], rest, out=shares[:, s])
            rest -= shares[:, s]
        torch.bmm(palette[part].transpose(1, 2), shares.flatten(2), out=out[part].flatten(2))
    return out.clamp_(-1, 1)  # shares add up to 1 but for rounding


class Masks(NamedTuple):
    """Which pixels are a shape's, both (N, S, H, W) bool."""

    amodal: Tensor  # at least half in the shape, hidden or not
    visible: Tensor  # and in no shape in front of it


def masks(truth: Truth, when: Literal["image", "next"]) -> Masks:
    """The shapes' pixels in the first frames, "image", or the second, "next"."""
    move = {"image": torch.zeros_like(truth.displacement), "next": truth.displacement}[when]
    amodal = coverage(truth, move) >= 0.5
    front = amodal.flip(1).cumsum(1).flip(1)  # how many cover the pixel from this one on
    return Masks(amodal, amodal & (front == 1))


class Flow(NamedTuple):
    """Displacements of pixels, both (N, 2, H, W): dx and dy in pixels, 0 on the ground."""

    forward: Tensor  # at pixels of the first frame, to the second
    backward: Tensor  # at pixels of the second frame, to the first


def flow(truth: Truth) -> Flow:
    """The exact flow of the shape that each pixel shows."""
    one, two = (masks(truth, when).visible.float() for when in ("image", "next"))
    forward, backward = (
        torch.einsum("nshw,nsc->nchw", seen, truth.displacement) for seen in (one, two)
    )
    return Flow(forward, -backward)


# The data set


def check(options: Options) -> None:
    """A Mistake if the options contradict the law."""
    asked = options.count + options.held_out
    if options.law == "two_objects" and asked > GRID:
        raise Mistake(
            f"data.count + held_out = {asked} pairs of law two_objects; allowed: {GRID} at most"
        )
    if len(set(options.z_order)) < 3:
        raise Mistake(
            f"data.z_order = {', '.join(options.z_order)}; "
            "allowed: circle, triangle and square in any order"
        )
    for name in "step_range", "step_dist", "noise", "z_order":
        found, default = getattr(options, name), getattr(Options(), name)
        if options.law != "three" and found != default:
            raise Mistake(
                f"data.{name} = {found} under data.law = {options.law}; "
                f"allowed: {default}, it is of law three"
            )


class Shapes:
    """Pairs of frames, without labels."""

    classes = 0
    extractor = "pairs"

    def __init__(self, options: Options, root: Path | None) -> None:
        check(options)
        self.options, self.pairs = options, sample_pairs(options)
        self.order = Order({"train": options.count, "held_out": options.held_out}, "pairs")
        self.size = self.order.size

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "image" and "next",
        first and second frames, (batch, 3, H, W)."""
        return painted(self.pairs.select(torch.from_numpy(self.order.draw(k, batch, seed))))

    def take(self, split: str, n: int) -> Batch:
        """The first n pairs of the split's fixed shuffled order."""
        return painted(self.truth(split, n))

    def truth(self, split: str, n: int) -> Truth:
        """What the pairs of `take` show, in the same order."""
        places = self.order.take(split, n) + (self.options.count if split == "held_out" else 0)
        return self.pairs.select(torch.from_numpy(places))

    def describe(self) -> dict[str, str]:
        """How the pairs are made."""
        o = self.options
        return {
            "source": f"moving shapes, law {o.law}: {', '.join(order(o))} from back to front; "
            f"generated from seed {o.seed}",
            "pairs": f"{o.count} to train on, {o.held_out} held out",
            "shape": f"3 x {o.size} x {o.size} (channels, height, width) twice, floats in [-1, 1]",
        }


def painted(truth: Truth) -> Batch:
    """Both frames of the pairs."""
    return {
        "image": paint(truth, torch.zeros_like(truth.displacement)),
        "next": paint(truth, truth.displacement),
    }


Data = Shapes
