"""The order in which every data set shows its examples:
whole epochs shuffled, a pure function of step and seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from simulacra.core.errors import Mistake, choose
from simulacra.core.random import fold


def shuffled(n: int, seed: int) -> np.ndarray:
    """The numbers 0 to n-1 in an order that follows from the seed, (n,) int64."""
    return np.random.Generator(np.random.PCG64(seed)).permutation(n)


@dataclass
class Order:
    """Which places of the splits "train" and "held_out" are shown;
    one epoch is kept, which changes no answer."""

    sizes: Mapping[str, int]  # of both splits
    kind: str  # what the examples are called, in the plural
    _epoch: tuple[tuple[int, int], np.ndarray] | None = field(default=None, repr=False)

    def draw(self, k: int, batch: int, seed: int) -> np.ndarray:
        """The k-th training batch's places, (batch,):
        of each epoch the incomplete last batch is dropped."""
        n = self.sizes["train"]
        if not 1 <= batch <= n:
            raise Mistake(
                f"batch {batch} does not fit the {n} training {self.kind}; "
                f"allowed: 1 to {n}, as by --set batch={2 ** (n.bit_length() - 1)}"
            )
        epoch, place = divmod(k, n // batch)
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            self._epoch = (seed, epoch), shuffled(n, fold(seed, "epoch", epoch))
        return self._epoch[1][place * batch : (place + 1) * batch]

    def take(self, split: str, n: int) -> np.ndarray:
        """The first n places of the split's fixed shuffled order, (n,)."""
        size = self.size(split)
        if not 1 <= n <= size:
            raise Mistake(
                f"{n} {self.kind} of split '{split}' were asked for; allowed: 1 to {size}"
            )
        return shuffled(size, fold(0, "take", split))[:n]

    def size(self, split: str) -> int:
        """How many examples the split holds."""
        return self.sizes[choose("split", split, list(self.sizes))]
