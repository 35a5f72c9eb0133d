"""Has the model copied its training pictures, and does it repeat itself?"""

from torch import Tensor

from simulacra.measure.distances import mean_pairwise, nearest


def memorisation(fake: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The median distance of fake (N, D) to the nearest training sample over that of held-out reals (M, D): about 1 for
    new pictures as good as real ones, near 0 for copies, above 1 for pictures unlike any real one."""
    return float(nearest(fake, train).median() / nearest(held_out, train).median())


def diversity(fake: Tensor, real: Tensor) -> float:
    """The mean distance between two fakes over that between two reals: 0 if all fakes are one picture, 1 if they differ
    as much as reals do."""
    return mean_pairwise(fake) / mean_pairwise(real)
