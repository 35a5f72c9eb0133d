"""Drive: a film of an agent at the wheel:
what it saw, what its eye kept of it, and what its memory had expected."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.core.random import fold
from simulacra.envs.carracing.tracks import OFFICIAL, SELECTION
from simulacra.models.world import acting, artefacts
from simulacra.models.world.acting import LIMIT, Eye, World
from simulacra.models.world.acting import drive as driven
from simulacra.models.world.agent import Agent, agent_of
from simulacra.models.world.memory_nets import Memory, expected
from simulacra.tasks._picture import within
from simulacra.tasks.worlds._film import Screen
from simulacra.tasks.worlds.score import longest

CHUNK = 256  # codes decoded at once


class Trip(NamedTuple):
    """What came of a drive."""

    path: Path  # of the film
    value: float  # the return
    steps: int  # until the end
    lap_finished: float  # 1 or 0; NaN where the world does not tell
    progress: float  # share of the tiles that were reached; NaN where the world does not tell
    notes: tuple[str, ...] = ()  # what had to be assumed of the agent
    longest: int = LIMIT  # steps of the longest episode there


class Notes:
    """Watches a drive of one agent and keeps what its film needs.
    A memory is told of it, whether the agent sees it or not."""

    def __init__(self, memory: Memory):
        self.memory, self.state = memory, memory.start(torch.empty(1, 0))
        self.frames: list[Tensor] = []  # (3, H, W) each
        self.codes: list[Tensor] = []  # (Z,), acted on
        self.expected: list[Tensor] = []  # (Z,), of the frame that follows

    def __call__(self, frames: Any, z: Tensor, actions: Tensor) -> None:
        self.frames.append(acting.pictures(frames)[0])
        self.codes.append(z[0])
        self.state = self.memory.advance(z[:1], actions[:1], self.state)
        self.expected.append(expected(self.memory.predict(self.state.h).code)[0])

    def panels(self, eye: Eye) -> Tensor:
        """Clips (3, T, C, H, W): the frames, their codes decoded, and what was expected of them,
        which for the first is nothing, grey."""
        kept, foreseen = (
            decoded(eye, torch.stack(self.codes)),
            decoded(eye, torch.stack(self.expected)),
        )
        before = torch.cat([torch.zeros_like(kept[:1]), foreseen[:-1]])
        return torch.stack([torch.stack(self.frames), kept, before]).clamp(-1, 1)


def drive(
    opened: Opened,
    out: Path,  # a .mp4 or a .gif
    *,
    track: int = SELECTION[0],  # its seed
    steps: int = 300,
    simulator: str = "gymnasium",
    eye: Path | None = None,  # run folder; None: the config's
    seed: int = 0,  # of the noise of codes
    screen: Screen,
) -> Trip:
    """Drive on one track with the mean of the search distribution, and write the film.
    Official tracks are for scores alone."""
    screen.check(out)
    frames, trip = driven_on(opened, track, steps, simulator, seed, eye)
    return trip._replace(path=screen.show(frames, out, 3))


def driven_on(
    opened: Opened,
    track: int | None,
    steps: int,
    simulator: str,
    seed: int,
    eye: Path | None = None,
) -> tuple[Tensor, Trip]:
    """Clips (3, T, C, H, W) of a drive, as Notes.panels has them, and what came of it; `track` None
    is the first of those on which checkpoints are chosen."""
    track = SELECTION[0] if track is None else track
    if track in OFFICIAL:
        raise Mistake(
            f"track = {track}, one of the {len(OFFICIAL)} on which scores are measured; "
            "allowed: any other"
        )
    if steps < 1:
        within(steps=(steps, LIMIT))  # before anything is opened
    agent = agent_of(opened, eye)
    within(steps=(steps, longest(agent.view)))
    world = artefacts.world(simulator, agent.view)
    notes, trip = recorded(agent, world([track]), seed, steps)
    return notes.panels(agent.senses.eye), trip._replace(
        notes=agent.notes, longest=longest(agent.view)
    )


def recorded(agent: Agent, world: World, seed: int, steps: int) -> tuple[Notes, Trip]:
    """A drive of an agent in a world of one episode, and what was seen and thought."""
    notes = Notes(agent.memory)
    with acting.closing(world):
        found = driven(agent.centre[None], agent.senses, world, fold(seed, "film"), steps, notes)
    value, length, finished, progress = (float(one[0, 0]) for one in vars(found).values())
    return notes, Trip(Path(), value, int(length), finished, progress)


def decoded(eye: Eye, codes: Tensor) -> Tensor:
    """Pictures (N, C, H, W) of codes (N, Z)."""
    with torch.no_grad():
        return torch.cat([eye.decode(some) for some in codes.split(CHUNK)])
