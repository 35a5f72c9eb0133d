"""Who drives: nobody, a Brownian hand, one that presses things at random, or a scripted driver that
knows the track.

A policy is asked for one action at a time and may look into the game. For frames of envpool it
looks into an undrawn `Game` on the same track that is given the same actions (`Ghosts`).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from simulacra.core.errors import choose
from simulacra.envs.carracing.game import Game, Truth, wrapped
from simulacra.envs.carracing.racing import HIGH, LOW

SLOW = 18.0  # units per second, the least that the scripted driver aims at
LOCK = 0.4  # radians at which the wheels meet their stop


class Policy(Protocol):
    """Whoever drives one car."""

    def act(self, game: Game) -> np.ndarray:
        """Steer, gas and brake, (3,) float32 in bounds."""


def generator(seed: int) -> np.random.Generator:
    """A stream that follows from the seed."""
    return np.random.Generator(np.random.PCG64(seed))


class Idle:
    """Never touches anything."""

    def act(self, game: Game) -> np.ndarray:
        """Zeros (3,)."""
        return np.zeros(3, np.float32)


class Brownian:
    """A hand that trembles: actions move by N(0, dt) a step, from a uniform beginning, and stop at
    their bounds.

    Reference: Ha and Schmidhuber, arXiv 1803.10122, as collected by Tallec et al., "Reproducing
    World Models", with dt = 1/50.
    """

    def __init__(self, seed: int, dt: float = 1 / 50) -> None:
        self.stream, self.scale = generator(seed), math.sqrt(dt)
        self.action: np.ndarray | None = None

    def act(self, game: Game) -> np.ndarray:
        """The next place of the hand, (3,)."""
        if self.action is None:
            self.action = self.stream.uniform(LOW, HIGH)
        else:
            self.action = np.clip(
                self.action + self.scale * self.stream.standard_normal(3), LOW, HIGH
            )
        return self.action.astype(np.float32)


class Random:
    """Presses one thing or nothing for 20 steps, U(0, 1) hard, after a push: full gas and a little
    to the left for 20 steps.

    Reference: the policy by which AppliedDataSciencePartners/WorldModels (config.py) records, and
    those who built on it; its versions differ in how long an action is kept (1, 5 or 20 steps) and
    in the shares of left and right. The paper's own data are driven by a whole agent with random
    weights, which this is not.
    """

    # nothing, gas, left, right, brake
    PRESSED = (0, 0, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0), (0, 0, 1)
    SHARES = 0.1, 0.4, 0.2, 0.2, 0.1
    KEPT = 20  # steps, of the push and of every action

    def __init__(self, seed: int) -> None:
        self.stream, self.t = generator(seed), 0
        self.action = np.array([-0.1, 1, 0])

    def act(self, game: Game) -> np.ndarray:
        """What is pressed now, (3,)."""
        if self.t and self.t % self.KEPT == 0:
            kind = int(self.stream.choice(len(self.PRESSED), p=self.SHARES))
            self.action = self.stream.random() * np.array(self.PRESSED[kind], float)
        self.t += 1
        return self.action.astype(np.float32)


class Tremor(NamedTuple):
    """AR(1) noise on actions."""

    stream: np.random.Generator
    keep: float = 0.95  # of a step's noise that is left in the next
    # of what each step adds to steer, gas and brake
    std: tuple[float, float, float] = (0.06, 0.05, 0.02)


class Scripted:
    """Sees the road ahead, aims at it, and brakes for bends."""

    def __init__(
        self, v_max: float = 100.0, k_c: float = 120.0, tremor: Tremor | None = None
    ) -> None:
        # units per second; the speed where the road is straight
        self.v_max, self.k_c, self.tremor = v_max, k_c, tremor
        self.noise = np.zeros(3)

    def act(self, game: Game) -> np.ndarray:
        """The action for where the car is now, (3,)."""
        action = np.array(self._aimed(game))
        if self.tremor:
            self.noise = (
                self.tremor.keep * self.noise
                + self.tremor.std * self.tremor.stream.standard_normal(3)
            )
            action += self.noise
        return np.clip(action, LOW, HIGH).astype(np.float32)

    def _aimed(self, game: Game) -> tuple[float, float, float]:
        """Without noise: towards a tile ahead, at the speed that the sharpest bend ahead allows."""
        x, y, angle, v = game.pose()
        road = game.road
        i = road.nearest(x, y)
        j = (i + 3 + int(v / 10)) % len(road)
        error = wrapped(math.atan2(road.y[j] - y, road.x[j] - x) - math.pi / 2 - angle)
        steer = -min(max(1.5 * error, -LOCK), LOCK)
        c = road.sharpest(i, 10 + int(v / 4))
        dv = min(max(self.k_c * (1 - 0.55 * min(c, 1.2)), SLOW), self.v_max) - v
        gas = min(max(0.15 * dv, 0), 1)
        if abs(steer) > 0.25 and v > 25:
            gas = min(gas, 0.1)
        return steer, gas, min(max(-0.03 * dv, 0), 0.6)


def varied(seed: int) -> Scripted:
    """The scripted driver at a speed that follows from the seed, with noise:
    v_max in [40, 100), k_c in [60, 130)."""
    stream = generator(seed)
    return Scripted(stream.uniform(40, 100), stream.uniform(60, 130), Tremor(stream))


class Lapses:
    """Now and then something arbitrary is done for a while: for 3 to 14 steps, after 40 steps on
    average. Steer is uniform, gas 0 half of the time, brake two thirds."""

    def __init__(self, stream: np.random.Generator) -> None:
        self.stream = stream
        # an arbitrary action, and the steps for which it goes on
        self.held, self.left = np.zeros(3, np.float32), 0

    def over(self, action: np.ndarray) -> np.ndarray:
        """The action (3,), or what is done instead."""
        if self.left == 0 and self.stream.random() < 0.025:
            steer, gas, brake = self.stream.uniform(LOW, HIGH)
            pressed = self.stream.random(2) < (1 / 2, 1 / 3)
            self.held = np.array([steer, gas * pressed[0], brake * pressed[1]], np.float32)
            self.left = int(self.stream.integers(3, 15))
        if self.left:
            self.left -= 1
            return self.held
        return action


class Distracted:
    """A steady driver with lapses, from which it has to recover. A memory that has only seen
    fitting actions learns that a car keeps to its road whatever one does."""

    def __init__(self, seed: int) -> None:
        stream = generator(seed)
        self.steady, self.lapses = (
            Scripted(stream.uniform(40, 100), stream.uniform(60, 130), Tremor(stream)),
            Lapses(stream),
        )

    def act(self, game: Game) -> np.ndarray:
        """The steady driver's action or a lapse, (3,)."""
        return self.lapses.over(self.steady.act(game))


