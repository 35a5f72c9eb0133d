"""Agents in a world: a population of controllers drives many episodes at once, every network in one
batch.

Shapes: P controllers, E tracks each, rows p * E + e; N, Z, A as in dreaming.py. Frames are
uint8, (P E, 3, H, W).
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from simulacra.core.random import generator
from simulacra.models.world.dreaming import Agents
from simulacra.models.world.memory_nets import Memory

CHUNK = 256  # frames encoded at once
LIMIT = 1000  # steps of an official episode
DRAWN = 64  # steps whose noise is drawn at once


@runtime_checkable
class Eye(Protocol):
    """V: pictures to codes and back."""

    z_size: int

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, (B, Z) each, of pictures (B, C, H, W) in [-1, 1]."""

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (B, C, H, W) in [-1, 1] of codes (B, Z)."""


class World(Protocol):
    """N episodes at once. An episode that has ended stays ended, its reward 0. `seeds`, the track
    of each, are read from it if it has them, and it is closed if it can be."""

    def reset(self) -> Any:
        """First frames (N, 3, H, W) uint8."""

    def step(self, actions: Any) -> Any:
        """A tuple that begins with frames (N, 3, H, W), rewards (N,) and which episodes go on (N,).
        `lap_finished` and `progress`, (N,) each, are read from it if it has them."""


Factory = Callable[[Sequence[int]], World]
"""A world with one episode for each seed of a track; equal seeds are equal tracks."""

Watch = Callable[[Any, Tensor, Tensor], None]
"""Notify of every step: the frames (N, 3, H, W) uint8, the codes (N, Z) acted on, and the actions
(N, A)."""


@dataclass(frozen=True)
class Senses:
    """What all controllers of a drive share."""

    eye: Eye
    memory: Memory | None  # whose state they see; None: codes alone
    squash: str = "paper"  # of actions
    # act on a code drawn from the eye's posterior, as published; otherwise on its mean
    sampled: bool = True
    actions: int = 3  # A, numbers of an action


@dataclass(frozen=True)
class Driven:
    """What came of a drive, (P, E) each."""

    returns: Tensor  # sums of rewards, float64
    lengths: Tensor  # steps until the end, that one included
    finished: Tensor  # 1 where a lap was finished, else 0; NaN where the world does not tell
    # share of the track's tiles that were reached; NaN where the world does not tell
    progress: Tensor


def pictures(frames: Any) -> Tensor:
    """Frames (N, 3, H, W) uint8 as floats in [-1, 1]."""
    return torch.from_numpy(np.asarray(frames).astype(np.uint8)).float().div_(127.5).sub_(1)


class Luck:
    """The noise of codes in E episodes: standard normal numbers that follow from a seed, the
    episode's name and the step, and from nothing else, neither the other episodes nor how many
    processes share them."""

    def __init__(self, seed: int, names: Sequence[tuple[int, ...]], z_size: int):
        self.dice = [generator(seed, "drive", *name) for name in names]
        self.z_size, self.step = z_size, 0

    def draw(self) -> Tensor:
        """That of the next step, (E, Z)."""
        if self.step % DRAWN == 0:
            each = [torch.randn(DRAWN, self.z_size, generator=one) for one in self.dice]
            self.ahead = torch.stack(each, 1)
        self.step += 1
        return self.ahead[(self.step - 1) % DRAWN]


@contextlib.contextmanager
def closing(world: World) -> Iterator[World]:
    """The world, closed at the end if it can be: it may hold processes and files."""
    try:
        yield world
    finally:
        if hasattr(world, "close"):
            world.close()


@torch.inference_mode()
def drive(
    controllers: Tensor,
    senses: Senses,
    world: World,
    seed: int,
    steps: int = LIMIT,
    watch: Watch | None = None,
    own: bool = False,
) -> Driven:
    """Controllers (P, N) in a world of P E episodes, until all have ended or `steps` are done. The
    noise of codes, by seed and track (by place, where the world does not tell its tracks), is the
    same for every controller, so that equal ones on equal tracks earn the same, unless each is to
    have its `own`."""
    P, frames = len(controllers), world.reset()
    rows = len(frames)
    E, tracks = rows // P, [int(track) for track in getattr(world, "seeds", range(rows))]
    names = enumerate(tracks[: rows if own else E])
    names_of_luck = [(track, i // E) if own else (track,) for i, track in names]
    luck = Luck(seed, names_of_luck, senses.eye.z_size)
    state = senses.memory.start(torch.empty(rows, 0)) if senses.memory else None
    agents = Agents(controllers.float(), senses.memory, state, senses.squash, senses.actions)
    returns, lengths = torch.zeros(rows, dtype=torch.float64), torch.zeros(rows)
    alive, last = torch.ones(rows, dtype=torch.bool), None
    for _ in range(steps):
        noise = luck.draw().repeat(1 if own else P, 1) if senses.sampled else None
        z = encoded(senses.eye, frames, alive, noise)
        actions = agents.act(z)
        if watch:
            watch(frames, z, actions)
        last = world.step(actions.numpy())
        frames, rewards, goes_on = last[:3]
        returns += torch.as_tensor(np.asarray(rewards)).double() * alive
        lengths += alive
        alive &= torch.as_tensor(np.asarray(goes_on)).bool()
        if not alive.any():
            break
    told = (_told(last, name, rows) for name in ("lap_finished", "progress"))
    return Driven(*(value.view(P, E) for value in (returns, lengths, *told)))


class Hands:
    """A controller (N,) at the wheel of many cars,
    which act on mean codes and whose actions others may overrule."""

    def __init__(self, controller: Tensor, senses: Senses, rows: int):
        self.senses = senses
        state = senses.memory.start(torch.empty(rows, 0)) if senses.memory else None
        self.agents = Agents(
            controller[None].float(), senses.memory, state, senses.squash, senses.actions
        )

    @torch.inference_mode()
    def wanted(self, frames: Any, alive: Tensor) -> np.ndarray:
        """What the controller would do on seeing these frames, (N, A)."""
        self.z, self.before = encoded(self.senses.eye, frames, alive, None), self.agents.state
        return self.agents.act(self.z).numpy()

    @torch.inference_mode()
    def took(self, actions: np.ndarray) -> None:
        """Hear what was really done, (N, A)."""
        if self.senses.memory and self.before:
            self.agents.state = self.senses.memory.advance(
                self.z, torch.from_numpy(actions), self.before
            )


def encoded(eye: Eye, frames: Any, alive: Tensor, noise: Tensor | None) -> Tensor:
    """Codes (N, Z) of frames whose episodes go on, drawn with the noise (N, Z) or the means;
    0 for the others."""
    z = torch.zeros(len(alive), eye.z_size)
    for rows in alive.nonzero()[:, 0].split(CHUNK):
        mean, log_variance = eye.encode(pictures(np.asarray(frames)[rows.numpy()]))
        z[rows] = mean if noise is None else mean + (log_variance / 2).exp() * noise[rows]
    return z


def _told(last: Any, name: str, rows: int) -> Tensor:
    value = getattr(last, name, None)
    if value is None:
        return torch.full((rows,), torch.nan)
    return torch.as_tensor(np.asarray(value)).float()
