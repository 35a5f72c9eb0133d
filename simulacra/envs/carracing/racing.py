"""CarRacing-v3 in batches: one wrapper for gymnasium, which is official, and envpool, which is
fast.

Both play the same game and, by default, on the same tracks (see game.py); only their pictures
differ a little. What either does on its own account is settled here: actions are clipped, an
episode that has ended stays ended, and how it ended is read from the rewards where the simulator
does not tell.

    pool = Pool("envpool", seeds=[1, 2, 3])
    frames = pool.reset()
    while pool.alive.any():
        frames, rewards, alive, *_ = pool.step(actions)
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from simulacra.core.errors import Mistake, choose
from simulacra.envs.carracing.game import TRACKS, Game, needed
from simulacra.envs.carracing.workers import Team

SIMULATORS = ["envpool", "gymnasium"]
LIMIT = 1000  # steps after which the official game stops, 20 s
LARGEST = 2**31 - 1  # seed of a track
FULL, SCENE = 96, 84  # rows of a simulator's frame, and those above the bar with score and speed
ZOOM = 50  # steps during which the camera comes down
# steer (right is positive), gas, brake
LOW, HIGH = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
LEFT = -50.0  # a reward below it: the car left the field, which costs 100
WHOLE = 1 - 1e-3  # of the tiles; no track has a thousand


class Step(NamedTuple):
    """What N cars see after an action each."""

    frames: np.ndarray  # (N, 3, size, size) uint8; of ended episodes the last
    rewards: np.ndarray  # (N,) float32; 0 where the episode had ended before
    alive: np.ndarray  # (N,) bool, whether the episode goes on
    # (N,) bool, whether the game has ended it, now or before; else the limit does
    terminated: np.ndarray
    lap_finished: np.ndarray  # (N,) bool, whether it has ended with all tiles visited
    steps: np.ndarray  # (N,) int64, actions so far
    progress: np.ndarray  # (N,) float64, share of the tiles that were paid for

    @property
    def zooming(self) -> np.ndarray:
        """(N,) bool, whether the camera of the first second is still coming down."""
        return self.steps < ZOOM


class Simulator(Protocol):
    """What a simulator does for the pool."""

    def reset(self) -> np.ndarray:
        """First frames (N, 96, 96, 3) uint8."""

    def step(
        self, actions: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames (n, 96, 96, 3), rewards and ends (n,) of the cars `rows` (n,),
        rising, after their actions (n, 3)."""

    def close(self) -> None:
        """Free what is held."""


