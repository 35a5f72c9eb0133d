"""Which part of EBGAN's recipe does what: each switched off alone, on small digits; prints JSON.

    python experiments/ebgan_ablation.py [--steps 600] [--seeds 0 1] > ablation.json

The nets and the recipe are those of `ebgan_pairs_digits`, stretched to `--steps`, on the
embedded digits halved to 16x16 pixels, so that one training takes half a processor minute. As many
samples as there are held-out digits (1,000) are compared with these by `mnist_cnn`; both are
enlarged alike before. A row has one number a seed; "ms" is processor time of a step.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from equal_minutes import stretched
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import allocator, config, data_sets, optim, random
from simulacra.core.contract import Batch
from simulacra.metrics.images import extractors, frechet, prdc
from simulacra.models.ebgan import EBGAN

VARIANTS = {  # what is switched off: changes to the config
    "as it is": [],
    "the paper's hinge in place of pairs": ["rule=margin", "rebuild=0"],
    "no slope penalties": ["penalty=0"],
    "no E(x) in the pairs": ["rebuild=0"],
    "D begins at N(0, 0.02)": ["start_D=normal"],
    "a convolutional decoder": ["dense_Dec=0"],
    "pulling away, 0.1": ["pull_away=0.1"],
    "the paper's hinge, none of the others": [
        "rule=margin",
        "rebuild=0",
        "penalty=0",
        "start_D=normal",
        "dense_Dec=0",
        "pull_away=0.1",
    ],
}


def halved(x: Tensor) -> Tensor:
    """28x28 digits (B, 1, 28, 28) on 32x32, at half the side: (B, 1, 16, 16)."""
    return F.avg_pool2d(F.pad(x, (2, 2, 2, 2), value=-1.0), 2)


def enlarged(x: Tensor) -> Tensor:
    """16x16 digits back to 28x28."""
    return F.interpolate(x.clamp(-1, 1), scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]


def trained(changes: list[str], steps: int, seed: int) -> tuple[EBGAN, float]:
    """A model after so many steps, and its processor milliseconds of a step."""
    every = [f"hyper.{change}" for change in changes]
    longer = [*every, *stretched("ebgan_pairs_digits", every, steps)]
    resolved = config.resolve("ebgan_pairs_digits", "laptop", longer)
    source = data_sets.load(resolved.data, None)

    def drawn(k: int) -> Batch:
        return {"image": halved(source.draw(k, resolved.batch, seed)["image"])}

    def shown() -> Iterator[Batch]:
        yield {"image": halved(source.take("train", source.size("train"))["image"])}

    random.reseed(random.fold(seed, "model"))
    model = EBGAN(resolved.hyper, drawn(0))
    model.look(shown, resolved.batch)
    begun = time.process_time()
    for k in range(steps):
        random.reseed(random.fold(seed, "step", k))
        optim.set_rates(model, k)
        model.step(drawn(k), k)
    return model, (time.process_time() - begun) * 1000 / steps


def measured(model: EBGAN, real: Tensor) -> dict[str, float]:
    """Fréchet distance, coverage and precision of as many samples as there are features of
    reals."""
    eye = extractors.load("mnist_cnn")
    random.reseed(7)
    samples = model.sample({"image": torch.zeros(len(real), 1, 16, 16)})["samples"]
    fake = eye.features(enlarged(samples))
    shares = prdc.coverage(fake, real)
    return {
        "frechet": frechet.frechet_distance(fake, real),
        "coverage": shares["coverage"],
        "precision": shares["precision"],
    }


def main() -> None:
    """Parse, train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    allocator.keep()
    digits = data_sets.load(config.resolve("ebgan_pairs_digits", "laptop").data, None)
    held_out = halved(digits.take("held_out", digits.size("held_out"))["image"])
    real = extractors.load("mnist_cnn").features(enlarged(held_out))
    rows = list[dict[str, Any]]()
    for name in asked.only:
        found = list[dict[str, float]]()
        for seed in asked.seeds:
            model, ms = trained(VARIANTS[name], asked.steps, seed)
            found.append({**measured(model, real), "ms": ms})
        rows.append({"variant": name, **{key: [one[key] for one in found] for key in found[0]}})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
