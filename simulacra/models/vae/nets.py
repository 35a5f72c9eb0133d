"""The nets of the models vae and vaegan: encoders, decoders and discriminators, as published and
ours.

Pictures are (B, C, H, W) in [-1, 1] outside these nets, whatever range a paper has; codes are (B,
z_size). Pictures whose sides a net cannot halve often enough get black borders inside it, and its
output loses them again.

Sources: "paper" is the appendix of World Models, arXiv 1803.10122 (64x64, no padding: 4,348,547
weights); "adsp" the Keras net that the notes compare with (2,115,971); "larsen" arXiv 1512.09300 as
its public code has it at 64x64 (33,737,796 with 128 numbers in z); "notes" the notes' listing
(40,194,372 with 512); "light" ours (1,466,684 at width 24).

Deviation: padding is torch's, 2 on both sides of a 5x5 convolution, where TensorFlow's "same" has 1
and 2.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.core.random import noise
from simulacra.nn import blocks

BLACK = -1.0
Shape = tuple[int, int, int]
"""Channels, height and width of a picture."""


# --- parts ----------------------------------------------------------------------------------------


class Border(nn.Module):
    """Pictures with black borders of these widths (left, right, top, bottom);
    negative ones are cut off."""

    def __init__(self, *widths: int):
        super().__init__()
        self.widths = widths

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.widths, value=BLACK) if any(self.widths) else x


class Unit(nn.Module):
    """[-1, 1] to [0, 1], the range that most papers here have."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2