class Envpool:
    """envpool's port. Ended cars are never stepped:
    the call after an end would ignore the action and begin anew."""

    def __init__(self, seeds: Sequence[int], threads: int) -> None:
        make = needed("envpool").make_gymnasium
        self.pool = make(
            "CarRacing-v3", num_envs=len(seeds), env_seed=list(seeds), num_threads=threads
        )

    def reset(self) -> np.ndarray:
        """First frames (N, 96, 96, 3) uint8."""
        return self.pool.reset()[0]

    def step(
        self, actions: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames, rewards, ends. An end at the limit is not told as such, whatever its cause."""
        frames, rewards, terminated, _, info = self.pool.step(actions, rows.astype(np.int32))
        order = np.argsort(info["env_id"])
        return frames[order], rewards[order], terminated[order]

    def close(self) -> None:
        """Free the threads."""
        self.pool.close()


class Games:
    """gymnasium's games, one after the other in this process."""

    def __init__(self, seeds: Sequence[int], tracks: str, hud: bool) -> None:
        self.games = [Game(seed, tracks=tracks, hud=hud) for seed in seeds]

    def reset(self) -> np.ndarray:
        """First frames (N, 96, 96, 3) uint8."""
        return np.stack([game.reset() for game in self.games])

    def step(
        self, actions: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames, rewards, ends."""
        frames, rewards, ended, _ = zip(
            *(self.games[i].step(action) for i, action in zip(rows, actions, strict=True)),
            strict=True,
        )
        return np.stack(frames), np.array(rewards, np.float32), np.array(ended)

    def close(self) -> None:
        """Nothing is held."""


def small(frames: np.ndarray, size: int, hud: bool) -> np.ndarray:
    """Frames (N, 96, 96, 3) uint8 averaged over areas, (N, 3, size, size) uint8,
    without the bar of score and speed unless `hud`."""
    seen = frames if hud else frames[:, :SCENE]
    if seen.shape[1:3] != (size, size):
        seen = np.stack(
            [cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in seen]
        )
    return np.ascontiguousarray(seen.transpose(0, 3, 1, 2))


def bounded(actions: object, count: int) -> np.ndarray:
    """The actions as (count, 3) float32 in bounds;
    a Mistake for another shape or what is no number."""
    found = np.asarray(actions, np.float32)
    if found.shape != (count, 3):
        raise Mistake(
            f"actions of shape {found.shape}; "
            f"allowed: ({count}, 3), steer, gas and brake of each car"
        )
    if np.isnan(found).any():
        raise Mistake(
            f"actions of car {int(np.isnan(found).any(1).argmax())} are no numbers; "
            "allowed: -1 to 1, 0 to 1, 0 to 1"
        )
    return np.clip(found, LOW, HIGH)


class Pool:
    """N cars, each on the track of its seed; equal seeds are equal tracks."""

    def __init__(
        self,
        kind: str,  # envpool or gymnasium
        seeds: Sequence[int],  # a track each
        *,
        size: int = 64,  # pixels, height and width
        hud: bool = False,  # whether frames show score and speed, rows 84 to 95
        limit: int = LIMIT,  # steps an episode; a score needs all 1,000
        tracks: str = "shared",  # "own": gymnasium's own tracks, which envpool has not
        threads: int = 1,  # of envpool, or processes of gymnasium
    ) -> None:
        choose("simulator", kind, SIMULATORS)
        choose("kind of tracks", tracks, TRACKS if kind == "gymnasium" else ["shared"])
        self.seeds = [int(seed) for seed in seeds]
        wrong = [seed for seed in self.seeds if not 0 <= seed <= LARGEST]
        if wrong or not self.seeds:
            raise Mistake(
                f"seed of a track: {wrong[0] if wrong else 'none'}; "
                f"allowed: one or more, 0 to {LARGEST}"
            )
        for name, value, most in (
            ("limit", limit, LIMIT),
            ("size", size, FULL),
            ("threads", threads, 1024),
        ):
            if not 1 <= value <= most:
                raise Mistake(f"{name} = {value}; allowed: 1 to {most}")
        self.kind, self.size, self.hud, self.limit = kind, size, hud, limit
        self.tracks, self.threads = tracks, min(threads, len(self))
        self._simulator: Simulator | None = None
        self.alive = np.zeros(len(self), bool)

    def __len__(self) -> int:
        return len(self.seeds)

    def _made(self) -> Simulator:
        if self.kind == "envpool":
            return Envpool(self.seeds, self.threads)
        if self.threads == 1:
            return Games(self.seeds, self.tracks, self.hud)
        return Team(self.seeds, self.tracks, self.hud, self.threads)

    def reset(self) -> np.ndarray:
        """First frames (N, 3, size, size) uint8:
        always of the same tracks, since the simulators are made anew."""
        self.close()
        self._simulator, n = self._made(), len(self)
        self.frames = small(self._simulator.reset(), self.size, self.hud)
        self.alive, self.terminated, self.lap_finished = (
            np.ones(n, bool),
            np.zeros(n, bool),
            np.zeros(n, bool),
        )
        self.steps, self.progress = np.zeros(n, np.int64), np.zeros(n)
        return self.frames.copy()

    def step(self, actions: object) -> Step:
        """What the cars see after actions (N, 3): steer, gas, brake, clipped;
        those of ended episodes are not read."""
        if self._simulator is None:
            raise Mistake("the pool was not reset; allowed: reset, then step")
        rows, rewards = np.flatnonzero(self.alive), np.zeros(len(self), np.float32)
        bounds = bounded(actions, len(self))
        if len(rows):
            frames, paid, ended = self._simulator.step(bounds[rows], rows)
            self.frames[rows], rewards[rows] = small(frames, self.size, self.hud), paid
            self.steps[rows] += 1
            self._judge(rows, paid, ended)
        parts = (
            self.frames,
            rewards,
            self.alive,
            self.terminated,
            self.lap_finished,
            self.steps,
            self.progress,
        )
        return Step(*(part.copy() for part in parts))

    def _judge(self, rows: np.ndarray, paid: np.ndarray, ended: np.ndarray) -> None:
        """Which episodes have ended and how: leaving the field replaces a step's reward,
        anything else is tiles less 0.1."""
        left = paid < LEFT
        self.progress[rows] += np.where(left, 0, paid + 0.1) / 1000
        terminated = ended | left | (self.progress[rows] > WHOLE)
        self.terminated[rows], self.lap_finished[rows] = terminated, terminated & ~left
        self.alive[rows] = ~terminated & (self.steps[rows] < self.limit)

    def retire(self, rows: np.ndarray) -> None:
        """Stop the episodes of these cars, (N,) bool, as the limit would."""
        self.alive &= ~rows

    def close(self) -> None:
        """Free threads and processes."""
        if self._simulator is not None:
            self._simulator.close()
        self._simulator = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
