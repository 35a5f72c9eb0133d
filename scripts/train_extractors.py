"""Trains the two grey feature extractors of simulacra.metrics and writes their weights.

    python scripts/train_extractors.py --data DIR    # both, about 10 minutes on two idle cores
    python scripts/train_extractors.py --data DIR --only mnist_cnn
    python scripts/train_extractors.py --data DIR --test    # those that are there, as JSON; seconds

DIR holds mnist/ and fashion-mnist/ with the four official IDX files each, gzip. The last 5,000
training pictures are held out for the temperature; the test set is read once, after training. The
same command gives the same bytes on the same kind of processor with the same number of threads,
which the file states.

A classifier alone gathers each class in one point: its features say which digit, hardly how it is
drawn, and a model that draws one fine seven again and again would look well. So the features must
also rebuild the picture, linearly; the matrix that does it is thrown away.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from simulacra.core.random import fold, reseed
from simulacra.data import fashion_mnist, mnist
from simulacra.data._idx import HELD_OUT, TRAIN, Source, locate, read
from simulacra.metrics.images import extractors
from simulacra.metrics.images.classifier import FEATURES, SIDE, Classifier

WEIGHTS = Path(__file__).parents[1] / "simulacra" / "metrics" / "images" / "weights"
CALIBRATION = 5_000
BATCH = 250


@dataclass(frozen=True)
class Recipe:
    """What differs between the two trainings."""

    source: Source
    epochs: int
    degrees: float  # rotation, up to this many to either side
    zoom: float  # scale within 1 +- this
    shift: float  # translation in pixels, up to this many each way
    flip: bool  # mirror every second picture
    rebuild: float  # weight of the squared error of the rebuilt picture, mean over pixels


RECIPES = {
    "mnist_cnn": Recipe(
        mnist.SOURCE, epochs=7, degrees=10, zoom=0.1, shift=2, flip=False, rebuild=20
    ),
    "fashion_cnn": Recipe(
        fashion_mnist.SOURCE, epochs=12, degrees=0, zoom=0.05, shift=1, flip=True, rebuild=10
    ),
}


def pictures(data: Path, source: Source, test: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,) of the official training or test files,
    in their order."""
    paths = locate(source, data, url="")
    images, labels = (
        torch.tensor(read(paths[file], source.digests[file]))
        for file in (HELD_OUT if test else TRAIN)
    )
    return images[:, None] / 255, labels.long()


def augmented(images: Tensor, recipe: Recipe) -> Tensor:
    """`images` (N, 1, 28, 28) in [0, 1], each under its own small random affine map."""
    n = len(images)
    angle = torch.empty(n).uniform_(-recipe.degrees, recipe.degrees).deg2rad()
    scale = torch.empty(n).uniform_(1 - recipe.zoom, 1 + recipe.zoom)
    mirror = torch.randint(2, (n,)) * 2 - 1 if recipe.flip else torch.ones(n)
    reach = 2 * recipe.shift / images.shape[-1]
    offset = torch.empty(n, 2).uniform_(-reach, reach)
    rows = (
        torch.stack([scale * angle.cos() * mirror, -scale * angle.sin(), offset[:, 0]], 1),
        torch.stack([scale * angle.sin() * mirror, scale * angle.cos(), offset[:, 1]], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def batches(n: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The shuffled indices of one epoch; also reseeds,
    so that augmentation follows from (seed, epoch)."""
    reseed(fold(seed, "epoch", epoch))
    yield from torch.randperm(n)[: n - n % BATCH].split(BATCH)


def losses(
    model: Classifier, decoder: nn.Linear, images: Tensor, labels: Tensor, dropout: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Cross-entropy with dropout on the features,
    and the mean squared error of the rebuilt pictures."""
    features = model.features((2 * images - 1).contiguous(memory_format=torch.channels_last))
    wrong = F.cross_entropy(model.logits(F.dropout(features, dropout)), labels)
    return wrong, F.mse_loss(decoder(features), images.flatten(1))


def train(images: Tensor, labels: Tensor, recipe: Recipe, seed: int) -> Classifier:
    """A classifier trained by AdamW under one cycle of the learning rate."""
    reseed(fold(seed, "weights"))
    model, decoder = Classifier(), nn.Linear(FEATURES, SIDE * SIDE)
    steps = recipe.epochs * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *decoder.parameters()], weight_decay=0.02, fused=True
    )
    clock = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps, pct_start=0.2)
    for epoch in range(recipe.epochs):
        start, total = time.perf_counter(), torch.zeros(2)
        for rows in batches(len(images), seed, epoch):
            wrong, rebuilt = losses(model, decoder, augmented(images[rows], recipe), labels[rows])
            optimizer.zero_grad()
            (wrong + recipe.rebuild * rebuilt).backward()
            optimizer.step()
            clock.step()
            total += torch.stack([wrong, rebuilt]).detach() * BATCH / len(images)
        seconds = time.perf_counter() - start
        print(
            f"  epoch {epoch}: cross-entropy and error {total.numpy().round(4)}, {seconds:.0f} s",
            flush=True,
        )
    return model.eval()


