"""Pairs of frames kept as bytes, in two splits, drawn as floats in [-1, 1]:
"image" is seen, "next" follows it."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from simulacra.core.contract import Batch
from simulacra.core.random import fold
from simulacra.data._order import Order
from simulacra.data._pictures import floats, mirrored
from simulacra.data.folder import FITS

CHUNK = 2**22  # bytes compared together

T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """Which frames of a store follow which."""

    frames: np.ndarray  # (F, C, H, W) uint8, possibly shared with the other split and on disk
    first: np.ndarray  # (n,) which of the F is seen
    second: np.ndarray  # (n,) which of the F follows it

    def select(self, places: np.ndarray) -> Batch:
        """The pairs at these places of the split."""
        return {
            "image": floats(self.frames[self.first[places]]),
            "next": floats(self.frames[self.second[places]]),
        }

    def errors(self) -> np.ndarray:
        """The mean squared difference of each pair's frames in units of [0, 1], (n,) float64."""
        count = max(1, CHUNK // int(np.prod(self.frames.shape[1:])))
        out = np.empty(len(self.first))
        for start in range(0, len(out), count):
            here = slice(start, start + count)
            change = self.frames[self.second[here]].astype(np.int32) - self.frames[self.first[here]]
            out[here] = np.square(change).mean((1, 2, 3)) / 255**2
        return out


@dataclass
class Pairs:
    """Two splits, of which "train" is shuffled anew each epoch."""

    train: Split
    held_out: Split
    flip: bool = False  # whether training pairs are mirrored at random, both frames alike

    def __post_init__(self) -> None:
        self.order = Order(
            {"train": len(self.train.first), "held_out": len(self.held_out.first)}, "pairs"
        )
        self.size = self.order.size

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "image" and "next", (batch, C, H, W) each."""
        drawn = self.train.select(self.order.draw(k, batch, seed))
        return (
            {name: mirrored(frames, fold(seed, "step", k)) for name, frames in drawn.items()}
            if self.flip
            else drawn
        )

    def take(self, split: str, n: int) -> Batch:
        """The first n pairs of the split's fixed shuffled order."""
        places = self.order.take(split, n)
        return (self.train if split == "train" else self.held_out).select(places)

    def describe(self) -> dict[str, str]:
        """Counts, shape, and what copying scores, in words."""
        channels, height, width = self.train.frames.shape[1:]
        errors = self.held_out.errors()
        return {
            "pairs": f"{self.size('train')} to train on, {self.size('held_out')} held out",
            "shape": f"{channels} x {height} x {width} (channels, height, width), bytes become "
            "floats in [-1, 1]",
            "copying": f"the first frame as the next one: MSE {errors.mean():.5f} in [0, 1], "
            f"{decibels(errors.mean()):.2f} dB over held-out pairs; "
            f"{(errors == 0).mean():.1%} of them do not change",
        }


def decibels(mse: float) -> float:
    """The peak signal-to-noise ratio of a mean squared error in units of [0, 1];
    infinite without an error."""
    return -10 * math.log10(mse) if mse else math.inf


def treatment(fit: str, size: int, mode: str, flip: bool) -> str:
    """What is done to every frame, in words."""
    colour = "grey" if mode == "L" else "colour"
    text = f"{FITS[fit]}, antialiased to {size}x{size}, {colour}, transparency on white"
    return text + ", training pairs mirrored at random, both frames alike" * flip
