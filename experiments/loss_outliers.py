"""Do loss and KL of Visual Dynamics leap in the first steps, and what stops it? Prints one table.

    python experiments/loss_outliers.py --steps 600 --seeds 0 1 2 [--size 32] [--at-once 2]

The notes' code draws z with standard deviation exp(s) where its KL takes s as log-variance, bounds
neither s nor the gradient, and says that loss and KL show outliers at first. Each row changes one
of these. Counted are the steps at which a number is more than ten times its running median over the
50 steps before; `worst` is the greatest such ratio.
"""

import argparse
import statistics
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import torch

from simulacra.core import config, data_sets, optim, random
from simulacra.core.load import build

WINDOW = 50  # steps of the running median
FAR = 10.0  # times the median
NOTES = [
    "hyper.paint=difference",
    "hyper.z_size=128",
    "hyper.norm=batch",
    "hyper.image=[32,32,32]",
    "hyper.maps=16",
    "hyper.hidden=64",
    "hyper.scales=[2.0,1.0,0.5,0.25]",
    "hyper.motion=[32,32,64,64]",
    "hyper.strides=[2,1,2,2]",
    "hyper.beta=1.0",
    "hyper.sigma=0.2",
    "hyper.rate=1e-3",
]
ROWS = {
    "as the notes: exp(s), no bound, no clip": ["hyper.log_variance=doubled", "hyper.bound=0"],
    "exp(s / 2)": ["hyper.log_variance=exact", "hyper.bound=0"],
    "exp(s), |s| < 8": ["hyper.log_variance=doubled", "hyper.bound=8"],
    "exp(s), gradient clipped to 1": [
        "hyper.log_variance=doubled",
        "hyper.bound=0",
        "hyper.clip=1.0",
    ],
    "exp(s / 2), |s| < 8": ["hyper.log_variance=exact", "hyper.bound=8"],
    "exp(s / 2), |s| < 8, layers": [
        "hyper.paint=layers",
        "hyper.norm=group",
        "hyper.log_variance=exact",
        "hyper.bound=8",
    ],
}


def curves(row: str, seed: int, steps: int, size: int) -> dict[str, list[float]]:
    """Loss, squared error and KL of each step; a run that is not finite ends there."""
    torch.set_num_threads(1)
    checked = config.resolve(
        "visual_dynamics_shapes", "laptop", [*NOTES, *ROWS[row], f"data.size={size}", "batch=16"]
    )
    source = data_sets.load(checked.data, None)
    model = build(checked, source.draw(0, checked.batch, seed), torch.device("cpu"))
    found: dict[str, list[float]] = {"loss": [], "L2": [], "KL": []}
    for k in range(steps):
        random.reseed(random.fold(seed, "step", k))
        optim.set_rates(model, k)
        told = model.step(source.draw(k, checked.batch, seed), k)
        for name, values in found.items():
            values.append(float(told[name].detach()))
        if not all(torch.isfinite(torch.tensor(values[-1])) for values in found.values()):
            break
    return found


def leaps(values: list[float]) -> list[float]:
    """Each value over the median of the WINDOW before it, where there are as many."""
    return [
        value / statistics.median(values[i - WINDOW : i])
        for i, value in enumerate(values)
        if i >= WINDOW
    ]


def main() -> None:
    """Parse, train, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=32, help="side of the frames")
    parser.add_argument(
        "--at-once", type=int, default=2, help="trainings side by side, one thread each"
    )
    asked = parser.parse_args()
    jobs = list(product(ROWS, asked.seeds))
    with ProcessPoolExecutor(asked.at_once) as pool:
        rows, seeds_of = zip(*jobs, strict=True)
        done = list(
            pool.map(curves, rows, seeds_of, [asked.steps] * len(jobs), [asked.size] * len(jobs))
        )
    print(
        "| run | loss: steps beyond 10 x | worst | L2: steps | worst | KL: steps | worst | last L2 "
        "|"
    )
    print("|---" * 8 + "|")
    for row in ROWS:
        own = [found for (name, _), found in zip(jobs, done, strict=True) if name == row]
        cells = []
        for name in "loss", "L2", "KL":
            ratios = [leaps(found[name]) or [float("nan")] for found in own]
            cells.append(", ".join(str(sum(ratio > FAR for ratio in one)) for one in ratios))
            cells.append(", ".join(f"{max(one):.3g}" for one in ratios))
        last = ", ".join(f"{statistics.mean(found['L2'][-WINDOW:]):.3f}" for found in own)
        print(f"| {row} | " + " | ".join(cells) + f" | {last} |")


if __name__ == "__main__":
    main()
