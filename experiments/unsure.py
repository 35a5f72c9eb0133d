"""Of how many of a run's sampled digits is the classifier unsure? Prints JSON.

    python experiments/unsure.py RUN [RUN ...] [-n 100] [--seed 0] [--step K]

The samples are those of `simulacra sample RUN -n 100 --seed 0`, in its order. A digit of which the
classifier's largest posterior is below 0.5 is unsure; `sheet` has the places of these on a sheet
(row, column, from 1) that has ten a row. The data set's own held-out digits are judged beside.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from simulacra.core.load import reopen
from simulacra.metrics.images import extractors
from simulacra.tasks import sample

LINE = 0.5


def judged(name: str, pictures: Tensor, extractor: str) -> dict[str, Any]:
    """How many of the pictures (N, C, H, W) are unsure, which, and the lowest largest
    posterior."""
    eye = extractors.load(extractor)
    top = eye.posteriors(eye.features(pictures)).max(1).values
    places = (top < LINE).nonzero()[:, 0].tolist()
    return {
        "run": name,
        "pictures": len(pictures),
        "unsure": len(places),
        "lowest": round(float(top.min()), 3),
        "mean": round(float(top.mean()), 3),
        "sheet": [(place // 10 + 1, place % 10 + 1) for place in places],
    }


def main() -> None:
    """Parse, sample, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=int)
    asked = parser.parse_args()
    rows = []
    for folder in asked.runs:
        opened = reopen(folder, None, step=asked.step)
        pictures = sample.samples(opened, asked.n, asked.seed)
        rows.append(judged(folder.name, pictures, opened.data().extractor))
    real = opened.data().take("held_out", asked.n)["image"]
    rows.append(judged("held-out digits", real, opened.data().extractor))
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