class Careless:
    """A distracted driver that may take bends too fast: v_max in [40, 140), k_c in [60, 300). Where
    whoever is fast also brakes in time, a memory learns that speed costs nothing."""

    def __init__(self, seed: int) -> None:
        stream = generator(seed)
        self.steady, self.lapses = (
            Scripted(stream.uniform(40, 140), stream.uniform(60, 300), Tremor(stream)),
            Lapses(stream),
        )

    def act(self, game: Game) -> np.ndarray:
        """The fast driver's action or a lapse, (3,)."""
        return self.lapses.over(self.steady.act(game))


class Learnt:
    """An agent, with lapses or as it is. It is told what the agent would do,
    since all cars' frames are looked at in one batch."""

    def __init__(self, seed: int, lapses: bool = True) -> None:
        self.lapses, self.wanted = (
            Lapses(generator(seed)) if lapses else None,
            np.zeros(3, np.float32),
        )

    def act(self, game: Game) -> np.ndarray:
        """What the agent wants or a lapse, (3,)."""
        return self.lapses.over(self.wanted) if self.lapses else self.wanted


POLICIES: dict[str, Callable[[int], Policy]] = {
    "idle": lambda seed: Idle(),
    "brownian": Brownian,
    "random": Random,
    "scripted": varied,
    "distracted": Distracted,
    "careless": Careless,
    "learnt": Learnt,
    "agent": partial(Learnt, lapses=False),
}
AGENTS = "learnt", "agent"  # that drive as a run of world_controller does


def policy(name: str, seed: int) -> Policy:
    """The policy of this name; all that is random in it follows from the seed."""
    return POLICIES[choose("policy", name, list(POLICIES))](seed)


class Ghosts:
    """Undrawn games on the tracks of a pool, driven with it."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.games = [Game(seed, drawn=False) for seed in seeds]
        for game in self.games:
            game.reset()

    def truths(self) -> list[Truth]:
        """What is true of each car now."""
        return [game.truth() for game in self.games]

    def step(self, actions: np.ndarray, alive: np.ndarray) -> None:
        """Give the actions (N, 3) to the cars that still drive."""
        for i in np.flatnonzero(alive):
            self.games[i].step(actions[i])


class Lap(NamedTuple):
    """How an episode went."""

    value: float  # the return
    steps: int  # until the end
    lap_finished: bool
    progress: float  # share of the tiles that were reached


def lap(driver: Policy, seed: int, steps: int = 1000, tracks: str = "shared") -> Lap:
    """One undrawn episode of at most so many steps."""
    game, total, k, ended, finished = Game(seed, drawn=False, tracks=tracks), 0.0, 0, False, False
    game.reset()
    while k < steps and not ended:
        _, reward, ended, info = game.step(driver.act(game))
        total, k, finished = total + reward, k + 1, ended and info["lap_finished"]
    return Lap(total, k, finished, game.truth().share)


def solo(
    driver: Policy, seed: int, steps: int = 1000, tracks: str = "shared"
) -> tuple[float, int, bool]:
    """Return, steps and whether the lap was finished of one undrawn episode."""
    return lap(driver, seed, steps, tracks)[:3]
