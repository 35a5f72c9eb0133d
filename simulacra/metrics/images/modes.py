"""Do a few samples show what the data show? What the collapse monitor sees of a generator at each
painted checkpoint.

Three questions, each answered relative to as many real examples: how many of the samples differ
from each other (the birthday test of arXiv 1706.08224; two that are nearer than one in fifty reals
has a neighbour are one), how many classes they show (the exponential of the entropy of the
histogram, where a classifier knows the classes), and near how many reals there is a sample
(coverage, arXiv 2002.09797). Each is about 1 for real examples. One picture again and again, or one
class alone, is a collapse, however sharp. The thresholds are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simulacra.metrics.images.distances import distances
from simulacra.metrics.images.prdc import NEIGHBOURS, coverage

COUNT = 128  # samples that are looked at
RARE = 0.02  # share of reals whose nearest neighbour is called the same picture
# or, where more reals than that are copies of each other: so much of the median distance to the
# nearest other one
LEAST = 0.1
REPEATED = 0.5  # `distinct` below which samples repeat each other
ONE_SIDED = 0.6  # `classes_shown` below which classes are lost
NARROW = 0.5  # `covered` below which samples are like few of the reals, if they are like any:
LIKE_ANY = 0.5  # share of samples that are


@dataclass(frozen=True)
class Reals:
    """Real examples, as an extractor sees them."""

    features: Tensor  # (m, D) float64
    classes: Tensor | None  # (m,) that the classifier sees in them; None without one
    known: int  # classes that the classifier knows
    near: float  # distance up to which two examples are the same
    share: float  # of the reals that are different from each other
    trained: int  # training examples there are


def reals(features: Tensor, classes: Tensor | None, known: int, trained: int) -> Reals:
    """Of at least two examples (m, D), preferably held out, with the classes (m,) seen in them."""
    x = features.double()
    apart = distances(x, x).fill_diagonal_(torch.inf).amin(1)
    different = apart[apart > 0]
    near = max(
        float(apart.quantile(RARE)), LEAST * float(different.median()) if len(different) else 0.0
    )
    return Reals(x, classes, known, near, distinct(x, near) / len(x), trained)


def distinct(x: Tensor, near: float) -> int:
    """How many of (n, D) are left if each takes away all later ones
    that are nearer than `near` to it."""
    same, left = distances(x, x) <= near, torch.ones(len(x), dtype=torch.bool)
    for i in range(len(x)):
        if left[i]:
            left[i + 1 :] &= ~same[i, i + 1 :]
    return int(left.sum())


def shown(classes: Tensor, known: int) -> float:
    """How many classes (n,) are, weighed by how often:
    the exponential of the entropy of their histogram."""
    shares = classes.bincount(minlength=known).double() / len(classes)
    return float(torch.special.entr(shares).sum().exp())


def look(samples: Tensor, classes: Tensor | None, real: Reals) -> dict[str, float]:
    """`distinct`, `covered` and, with classes (n,) seen in the samples (n, D), `classes_shown`,
    each relative to the reals; `like_reals`: the share of samples near some real; `class_missing`:
    classes that reals show and samples do not; `class_0` and so on: the share of samples of
    each."""
    x, n, m = samples.double(), len(samples), len(real.features)
    # if training examples are drawn and put back, as many differ
    drawn = real.trained * (1 - (1 - 1 / real.trained) ** n) / n
    found = {"distinct": distinct(x, real.near) / n / min(real.share, drawn)}
    if min(n, m) > NEIGHBOURS:
        near = coverage(x, real.features)
        found |= {
            "covered": near["coverage"] / expected_coverage(n, m),
            "like_reals": near["precision"],
        }
    if classes is None or real.classes is None:
        return found
    counts, there = (seen.bincount(minlength=real.known) for seen in (classes, real.classes))
    histogram = {f"class_{i}": count / n for i, count in enumerate(counts.tolist())}
    found["classes_shown"] = shown(classes, real.known) / shown(real.classes, real.known)
    return found | {"class_missing": float(((counts == 0) & (there > 0)).sum())} | histogram


def expected_coverage(n: int, m: int) -> float:
    """The coverage of m reals by n more of the same distribution: none of these is among the
    nearest neighbours of a real, so often."""
    none = 1.0
    for i in range(NEIGHBOURS):
        none *= (m - 1 - i) / (m - 1 + n - i)
    return 1 - none


def collapse(row: Mapping[str, Any]) -> str:
    """What a look says of a collapse, in words; empty if there is none."""
    says = []
    if row["distinct"] < REPEATED:
        says.append(
            "samples repeat each other, "
            f"{percent(row['distinct'])} as many are different as of real ones"
        )
    if row.get("classes_shown", 1) < ONE_SIDED:
        missing = f"{row['class_missing']:.0f} are missing"
        says.append(
            f"samples show few classes, {percent(row['classes_shown'])} as many as real ones; "
            f"{missing}"
        )
    if row.get("covered", 1) < NARROW and row["like_reals"] >= LIKE_ANY:
        says.append(
            "samples are like few of the real ones, "
            f"near {percent(row['covered'])} as many as other real ones are"
        )
    return "; ".join(says)


def percent(share: float) -> str:
    """0.27 as "27 %"."""
    return f"{100 * share:.0f} %"
