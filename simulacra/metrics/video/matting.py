"""The standard errors of mattes: SAD, MSE, Grad and Conn (Rhemann et al., "A Perceptually Motivated
Online Benchmark for Image Matting", CVPR 2009) and dtSSD (Erofeev et al., "Perceptually Motivated
Benchmark for Video Matting", BMVC 2015). Less is better.

Mattes, found and true, are (T, 1, H, W) in [0, 1]; `where` (T, 1, H, W) bool is the part that
counts, a trimap's unknown. Each function gives one number a frame, (T,) float64, and dtSSD one a
step, (T - 1,); a frame of which no pixel counts has 0, and NaN of the means, MSE and dtSSD.
"""

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import Mistake

SIGMA = 1.4  # deviation of the Gaussian whose derivatives are the gradient, pixels
LEAST = 1e-2  # of the Gaussian, where the filters end
STEP = 0.1  # between two levels of the matte at which its connected parts are found
APART = 0.15  # from the level at which it is still connected, from which a pixel is less so


def check(found: Tensor, true: Tensor, where: Tensor) -> None:
    """A Mistake unless the three are (T, 1, H, W), the mattes in [0, 1]."""
    shapes = {tuple(one.shape) for one in (found, true, where)}
    if len(shapes) > 1 or found.ndim != 4 or found.shape[1] != 1 or where.dtype != torch.bool:
        raise Mistake(
            f"mattes {tuple(found.shape)} and {tuple(true.shape)}, "
            f"counted in {tuple(where.shape)} {where.dtype}; allowed: (T, 1, H, W), the last bool"
        )
    for one in (found, true):
        if one.numel() and not (one.min() >= 0 and one.max() <= 1):  # not: nan compares false
            raise Mistake(
                f"a matte of {float(one.min()):.4g} to {float(one.max()):.4g}; allowed: 0 to 1"
            )


def unknown(true: Tensor, radius: int) -> Tensor:
    """Where a trimap of the true mattes leaves open what is, (T, 1, H, W) bool: at most `radius`
    pixels, along rows and columns, from where they are neither 0 nor 1, or where 0 meets 1."""
    from torch.nn import functional as F

    side, least = 2 * radius + 1, -F.max_pool2d(-true, 3, 1, 1)
    edge = (F.max_pool2d(true, 3, 1, 1) > 0) & (least < 1)
    return F.max_pool2d(edge.float(), side, 1, radius) > 0


def total(errors: Tensor, where: Tensor) -> Tensor:
    """The sum of errors (T, 1, H, W) where they count."""
    return (errors.double() * where).sum((1, 2, 3))


def sad(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Sum of absolute differences, in thousands of pixels."""
    check(found, true, where)
    return total((found - true).abs(), where) / 1000


def mse(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Mean squared difference."""
    check(found, true, where)
    return total((found - true).square(), where) / where.sum((1, 2, 3))


def steepness(matte: Tensor) -> Tensor:
    """The length of the gradient (T, 1, H, W), by derivatives of a Gaussian of deviation SIGMA with
    a sum of squares of 1, the border repeated."""
    from scipy.ndimage import correlate

    reach = int(np.ceil(SIGMA * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * SIGMA * LEAST))))
    x = np.arange(-reach, reach + 1)
    bell = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = bell[:, None] * (x * bell)
    slope = slope / np.sqrt(np.square(slope).sum())
    out = [
        np.hypot(*(correlate(one, kernel, mode="nearest") for kernel in (slope, slope.T)))
        for one in matte[:, 0].cpu().double().numpy()
    ]
    return torch.from_numpy(np.stack(out))[:, None]


def grad(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Sum of squared differences of the gradients' lengths, in thousands."""
    check(found, true, where)
    return total((steepness(found) - steepness(true)).square(), where.cpu()) / 1000


def connected(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The highest level, (H, W), at which each pixel belongs to the largest part, joined by sides,
    of what both mattes (H, W) have at that level at least; 0 if at none."""
    import cv2

    level, open_ = np.ones(true.shape), np.ones(true.shape, bool)
    steps = round(1 / STEP)
    for i in range(1, steps + 1):
        both = (found >= i / steps) & (true >= i / steps)
        _, part, stats, _ = cv2.connectedComponentsWithStats(both.astype(np.uint8), connectivity=4)
        largest = part == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if len(stats) > 1 else both
        level[open_ & ~largest] = (i - 1) / steps
        open_ &= largest
    return level


def conn(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Sum of the absolute differences of connectedness, in thousands: 1 less the distance of the
    matte from the level at which it is `connected`, if it is APART or more."""
    check(found, true, where)
    out = []
    for one, other in zip(
        found[:, 0].cpu().double().numpy(), true[:, 0].cpu().double().numpy(), strict=True
    ):
        level = connected(one, other)
        far, near = ((x - level) * (x - level >= APART) for x in (one, other))
        out.append(np.abs(far - near))
    return total(torch.from_numpy(np.stack(out))[:, None], where.cpu()) / 1000


def dtssd(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Root of the mean squared difference of the changes from frame to frame, times 100, over what
    counts in the later frame: mattes that are wrong but still have 0."""
    check(found, true, where)
    later = where[1:]
    errors = (found.diff(dim=0) - true.diff(dim=0)).square()
    return 100 * (total(errors, later) / later.sum((1, 2, 3))).sqrt()


def measures(found: Tensor, true: Tensor, where: Tensor) -> dict[str, float]:
    """Every error by name, each the mean over the frames that have it."""
    errors = {"SAD": sad, "MSE": mse, "Grad": grad, "Conn": conn, "dtSSD": dtssd}
    return {name: float(error(found, true, where).nanmean()) for name, error in errors.items()}
