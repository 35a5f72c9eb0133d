"""All metrics that apply to fake and real pictures seen through one extractor. Look once, compare
often: the features of the real pictures serve every checkpoint."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simulacra.core.random import generator
from simulacra.metrics.images.classes import agreement, class_histogram
from simulacra.metrics.images.distances import nearest
from simulacra.metrics.images.extractors import Extractor
from simulacra.metrics.images.frechet import frechet_distance, rank_note
from simulacra.metrics.images.inception import (
    PARTS,
    inception_score,
    inception_score_splits,
    modified_inception_score,
)
from simulacra.metrics.images.kid import SIZE, kernel_distance, without_parts
from simulacra.metrics.images.memorisation import copied, diversity, memorised
from simulacra.metrics.images.prdc import NEIGHBOURS, coverage
from simulacra.metrics.intervals import jackknife

GROUPS = 10  # of held-out reals, each of which is left out once; and random halves of them
FREEDOM = 9  # degrees of freedom of the variances that follow
IN_MEMORY = 2**28  # bytes of features; more are kept in a temporary file
CERTAIN = 0.01  # share of copies from which a reader is told
NEAR = 0.6  # memorisation below which a reader is told
NOISES = 64  # pictures of noise that are shown to an extractor
BLIND = 0.3  # share of held-out pictures that they cover from which a reader is told
NO_INTERVAL = "kid_std", "inception_score_parts_std"  # deviations themselves


@dataclass(frozen=True)
class Features:
    """What one extractor sees in N pictures."""

    features: Tensor  # (N, D)
    probabilities: Tensor | None  # (N, classes), None without classes
    own_classes: bool  # the classes are those of the data, so that their shares mean something
    # (N, D) of the pictures mirrored left to right, where training mirrors
    mirrored: Tensor | None = None
    # (N,) the classes that were asked for, where samples are made class by class
    asked: Tensor | None = None


@dataclass(frozen=True)
class Training:
    """All that was trained on, as the same extractor sees it."""

    features: Tensor  # (T, D)
    held_out: Tensor  # (M,) how far each held-out real is from the nearest of them


def look(
    images: Tensor, extractor: Extractor, mirror: bool = False, asked: Tensor | None = None
) -> Features:
    """The features, and posteriors if there are any, of images (N, C, H, W) in [-1, 1]."""
    features = extractor.features(images)
    posteriors = extractor.posteriors(features) if extractor.classes else None
    mirrored = extractor.features(images.flip(-1)) if mirror else None
    return Features(features, posteriors, extractor.own_classes, mirrored, asked)


def training(parts: Iterable[Tensor], count: int, extractor: Extractor, real: Features) -> Training:
    """Of `count` training pictures, part by part (N, C, H, W), none of which is held for long."""
    found, start = torch.empty(0), 0
    for part in parts:
        seen = extractor.features(part)
        found = found if start else space(count, seen.shape[1])
        found[start : start + len(seen)] = seen
        start += len(seen)
    return Training(found, recalled(real, found))


def space(rows: int, columns: int) -> Tensor:
    """Float32 (rows, columns), on disk if it is large."""
    if 4 * rows * columns <= IN_MEMORY:
        return torch.empty(rows, columns)
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(rows, columns)))


def recalled(seen: Features, train: Tensor) -> Tensor:
    """How far each picture is, or its mirror image where training mirrors,
    from the nearest training features (T, D), (N,)."""
    apart = nearest(seen.features, train)
    return apart if seen.mirrored is None else torch.minimum(apart, nearest(seen.mirrored, train))


def smooth(fake: Tensor, real: Tensor) -> dict[str, float]:
    """The metrics of features (N, D) against (M, D) that no single neighbour decides."""
    return {"frechet": frechet_distance(real, fake), "diversity": diversity(fake, real)}


def memory(fake: Tensor, held_out: Tensor) -> dict[str, float]:
    """What distances (N,) and (M,) to the nearest training picture say."""
    return {"memorisation": memorised(fake, held_out), "copied": copied(fake, held_out)}


def subset(fake: int, real: int) -> int:
    """How many of so many fakes and reals the kernel distance compares at once:
    of all, every subset would be the same."""
    return min(SIZE, fake // 2, real // 2)


def kernel(fake: Tensor, real: Tensor, seed: int) -> dict[str, float]:
    """The kernel distance of features (N, D) and (M, D), and its deviation over subsets."""
    kid, deviation = kernel_distance(fake, real, size=subset(len(fake), len(real)), seed=seed)
    return {"kid": kid, "kid_std": deviation}


def scores(fake: Features) -> dict[str, float]:
    """The metrics of the fakes' posteriors alone, as far as they apply. Of samples that were asked
    for class by class, shares of classes are the asker's; how many show the class asked for is
    not."""
    if fake.probabilities is None:
        return {}
    parts, deviation = inception_score_splits(fake.probabilities)
    found = {
        "inception_score": inception_score(fake.probabilities),
        "inception_score_parts": parts,
        "inception_score_parts_std": deviation,
    }
    if not fake.own_classes:
        return found
    found["modified_inception_score"] = modified_inception_score(fake.probabilities)
    seen = class_histogram(fake.probabilities)
    if fake.asked is not None:
        return {
            **found,
            "top_probability": seen["top_probability"],
            **agreement(fake.probabilities, fake.asked),
        }
    return {**found, **seen}


def compare(
    fake: Features, real: Features, *, train: Training | None = None, seed: int = 0
) -> dict[str, float]:
    """Every metric that applies, by name; `train` is what may have been memorised,
    in which case `real` is held out."""
    one, other = smooth(fake.features, real.features), coverage(fake.features, real.features)
    found = {
        "frechet": one["frechet"],
        **kernel(fake.features, real.features, seed),
        **other,
        "diversity": one["diversity"],
    }
    known = {} if train is None else memory(recalled(fake, train.features), train.held_out)
    return {**found, **scores(fake), **known}


def report(
    fake: Tensor, real: Tensor, extractor: Extractor, *, train: Tensor | None = None, seed: int = 0
) -> dict[str, float]:
    """Every metric that applies to pictures (N, C, H, W) in [-1, 1], by name;
    `memorisation` only with `train`."""
    seen = look(real, extractor)
    known = None if train is None else training([train], len(train), extractor, seen)
    return compare(look(fake, extractor), seen, train=known, seed=seed)


# --- what the choice of the reals makes -----------------------------------------------------------


def spread(
    fake: Features, real: Features, train: Training | None = None, seed: int = 0
) -> dict[str, float]:
    """The variance of each metric that the choice of the reals makes;
    NaN where there is none to be known."""
    unknown = dict.fromkeys(NO_INTERVAL, float("nan"))
    return unknown | by_halves(fake.features, real.features, seed) | by_groups(fake, real, train)


def by_groups(fake: Features, real: Features, train: Training | None) -> dict[str, float]:
    """By the jackknife: of what changes smoothly where a tenth of the reals is left out."""
    M = len(real.features)
    part = torch.arange(M) % min(GROUPS, M)
    apart = None if train is None else recalled(fake, train.features)
    rows: list[dict[str, float]] = []
    for g in range(min(GROUPS, M)):
        rest = part != g
        row = smooth(fake.features, real.features[rest])
        if train is not None and apart is not None:
            row |= memory(apart, train.held_out[rest])
        rows.append(row)
    found = {
        name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]
    }
    found["kid"] = without_parts(fake.features, real.features, part)
    return {name: jackknife.variance(values) for name, values in found.items()}


def by_halves(fake: Tensor, real: Tensor, seed: int) -> dict[str, float]:
    """By random halves of the reals (M, D), each half as certain as all: of what looks at
    neighbours, which are others where a few reals are missing, so that the jackknife says 1.4 times
    too much; NaN of fewer than twelve reals."""
    M, dice = len(real), generator(seed, "halves")
    if M // 2 <= NEIGHBOURS:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    squares: dict[str, float] = {}
    for _ in range(GROUPS):
        order = torch.randperm(M, generator=dice)
        one, other = (coverage(fake, real[rows]) for rows in (order[: M // 2], order[M // 2 :]))
        for name, value in one.items():
            squares[name] = squares.get(name, 0.0) + (value - other[name]) ** 2
    return {name: total / (4 * GROUPS) for name, total in squares.items()}


# --- words ----------------------------------------------------------------------------------------


def counts(name: str, fake: int, real: int) -> dict[str, int]:
    """How many samples and reals a metric is of, where these are not all."""
    if name.startswith("inception_score_parts"):
        return {"n_fake": fake // PARTS}
    if name == "kid_std":
        return {"n_fake": subset(fake, real), "n_real": subset(fake, real)}
    return {}


def notes(fake: Features, real: Features) -> list[str]:
    """What a reader of the numbers has to know about them, one sentence each."""
    samples, size = min(len(fake.features), len(real.features)), real.features.shape[1]
    asked = fake.own_classes and fake.asked is not None
    in_turn = (
        "samples are asked for class by class in turn, "
        "so shares of classes are left out: they would be the asker's"
    )
    return [note for note in (rank_note(samples, size), in_turn * asked) if note]


def blind(like: Tensor, extractor: Extractor, real: Features, seed: int) -> list[str]:
    """A sentence where an extractor cannot tell noise from the pictures: of as many pictures of
    uniform noise as there are in `like` (N, C, H, W), at most NOISES, the coverage is high."""
    noise = torch.rand(like[:NOISES].shape, generator=generator(seed, "noise")) * 2 - 1
    share = coverage(extractor.features(noise), real.features)["coverage"]
    if share < BLIND:
        return []
    return [
        f"pictures of noise cover {share:.2f} of the held-out ones as {extractor.name} sees them, "
        "so coverage says little here; allowed: another --extractor, or more pictures"
    ]


def verdict(memorisation: float, share: float, trained: int) -> list[str]:
    """A sentence where samples are copies of the `trained` training pictures, or nearly."""
    of = f"the {trained:,} training pictures"
    if share >= CERTAIN:
        return [
            f"copied: {100 * share:.0f} % of the samples are copies of some of {of}, "
            "nearer than new pictures come"
        ]
    if memorisation < NEAR:
        return [
            f"memorised: samples are {memorisation:.2f} "
            f"times as far from {of} as held-out pictures are"
        ]
    return []
