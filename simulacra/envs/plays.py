"""Many plays of one game at once, each from its seed: a world as models/world/acting.py has it.

A play that breaks, whatever its environment raises, ends there and is marked in `faults`; the
others go on. An environment is closed as soon as its play has ended, and all of them with the
world, also if nobody closes it.
"""

import contextlib
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from simulacra.core.errors import Mistake
from simulacra.envs.game import SIZE, Game, plain, taken

LARGEST = 2**31 - 1  # seed of a play


class Step(NamedTuple):
    """What N plays show after an action each."""

    frames: np.ndarray  # (N, 3, 64, 64) uint8; of ended plays the last
    rewards: np.ndarray  # (N,) float32; 0 where the play had ended before
    alive: np.ndarray  # (N,) bool, whether the play goes on
    terminated: np.ndarray  # (N,) bool, whether the game has ended it; else a limit or a fault did


class Plays:
    """N plays of a game; equal seeds and actions are equal plays."""

    def __init__(self, game: Game, seeds: Sequence[int], limit: int | None = None) -> None:
        self.game, self.seeds = game, [int(seed) for seed in seeds]
        self.limit = game.steps if limit is None else limit
        if not self.seeds or not all(0 <= seed <= LARGEST for seed in self.seeds):
            raise Mistake(f"seeds {self.seeds[:3]}; allowed: one or more, 0 to {LARGEST}")
        if not 1 <= self.limit <= game.steps:
            raise Mistake(f"limit = {self.limit}; allowed: 1 to {game.steps}, as {game.name} has")
        self.actions = game.does()
        self.environments: dict[int, Any] = {}
        self.faults: dict[int, str] = {}  # by place what a play broke with
        self._closing = weakref.finalize(self, close_all, self.environments)

    def __len__(self) -> int:
        return len(self.seeds)

    def reset(self) -> np.ndarray:
        """First frames (N, 3, 64, 64) uint8; a Mistake if no play can begin."""
        self.close()
        n = len(self)
        self.frames = np.zeros((n, 3, SIZE, SIZE), np.uint8)
        self.alive, self.terminated = np.ones(n, bool), np.zeros(n, bool)
        self.steps = np.zeros(n, np.int64)
        self.faults.clear()
        for i, seed in enumerate(self.seeds):
            self.environments[i] = environment = self.game.environment()
            with self._marking(i):
                seen, _ = environment.reset(seed=seed)
                self.frames[i] = picture(self.game, environment, seen)
            self._free(i)
        if len(self.faults) == n:
            raise Mistake(f"game {self.game.name} cannot begin: {self.faults[0]}")
        return self.frames.copy()

    def step(self, actions: object) -> Step:
        """What is seen after actions (N, A); those of ended plays are not read."""
        found, size = np.asarray(actions, np.float32), self.actions.size
        if found.shape != (len(self), size):
            raise Mistake(
                f"actions of shape {found.shape}; allowed: ({len(self)}, {size}), as "
                f"{self.game.name} has"
            )
        rewards = np.zeros(len(self), np.float32)
        for i in np.flatnonzero(self.alive).tolist():
            with self._marking(i):
                if not np.isfinite(found[i]).all():
                    raise Mistake(f"actions of play {i} are no numbers")
                rewards[i] = self._one(i, found[i])
            self.steps[i] += 1
            if self.steps[i] >= self.limit:
                self.alive[i] = False
            self._free(i)
        return Step(self.frames.copy(), rewards, self.alive.copy(), self.terminated.copy())

    def _one(self, i: int, action: np.ndarray) -> float:
        """One action of one play: what it earned."""
        environment, earned = self.environments[i], 0.0
        chosen = taken(environment.action_space, action)
        for _ in range(self.game.repeat):
            seen, reward, terminated, truncated, _ = environment.step(chosen)
            earned += float(reward)
            if terminated or truncated:
                self.alive[i], self.terminated[i] = False, bool(terminated)
                break
        self.frames[i] = picture(self.game, environment, seen)
        return earned

    def _free(self, i: int) -> None:
        """Close the environment of a play that has ended."""
        if not self.alive[i]:
            with contextlib.suppress(Exception):
                self.environments.pop(i).close()

    @contextlib.contextmanager
    def _marking(self, i: int) -> Any:
        """Whatever a game raises ends its play; what a person did wrong is told at once."""
        try:
            yield
        except Mistake:
            raise
        except Exception as error:
            self.faults[i], self.alive[i] = plain(error), False

    def retire(self, rows: np.ndarray) -> None:
        """Stop these plays, (N,) bool, as a limit would."""
        self.alive &= ~rows

    def close(self) -> None:
        """Close every environment."""
        close_all(self.environments)

    def __enter__(self) -> "Plays":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def close_all(environments: dict[int, Any]) -> None:
    """Close environments and forget them, whatever they say."""
    while environments:
        with contextlib.suppress(Exception):
            environments.popitem()[1].close()


def picture(game: Game, environment: Any, seen: Any) -> np.ndarray:
    """What a game shows, (3, 64, 64) uint8: cropped, then averaged over areas;
    a Mistake if it shows nothing."""
    whole = game.see(environment, seen) if game.see else seen
    if not _is_picture(whole) and not game.see:
        whole = environment.render() if environment.render_mode == "rgb_array" else None
    if whole is None or not _is_picture(whole):
        found = "nothing" if whole is None else f"{type(whole).__name__} {np.shape(whole)}"
        raise Mistake(
            f"game {game.name} shows {found}; allowed: pictures (H, W, 3) uint8 as observations or "
            'with render_mode="rgb_array"'
        )
    return shrunk(np.asarray(whole), game)


def shrunk(whole: np.ndarray, game: Game) -> np.ndarray:
    """A picture (H, W, 3) or (H, W) uint8 as eyes see it, (3, 64, 64) uint8."""
    if whole.ndim == 2 or whole.shape[2] == 1:
        whole = np.repeat(whole.reshape(*whole.shape[:2], 1), 3, 2)
    if game.crop:
        top, bottom, left, right = game.crop
        if bottom > whole.shape[0] or right > whole.shape[1]:
            raise Mistake(
                f"game {game.name}: crop = {game.crop}; allowed: within its pictures of "
                f"{whole.shape[0]} rows and {whole.shape[1]} columns"
            )
        whole = whole[top:bottom, left:right]
    small = cv2.resize(np.ascontiguousarray(whole), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.transpose(2, 0, 1))


def _is_picture(found: Any) -> bool:
    """Whether something is a picture of bytes, grey or in colours."""
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8:
        return False
    return found.ndim == 2 or (found.ndim == 3 and found.shape[2] in (1, 3))
