"""Can drivers be told apart by how they drive, and by their eyes? (VG-13.) Prints how often a
classifier is right.

    python experiments/tell_apart.py RUN [RUN ...] --against OTHER [OTHER ...] [--tracks 32]
    [--steps 1000] [--seeds 1]

All are runs of world_controller. All drive the same selection tracks in envpool, with --seeds draws
of the noise of their codes each. A drive is a few numbers: mean and spread of each action, how
abruptly it changes, what was earned, and the share of steps far from any new tile. A linear
discriminant learns from the other tracks which of a pair of drives on one track is RUN's; half of
the pairs would be right by chance. Brackets: the 95 % Wilson interval over tracks.

Of three and more RUNs and OTHERs it is asked besides whether two searches differ by their kind:
from all but one of each, on the other tracks, is learnt which of the two left out is a RUN. Every
other way to split the drivers into such kinds is asked too: the share of splits that are told at
least as well is an exact p.
"""

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from beliefs import STILL, Witness
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional as F

from simulacra.core.errors import Mistake, one_line
from simulacra.core.load import reopen
from simulacra.envs.carracing.tracks import SELECTION
from simulacra.metrics.intervals.seeds import ALPHA, too_few
from simulacra.models.world import artefacts
from simulacra.models.world.acting import LIMIT, Factory, drive
from simulacra.models.world.agent import Agent, agent_of
from simulacra.models.world.seeing import shown
from simulacra.tasks._picture import within

FEATURES = [
    *(
        f"{what} of {name}"
        for what in ("mean", "spread", "change")
        for name in ("steer", "gas", "brake")
    ),
    *("return", "off the road"),
]
# (tracks, draws, FEATURES), of several drivers (drivers, tracks, draws, FEATURES)
Drives = NDArray[np.float64]
SURE = 1.959964  # standard deviations of a normal interval of 95 %


def drives(
    agent: Agent, factory: Factory, tracks: list[int], seed: int, steps: int
) -> NDArray[np.float64]:
    """What each drive was like, (tracks, FEATURES)."""
    witness = Witness(factory(tracks))
    lengths = (
        drive(agent.centre[None], agent.senses, witness, seed, steps).lengths[0].int().tolist()
    )
    actions, rewards = torch.stack(witness.actions, 1), torch.stack(witness.rewards, 1)
    return np.stack([described(actions[i, :T], rewards[i, :T]) for i, T in enumerate(lengths)])


