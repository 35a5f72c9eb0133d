"""Are samples good enough to learn from? Train on synthetic, test on real (TSTR) and the reverse
(TRTS) (Esteban et al. 2017, arXiv 1706.02633).

Both need labels: those the samples were made for, or, weaker, those that a classifier gives them.
Give as many samples as there are real training examples, with the same labels. High TRTS with low
TSTR: what is imagined is right, but not all of the data is imagined.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simulacra.core.errors import Mistake
from simulacra.core.random import fold, generator, reseed
from simulacra.metrics.images.classifier import block

BATCH = 128
RATE = 3e-3

Judge = Callable[[Tensor], Tensor]
"""A trained classifier: examples (N, ...) to classes (N,) int64."""
Learn = Callable[[Tensor, Tensor, int, int], Judge]
"""How one is trained: from examples (N, ...), labels (N,), the number of classes and a seed."""


class Labelled(NamedTuple):
    """Examples and what they show."""

    x: Tensor  # pictures (N, C, H, W) or series (N, T, C)
    y: Tensor  # (N,) whole numbers from 0 to classes - 1


# --- classifiers ----------------------------------------------------------------------------------


def check(x: Tensor, y: Tensor, classes: int) -> None:
    """A Mistake unless there is one label for each example."""
    if not len(x) or y.shape != (len(x),) or y.is_floating_point():
        raise Mistake(
            f"{len(x)} examples with labels {y.dtype} {tuple(y.shape)}; "
            "allowed: one whole number for each"
        )
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise Mistake(f"labels from {int(y.min())} to {int(y.max())}; allowed: 0 to {classes - 1}")
    if not x.isfinite().all():
        raise Mistake(
            f"{int((~x.isfinite()).sum())} values of the examples are not finite; "
            "allowed: finite numbers"
        )


def network(channels: int, classes: int) -> nn.Sequential:
    """Pictures (N, channels, H, W) of any size to (N, classes) logits."""
    return nn.Sequential(
        block(channels, 16, stride=2),
        block(16, 32),
        nn.MaxPool2d(2, ceil_mode=True),
        block(32, 64),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, classes),
    )


def batches(n: int, steps: int, seed: int) -> list[Tensor]:
    """The rows of each step: whole epochs shuffled,
    the incomplete last batch of an epoch dropped."""
    size = min(BATCH, n)
    rows: list[Tensor] = []
    for epoch in range(-(-steps // (n // size))):
        order = torch.randperm(n, generator=generator(seed, "downstream", epoch))
        rows += order[: n // size * size].split(size)
    return rows[:steps]


def convnet(
    x: Tensor, y: Tensor, classes: int, seed: int, *, epochs: int = 2, least: int = 600
) -> Judge:
    """A small convolutional net for pictures (N, C, H, W), trained for `epochs`, but at least
    `least` steps of 128 pictures; deterministic by seed."""
    check(x, y, classes)
    if x.ndim != 4:
        raise Mistake(
            f"a convolutional net on examples of shape {tuple(x.shape)}; "
            "allowed: pictures (N, C, H, W)"
        )
    with torch.random.fork_rng(devices=[]):
        reseed(fold(seed, "downstream"))
        net = network(x.shape[1], classes)
    x, y = x.detach().cpu().float(), y.cpu().long()
    steps = max(epochs * (len(x) // min(BATCH, len(x))), least)
    rule = torch.optim.Adam(net.parameters(), RATE, fused=True)
    for k, rows in enumerate(batches(len(x), steps, seed)):
        rule.param_groups[0]["lr"] = RATE * (1 - k / steps)
        rule.zero_grad()
        with torch.enable_grad():
            F.cross_entropy(net(x[rows]), y[rows]).backward()
        rule.step()
    net.eval()

    @torch.no_grad()
    def judge(x: Tensor) -> Tensor:
        return torch.cat([net(part.cpu().float()).argmax(1) for part in x.split(1000)])

    return judge


def forest(x: Tensor, y: Tensor, classes: int, seed: int, *, trees: int = 500) -> Judge:
    """A random forest on the flat values of pictures or series (N, ...),
    of 500 trees as published; deterministic by seed."""
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError:
        raise Mistake(
            "a random forest needs the package 'scikit-learn', which is not installed"
        ) from None
    check(x, y, classes)
    wood = RandomForestClassifier(
        trees, random_state=fold(seed, "downstream") % 2**32, n_jobs=torch.get_num_threads()
    )
    wood.fit(x.detach().cpu().flatten(1).numpy(), y.cpu().numpy())

    def judge(x: Tensor) -> Tensor:
        return torch.from_numpy(wood.predict(x.detach().cpu().flatten(1).numpy())).long()

    return judge


def train_classifier(x: Tensor, y: Tensor, classes: int, seed: int) -> Judge:
    """The classifier that fits: `convnet` for pictures (N, C, H, W),
    `forest` for series (N, T, C)."""
    return convnet(x, y, classes, seed) if x.ndim == 4 else forest(x, y, classes, seed)


# --- scores ---------------------------------------------------------------------------------------


def accuracy(found: Tensor, y: Tensor) -> float:
    """The share of classes (N,) that are right."""
    return float((found.cpu() == y.cpu()).double().mean())


def weighted_f1(found: Tensor, y: Tensor) -> float:
    """The mean over classes of 2 right / (found + true),
    each class weighted by how often it is true in y (N,)."""
    found, y = found.cpu(), y.cpu()
    size = int(torch.maximum(found.max(), y.max())) + 1
    right, predicted, true = (
        one.bincount(minlength=size).double() for one in (y[found == y], found, y)
    )
    f1 = 2 * right / (predicted + true).clamp(min=1)
    return float((f1 * true).sum() / true.sum())


def scores(judge: Judge, on: Labelled, name: str) -> dict[str, float]:
    """Accuracy and weighted F1 of a judge, under the names `name`_accuracy and `name`_f1."""
    found = judge(on.x)
    return {f"{name}_accuracy": accuracy(found, on.y), f"{name}_f1": weighted_f1(found, on.y)}


def tstr(
    fake: Labelled,  # to train on
    test: Labelled,  # held-out reals
    judge: Judge,  # trained on real examples by the same `learn`; one serves every checkpoint
    *,
    classes: int,
    seed: int = 0,
    learn: Learn = train_classifier,
) -> dict[str, float]:
    """Train on synthetic, test on real: `tstr_accuracy`, `tstr_f1`, what the judge trained on reals
    gets (`real_accuracy`, `real_f1`), and `tstr_ratio`, the quotient of the accuracies: 1 if
    samples teach as much as reals do."""
    check(*test, classes)
    student = learn(*fake, classes, seed)
    found = {**scores(student, test, "tstr"), **scores(judge, test, "real")}
    return {**found, "tstr_ratio": found["tstr_accuracy"] / max(found["real_accuracy"], 1e-12)}


def trts(fake: Labelled, judge: Judge) -> dict[str, float]:
    """Train on real, test on synthetic: `trts_accuracy`
    and `trts_f1` of a judge trained on real examples."""
    return scores(judge, fake, "trts")


def downstream(
    fake: Labelled,
    train: Labelled,
    test: Labelled,
    *,
    classes: int,
    seed: int = 0,
    learn: Learn = train_classifier,
) -> dict[str, float]:
    """Both, with one judge trained on `train`: all that `tstr` and `trts` return."""
    check(*fake, classes)
    judge = learn(*train, classes, seed)
    return {**tstr(fake, test, judge, classes=classes, seed=seed, learn=learn), **trts(fake, judge)}
