"""Sine waves of random frequency, amplitude and phase, all recoverable from a sample (Esteban et
al. 2017).

Each channel of each series is A sin(2 pi f t / T + phi), t = 1 to T, with f, A and phi uniform and
independent (arXiv 1706.02633). The defaults are the published ones but for the number of series.
Nothing is scaled: amplitudes are at most 1.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.data._series import Sequences, affordable, even, leading

Cycles = Annotated[float, msgspec.Meta(gt=0, le=5000)]
Height = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="sines",
):
    """Which waves, and how many."""

    length: Annotated[int, msgspec.Meta(ge=4, le=10_000)] = 30  # T, steps of a series
    channels: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1  # independent waves side by side
    count: Annotated[int, msgspec.Meta(ge=2)] = 10_000  # series, held out ones included
    # share held out, but at least one series in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    # lowest and highest f, cycles in a series; at most T / 2
    frequencies: tuple[Cycles, Cycles] = (1.0, 5.0)
    amplitudes: tuple[Height, Height] = (0.1, 0.9)  # lowest and highest A
    # of the data alone; a run's seed does not change them
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0


def waves(options: Options) -> np.ndarray:
    """All series, (count, length, channels) float32."""
    dice = np.random.Generator(np.random.PCG64(fold(options.seed, "data", "sines")))
    shape = (options.count, 1, options.channels)
    f, height = dice.uniform(*options.frequencies, shape), dice.uniform(*options.amplitudes, shape)
    phase = dice.uniform(-np.pi, np.pi, shape)
    out = np.empty((options.count, options.length, options.channels), np.float32)
    for t in range(options.length):
        out[:, t : t + 1] = height * np.sin(2 * np.pi * f * (t + 1) / options.length + phase)
    return out


def check(options: Options) -> None:
    """A Mistake if the ranges are not ranges or a wave is too fast to be seen."""
    for name in "frequencies", "amplitudes":
        low, high = getattr(options, name)
        if low > high:
            raise Mistake(f"data.{name} = {low}, {high}; allowed: the lower one first")
    if options.frequencies[1] > options.length / 2:
        raise Mistake(
            f"data.frequencies up to {options.frequencies[1]} cycles; "
            f"allowed: {options.length / 2} at most, half of data.length = {options.length} steps"
        )
    affordable(options.count, options.length, options.channels)


class Sines:
    """Sine waves without labels."""

    classes = 0
    extractor = "series"

    def __init__(self, options: Options, root: Path | None) -> None:
        check(options)
        self.options = options
        self.series = Sequences(
            *leading(waves(options), options.held_out), even(1.0, options.channels)
        )
        self.draw, self.take, self.size = self.series.draw, self.series.take, self.series.size

    def restore(self, series: Tensor) -> Tensor:
        """Series (N, T, C) in the units of the data, which are the same; float64."""
        return self.series.restore(series)

    def describe(self) -> dict[str, str]:
        """How the waves are made."""
        (slow, fast), (low, high) = self.options.frequencies, self.options.amplitudes
        source = (
            f"A sin(2 pi f t / {self.options.length} + phi), "
            f"f from {slow:g} to {fast:g}, A from {low:g} to {high:g}, phi from -pi to pi, "
            f"uniform and independent for each channel; generated from seed {self.options.seed}"
        )
        return {"source": source, **self.series.describe()}


Data = Sines
