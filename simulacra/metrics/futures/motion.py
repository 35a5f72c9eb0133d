"""How shapes moved in sampled futures, and how good these are (Xue et al. 2016, arXiv 1607.02586,
section 5).

Frames are (N, 3, H, W) in [-1, 1] and clipped to it first, as they are when painted. A canvas pixel
is 1 / 128 of the side. The publication's bins and smoothing are not on record: compare displacement
divergences only with others of this file.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.errors import Mistake
from simulacra.data.shapes import CANVAS, LAWS, Truth, coverage
from simulacra.nn.maths import psnr

# a shape is looked for so much farther than its law ever goes, in x and in y, canvas pixels
BEYOND = 4.0
ROUNDS = 5  # of the search below a pixel
# difference between the shape's colour and the shape, means over 3 x 3 pixels, that blur or noise
# can explain
DOUBT = 0.25
MISFIT = 0.2  # most pixels beyond it, over the shape's visible ones
SEEN = 0.3  # least share of the shape that is in the frame and not hidden

# side of a bin of displacements, canvas pixels: the middle one holds -1, 0 and 1, so that integer
# steps lie half a pixel from the next, and seven of them tile the law's -10 to 10
BIN = 3.0
BINS = 19  # in each axis, from -28.5 to 28.5; what lies beyond counts in the outermost
SMOOTHING = 0.01  # share of either histogram that is spread evenly over all bins

MOVED = 1.0  # longest motion that has no direction, canvas pixels
ASIDE = 1.0  # motion across its axis that is never forbidden, canvas pixels: half a pixel at 64
ANGLE = 15.0  # degrees off its axis that are never forbidden

# distance from the nearest colour in RGB of [-1, 1] beyond which a pixel is off the palette
FAR = 0.7


# Reading


class Parts(NamedTuple):
    """How much of each pixel has which colour, 0 to 1, for each shape, all (N, S, H, W)."""

    own: Tensor  # the shape's
    front: Tensor  # those of shapes in front of it
    behind: Tensor  # those of shapes behind it, and the ground's


def parts(images: Tensor, truth: Truth) -> Parts:
    """Shares of the palette's colours whose mixture is nearest to each pixel, clipped to 0 to 1; a
    blend of four colours in general position is told exactly."""
    present = torch.cat([torch.ones_like(truth.present[:, :1]), truth.present], 1)
    palette = torch.cat([truth.background[:, None], truth.colour], 1)  # (N, 1 + S, 3)
    mix = F.pad(palette, (0, 1), value=1.0) * present[..., None]  # shares add up to 1
    pixels = F.pad(images.clamp(-1, 1).flatten(2), (0, 0, 0, 1), value=1.0)
    shares = (
        (torch.linalg.pinv(mix.transpose(1, 2)) @ pixels)
        .clamp_(0, 1)
        .unflatten(2, images.shape[2:])
    )
    below = shares.cumsum(1)  # up to and with each colour
    return Parts(
        shares[:, 1:], (below[:, -1:] - below[:, 1:]).clamp(0, 1), below[:, :-1].clamp(0, 1)
    )


def nearest_pixel(stencil: Tensor, seen: Parts) -> Tensor:
    """The whole-pixel shifts (N, S, 2) at which the shapes, painted with a margin as wide as the
    search, cover most of their own colour and least of what is behind; what is in front says
    nothing."""
    far = (stencil.shape[3] - seen.own.shape[3]) // 2
    score = F.pad(seen.own - seen.behind, [far] * 4)
    spectrum = torch.fft.rfft2(score) * torch.fft.rfft2(stencil).conj()
    scores = torch.fft.irfft2(spectrum, s=score.shape[2:]).roll((far, far), (2, 3))[
        ..., : 2 * far + 1, : 2 * far + 1
    ]
    best = scores.flatten(2).argmax(2)
    return torch.stack([best % (2 * far + 1), best // (2 * far + 1)], 2).float() - far


def refined(shift: Tensor, seen: Parts, truth: Truth) -> Tensor:
    """The shifts (N, S, 2) near these that leave the least squares between the shapes' colour and
    what of them is not hidden (Gauss-Newton), no more than a pixel away."""
    start, open_ = shift, 1 - seen.front
    for _ in range(ROUNDS):
        stencil = coverage(truth, shift)
        down, right = torch.gradient(stencil, dim=(2, 3))
        # d stencil / d shift
        slopes = torch.stack([-right, -down], 2).mul_(open_[:, :, None]).flatten(3)
        left = (seen.own - stencil * open_).flatten(2)
        normal = slopes @ slopes.transpose(2, 3) + 1e-3 * torch.eye(2)
        step = torch.linalg.solve(normal, slopes @ left[..., None])[..., 0]
        shift = start + (shift + step.clamp(-1, 1) - start).clamp(-1, 1)
    return shift


def found(shift: Tensor, area: Tensor, seen: Parts, truth: Truth) -> Tensor:
    """Whether enough of each shape's area (N, S) is visible after the shift,
    and its own colour is there and nowhere else, (N, S)."""
    visible = coverage(truth, shift) * (seen.front < 0.5)
    apart = F.avg_pool2d(seen.own - visible, 3, stride=1, padding=1, count_include_pad=False).abs()
    enough = visible.sum((2, 3)) >= SEEN * area
    return truth.present & enough & ((apart > DOUBT).sum((2, 3)) <= MISFIT * visible.sum((2, 3)))


class Reading(NamedTuple):
    """How the shapes of the first frames moved."""

    moved: Tensor  # (N, S, 2) pixels, dx and dy; NaN where not matched
    matched: Tensor  # (N, S) bool


def displacements(images: Tensor, truth: Truth) -> Reading:
    """Where the shapes of the first frames are in frames (N, 3, H, W), read without the true
    displacements or the law's directions. A shape is matched if at least SEEN of it is visible and
    its colour fills it, and only it, by MISFIT: one that is hidden, missing, doubled, transparent
    or deformed is not. At 64 pixels a blur of 1.5 pixels passes, and two half transparent copies
    pass while they are less than about 8 canvas pixels apart."""
    side = truth.options.size
    if not len(images) or images.shape != (len(truth.size), 3, side, side):
        raise Mistake(
            f"frames {tuple(images.shape)} of {len(truth.size)} pairs; "
            f"allowed: (N, 3, {side}, {side}), one a pair"
        )
    images = images.detach().cpu().float()
    truth = truth._replace(options=msgspec.structs.replace(truth.options, antialias=True))
    far, read = round((LAWS[truth.options.law].reach + BEYOND) * side / CANVAS), []
    for rows in truth.chunks():
        some = truth.select(rows)
        seen = parts(images[rows], some)
        stencil = coverage(some, torch.zeros_like(some.displacement), far)
        shift = refined(nearest_pixel(stencil, seen), seen, some)
        read.append((shift, found(shift, stencil.sum((2, 3)), seen, some)))
    moved, matched = (torch.cat(one) for one in zip(*read, strict=True))
    return Reading(moved.masked_fill(~matched[..., None], torch.nan), matched)


# Comparing displacements


def histogram(canvas: Tensor) -> Tensor:
    """The smoothed shares (BINS^2,) float64 of points (N, 2) in canvas pixels in the bins."""
    if canvas.ndim != 2 or canvas.shape[1] != 2 or not len(canvas) or not canvas.isfinite().all():
        raise Mistake(
            f"displacements {tuple(canvas.shape)}; "
            "allowed: (N, 2), at least one, all finite (matched ones)"
        )
    places = (canvas.double() / BIN + BINS / 2).floor().clamp(0, BINS - 1).long()
    counts = torch.bincount(places[:, 0] * BINS + places[:, 1], minlength=BINS**2).double()
    return (1 - SMOOTHING) * counts / len(canvas) + SMOOTHING / BINS**2


def displacement_kl(predicted: Tensor, true: Tensor, size: int) -> float:
    """KL(p_predicted || p_true) in nats between histograms of displacements (N, 2) and (M, 2) in
    pixels of frames of side
    `size`. Bins are squares of BIN canvas pixels. Both histograms have pseudo-counts, in each bin
    the same and SMOOTHING of
    all samples together, so that the value depends on the number of samples only by chance and is
    at most
    -ln(SMOOTHING / BINS^2) = 10.5."""
    p, q = (histogram(one * (CANVAS / size)) for one in (predicted, true))
    return float((p * (p / q).log()).sum())


def pair_kl(predicted: Sequence[Tensor], true: Sequence[Tensor], size: int) -> float:
    """`displacement_kl` of the joint distribution of circle and triangle: each a pair of dy of the
    circle (N,) and dy of the triangle (N,), in pixels. The other coordinates would make a histogram
    that no number of samples fills."""
    return displacement_kl(torch.stack([*predicted], 1), torch.stack([*true], 1), size)


def forbidden(moved: Tensor, matched: Tensor, truth: Truth) -> Tensor:
    """NaN where a shape (N, S) is not read or moved by MOVED canvas pixels at most, else 1 or 0:
    whether it moved more than ASIDE canvas pixels and ANGLE degrees off its law's axis, or against
    it where the law has one way. Shapes that hang on another are judged by their motion beside it,
    and not read where that is not."""
    law, canvas = LAWS[truth.options.law], moved * (CANVAS / truth.options.size)
    out = torch.full(matched.shape, torch.nan)
    for s, name in enumerate(truth.names):
        own, known = canvas[:, s], matched[:, s]
        if law.carrier and name != law.carrier:
            carrier = truth.names.index(law.carrier)
            own, known = own - canvas[:, carrier], known & matched[:, carrier]
        x, y = F.normalize(torch.tensor(law.axes[name], dtype=own.dtype), dim=0)
        along, across, length = (
            own[:, 0] * x + own[:, 1] * y,
            (own[:, 1] * x - own[:, 0] * y).abs(),
            own.norm(dim=1),
        )
        limit = (length * torch.tensor(ANGLE).deg2rad().sin()).clamp(min=ASIDE)
        wrong = (across > limit) | (along < -ASIDE if law.one_way else torch.zeros_like(known))
        out[:, s] = torch.where(known & (length > MOVED), wrong.to(out.dtype), torch.nan)
    return out


def forbidden_share(moved: Tensor, matched: Tensor, truth: Truth) -> float:
    """The share of `forbidden` moves among shapes (N, S) that are read and moved;
    NaN if none did."""
    return float(forbidden(moved, matched, truth).nanmean())


def correlation(circle_dy: Tensor, triangle_dy: Tensor) -> float:
    """Of two sets of numbers (N,), -1 to 1; NaN if one is constant."""
    return float(torch.corrcoef(torch.stack([circle_dy, triangle_dy]).double())[0, 1])


# Comparing pictures


def best_of_k_psnr(samples: Tensor, true: Tensor) -> float:
    """The mean over N of the highest PSNR of k samples (N, k, C, H, W)
    of the future (N, C, H, W), dB."""
    return float(psnr(samples, true[:, None]).amax(1).mean())


def diversity(samples: Tensor) -> float:
    """The mean PSNR of two different ones of k samples (N, k, C, H, W), dB:
    low is diverse, 100 is none."""
    return float(diversities(samples).mean())


def diversities(samples: Tensor) -> Tensor:
    """The same of each picture, (N,)."""
    k = samples.shape[1]
    if k < 2:
        raise Mistake(f"diversity of {k} sample; allowed: 2 or more")
    one, two = torch.triu_indices(k, k, 1)
    return torch.stack(
        [psnr(samples[:, i], samples[:, j]) for i, j in zip(one, two, strict=True)]
    ).mean(0)


def ssim(images: Tensor, true: Tensor) -> Tensor:
    """Structural similarity (N,) of frames (N, C, H, W), mean over channels and places (Wang et al.
    2004, eq. 13): Gaussian window of 11 x 11, deviation 1.5, wholly inside the frame; K1 = 0.01, K2
    = 0.03, range 2."""
    if min(images.shape[2:]) < 11:
        raise Mistake(
            f"SSIM of frames {tuple(images.shape)}; allowed: height and width of at least 11"
        )
    x, y = images.clamp(-1, 1).double(), true.clamp(-1, 1).double()
    window = torch.exp(-(torch.arange(-5, 6).double() / 1.5).square() / 2)
    window /= window.sum()
    stack = torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 2)[:, None]
    means = F.conv2d(
        F.conv2d(stack, window[None, None, :, None]), window[None, None, None]
    ).unflatten(0, (5, *x.shape[:2]))
    mx, my, xx, yy, xy = means[:, :, :, 0]
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    value = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    value /= (mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2)
    return value.mean((1, 2, 3))


def off_palette(images: Tensor, truth: Truth, threshold: float = FAR) -> float:
    """The share of pixels farther than `threshold` from all colours of their frame. Antialiased
    edges of true frames of law three make 1.0 % at 64 pixels with FAR; at 128 a threshold of 0.4
    does."""
    return float(off_palettes(images, truth, threshold).mean())


def off_palettes(images: Tensor, truth: Truth, threshold: float = FAR) -> Tensor:
    """The same of each frame, (N,) float64."""
    images = images.detach().cpu().clamp(-1, 1)
    nearest = (images - truth.background[..., None, None]).norm(dim=1)
    for colour, present in zip(truth.colour.unbind(1), truth.present.unbind(1), strict=True):
        away = (images - colour[..., None, None]).norm(dim=1)
        nearest = torch.minimum(nearest, away.masked_fill_(~present[:, None, None], torch.inf))
    return (nearest > threshold).double().mean((1, 2))


def edges(images: Tensor) -> Tensor:
    """The mean squared difference of neighbouring pixels in x plus that in y,
    (N,) of frames (N, C, H, W)."""
    x = images.clamp(-1, 1).double()
    return x.diff(dim=-1).square().mean((1, 2, 3)) + x.diff(dim=-2).square().mean((1, 2, 3))


def edge_energy(images: Tensor) -> float:
    """The mean of `edges`."""
    return float(edges(images).mean())


def edge_energy_ratio(fake: Tensor, real: Tensor) -> float:
    """The edge energy of fakes over that of reals: below 1 is blurred, above 1 has extra edges."""
    return edge_energy(fake) / edge_energy(real)
