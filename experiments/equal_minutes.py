"""Train several configs for equal processor minutes, measure each, and print one table.

    python experiments/equal_minutes.py ebgan_mnist gan_mnist --minutes 5 --seeds 0 1 --runs
    runs/table

Each config's processor seconds a step are measured first, on one thread; its number of steps
follows, its schedules are stretched to that length, and both are written into its run's
config.json, so that any run can be repeated alone. As many trainings as --at-once says run side by
side, one thread each. Finished runs are not trained again.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from simulacra.core import allocator, config, data_sets, optim, random
from simulacra.core.load import build, data_root
from simulacra.metrics.intervals.seeds import too_few

COLUMNS = [
    "frechet",
    "kid",
    "coverage",
    "density",
    "precision",
    "recall",
    "modified_inception_score",
    "top_probability",
    "class_min_share",
]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def seconds_a_step(name: str, changes: list[str], root: Path | None, steps: int = 40) -> float:
    """Processor seconds of a training step of a config on this machine, one thread: the mean of
    `steps` from the middle of the training, since some configs begin with cheaper ones, or do more
    in every fifth than in the others."""
    torch.set_num_threads(1)
    checked = config.resolve(name, "laptop", changes)
    source = data_sets.load(checked.data, root)
    model = build(checked, source.draw(0, checked.batch, 0), torch.device("cpu"))
    first, total = checked.steps // 2, 0.0
    for k in [0, *range(first, first + steps)]:
        random.reseed(k)
        batch = source.draw(k, checked.batch, 0)
        start = time.process_time()
        optim.set_rates(model, k)
        model.step(batch, k)
        total += time.process_time() - start if k else 0
    return total / steps


def schedules(hyper: dict[str, Any], under: str = "hyper") -> dict[str, list[Any]]:
    """Those of the hyperparameters that change with the step,
    nested ones too, by their full key."""
    found = {}
    for key, value in hyper.items():
        if isinstance(value, dict):
            found |= schedules(value, f"{under}.{key}")
        elif isinstance(value, list) and value and isinstance(value[0], list):
            found[f"{under}.{key}"] = value
    return found


def stretched(name: str, changes: list[str], steps: int) -> list[str]:
    """The config's schedules as changes, each stretched from the config's length to `steps`."""
    checked = config.resolve(name, "laptop", changes)
    scale, found = steps / checked.steps, schedules(config.plain(checked)["hyper"])
    return [f"{key}={[[round(k * scale), v] for k, v in points]}" for key, points in found.items()]


def run(
    name: str,
    seed: int,
    steps: int,
    folder: Path,
    changes: list[str],
    root: Path | None,
    sets: list[str],
) -> None:
    """Train and measure one run in processes of their own."""
    where = ["--data", str(root)] if root else []
    simulacra = [sys.executable, "-m", "simulacra"]
    every = [
        "--set",
        f"seed={seed}",
        "--set",
        f"steps={steps}",
        "--set",
        f"save_every={max(1, steps // 5)}",
    ]
    own = [
        part
        for change in [*changes, *stretched(name, changes, steps)]
        for part in ("--set", change)
    ]
    train = [
        *simulacra,
        "train",
        name,
        "--run",
        str(folder),
        *every,
        *own,
        *where,
        "--no-tensorboard",
    ]
    for command in (train, [*simulacra, "measure", str(folder), *where, *sets, "--json"]):
        log = folder.with_suffix(".txt")
        with log.open("a") as out:
            done = subprocess.run(
                command, env=os.environ | ONE_THREAD, stdout=out, stderr=subprocess.STDOUT
            )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}; see {log}")


def cells(folder: Path) -> dict[str, float]:
    """The last measured value of each metric."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["metric"]: row["value"] for row in rows}


def table(variants: dict[str, list[Path]], columns: list[str]) -> str:
    """Markdown: a row a variant, each cell the values of its seeds."""
    lines = ["| run | steps | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name, folders in variants.items():
        found = [cells(folder) for folder in folders]
        steps = json.loads((folders[0] / "config.json").read_text())["steps"]
        values = [", ".join(f"{row[column]:.3g}" for row in found) for column in columns]
        lines.append(f"| {name} | {steps:,} | " + " | ".join(values) + " |")
    few = too_few(min(map(len, variants.values()))) if len(variants) > 1 else ""
    lines += ["", f"Which of them is better is {few}."] if few else []
    return "\n".join(lines)


def main() -> None:
    """Parse, train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", help="config, or config:key=value,key=value")
    parser.add_argument(
        "--minutes", type=float, required=True, help="processor minutes of each run"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--repeats", type=int, default=3, help="sets of samples that a measurement averages over"
    )
    parser.add_argument("--samples", type=int, default=5000, help="in a set")
    parser.add_argument(
        "--at-once", type=int, default=2, help="trainings side by side, one thread each"
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--columns", nargs="+", default=COLUMNS, help="metrics of the table")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    allocator.keep()  # as the trainings do that it times
    root = data_root(asked.data)
    asked.runs.mkdir(parents=True, exist_ok=True)
    sets = ["--repeats", str(asked.repeats), "--samples", str(asked.samples)]
    variants: dict[str, list[Path]] = {}
    jobs = []
    for text in asked.configs:
        name, _, own = text.partition(":")
        changes = re.split(r",(?=[\w.]+=)", own) if own else []
        label = re.sub(r"[^\w]", "", text.replace(":", "_").replace(",", "_"))
        folders = variants[text] = [asked.runs / f"{label}_{seed}" for seed in asked.seeds]
        made = folders[0] / "config.json"
        if made.exists():
            steps = json.loads(made.read_text())["steps"]
        else:
            steps = round(asked.minutes * 60 / seconds_a_step(name, changes, root))
        todo = [
            (s, f)
            for s, f in zip(asked.seeds, folders, strict=True)
            if not (f / "metrics.jsonl").exists()
        ]
        jobs += [(name, seed, steps, folder, changes, root, sets) for seed, folder in todo]
    with ThreadPoolExecutor(asked.at_once) as pool:
        for job in [pool.submit(run, *job) for job in jobs]:
            job.result()
    print(table(variants, asked.columns))


if __name__ == "__main__":
    main()
