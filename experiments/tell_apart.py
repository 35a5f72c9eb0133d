"""Can two drivers be told apart by how they drive? (VG-13.) Prints how often a classifier is right, with its interval.

    python experiments/tell_apart.py RUN OTHER [--eye RUN] [--other-eye RUN] [--tracks 32] [--steps 1000] [--seeds 1]

RUN and OTHER are of world_controller. Both drive the same selection tracks in envpool, with --seeds draws of the noise of their
codes each. A drive is a few numbers: mean and spread of each action, how abruptly it changes, what was earned, and the share of
steps far from any new tile. A linear discriminant learns from the other tracks which of a pair of drives on one track is RUN's;
half of the pairs would be right by chance. Brackets: the 95 % Wilson interval over tracks.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from beliefs import STILL, Witness
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional as F

from simulacra.errors import Mistake, one_line
from simulacra.reopen import reopen
from simulacra.verbs._picture import within
from simulacra.world import parts
from simulacra.world.acting import LIMIT, Factory, drive
from simulacra.world.agent import Agent, agent_of
from simulacra.world.tracks import SELECTION

FEATURES = [
    *(f"{what} of {name}" for what in ("mean", "spread", "change") for name in ("steer", "gas", "brake")),
    *("return", "off the road"),
]
SURE = 1.959964  # standard deviations of a normal interval of 95 %


def drives(agent: Agent, factory: Factory, tracks: list[int], seed: int, steps: int) -> NDArray[np.float64]:
    """What each drive was like, (tracks, FEATURES)."""
    witness = Witness(factory(tracks))
    lengths = drive(agent.centre[None], agent.senses, witness, seed, steps).lengths[0].int().tolist()
    actions, rewards = torch.stack(witness.actions, 1), torch.stack(witness.rewards, 1)
    return np.stack([described(actions[i, :T], rewards[i, :T]) for i, T in enumerate(lengths)])


def described(actions: torch.Tensor, rewards: torch.Tensor) -> NDArray[np.float64]:
    """The features of one drive: actions (T, 3), rewards (T,)."""
    near = F.max_pool1d((rewards > 0).float()[None], STILL, 1, STILL // 2)[0]
    change = actions.diff(dim=0).abs().mean(0) if len(actions) > 1 else torch.zeros(actions.shape[1])
    found = [actions.mean(0), actions.std(0, correction=0), change, rewards.sum()[None], 1 - near.mean()[None]]
    return torch.cat(found).double().numpy()


def right(one: NDArray[np.float64], other: NDArray[np.float64]) -> list[bool]:
    """For each track, whether both drives on it are told apart by what was learnt from the other tracks. (tracks, draws, F)."""
    verdicts = []
    for k in range(len(one)):
        seen = [np.delete(some, k, 0).reshape(-1, some.shape[2]) for some in (one, other)]
        labels = np.repeat([1, 0], [len(some) for some in seen])
        judge = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        scale = np.concatenate(seen).std(0) + 1e-9
        judge.fit(np.concatenate(seen) / scale, labels)
        mine, theirs = (judge.decision_function(some[k] / scale).mean() for some in (one, other))
        verdicts.append(bool(mine > theirs))
    return verdicts


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    middle = (hits + SURE**2 / 2) / (n + SURE**2)
    half = SURE / (n + SURE**2) * math.sqrt(hits * (n - hits) / n + SURE**2 / 4)
    return middle - half, middle + half


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("other", type=Path)
    words.add_argument("--eye", type=Path, help="of RUN; otherwise the config's")
    words.add_argument("--other-eye", type=Path)
    words.add_argument("--tracks", type=int, default=len(SELECTION), help=f"how many of the {len(SELECTION)}, 3 and more")
    words.add_argument("--steps", type=int, default=LIMIT)
    words.add_argument("--seeds", type=int, default=1, help="draws of the noise of codes on each track")
    asked = words.parse_args()
    within(steps=(asked.steps, LIMIT), seeds=(asked.seeds, 100))
    if not 3 <= asked.tracks <= len(SELECTION):
        raise Mistake(f"tracks = {asked.tracks}; allowed: 3 to {len(SELECTION)}, since the others are learnt from")
    torch.set_num_threads(1)
    factory, tracks = parts.factory("envpool", 1), list(SELECTION[: asked.tracks])
    agents = agent_of(reopen(asked.run, None), asked.eye), agent_of(reopen(asked.other, None), asked.other_eye)
    one, other = (
        np.stack([drives(agent, factory, tracks, seed, asked.steps) for seed in range(asked.seeds)], 1) for agent in agents
    )
    print("| | " + " | ".join(FEATURES) + " |", "|---" * (len(FEATURES) + 1) + "|", sep="\n")
    for run, some in ((asked.run, one), (asked.other, other)):
        print(f"| {run.name} | " + " | ".join(f"{value:.3g}" for value in some.mean((0, 1))) + " |")
    verdicts = right(one, other)
    hits, n = sum(verdicts), len(verdicts)
    low, high = wilson(hits, n)
    print(f"\ntold apart on {hits} of {n} tracks, {hits / n:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    with one_line():
        main()
