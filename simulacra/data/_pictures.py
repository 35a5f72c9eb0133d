"""Pictures kept as bytes, in two splits, drawn as floats in [-1, 1]."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simulacra.core.contract import Batch
from simulacra.core.random import fold, generator
from simulacra.data._order import Order


class Moments(NamedTuple):
    """What a data set is like before anything is learnt, in units of [-1, 1]."""

    mean: float  # of all pixels
    std: float  # of all pixels
    l2: float  # mean distance of a picture from the mean picture


def floats(pixels: np.ndarray) -> Tensor:
    """Bytes 0 to 255 as float32 in [-1, 1], the shape kept."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(127.5).sub_(1)


def mirrored(images: Tensor, seed: int) -> Tensor:
    """The pictures (B, C, H, W), each flipped left to right
    or not by a coin that follows from the seed."""
    coins = torch.rand(len(images), 1, 1, 1, generator=generator(seed, "flip")) < 0.5
    return torch.where(coins, images.flip(-1), images)


def padded(pixels: np.ndarray, pad: int) -> np.ndarray:
    """Pictures (N, C, H, W) with `pad` pixels of background (0) on every side."""
    return np.pad(pixels, ((0, 0), (0, 0), (pad, pad), (pad, pad))) if pad else pixels


@dataclass(frozen=True)
class Split:
    """Which pictures of a store belong together."""

    pixels: np.ndarray  # (N, C, H, W) uint8, possibly shared with the other split and on disk
    labels: np.ndarray | None  # (N,) integers, None without labels
    rows: np.ndarray  # (n,) which of the N

    def select(self, places: np.ndarray) -> Batch:
        """The pictures at these places of the split."""
        rows = self.rows[places]
        batch = {"image": floats(self.pixels[rows])}
        if self.labels is not None:
            batch["label"] = torch.from_numpy(self.labels[rows].astype(np.int64))
        return batch

    def chunks(self) -> Iterator[Tensor]:
        """All pictures as (b, C*H*W) floats, about sixteen megabytes at a time."""
        count = max(1, 2**22 // int(np.prod(self.pixels.shape[1:])))
        for start in range(0, len(self.rows), count):
            yield self.select(np.arange(start, min(start + count, len(self.rows))))[
                "image"
            ].flatten(1)


def moments(split: Split) -> Moments:
    """Mean, spread and distance from the mean picture, over a whole split, in two passes."""
    n, width = len(split.rows), int(np.prod(split.pixels.shape[1:]))
    total, squares = torch.zeros(width, dtype=torch.float64), 0.0
    for chunk in split.chunks():
        total += chunk.sum(0, dtype=torch.float64)
        squares += float(chunk.square().sum(dtype=torch.float64))
    picture = (total / n).float()
    distances = sum(
        float((chunk - picture).norm(dim=1).sum(dtype=torch.float64)) for chunk in split.chunks()
    )
    mean = float(total.sum()) / (n * width)
    return Moments(mean, max(0.0, squares / (n * width) - mean**2) ** 0.5, distances / n)


@dataclass
class Pictures:
    """Two splits, of which "train" is shuffled anew each epoch."""

    train: Split
    held_out: Split
    flip: bool = False  # whether training pictures are mirrored at random

    def __post_init__(self) -> None:
        self.order = Order(
            {"train": len(self.train.rows), "held_out": len(self.held_out.rows)}, "pictures"
        )
        self.size = self.order.size

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "image" (batch, C, H, W) and,
        where there are labels, "label" (batch,)."""
        drawn = self.train.select(self.order.draw(k, batch, seed))
        if self.flip:
            drawn["image"] = mirrored(drawn["image"], fold(seed, "step", k))
        return drawn

    def take(self, split: str, n: int) -> Batch:
        """The first n pictures of the split's fixed shuffled order."""
        places = self.order.take(split, n)
        return (self.train if split == "train" else self.held_out).select(places)

    def part(self, split: str, start: int, stop: int) -> Batch:
        """Those from `start` to before `stop` of the same order,
        so that a whole split is read in flat memory."""
        places = self.order.take(split, stop)[start:]
        return (self.train if split == "train" else self.held_out).select(places)

    @cached_property
    def moments(self) -> Moments:
        """The training pictures' moments."""
        return moments(self.train)

    def describe(self) -> dict[str, str]:
        """Counts, shape and moments, in words."""
        channels, height, width = self.train.pixels.shape[1:]
        return {
            "pictures": f"{self.size('train')} to train on, {self.size('held_out')} held out",
            "shape": f"{channels} x {height} x {width} (channels, height, width), bytes become "
            "floats in [-1, 1]",
            "pixel mean, std": f"{self.moments.mean:.4f}, {self.moments.std:.4f}",
            "mean-predictor L2": f"{self.moments.l2:.2f} (mean distance of a training picture from "
            "the mean picture)",
        }
