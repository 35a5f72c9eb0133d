"""Has the model copied its training pictures, and does it repeat itself?"""

from torch import Tensor

from simulacra.metrics.images.distances import mean_pairwise, nearest

# share of held-out pictures that are nearest to a training picture; half their distance is called a
# copy
RARE = 0.01


def memorisation(fake: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The median distance of fake (N, D) to the nearest training sample over that of held-out reals
    (M, D): about 1 for new pictures as good as real ones, near 0 for copies, above 1 for pictures
    unlike any real one."""
    return memorised(nearest(fake, train), nearest(held_out, train))


def memorised(fake: Tensor, held_out: Tensor) -> float:
    """The same of distances (N,) and (M,) to the nearest training sample;
    NaN where most held-out ones are copies."""
    middle = float(held_out.median())
    return float(fake.median()) / middle if middle else float("nan")


def copied(fake: Tensor, held_out: Tensor) -> float:
    """The share of distances (N,) to the nearest training sample that are those of copies: at most
    half of what the nearest hundredth of held-out reals (M,) have, those aside that are training
    samples themselves."""
    apart = held_out[held_out > 0]
    line = float(apart.quantile(RARE)) / 2 if len(apart) else 0.0
    return float((fake <= line).double().mean())


def diversity(fake: Tensor, real: Tensor) -> float:
    """The mean distance between two fakes over that between two reals: 0 if all fakes are one
    picture, 1 if they differ as much as reals do."""
    return mean_pairwise(fake) / mean_pairwise(real)
