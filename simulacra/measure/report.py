"""All metrics that apply to fake and real pictures seen through one extractor. Look once, compare often: the features
of the real pictures serve every checkpoint."""

from dataclasses import dataclass

from torch import Tensor

from simulacra.measure.classes import class_histogram
from simulacra.measure.coverage import coverage
from simulacra.measure.extractors import Extractor
from simulacra.measure.frechet import frechet_distance, rank_note
from simulacra.measure.inception import inception_score, inception_score_splits, modified_inception_score
from simulacra.measure.kernel import SIZE, kernel_distance
from simulacra.measure.memory import diversity, memorisation


@dataclass(frozen=True)
class Features:
    """What one extractor sees in N pictures."""

    features: Tensor  # (N, D)
    probabilities: Tensor | None  # (N, classes), None without classes
    own_classes: bool  # the classes are those of the data, so that their shares mean something


def look(images: Tensor, extractor: Extractor) -> Features:
    """The features, and posteriors if there are any, of images (N, C, H, W) in [-1, 1]."""
    features = extractor.features(images)
    posteriors = extractor.posteriors(features) if extractor.classes else None
    return Features(features, posteriors, extractor.own_classes)


def distances_between(fake: Tensor, real: Tensor, seed: int) -> dict[str, float]:
    """The metrics of features (N, D) against (M, D)."""
    size = min(SIZE, len(fake) // 2, len(real) // 2)  # of all there are, every subset would be the same
    kid, kid_std = kernel_distance(fake, real, size=size, seed=seed)
    return {
        "frechet": frechet_distance(real, fake),
        "kid": kid,
        "kid_std": kid_std,
        **coverage(fake, real),
        "diversity": diversity(fake, real),
    }


def scores(fake: Features) -> dict[str, float]:
    """The metrics of the fakes' posteriors alone, as far as they apply."""
    if fake.probabilities is None:
        return {}
    found = {
        "inception_score": inception_score(fake.probabilities),
        "inception_score_std": inception_score_splits(fake.probabilities)[1],
    }
    if not fake.own_classes:
        return found
    modified = modified_inception_score(fake.probabilities)
    return {**found, "modified_inception_score": modified, **class_histogram(fake.probabilities)}


def compare(fake: Features, real: Features, *, train: Tensor | None = None, seed: int = 0) -> dict[str, float]:
    """Every metric that applies, by name; `train` are features (T, D) of the training pictures that may have been
    memorised, in which case `real` must be held out."""
    found = {**distances_between(fake.features, real.features, seed), **scores(fake)}
    if train is not None:
        found["memorisation"] = memorisation(fake.features, train, real.features)
    return found


def report(fake: Tensor, real: Tensor, extractor: Extractor, *, train: Tensor | None = None, seed: int = 0) -> dict[str, float]:
    """Every metric that applies to pictures (N, C, H, W) in [-1, 1], by name; `memorisation` only with `train`."""
    known = None if train is None else extractor.features(train)
    return compare(look(fake, extractor), look(real, extractor), train=known, seed=seed)


def notes(fake: Features, real: Features) -> list[str]:
    """What a reader of the numbers has to know about them, one sentence each."""
    samples, size = min(len(fake.features), len(real.features)), real.features.shape[1]
    return [note for note in [rank_note(samples, size)] if note]
