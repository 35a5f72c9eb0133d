"""Series of numbers in two splits, drawn as floats in [-1, 1]."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.data._order import Order

CHUNK = 2**22  # numbers looked at together
MOST = 2**28  # numbers of a generated set, 1 GiB


class Scale(NamedTuple):
    """Which range of each channel becomes [-1, 1]; both (C,) float64, in units of the data."""

    low: np.ndarray  # becomes -1
    half: np.ndarray  # half the range, above 0

    def apply(self, values: np.ndarray) -> Tensor:
        """Values (..., C) as float32; the range's ends become -1 and 1 exactly."""
        # halves: no range is too wide
        shares = (np.asarray(values, np.float64) / 2 - self.low / 2) / self.half
        return torch.from_numpy((2 * shares - 1).astype(np.float32))

    def restore(self, series: Tensor) -> Tensor:
        """Series (..., C) in [-1, 1] in the units of the data, float64."""
        low, half = torch.from_numpy(self.low), torch.from_numpy(self.half)
        return low + (series.detach().cpu().double() + 1) * half


def even(reach: float, channels: int) -> Scale:
    """The scale that makes -reach to reach -1 to 1 in every channel."""
    return Scale(np.full(channels, -reach), np.full(channels, reach))


def spanning(low: np.ndarray, high: np.ndarray) -> Scale:
    """The scale of the range from low to high, both (C,); a constant channel becomes 0."""
    constant = low == high
    half = np.where(constant, np.maximum(np.abs(low), 1), high / 2 - low / 2)
    return Scale(np.where(constant, low - half, low), half)


@dataclass(frozen=True)
class Split:
    """Which series of a store belong together."""

    # (N, T, C) numbers, possibly shared with the other split, overlapping or on disk
    values: np.ndarray
    labels: np.ndarray | None  # (N,) classes from 0, None without labels
    rows: np.ndarray  # (n,) which of the N

    def chunks(self) -> Iterator[np.ndarray]:
        """All series, (b, T, C) in units of the data, a bounded number at a time."""
        count = max(1, CHUNK // max(1, int(np.prod(self.values.shape[1:]))))
        for start in range(0, len(self.rows), count):
            yield self.values[self.rows[start : start + count]]

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of each channel, both (C,) float64."""
        found = [(chunk.min((0, 1)), chunk.max((0, 1))) for chunk in self.chunks()]
        low, high = (np.array(one, np.float64) for one in zip(*found, strict=True))
        return low.min(0), high.max(0)


def leading(values: np.ndarray, held_out: float) -> tuple[Split, Split]:
    """Independent series (N, T, C), the last share of them held out, at least one in each split."""
    n = len(values)
    kept = min(max(round(n * (1 - held_out)), 1), n - 1)
    return Split(values, None, np.arange(kept)), Split(values, None, np.arange(kept, n))


def affordable(count: int, length: int, channels: int) -> None:
    """A Mistake if a set of that many numbers should not be generated."""
    if count * length * channels > MOST:
        raise Mistake(
            f"data.count x length x channels = {count} x {length} x {channels} numbers; "
            f"allowed: {MOST} at most, 1 GiB"
        )


@dataclass
class Sequences:
    """Two splits, of which "train" is shuffled anew each epoch."""

    train: Split
    held_out: Split
    scale: Scale

    def __post_init__(self) -> None:
        self.order = Order(
            {"train": len(self.train.rows), "held_out": len(self.held_out.rows)}, "series"
        )
        self.size = self.order.size

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "series" (batch, T, C) and,
        where there are labels, "label" (batch,)."""
        return self._at(self.train, self.order.draw(k, batch, seed))

    def take(self, split: str, n: int) -> Batch:
        """The first n series of the split's fixed shuffled order."""
        places = self.order.take(split, n)
        return self._at(self.train if split == "train" else self.held_out, places)

    def restore(self, series: Tensor) -> Tensor:
        """Series (..., T, C) in [-1, 1], drawn or imagined, in the units of the data, float64."""
        return self.scale.restore(series)

    @cached_property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of all training values after scaling."""
        scaled = (self.scale.apply(chunk).double() for chunk in self.train.chunks())
        sums = np.array([(float(x.sum()), float(x.square().sum()), x.numel()) for x in scaled]).sum(
            0
        )
        mean = sums[0] / sums[2]
        return float(mean), float(max(0.0, sums[1] / sums[2] - mean**2) ** 0.5)

    @cached_property
    def outside(self) -> float:
        """The share of held-out values beyond [-1, 1]."""
        far = [
            (self.scale.apply(chunk).abs() > 1).double().mean((1, 2))
            for chunk in self.held_out.chunks()
        ]
        return float(torch.cat(far).mean())

    def describe(self) -> dict[str, str]:
        """Counts, shape and moments, in words."""
        steps, channels = self.train.values.shape[1:]
        mean, std = self.moments
        return {
            "series": f"{self.size('train')} to train on, {self.size('held_out')} held out",
            "shape": f"{steps} x {channels} (steps, channels), floats in [-1, 1]",
            "mean, std": f"{mean:.4f}, {std:.4f}",
        }

    def _at(self, split: Split, places: np.ndarray) -> Batch:
        rows = split.rows[places]
        batch = {"series": self.scale.apply(split.values[rows])}
        if split.labels is not None:
            batch["label"] = torch.from_numpy(split.labels[rows].astype(np.int64))
        return batch