class Signed(nn.Module):
    """[0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x - 1


class Normed(nn.Module):
    """Batch normalisation (arXiv 1502.03167) of vectors or maps, with Keras' constants. `frozen` is
    defect V4: it never trains, so that its statistics stay at mean 0 and variance 1 and only the
    affine map is left."""

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, frozen: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.frozen = frozen
        self.of_own_rows = not frozen  # of a process, if many train together

    def forward(self, x: Tensor) -> Tensor:
        training = self.training and not self.frozen
        return F.batch_norm(
            x, self.mean, self.variance, self.weight, self.bias, training, momentum=0.01, eps=1e-3
        )


class Encoder(nn.Module):
    """Picture -> mean and log-variance (B, z_size) of q(z | x);
    `tanh` is defect V6: both pass through one."""

    def __init__(self, body: nn.Module, size: int, z_size: int, tanh: bool = False):
        super().__init__()
        self.body, self.tanh = body, tanh
        self.mean, self.log_variance = nn.Linear(size, z_size), nn.Linear(size, z_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.body(x)
        mean, s = self.mean(y), self.log_variance(y)
        return (mean.tanh(), s.tanh()) if self.tanh else (mean, s)


class Coder(nn.Module):
    """An encoder and a decoder."""

    def __init__(self, Enc: nn.Module, Dec: nn.Module):
        super().__init__()
        self.Enc, self.Dec = Enc, Dec


class Discriminator(nn.Module):
    """Picture -> logit (B,) and features phi, what `lower` makes of the picture. `squashed` is
    defect V17: the logit is a probability already."""

    def __init__(self, lower: nn.Module, upper: nn.Module, squashed: bool = False):
        super().__init__()
        self.lower, self.upper, self.squashed = lower, upper, squashed

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        phi = self.lower(x)
        logit = self.upper(phi).squeeze(1)
        return logit.sigmoid() if self.squashed else logit, phi


def reparameterize(mean: Tensor, s: Tensor) -> Tensor:
    """z = mean + exp(s / 2) e of the posterior with log-variance s."""
    return mean + (s / 2).exp() * noise(mean, mean.shape[1])


def borders(shape: Shape, step: int) -> tuple[Border, Border, int, int]:
    """Borders that make a picture's sides multiples of `step`, those that undo it,
    and the new height and width."""
    _, H, W = shape
    down, right = -H % step, -W % step
    widths = right // 2, right - right // 2, down // 2, down - down // 2
    return Border(*widths), Border(*(-width for width in widths)), H + down, W + right


# --- World Models ---------------------------------------------------------------------------------

# channels in units of the width: of the encoder, of the decoder, and the decoder's first numbers
PAPER = {
    "paper": ((1, 2, 4, 8), (4, 2, 1), 32),
    "adsp": ((1, 2, 2, 4), (2, 2, 1), 32),
}


def of_paper(kind: str, shape: Shape, w: int, z_size: int) -> Coder:
    """The coder of arXiv 1803.10122, figure 22 (w = 32): unpadded 4x4 convolutions of stride 2, and
    transposed ones with sides 5, 5, 6, 6 from 1x1. Its encoder reads neither the last two rows nor
    the last two columns. ValueError beyond 64x64."""
    C, H, W = shape
    if max(H, W) > 64:
        raise ValueError(
            f"nets = {kind} takes pictures of at most 64x64, found {H}x{W}; nets = light takes any"
        )
    grow, shrink, _, _ = borders(shape, 64)
    down, up, first = PAPER[kind]
    body = [grow, Unit()]
    for a, b in pairwise((C, *(w * n for n in down))):
        body += [nn.Conv2d(a, b, 4, 2), nn.ReLU()]
    Dec: list[nn.Module] = [nn.Linear(z_size, w * first), blocks.Unflatten(w * first, 1, 1)]
    for a, b, k in zip((first, *up[:-1]), up, (5, 5, 6), strict=True):
        Dec += [nn.ConvTranspose2d(w * a, w * b, k, 2), nn.ReLU()]
    Dec += [nn.ConvTranspose2d(w * up[-1], C, 6, 2), nn.Sigmoid(), Signed(), shrink]
    Enc = Encoder(nn.Sequential(*body, nn.Flatten()), 4 * w * down[-1], z_size)
    return Coder(Enc, nn.Sequential(*Dec))


# --- ours -----------------------------------------------------------------------------------------

HALVINGS = 4


def light(shape: Shape, w: int, z_size: int) -> Coder:
    """Our coder for pictures of any size: four 4x4 convolutions of stride 2 with w,
    2w, 4w, 8w channels, and back."""
    grow, shrink, H, W = borders(shape, 2**HALVINGS)
    rows, cols = blocks.coarsest(H, W, HALVINGS)
    widths = [w * 2**i for i in range(HALVINGS)]
    size = widths[-1] * rows * cols
    down = [layer for a, b in pairwise((shape[0], *widths)) for layer in blocks.halve(a, b, "none")]
    up = [layer for a, b in pairwise(widths[::-1]) for layer in blocks.double(a, b, "none")]
    start = [
        nn.Linear(z_size, size),
        blocks.Unflatten(widths[-1], rows, cols),
        nn.LeakyReLU(blocks.LEAK),
    ]
    end = [nn.ConvTranspose2d(w, shape[0], 4, 2, 1), nn.Tanh(), shrink]
    Enc = Encoder(nn.Sequential(grow, *down, nn.Flatten()), size, z_size)
    for head in Enc.mean, Enc.log_variance:
        blocks.kept(head, leak=1.0)
    blocks.kept_init(Enc.body)
    return Coder(Enc, blocks.kept_init(nn.Sequential(*start, *up, *end)))


def light_D(shape: Shape, w: int) -> Discriminator:
    """Our discriminator: its convolutions are those of `light`, each with a spectral norm of 1
    (arXiv 1802.05957); phi is what the third one makes."""
    grow, _, H, W = borders(shape, 2**HALVINGS)
    rows, cols = blocks.coarsest(H, W, HALVINGS)
    widths = [w * 2**i for i in range(HALVINGS)]
    convs = [
        [spectral_norm(blocks.kept(nn.Conv2d(a, b, 4, 2, 1))), nn.LeakyReLU(blocks.LEAK)]
        for a, b in pairwise((shape[0], *widths))
    ]
    lower = [layer for conv in convs[:-1] for layer in conv]
    last = spectral_norm(blocks.kept(nn.Linear(widths[-1] * rows * cols, 1), leak=1.0))
    return Discriminator(nn.Sequential(grow, *lower), nn.Sequential(*convs[-1], nn.Flatten(), last))


# --- the notes ------------------------------------------------------------------------------------


def conv(a: int, b: int, stride: int = 2) -> nn.Conv2d:
    """A padded 5x5 convolution."""
    return nn.Conv2d(a, b, 5, stride, 2)


def deconv(a: int, b: int) -> nn.ConvTranspose2d:
    """A 5x5 transposed convolution that doubles sides."""
    return nn.ConvTranspose2d(a, b, 5, 2, 2, output_padding=1)


def of_notes(
    shape: Shape, w: int, z_size: int, frozen: bool = False, heads: bool = False, tanh: bool = False
) -> Coder:
    """The notes' coder (w = 32): 5x5 convolutions, batch normalisation, leaky rectifiers. `frozen`,
    `heads` and `tanh` are the defects V4, V6 and V16."""
    grow, shrink, H, W = borders(shape, 8)
    rows, cols = blocks.coarsest(H, W, 3)

    def after(layer: nn.Module, channels: int) -> list[nn.Module]:
        return [layer, Normed(channels, frozen), nn.LeakyReLU(blocks.LEAK)]

    body: list[nn.Module] = [grow, Unit()]
    for a, b in pairwise((shape[0], 2 * w, 4 * w, 8 * w)):
        body += after(conv(a, b), b)
    size, hidden = 8 * w * rows * cols, 16 * w
    body += [nn.Flatten(), *after(nn.Linear(size, hidden), hidden)]
    Dec = [*after(nn.Linear(z_size, size), size), blocks.Unflatten(8 * w, rows, cols)]
    for a, b in pairwise((8 * w, 8 * w, 4 * w, w)):
        Dec += after(deconv(a, b), b)
    Dec += [conv(w, shape[0], 1), nn.Tanh() if tanh else nn.Sigmoid(), Signed(), shrink]
    return Coder(Encoder(nn.Sequential(*body), hidden, z_size, heads), nn.Sequential(*Dec))


def notes_D(
    shape: Shape,
    w: int,
    frozen: bool = False,
    dead: bool = False,
    raw: bool = False,
    squashed: bool = False,
) -> Discriminator:
    """The notes' discriminator (w = 32). As meant, the second convolution reads the first; defect
    V1 (`dead`) lets it read the picture, so that nothing feels the first, which is left out here.
    phi is the last convolution's output, normalised and rectified; as it is by defect V14 (`raw`).
    `frozen` and `squashed` are V4 and V17."""
    halvings = 2 if dead else 3
    grow, _, H, W = borders(shape, 2**halvings)
    rows, cols = blocks.coarsest(H, W, halvings)
    first = [] if dead else [conv(shape[0], w), nn.LeakyReLU(blocks.LEAK)]
    lower = [
        grow,
        Unit(),
        *first,
        conv(shape[0] if dead else w, 4 * w),
        nn.LeakyReLU(blocks.LEAK),
        Normed(4 * w, frozen),
    ]
    lower += [
        conv(4 * w, 8 * w),
        Normed(8 * w, frozen),
        nn.LeakyReLU(blocks.LEAK),
        conv(8 * w, 8 * w, 1),
    ]
    ready = [Normed(8 * w, frozen), nn.LeakyReLU(blocks.LEAK)]
    dense = [
        nn.Linear(8 * w * rows * cols, 8 * w),
        Normed(8 * w, frozen),
        nn.LeakyReLU(blocks.LEAK),
        nn.Linear(8 * w, 1),
    ]
    lower, upper = (lower, ready) if raw else (lower + ready, [])
    return Discriminator(
        nn.Sequential(*lower), nn.Sequential(*upper, nn.Flatten(), *dense), squashed
    )


# --- Larsen et al. --------------------------------------------------------------------------------


def of_larsen(
    shape: Shape, w: int, z_size: int, frozen: bool = False, heads: bool = False
) -> Coder:
    """The authors' coder (w = 64): 5x5 convolutions, batch normalisation,
    rectifiers, tanh at the end, its own range here."""
    grow, shrink, H, W = borders(shape, 8)
    rows, cols = blocks.coarsest(H, W, 3)

    def after(layer: nn.Module, channels: int) -> list[nn.Module]:
        return [layer, Normed(channels, frozen), nn.ReLU()]

    body: list[nn.Module] = [grow]
    for a, b in pairwise((shape[0], w, 2 * w, 4 * w)):
        body += after(conv(a, b), b)
    size, hidden = 4 * w * rows * cols, 16 * w
    body += [nn.Flatten(), *after(nn.Linear(size, hidden), hidden)]
    Dec = [*after(nn.Linear(z_size, size), size), blocks.Unflatten(4 * w, rows, cols)]
    thin = max(1, w // 2)
    for a, b in pairwise((4 * w, 4 * w, 2 * w, thin)):
        Dec += after(deconv(a, b), b)
    return Coder(
        Encoder(nn.Sequential(*body), hidden, z_size, heads),
        nn.Sequential(*Dec, conv(thin, shape[0], 1), nn.Tanh(), shrink),
    )


def larsen_D(
    shape: Shape, w: int, frozen: bool = False, raw: bool = False, squashed: bool = False
) -> Discriminator:
    """The authors' discriminator (w = 64).
    phi is the last convolution's output, normalised; before that by `raw`."""
    grow, _, H, W = borders(shape, 8)
    rows, cols = blocks.coarsest(H, W, 3)
    thin = max(1, w // 2)
    lower: list[nn.Module] = [grow, conv(shape[0], thin, 1), nn.ReLU()]
    for a, b in pairwise((thin, 2 * w, 4 * w)):
        lower += [conv(a, b), Normed(b, frozen), nn.ReLU()]
    lower += [conv(4 * w, 4 * w)]
    size, hidden = 4 * w * rows * cols, 8 * w
    ready: list[nn.Module] = [Normed(4 * w, frozen)]
    dense = [
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(size, hidden),
        Normed(hidden, frozen),
        nn.ReLU(),
        nn.Linear(hidden, 1),
    ]
    lower, upper = (lower, ready) if raw else (lower + ready, [])
    return Discriminator(nn.Sequential(*lower), nn.Sequential(*upper, *dense), squashed)