def described(actions: torch.Tensor, rewards: torch.Tensor) -> NDArray[np.float64]:
    """The features of one drive: actions (T, 3), rewards (T,)."""
    near = F.max_pool1d((rewards > 0).float()[None], STILL, 1, STILL // 2)[0]
    change = (
        actions.diff(dim=0).abs().mean(0) if len(actions) > 1 else torch.zeros(actions.shape[1])
    )
    found = [
        actions.mean(0),
        actions.std(0, correction=0),
        change,
        rewards.sum()[None],
        1 - near.mean()[None],
    ]
    return torch.cat(found).double().numpy()


def right(one: Drives, other: Drives) -> list[bool]:
    """For each track, whether both drives on it are told apart
    by what was learnt from the other tracks. (tracks, draws, F)."""
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


def notify(one: Drives, other: Drives) -> tuple[float, tuple[float, float]]:
    """The share of tracks on which two drivers are told apart, and its interval."""
    verdicts = right(one, other)
    return sum(verdicts) / len(verdicts), wilson(sum(verdicts), len(verdicts))


def by_kind(drivers: Drives, mine: Sequence[int]) -> float:
    """How often the kind of two drivers is told by drives of the others on other tracks. Drivers
    (R, tracks, draws, F), `mine` of one kind."""
    theirs, scale = [i for i in range(len(drivers)) if i not in mine], drivers.std((0, 1, 2)) + 1e-9
    hits = []
    for (i, j), k in itertools.product(itertools.product(mine, theirs), range(drivers.shape[1])):
        rest = [
            np.delete(drivers[[r for r in kind if r not in (i, j)]], k, 1) / scale
            for kind in (mine, theirs)
        ]
        seen = [some.reshape(-1, drivers.shape[-1]) for some in rest]
        judge = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        judge.fit(np.concatenate(seen), np.repeat([1, 0], [len(some) for some in seen]))
        one, other = (judge.decision_function(drivers[r, k] / scale).mean() for r in (i, j))
        hits.append(bool(one > other))
    return float(np.mean(hits))


def splits(drivers: int, mine: int) -> list[tuple[int, ...]]:
    """All ways to call so many of the drivers one kind, the first of which is as asked;
    of halves, one of each two mirrored."""
    found = list(itertools.combinations(range(drivers), mine))
    return [split for split in found if 0 in split] if 2 * mine == drivers else found


def compared(names: list[str], found: Drives, mine: int) -> None:
    """Print how well each two are told apart, and the kinds."""
    pairs: dict[str, list[float]] = {"of one kind": [], "of two kinds": []}
    print("\n| | | told apart |", "|---|---|---|", sep="\n")
    for i, j in itertools.combinations(range(len(names)), 2):
        share, (low, high) = notify(found[i], found[j])
        pairs["of two kinds" if i < mine <= j else "of one kind"].append(share)
        print(f"| {names[i]} | {names[j]} | {share:.2f} [{low:.2f}, {high:.2f}] |")
    if why := too_few(min(mine, len(names) - mine), "driver of a kind"):
        print(f"\nwhether the kinds differ is {why}")
        return
    print(
        *(
            f"\npairs {kind}: {np.mean(shares):.2f} on average of {len(shares)}"
            for kind, shares in pairs.items()
        ),
        sep="",
    )
    shares = [by_kind(found, split) for split in splits(len(names), mine)]
    p = np.mean(np.array(shares) >= shares[0])
    print(
        f"\nkinds told by drivers not learnt from: {shares[0]:.2f}, p = {p:.3f} among "
        f"{len(shares)} splits: {'told apart' if p <= ALPHA else 'undecided'}"
    )


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    words.add_argument("--against", type=Path, nargs="+", required=True, metavar="OTHER")
    words.add_argument("--eye", type=Path, help="of the RUNs; otherwise the configs'")
    words.add_argument("--other-eye", type=Path)
    words.add_argument(
        "--tracks",
        type=int,
        default=len(SELECTION),
        help=f"how many of the {len(SELECTION)}, 3 and more",
    )
    words.add_argument("--steps", type=int, default=LIMIT)
    words.add_argument(
        "--seeds", type=int, default=1, help="draws of the noise of codes on each track"
    )
    asked = words.parse_args()
    within(steps=(asked.steps, LIMIT), seeds=(asked.seeds, 100))
    if not 3 <= asked.tracks <= len(SELECTION):
        raise Mistake(
            f"tracks = {asked.tracks}; allowed: 3 to {len(SELECTION)}, "
            "since the others are learnt from"
        )
    torch.set_num_threads(1)
    factory, tracks = artefacts.factory("envpool", 1), list(SELECTION[: asked.tracks])
    both = [(run, asked.eye) for run in asked.runs] + [
        (run, asked.other_eye) for run in asked.against
    ]
    agents = [agent_of(reopen(run, None), eye) for run, eye in both]
    names = [f"{run.parent.name}/{run.name}" for run, _ in both]
    print("| | " + " | ".join(FEATURES) + " |", "|---" * (len(FEATURES) + 1) + "|", sep="\n")
    found = []
    for name, agent in zip(names, agents, strict=True):
        mine = shown(factory, agent.view)
        found.append(
            np.stack(
                [drives(agent, mine, tracks, seed, asked.steps) for seed in range(asked.seeds)], 1
            )
        )
        print(
            f"| {name} | " + " | ".join(f"{value:.3g}" for value in found[-1].mean((0, 1))) + " |",
            flush=True,
        )
    compared(names, np.stack(found), len(asked.runs))


if __name__ == "__main__":
    with one_line():
        main()
