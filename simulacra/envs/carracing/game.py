"""One car on one track of gymnasium's CarRacing-v3, drawn or not, and what is true of it.

gymnasium and envpool play one game but draw their tracks from different generators. With `Mersenne`
in place of gymnasium's generator both lay the same track for the same seed, so that an undrawn game
beside a drawn one, given the same actions, knows where that one's car is.

Reference: the game is Oleg Klimov's; gymnasium/envs/box2d/car_racing.py,
envpool/box2d/car_racing_env.cc.
"""

import math
import os
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.random import RandomState

from simulacra.core import extras
from simulacra.core.errors import Mistake, choose
from simulacra.envs.carracing.drawing import Drawing, version_is_known

HALF_WIDTH = 40 / 6  # of the road, in the game's units of length
TILE = 21 / 6  # length of a tile
SPAN = 5  # tiles over which a turn is summed
TRACKS = ["shared", "own"]
TESTED = {"gymnasium": "1.4.0", "envpool": "1.2.5"}  # whose rules and pictures the tests have seen


def needed(module: str) -> Any:
    """The module; a Mistake that names the extra if its package is not there."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame greets on standard output
    try:
        return import_module(module)
    except Exception as error:
        if not isinstance(error, ImportError) and type(error).__name__ != "DependencyNotInstalled":
            raise
        told = (
            f"{module.partition('.')[0]} cannot be imported ({' '.join(str(error).split())[:80]})"
        )
        how = extras.install("worlds")
        raise Mistake(f"{told}; CarRacing needs it, install it with: {how}") from None


class Mersenne:
    """The generator from which envpool lays a track: std::mt19937 and
    std::uniform_real_distribution<double>."""

    def __init__(self, seed: int) -> None:
        self.stream = RandomState(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high) from two 32-bit outputs, the lower first."""
        return low + (high - low) * int.from_bytes(self.stream.bytes(8), "little") / 2**64


def wrapped(angle: float) -> float:
    """The angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


class Pose(NamedTuple):
    """Where the car is."""

    x: float  # units; the field reaches from -333.3 to 333.3
    y: float
    angle: float  # radians, 0 points along y, counter-clockwise, not wrapped
    speed: float  # units per second


class Truth(NamedTuple):
    """What is true of the car on its road; left is positive."""

    lateral: float  # units from the road's middle
    heading: float  # radians between the car's direction and the road's, in [-pi, pi)
    curvature: float  # turn of the road over the next five tiles, radians per unit
    speed: float  # units per second
    tile: float  # number of the nearest tile
    share: float  # of all tiles, visited


class Road:
    """The tiles of a track, (n,) each: directions (radians, as `Pose.angle`) and middles."""

    def __init__(self, track: list[tuple[float, float, float, float]]) -> None:
        _, self.beta, self.x, self.y = np.array(track).T
        ahead = np.roll(self.beta, -SPAN) - self.beta
        self.turn = (ahead + np.pi) % (2 * np.pi) - np.pi  # over the next five tiles
        self.sharp = np.abs(self.turn)

    def __len__(self) -> int:
        return len(self.beta)

    def nearest(self, x: float, y: float) -> int:
        """The tile whose middle is nearest."""
        return int(((self.x - x) ** 2 + (self.y - y) ** 2).argmin())

    def sharpest(self, start: int, count: int) -> float:
        """The largest turn, radians, of five tiles among the next `count` from tile `start`."""
        return float(
            self.sharp.take(np.arange(start, start + max(1, count - SPAN)), mode="wrap").max()
        )


class Game:
    """gymnasium's own CarRacing on the track of `seed`. After an end it can be driven on; whoever
    asks has to stop. Without `hud` the rows 84 to 95 of its frames, score and speed, may be
    black."""

    def __init__(
        self, seed: int, *, drawn: bool = True, tracks: str = "shared", hud: bool = True
    ) -> None:
        self.env = needed("gymnasium.envs.box2d.car_racing").CarRacing()
        self.seed, self.tracks = seed, choose("kind of tracks", tracks, TRACKS)
        if not drawn:
            self.env._render = lambda mode: None  # 98 % of a step's time
        elif version_is_known():
            self.env._render = Drawing(self.env, hud)

    def reset(self) -> Any:
        """The first frame (96, 96, 3) uint8, None if undrawn; always of the same track."""
        self.__dict__.pop("road", None)
        if self.tracks == "own":
            return self.env.reset(seed=self.seed)[0]
        self.env._np_random = Mersenne(self.seed)
        return self.env.reset()[0]

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, dict[str, bool]]:
        """Frame, reward, whether the game ended, and how, after an action (3,) in bounds."""
        frame, reward, terminated, _, info = self.env.step(np.asarray(action, np.float32))
        return frame, float(reward), terminated, info

    @cached_property
    def road(self) -> Road:
        """The track, once the game was reset."""
        return Road(self.env.track)

    def pose(self) -> Pose:
        """Where the car is now."""
        hull = self.env.car.hull
        (x, y), (vx, vy) = hull.position, hull.linearVelocity
        return Pose(x, y, hull.angle, math.hypot(vx, vy))

    def truth(self) -> Truth:
        """What is true of the car now."""
        x, y, angle, speed = self.pose()
        road = self.road
        i = road.nearest(x, y)
        beta = float(road.beta[i])
        lateral = -math.cos(beta) * (x - float(road.x[i])) - math.sin(beta) * (y - float(road.y[i]))
        share = self.env.tile_visited_count / len(road)
        return Truth(
            lateral, wrapped(angle - beta), float(road.turn[i]) / (SPAN * TILE), speed, i, share
        )
