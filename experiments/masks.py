"""How good are the masks of `decompose`, and does it know?

    python experiments/masks.py OUT.json [--data FOLDER] [--only NAME ...] [--features imagenet]
                                [--seed 0] [--fast] [--corrections]

A row a sequence of the DAVIS layout, all its frames, from the mask of the first: J and F as DAVIS
counts them (without the first and the last frame), those of the first mask carried by flow alone,
the mean confidence, Spearman's rank correlation of confidence and J over frames, the mean distance
of confidence and J, and the processor minutes that masks took.

--corrections: J with a second mask, the true one of the frame that is advised, and with that of a
frame drawn at random instead; minutes three times as long.

OUT.json is written after each sequence, and what is in it is not made again. Means come last: of
the sequences that were only measured while the method was built, of those that were looked at
(LOOKED_AT), and of all.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from layers import sequences
from torch import Tensor

from simulacra.core import allocator, files
from simulacra.core.load import data_root
from simulacra.core.random import generator
from simulacra.metrics.video import classical, mask_scores
from simulacra.nn import optical_flow
from simulacra.tasks.measure_layers import rank
from simulacra.video import doubts
from simulacra.video.follow import Found, follow

Row = dict[str, Any]
LOOKED_AT = {
    *("soccerball", "bmx-bumps", "hockey", "motorbike", "dance-jump", "kite-walk", "rollerblade"),
    *("boat", "dog", "camel", "bear"),
}
MEAN = "mean, "


def scored(found: Found, true: Tensor) -> tuple[float, float]:
    """Mean J and F of one object."""
    told = mask_scores.sequence(classical.hard(found.soft), true)
    return told["J_mean"], told["F_mean"]


def measured(frames: Tensor, true: Tensor, options: dict[str, Any], corrections: bool) -> Row:
    """The numbers of a sequence (T, 3, H, W) with true masks (T, H, W) bool."""
    start, given = time.process_time(), {0: true[0].long()}
    found = follow(frames, given, **options)
    minutes = (time.process_time() - start) / 60
    j, f = scored(found, true)
    each = mask_scores.jaccard(found.soft[:, 0] > 0.5, true)
    sure = found.confidence[:, 0]
    carried = classical.by_flow(true[0], optical_flow.of_clip(frames))
    row: Row = {
        "frames": len(frames),
        "flow J": mask_scores.sequence(classical.hard(carried), true)["J_mean"],
        "J": j,
        "F": f,
        "confidence": float(sure[1:-1].mean()),
        "rank": rank(sure.tolist(), each.numpy(), [0]),
        "off": float((sure - each)[1:-1].abs().mean()),
        "minutes": minutes,
    }
    if corrections:
        chance = generator(options["seed"], "masks", "random frame")
        drawn = int(torch.randint(1, len(frames), (), generator=chance))
        advised = doubts.advised(found.confidence.numpy(), [0])
        for name, t in (("advised", advised), ("random", drawn)):
            more = given if t is None else given | {t: true[t].long()}
            row |= {name: t, f"J {name}": scored(follow(frames, more, **options), true)[0]}
    return row


def means(rows: list[Row]) -> list[Row]:
    """Of every number, over sequences that have it."""
    groups = {
        "only measured": [row for row in rows if row["sequence"] not in LOOKED_AT],
        "looked at": [row for row in rows if row["sequence"] in LOOKED_AT],
        "all": rows,
    }
    found = []
    for name, some in groups.items():
        if some:
            keys = [key for key, value in some[0].items() if isinstance(value, int | float)]
            values = {key: [row[key] for row in some if row[key] is not None] for key in keys}
            found.append(
                {"sequence": MEAN + name} | {key: float(np.mean(v)) for key, v in values.items()}
            )
    return found


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="+", help="sequences")
    parser.add_argument("--features", choices=["imagenet", "none"], default="imagenet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--corrections", action="store_true")
    asked = parser.parse_args()
    allocator.keep()
    torch.set_num_threads(1)
    options = {
        "seed": asked.seed,
        "fast": asked.fast,
        "pretrained": asked.features == "imagenet",
    }
    rows = json.loads(asked.out.read_text("utf-8")) if asked.out.is_file() else []
    rows = [row for row in rows if not row["sequence"].startswith(MEAN)]
    done = {row["sequence"] for row in rows}
    for name, frames, true in sequences(data_root(asked.data), 1000):
        if name in done or (asked.only and name not in asked.only):
            continue
        rows.append({"sequence": name} | measured(frames, true, options, asked.corrections))
        rows.sort(key=lambda row: row["sequence"])
        print(json.dumps(rows[[row["sequence"] for row in rows].index(name)]), flush=True)
        text = json.dumps(rows + means(rows), indent=1) + "\n"
        files.write_text(asked.out, text)


if __name__ == "__main__":
    main()
