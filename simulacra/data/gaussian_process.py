"""Smooth random series from a Gaussian process, whose exact log-density judges any sample (Esteban
et al. 2017).

Channels are independent, with mean 0 and covariance 0.2 exp(-gamma (s - t)^2) between the steps s
and t = 0 to T - 1 (arXiv 1706.02633). Of such values 2.5 % lie beyond 1, out of a tanh's reach. So
four standard deviations become 1, and a channel that goes further (one in a thousand at length 30)
is drawn again: no value is clipped, and the density is the Gaussian one up to that thousandth.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.data._series import Sequences, affordable, even, leading

VARIANCE = 0.2
REACH = 4.0  # standard deviations that become 1
# smallest over largest eigenvalue of a covariance; below, float64 cannot tell the density
WORST = 1e-13


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="gaussian_process",
):
    """Which process, and how many series."""

    length: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 30  # T, steps of a series
    channels: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1  # independent processes side by side
    count: Annotated[int, msgspec.Meta(ge=2)] = 10_000  # series, held out ones included
    # share held out, but at least one series in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    # 1 / (2 l^2), l the length scale in steps
    gamma: Annotated[float, msgspec.Meta(gt=0, le=100)] = 0.1
    # standard deviation of independent noise on each value; 0 as published, where the density all
    # but forbids roughness: at length 30, noise of 0.001 on a sample in [-1, 1] takes its
    # log-density from 64 to about -5,700 nats
    noise: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    # of the data alone; a run's seed does not change them
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0


def covariance(length: int, gamma: float, noise: float = 0.0) -> np.ndarray:
    """Of the steps of one channel, (T, T), in the data's units squared."""
    steps = np.arange(length)
    return VARIANCE * np.exp(-gamma * np.square(steps[:, None] - steps)) + noise**2 * np.eye(length)


def factor(options: Options) -> np.ndarray:
    """The lower triangular L (T, T) with L L^T the covariance."""
    matrix = covariance(options.length, options.gamma, options.noise)
    ends = np.linalg.eigvalsh(matrix)[[0, -1]]
    if ends[0] < WORST * ends[1]:
        raise Mistake(
            f"data.gamma = {options.gamma} at data.length = {options.length} is too smooth for "
            "its density to be computed; allowed: a larger gamma, or data.noise of 0.001 or more"
        )
    return np.linalg.cholesky(matrix)


def paths(options: Options, lower: np.ndarray, reach: float) -> np.ndarray:
    """All series, (count, length, channels) float32 in the data's units, none beyond `reach`."""
    dice = np.random.Generator(np.random.PCG64(fold(options.seed, "data", "gaussian_process")))
    rows = np.empty((options.count * options.channels, options.length), np.float32)
    left = np.arange(len(rows))
    while len(left):
        rows[left] = dice.standard_normal((len(left), options.length)) @ lower.T
        left = left[np.abs(rows[left]).max(1) > reach]
    return rows.reshape(options.count, options.channels, options.length).transpose(0, 2, 1)


def log_density(values: Tensor, lower: np.ndarray) -> Tensor:
    """The exact log-density in nats (N,) of values (N, T, C) in the data's units:
    log N(0, L L^T) summed over channels, L (T, T)."""
    n, length, channels = values.shape
    columns = values.double().permute(1, 0, 2).reshape(length, -1).numpy()
    white = solve_triangular(lower, columns, lower=True).reshape(length, n, channels)
    constant = channels * (np.log(np.diag(lower)).sum() + length / 2 * np.log(2 * np.pi))
    return torch.from_numpy(-np.square(white).sum((0, 2)) / 2 - constant)


class GaussianProcess:
    """Smooth random series without labels."""

    classes = 0
    extractor = "series"

    def __init__(self, options: Options, root: Path | None) -> None:
        affordable(options.count, options.length, options.channels)
        self.options, self.lower = options, factor(options)
        reach = REACH * (VARIANCE + options.noise**2) ** 0.5
        splits = leading(paths(options, self.lower, reach), options.held_out)
        self.series = Sequences(*splits, even(reach, options.channels))
        self.draw, self.take, self.size = self.series.draw, self.series.take, self.series.size

    def restore(self, series: Tensor) -> Tensor:
        """Series (N, T, C) in [-1, 1] in the units of the process, float64."""
        return self.series.restore(series)

    def log_density(self, series: Tensor) -> Tensor:
        """The log-density (N,) in nats of series (N, T, C) in [-1, 1], drawn or imagined,
        as values of the process."""
        expected = (self.options.length, self.options.channels)
        if series.ndim != 3 or tuple(series.shape[1:]) != expected:
            raise Mistake(
                f"log-density of series {tuple(series.shape)}; "
                f"allowed: (N, {expected[0]}, {expected[1]})"
            )
        return log_density(self.restore(series), self.lower)

    def describe(self) -> dict[str, str]:
        """How the series are made."""
        noise = f" and noise of {self.options.noise:g}" if self.options.noise else ""
        source = (
            f"Gaussian process, covariance {VARIANCE} exp(-{self.options.gamma:g} "
            f"(s - t)^2){noise}, channels independent; generated from seed {self.options.seed}"
        )
        scaling = (
            f"{REACH:g} standard deviations = {self.series.scale.half[0]:.4g} become 1; "
            "channels beyond are drawn again"
        )
        return {"source": source, "scaling": scaling, **self.series.describe()}


Data = GaussianProcess
