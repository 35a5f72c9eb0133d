"""Do agents drive better on mean codes than on sampled ones? (WM-06.) Prints one table.

    python experiments/mean_codes.py RUN [RUN ...] [--eye RUN] [--tracks 32]

RUNs are of world_controller. Each drives the same selection tracks in envpool twice: on codes drawn
from the eye's posterior, as published, and on their means. Brackets: 95 % over tracks; the last row
is the mean of the runs' differences with its t interval, which speaks of other searches too where
runs differ in them.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from simulacra.core.errors import one_line
from simulacra.core.load import reopen
from simulacra.envs.carracing.tracks import SELECTION
from simulacra.metrics.intervals.seeds import ALPHA, above, below, too_few
from simulacra.metrics.world.returns import Summary, paired, score
from simulacra.models.world import artefacts
from simulacra.models.world.acting import Factory
from simulacra.models.world.agent import Agent, agent_of
from simulacra.models.world.seeing import shown


def both(agent: Agent, factory: Factory, tracks: list[int]) -> tuple[Summary, Summary, Summary]:
    """An agent's score on sampled codes, on their means,
    and what the means are worth, track by track."""
    drawn, means = (
        score(agent.centre, replace(agent.senses, sampled=sampled), factory, tracks)
        for sampled in (True, False)
    )
    return drawn.summary(), means.summary(), paired(means, drawn)


def over_runs(differences: list[float]) -> tuple[float, float]:
    """Their mean and half its 95 % t interval; of one there is no interval."""
    n = len(differences)
    half = (
        float(stats.t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / math.sqrt(n))
        if n > 1
        else math.nan
    )
    return float(np.mean(differences)), half


def verdict(differences: list[float]) -> str:
    """What runs of independent searches say, all together: fewer than three decide nothing."""
    if why := too_few(len(differences), "run"):
        return why
    p = min(1.0, 2 * min(above(differences, 0.0), below(differences, 0.0)))
    side = "better" if np.mean(differences) > 0 else "worse"
    word = f"means are {side}" if p <= ALPHA else "undecided"
    return f"{word}: p = {p:.3f} over {len(differences)} runs"


def notify(found: Summary) -> str:
    """A cell of the table."""
    return f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}]"


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    words.add_argument("--eye", type=Path, help="its run folder; otherwise the config's")
    words.add_argument(
        "--tracks", type=int, default=len(SELECTION), help=f"how many of the {len(SELECTION)}"
    )
    asked = words.parse_args()
    torch.set_num_threads(1)
    factory, tracks = artefacts.factory("envpool", 1), list(SELECTION[: asked.tracks])
    agents = [agent_of(reopen(run, None), asked.eye) for run in asked.runs]
    print("| run | on sampled codes | on their means | difference |", "|---|---|---|---|", sep="\n")
    differences = []
    for run, agent in zip(asked.runs, agents, strict=True):
        drawn, means, difference = both(agent, shown(factory, agent.view), tracks)
        differences.append(difference.mean)
        print(
            f"| {run.name} | {notify(drawn)} | {notify(means)} | {notify(difference)} |", flush=True
        )
    mean, half = over_runs(differences)
    print(f"| all {len(differences)} | | | {mean:.1f} [{mean - half:.1f}, {mean + half:.1f}] |")
    print(f"\n{verdict(differences)}")


if __name__ == "__main__":
    with one_line():
        main()
