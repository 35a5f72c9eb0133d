"""All metrics that apply to fake and real series (N, T, C) in [-1, 1],
and those that only data of a known law allow."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from simulacra.core.contract import HasLogDensity, option
from simulacra.metrics.images.extractors import digest
from simulacra.metrics.intervals.jackknife import variance
from simulacra.metrics.series import mmd, scores

NAME = "series"
"""What a data set of series names as its extractor: there is none, the values themselves are
compared."""
GROUPS = 10
"""Of held-out series, each of which is left out once for the interval."""
MOST = 2000
"""Series of each set that MMD compares, since its memory grows with their square."""
HASH = digest(repr((mmd.WIDTHS, MOST, scores.GRID, scores.ROUNDS)).encode())
"""Of the constants that the numbers depend on, in the place of an extractor's hash."""


@dataclass(frozen=True)
class Reals:
    """What samples are compared with."""

    real: Tensor  # (M, T, C), held out
    train: Tensor  # (K, T, C)
    source: Any  # the data set, whose law may be known
    seed: int  # of the permutation test

    @cached_property
    def widths(self) -> tuple[float, ...]:
        """MMD's bandwidths, from training series, so that values of different runs compare."""
        return mmd.bandwidths(self.train[:MOST])


def compare(fake: Tensor, reals: Reals) -> dict[str, float]:
    """Every metric that applies to series (N, T, C), by name; MMD last."""
    real = reals.real
    found = (
        correlations(fake, real)
        | of_sines(fake, reals.source)
        | of_gaussian_process(fake, reals.source)
    )
    verdict = mmd.mmd_test(fake[:MOST], real[:MOST], widths=reals.widths, seed=reals.seed)
    return found | {"mmd2": verdict.squared, "mmd_p": verdict.p}


def spread(fake: Tensor, reals: Reals) -> dict[str, float]:
    """The variance of each metric that the choice of the reals makes, by the jackknife over GROUPS
    groups of them; NaN for the p-value, which is no estimate of anything."""
    real, nothing = reals.real, {"mmd_p": math.nan}
    groups = min(GROUPS, len(real))
    if groups < 3:
        return nothing | dict.fromkeys(
            ("autocorrelation_distance", "cross_correlation_distance", "mmd2"), math.nan
        )
    part, rows = torch.arange(len(real)) % groups, list[dict[str, float]]()
    for g in range(groups):
        few = real[:MOST][part[:MOST] != g]
        rows.append(
            correlations(fake, real[part != g])
            | {"mmd2": mmd.squared_mmd(fake[:MOST], few, reals.widths)}
        )
    found = {
        name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]
    }
    return nothing | {name: variance(values) for name, values in found.items()}


def correlations(fake: Tensor, real: Tensor) -> dict[str, float]:
    """How far the correlations of series (N, T, C) are from those of (M, T, C)."""
    found = {"autocorrelation_distance": scores.autocorrelation_distance(fake, real)}
    if real.shape[2] > 1:
        found["cross_correlation_distance"] = scores.cross_correlation_distance(fake, real)
    return found


def of_sines(fake: Tensor, source: Any) -> dict[str, float]:
    """Where the data are sine waves: what the nearest wave leaves of a series (root mean square),
    and how far frequency, amplitude and phase are from the uniform distributions that the data have
    (Kolmogorov-Smirnov, 0 to 1)."""
    options = source.options
    if option(options, "frequencies", None) is None or fake.shape[1] < 4:
        return {}
    waves = scores.recover_sines(fake, low=min(0.5, max(0.1, options.frequencies[0])))
    ranges = {
        "frequency": options.frequencies,
        "amplitude": options.amplitudes,
        "phase": (-math.pi, math.pi),
    }
    uniform = {
        f"{name}_distance": scores.uniform_distance(getattr(waves, name), low, high)
        for name, (low, high) in ranges.items()
        if low < high
    }
    return {"sine_residual": float(waves.residual.mean())} | uniform


def of_gaussian_process(fake: Tensor, source: Any) -> dict[str, float]:
    """Where the data are a Gaussian process: the mean exact log-density in nats of a series.
    Without noise in the process the density all but forbids roughness, so that the number would say
    nothing else."""
    if not isinstance(source, HasLogDensity) or not noise_of(source):
        return {}
    return {"log_density": float(source.log_density(fake).mean())}


def noise_of(source: Any) -> float:
    """The standard deviation of the noise in data that are a Gaussian process."""
    return float(source.options.noise)


def counts(name: str, n_fake: int, n_real: int) -> dict[str, int]:
    """How many series of each kind a metric was told from."""
    most = MOST if name.startswith("mmd") else max(n_fake, n_real)
    return {"n_real": min(n_real, most), "n_fake": min(n_fake, most)}


def notes(source: Any) -> list[str]:
    """What a reader of the numbers has to know, one sentence each."""
    if isinstance(source, HasLogDensity) and not noise_of(source):
        return [
            "data.noise = 0, so no log-density: it would measure roughness alone; "
            "train with data.noise=0.05 to have it"
        ]
    return []