@torch.no_grad()
def logits(model: Classifier, images: Tensor) -> Tensor:
    """(N, 1, 28, 28) in [0, 1] to (N, 10)."""
    return torch.cat([model.logits(model.features(2 * part - 1)) for part in images.split(BATCH)])


def temperature(scores: Tensor, labels: Tensor) -> float:
    """The T that minimises the cross-entropy of softmax(scores / T) (arXiv 1706.04599, section
    4.2)."""
    found = minimize_scalar(
        lambda log: F.cross_entropy(scores / np.exp(log), labels).item(), bounds=(-3, 3)
    )
    return float(np.exp(found.x))


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """The share of rows whose largest score is at the label."""
    return (scores.argmax(1) == labels).float().mean().item()


def write(path: Path, state: dict[str, Tensor], facts: dict[str, str]) -> None:
    """A safetensors file whose bytes follow from its contents: sorted keys, one metadata entry."""
    tensors = {key: state[key].contiguous() for key in sorted(state)}
    path.write_bytes(save(tensors, {"facts": json.dumps(facts, sort_keys=True)}))


def make(name: str, data: Path, seed: int) -> None:
    """Trains, calibrates and writes one extractor, and prints its test accuracy."""
    recipe = RECIPES[name]
    images, labels = pictures(data, recipe.source, test=False)
    print(name, flush=True)
    model = train(images[:-CALIBRATION], labels[:-CALIBRATION], recipe, seed)
    model.temperature.fill_(
        temperature(logits(model, images[-CALIBRATION:]), labels[-CALIBRATION:])
    )
    images, labels = pictures(data, recipe.source, test=True)
    scores = logits(model, images)
    facts = {
        "command": f"python scripts/train_extractors.py --data DIR --only {name} --seed {seed}",
        "epochs": str(recipe.epochs),
        "seed": str(seed),
        "threads": str(torch.get_num_threads()),
        "temperature": f"{model.temperature.item():.4f}",
        "test_accuracy": f"{accuracy(scores, labels):.4f}",
        "test_cross_entropy": f"{F.cross_entropy(scores, labels).item():.4f}",
    }
    write(WEIGHTS / f"{name}.safetensors", model.state_dict(), facts)
    print(f"  {facts}", flush=True)


def tested(name: str, data: Path) -> dict[str, str | float | int]:
    """What the weights that are there reach on the official test files, and their hash."""
    images, labels = pictures(data, RECIPES[name].source, test=True)
    extractor = extractors.load(name)
    scores = extractor.posteriors(extractor.features(2 * images - 1))
    found = accuracy(scores, labels)
    return {"extractor": name, "hash": extractor.hash, "test_accuracy": found, "n": len(labels)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SIMULACRA_DATA"))
    parser.add_argument("--only", choices=sorted(RECIPES), nargs="*", default=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true", help="train nothing; print JSON")
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the data folder: --data DIR or SIMULACRA_DATA")
    if options.test:
        print(json.dumps([tested(name, Path(options.data)) for name in options.only], indent=1))
        return
    WEIGHTS.mkdir(exist_ok=True)
    for name in options.only:
        make(name, Path(options.data), options.seed)


if __name__ == "__main__":
    main()
