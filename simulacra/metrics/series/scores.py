"""How series differ in their dynamics, and which sine wave a series is."""

from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.core.errors import Mistake

GRID = 8  # frequencies tried for each cycle
ROUNDS = 12  # each narrows the search fourfold


def centred(series: Tensor) -> Tensor:
    """Float64 series (N, T, C) on the CPU without the mean of each channel, and that channel's
    scale made 1; a constant channel is 0."""
    if series.ndim != 3 or series.shape[1] < 2 or not series.isfinite().all():
        raise Mistake(
            f"series of shape {tuple(series.shape)}; "
            "allowed: (N, T, C), T at least 2, all values finite"
        )
    series = series.detach().cpu().double()
    rest = series - series.mean((0, 1))
    std = rest.square().mean((0, 1)).sqrt()
    return rest / torch.where(std > 1e-12, std, torch.inf)


def autocorrelation(series: Tensor, lags: int) -> Tensor:
    """(C, lags): the correlation of values 1 to `lags` steps apart, over all pairs in all series
    (N, T, C); mean and variance are those of the whole set."""
    x = centred(series)
    if not 1 <= lags < x.shape[1]:
        raise Mistake(
            f"lags up to {lags} in series of {x.shape[1]} steps; allowed: 1 to {x.shape[1] - 1}"
        )
    return torch.stack([(x[:, lag:] * x[:, :-lag]).mean((0, 1)) for lag in range(1, lags + 1)], 1)


def autocorrelation_distance(fake: Tensor, real: Tensor, lags: int | None = None) -> float:
    """The root mean square difference of the autocorrelations of (N, T, C) and (M, T, C) over
    channels and lags, up to half the length unless told; 0 is equal, 2 the most."""
    lags = lags or max(1, real.shape[1] // 2)
    return float((autocorrelation(fake, lags) - autocorrelation(real, lags)).square().mean().sqrt())


def cross_correlation(series: Tensor) -> Tensor:
    """(C (C - 1) / 2,): the correlation of each pair of channels at the same step,
    over all series (N, T, C)."""
    x = centred(series).flatten(0, 1)
    if x.shape[1] < 2:
        raise Mistake("cross-correlation of series with 1 channel; allowed: 2 or more")
    row, column = torch.triu_indices(x.shape[1], x.shape[1], 1)
    return (x.T @ x / len(x))[row, column]


def cross_correlation_distance(fake: Tensor, real: Tensor) -> float:
    """The root mean square difference of the channels' correlations of (N, T, C) and (M, T, C);
    0 is equal, 2 the most."""
    return float((cross_correlation(fake) - cross_correlation(real)).square().mean().sqrt())


class Waves(NamedTuple):
    """The sine wave nearest to each series and channel, all (N, C) float64."""

    frequency: Tensor  # f, cycles in a series
    amplitude: Tensor  # A, at least 0, in units of the series
    phase: Tensor  # phi in [-pi, pi]
    residual: Tensor  # root mean square of what the wave leaves, in units of the series


def fitted(x: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least squares of x (S, T) by a sin + b cos at frequencies f (S or 1, F): a, b and how much
    smaller the sum of squares becomes, all (S, F)."""
    steps = torch.arange(1, x.shape[1] + 1, dtype=torch.float64)
    angle = 2 * torch.pi * f[..., None] * steps / x.shape[1]
    sin, cos = angle.sin(), angle.cos()
    ss, cc, sc = sin.square().sum(-1), cos.square().sum(-1), (sin * cos).sum(-1)
    xs, xc = (torch.einsum("sft,st->sf", wave, x) for wave in (sin, cos))
    area = ss * cc - sc.square()
    a, b = (xs * cc - xc * sc) / area, (xc * ss - xs * sc) / area
    return a, b, a * xs + b * xc


def nearest_waves(x: Tensor, low: float, high: float) -> Tensor:
    """Frequency, amplitude, phase and residual (4, S) of the waves nearest to x (S, T)."""
    grid = torch.linspace(low, high, max(2, round((high - low) * GRID)) + 1, dtype=torch.float64)
    best, reach = grid[fitted(x, grid[None])[2].argmax(1)][:, None], float(grid[1] - grid[0])
    offsets = torch.linspace(-1, 1, 9, dtype=torch.float64)
    for _ in range(ROUNDS):
        near = (best + reach * offsets).clamp(low, high)
        best, reach = near.gather(1, fitted(x, near)[2].argmax(1, keepdim=True)), reach / 4
    a, b, _ = fitted(x, best)
    amplitude, phase = torch.hypot(a, b), torch.atan2(b, a)
    steps = torch.arange(1, x.shape[1] + 1, dtype=torch.float64)
    rest = x - amplitude * (2 * torch.pi * best * steps / x.shape[1] + phase).sin()
    return torch.stack([best[:, 0], amplitude[:, 0], phase[:, 0], rest.square().mean(1).sqrt()])


def recover_sines(series: Tensor, low: float = 0.5, high: float | None = None) -> Waves:
    """The waves A sin(2 pi f t / T + phi), t = 1 to T, that leave the least of series (N, T, C), f
    from `low` to `high` (None: half a cycle below T / 2, beyond which no f can be told)."""
    n, length, channels = series.shape
    high = (length - 1) / 2 if high is None else high
    if not 0.1 <= low < high <= (length - 1) / 2:
        raise Mistake(
            f"frequencies from {low} to {high}; "
            f"allowed: 0.1 to {(length - 1) / 2} in series of {length} steps"
        )
    x = series.detach().cpu().double().transpose(1, 2).reshape(-1, length)
    found = torch.cat([nearest_waves(part, low, high) for part in x.split(256)], 1)
    return Waves(*found.reshape(4, n, channels))


def uniform_distance(values: Tensor, low: float, high: float) -> float:
    """The largest difference (Kolmogorov-Smirnov) between the distribution of values (of any shape)
    and the uniform one from low to high: 0 is uniform, 1 is all outside on one side."""
    shares = ((values.detach().cpu().double().flatten().sort().values - low) / (high - low)).clamp(
        0, 1
    )
    ranks = torch.arange(len(shares) + 1, dtype=torch.float64) / len(shares)
    return float(torch.maximum(ranks[1:] - shares, shares - ranks[:-1]).max())
