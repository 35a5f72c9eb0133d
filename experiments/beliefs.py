"""Does a memory know what its agent earns, and when does the agent stop earning? Prints one table.

    python experiments/beliefs.py RUN [--memory RUN] [--tracks 16] [--step K]

RUN is of world_controller; it drives the selection tracks in envpool, and its memory (or another
one of the same eye) is told every code and action of the real drive, until that ends. Earned and
believed are sums of rewards over 100 steps, means over tracks; off: the share of steps at which the
reward was that of no new tile for the 20 steps around, as on grass. Where what is believed is what
was earned and drives fail all the same, dreams do not lie: they are too short, or begin elsewhere.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.errors import one_line
from simulacra.core.load import reopen
from simulacra.envs.carracing.tracks import SELECTION
from simulacra.models.world import artefacts
from simulacra.models.world.acting import LIMIT, drive
from simulacra.models.world.agent import Agent, agent_of
from simulacra.models.world.dreaming import earning
from simulacra.models.world.memory_nets import Memory
from simulacra.models.world.seeing import shown

WINDOW = 100  # steps of a row
STILL = 21  # steps without a tile that count as off the road


class Witness:
    """A world that remembers what was done in it and what that earned."""

    def __init__(self, world: Any):
        self.world = world
        self.actions: list[Tensor] = []
        self.rewards: list[Tensor] = []

    def reset(self) -> Any:
        return self.world.reset()

    def step(self, actions: np.ndarray) -> Any:
        found = self.world.step(actions)
        self.actions.append(torch.as_tensor(actions).float())
        self.rewards.append(torch.as_tensor(np.asarray(found[1])).float())
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


def notify(agent: Agent, world: Any, memory: Memory) -> tuple[Tensor, Tensor]:
    """Rewards earned in a world's games and believed, (games, T) each."""
    codes: list[Tensor] = []
    witness = Witness(world)
    driven = drive(
        agent.centre[None],
        agent.senses,
        witness,
        0,
        LIMIT,
        lambda frames, z, actions: codes.append(z),
    )
    with torch.no_grad():
        follows, _ = memory(torch.stack(codes, 1), torch.stack(witness.actions, 1))
    earned = torch.stack(witness.rewards, 1)
    # nothing is to be believed of what is over
    alive = torch.arange(earned.shape[1]) < driven.lengths[0][:, None]
    return earned, earning(memory, follows) * alive


def table(earned: Tensor, believed: Tensor) -> list[str]:
    """A row every WINDOW steps."""
    # 1 where a tile was near in time
    found = F.max_pool1d((earned > 0).float()[:, None], STILL, 1, STILL // 2)[:, 0]
    rows = ["| steps | earned | believed | off |", "|---|---|---|---|"]
    for first in range(0, earned.shape[1], WINDOW):
        some = slice(first, first + WINDOW)
        sums = [float(one[:, some].clamp(-10, 10).sum(1).mean()) for one in (earned, believed)]
        off = 1 - float(found[:, some].mean())
        rows.append(f"| {first} to {first + WINDOW} | {sums[0]:.1f} | {sums[1]:.1f} | {off:.2f} |")
    return rows


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("run", type=Path)
    words.add_argument("--memory", default="", help="another run of world_memory, of the same eye")
    words.add_argument("--tracks", type=int, default=16, help=f"how many of the {len(SELECTION)}")
    words.add_argument("--step", type=int)
    asked = words.parse_args()
    torch.set_num_threads(1)
    agent = agent_of(reopen(asked.run, None, step=asked.step))
    memory = artefacts.memory_of(asked.memory) if asked.memory else agent.memory
    artefacts.same_eye(memory, artefacts.Seen(agent.senses.eye, agent.eye))
    world = shown(artefacts.factory("envpool", 1), agent.view)(SELECTION[: asked.tracks])
    print(*table(*notify(agent, world, memory)), sep="\n")


if __name__ == "__main__":
    with one_line():
        main()
