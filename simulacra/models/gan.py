"""GAN: the baseline that every other model is compared with, twice.

`loss = "non_saturating"` on InfoGAN-size nets is the standard of "Are GANs Created Equal?".
`loss = "relativistic"` with both zero-centred penalties on nets without normalisation is the modern
reference: the discriminator judges pairs of a real and a generated picture, and its slope is held
down at both.

Reference: Goodfellow et al., arXiv 1406.2661; Lucic et al., arXiv 1711.10337 (nets, rates); Huang
et al. (R3GAN), arXiv 2501.05441; relativistic pairing: Jolicoeur-Martineau, arXiv 1807.00734.
How to run: simulacra train gan_mnist (modern), gan_ns_mnist (baseline), gan_digits, gan_folder.

Deviations
- Rates and penalties follow piecewise-linear schedules where R3GAN has cosines; beta2 is constant.
- The residual nets are R3GAN's in kind and small in size; the picture's own size decides the
  coarsest maps (7x7 for 28x28), and one group holds `group` channels.
- `patch = 2` lets 2x2 pixels be the channels of one position, at a quarter of the cost.
- `nets = "conv"`, which the laptop presets use, is strided and transposed convolutions where R3GAN
  resamples bilinearly; its G ends in tanh and starts from N(0, 0.02^2). With it these presets take
  beta1 = 0.5: at 64 pictures a batch, 0 hardly trains.
- The MNIST laptop preset has batch norm in G (`norm`), which R3GAN has not; D never has. Its
  penalties come every fifth step with five times the weight.
- Both games sample a moving average of G; the baseline's protocol samples the last weights
  (`average = 0`).
- `spectral` norm, which the baseline's protocol leaves to the search, is not offered here.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.ema import EMA
from simulacra.core.idle import ever, refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.nn import adversarial
from simulacra.nn import blocks as layers
from simulacra.nn.adversarial import (
    equilibrium,
    non_saturating_D,
    non_saturating_G,
    relativistic,
    slope_penalty,
)

Size = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; R3: arXiv 2501.05441, L: arXiv 1711.10337."""

    # arXiv 1406.2661, section 3 | R3 eq. 2
    loss: Literal["non_saturating", "relativistic"] = "relativistic"
    gamma: Schedule = 1.0  # weight of both penalties, halved (R3 eq. 4)
    # steps between penalties, each then weighted by it (arXiv 1912.04958, appendix B: 16; R3: 1)
    penalty_every: Size = 1
    # R3 section 4 | strided convolutions, ours | L appendix
    nets: Literal["residual", "conv", "infogan"] = "residual"
    z_size: Size = 64  # numbers in z
    widths: tuple[Size, ...] = (128, 64, 32)  # residual, conv: channels of a stage, coarse to fine
    hidden: Size = 256  # conv: numbers in the dense layer of D, where it sees the whole picture
    blocks: Size = 1  # residual: blocks a stage (R3: 2)
    # residual: side of the square of pixels that is one position of the finest maps (R3: 1)
    patch: Size = 1
    group: Size = 16  # residual: channels of one group of the 3x3 convolutions (R3: 16)
    norm: Literal["none", "batch"] = "none"  # conv, infogan: in G; L has batch, R3 none
    norm_D: Literal["none", "batch"] = "none"  # infogan: in D; L searches over both
    rate_G: Schedule = 2e-4  # Adam's learning rate (R3 table 5)
    rate_D: Schedule = 2e-4  # the same of D
    beta1: Rate = 0.0  # Adam (R3 appendix; L: 0.5)
    beta2: Rate = 0.99  # Adam
    # half-life of G's moving average, in pictures; 0 samples the last weights
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    return (
        unless(ever(h.gamma), "gamma above 0", "penalty_every")
        | unless(h.nets != "infogan", "nets = residual or conv", "widths")
        | unless(h.nets == "conv", "nets = conv", "hidden")
        | unless(h.nets == "residual", "nets = residual", "blocks", "patch", "group")
        | unless(h.nets != "residual", "nets = conv or infogan", "norm")
        | unless(h.nets == "infogan", "nets = infogan", "norm_D")
    )


# --- networks -------------------------------------------------------------------------------------


def infogan_G(h: Hyper, shape: tuple[int, int, int]) -> nn.Module:
    """InfoGAN's generator as arXiv 1711.10337 uses it:
    z -> 1024 -> 128 x H/4 x W/4 -> 64 -> picture."""
    C, H, W = shape
    rows, cols = layers.coarsest(H, W, 2)
    flat = 128 * rows * cols

    def dense(a: int, b: int) -> list[nn.Module]:
        return [
            nn.Linear(a, b),
            nn.BatchNorm1d(b) if h.norm == "batch" else nn.Identity(),
            nn.ReLU(),
        ]

    start = [*dense(h.z_size, 1024), *dense(1024, flat), layers.Unflatten(128, rows, cols)]
    return nn.Sequential(
        *start, *layers.double(128, 64, h.norm), nn.ConvTranspose2d(64, C, 4, 2, 1), nn.Tanh()
    )


def infogan_D(h: Hyper, shape: tuple[int, int, int]) -> nn.Module:
    """Its discriminator: 64 -> 128 -> 1024 -> logit."""
    C, H, W = shape
    rows, cols = layers.coarsest(H, W, 2)
    first = [
        nn.Conv2d(C, 64, 4, 2, 1),
        nn.LeakyReLU(layers.LEAK),
        *layers.halve(64, 128, h.norm_D),
        nn.Flatten(),
    ]
    return nn.Sequential(
        *first, nn.Linear(128 * rows * cols, 1024), nn.LeakyReLU(layers.LEAK), nn.Linear(1024, 1)
    )


class Block(nn.Module):
    """R3GAN's residual block: 1x1 to twice the channels, grouped 3x3, 1x1 back;
    fix-up init, no normalisation."""

    def __init__(self, channels: int, group: int, blocks: int):
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Conv2d(channels, wide, 1)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=max(1, wide // group), bias=True)
        self.back = nn.Conv2d(wide, channels, 1, bias=False)
        for layer in self.expand, self.mix:
            layers.kept(layer, blocks**-0.25)
        nn.init.zeros_(self.back.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.expand(x), layers.LEAK)
        return x + self.back(F.leaky_relu(self.mix(y), layers.LEAK))


class ResidualG(nn.Module):
    """z (B, z_size) -> learnt constant maps times a linear map of z -> stages,
    bilinearly doubled -> picture."""

    def __init__(self, h: Hyper, shape: tuple[int, int, int]):
        super().__init__()
        C, H, W = shape
        rows, cols = layers.coarsest(H, W, len(h.widths) - 1, h.patch)
        count = h.blocks * len(h.widths)
        self.constant = nn.Parameter(torch.randn(h.widths[0], rows, cols))
        self.style = nn.Linear(h.z_size, h.widths[0], bias=False)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, h.group, count) for _ in range(h.blocks)))
            for width in h.widths
        )
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(h.widths))
        self.paint = nn.Conv2d(h.widths[-1], C * h.patch**2, 1)
        for layer in self.style, *self.narrow, self.paint:
            layers.kept(layer, leak=1.0)
        self.spread = nn.PixelShuffle(h.patch)

    def forward(self, z: Tensor) -> Tensor:
        x = self.constant * self.style(z)[:, :, None, None]
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.stages[0](x)
        for narrow, stage in zip(self.narrow, self.stages[1:], strict=True):
            x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = stage(x)
        return self.spread(self.paint(x))


class ResidualD(nn.Module):
    """Picture -> stages, bilinearly halved -> depthwise convolution over the coarsest maps
    -> logit (B, 1)."""

    def __init__(self, h: Hyper, shape: tuple[int, int, int]):
        super().__init__()
        C, H, W = shape
        widths = h.widths[::-1]
        count = h.blocks * len(widths)
        self.read = nn.Sequential(
            nn.PixelUnshuffle(h.patch), nn.Conv2d(C * h.patch**2, widths[0], 1)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, h.group, count) for _ in range(h.blocks)))
            for width in widths
        )
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths))
        size = layers.coarsest(H, W, len(widths) - 1, h.patch)
        self.gather = nn.Conv2d(widths[-1], widths[-1], size, groups=widths[-1], bias=False)
        self.judge = nn.Linear(widths[-1], 1, bias=False)
        for layer in self.read[1], *self.widen, self.gather, self.judge:
            layers.kept(layer, leak=1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages[0](self.read(x))
        for widen, stage in zip(self.widen, self.stages[1:], strict=True):
            x = stage(widen(F.avg_pool2d(x, 2)))
        return self.judge(self.gather(x).flatten(1))


def conv_G(h: Hyper, shape: tuple[int, int, int]) -> nn.Module:
    """z -> coarsest maps -> transposed 4x4 convolutions of stride 2 -> picture."""
    C, H, W = shape
    maps = h.widths[0], *layers.coarsest(H, W, len(h.widths))
    start = [
        nn.Linear(h.z_size, math.prod(maps)),
        layers.Unflatten(*maps),
        layers.norm(h.norm, maps[0]),
    ]
    body = [layer for a, b in pairwise(h.widths) for layer in layers.double(a, b, h.norm)]
    return nn.Sequential(
        *start,
        nn.LeakyReLU(layers.LEAK),
        *body,
        nn.ConvTranspose2d(h.widths[-1], C, 4, 2, 1),
        nn.Tanh(),
    )


def conv_D(h: Hyper, shape: tuple[int, int, int]) -> nn.Module:
    """Picture -> 4x4 convolutions of stride 2 -> dense layer -> logit; no normalisation."""
    C, H, W = shape
    widths = (C, *h.widths[::-1])
    rows, cols = layers.coarsest(H, W, len(h.widths))
    body = [layer for a, b in pairwise(widths) for layer in layers.halve(a, b, "none")]
    dense = [
        nn.Flatten(),
        nn.Linear(widths[-1] * rows * cols, h.hidden),
        nn.LeakyReLU(layers.LEAK),
        nn.Linear(h.hidden, 1),
    ]
    return nn.Sequential(*body, *dense)


def networks(h: Hyper, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """G and D."""
    if h.nets == "conv":
        return layers.normal_init(conv_G(h, shape), 0.02), layers.kept_init(conv_D(h, shape))
    if h.nets == "infogan":
        G = layers.normal_init(infogan_G(h, shape), 0.02)
        return G, layers.normal_init(infogan_D(h, shape), 0.02)
    return ResidualG(h, shape), ResidualD(h, shape)


# --- the model ------------------------------------------------------------------------------------


class GAN:
    """Generator and discriminator of pictures "image" (B, C, H, W) in [-1, 1], and the generator's
    average."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        C, H, W = like["image"].shape[1:]
        self.G, self.D = (layers.channels_last(net) for net in networks(h, (C, H, W)))
        self.average = EMA(self.G)
        self.opt_G = optim.adam(self.G, h.rate_G, h.beta1, h.beta2)
        self.opt_D = optim.adam(self.D, h.rate_D, h.beta1, h.beta2)

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt_G": self.hyper.rate_G, "opt_D": self.hyper.rate_D}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of D, then one of G; both losses and D's mean logits as scalars, and where
        slopes are penalised R1 and R2."""
        h, x, gamma = self.hyper, batch["image"], value_at(self.hyper.gamma, k)

        with torch.no_grad():
            fake = self.G(noise(x, h.z_size))
        gamma *= h.penalty_every if (k + 1) % h.penalty_every == 0 else 0
        d_x, d_g, R1, R2 = self.judge(x, fake, penalties=gamma > 0)
        game = relativistic(d_x, d_g) if h.loss == "relativistic" else non_saturating_D(d_x, d_g)
        loss_D = (game + gamma / 2 * (R1 + R2)).mean()
        descend((loss_D, self.opt_D))

        fake = self.G(noise(x, h.z_size))
        d_fake = self.D(fake).squeeze(1)
        if h.loss == "relativistic":
            with torch.no_grad():
                d_real = self.D(x).squeeze(1)
            loss_G = relativistic(d_fake, d_real).mean()
        else:
            loss_G = non_saturating_G(d_fake).mean()
        descend((loss_G, self.opt_G))

        images = len(x) * distributed.world_size()
        self.average.update(images, (k + 1) * images, h.average)
        scores = {"D_real": d_x.mean(), "D_fake": d_g.mean()}
        if gamma > 0:
            scores |= {"R1": R1.mean(), "R2": R2.mean()}
        return {"loss_D": game.mean(), "loss_G": loss_G} | scores

    def judge(
        self, x: Tensor, fake: Tensor, penalties: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of reals and fakes and their slope penalties, each (B,).
        With penalties both go through D at once."""
        if not penalties:
            zero = torch.zeros(len(x), device=x.device)
            return self.D(x).squeeze(1), self.D(fake).squeeze(1), zero, zero
        both = torch.cat([x, fake]).requires_grad_()
        d = self.D(both).squeeze(1)
        d_x, d_g = d.split(len(x))
        R1, R2 = slope_penalty(d, both).split(len(x))
        return d_x, d_g, R1, R2

    def equilibrium(self) -> dict[str, float]:
        """Both games cost ln 2 where D cannot tell
        (arXiv 1406.2661, theorem 1; R3GAN eq. 2 at equal logits)."""
        return equilibrium()

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """How the game stands (adversarial.standing)."""
        x, G = batch["image"], self.average.module
        with eval_mode(G, self.D):
            with torch.no_grad():
                fake, unseen = G(noise(x, self.hyper.z_size)), self.D(held_out["image"])
            return adversarial.standing(
                lambda x: self.D(x).squeeze(1), x, fake, unseen, scalars, self.equilibrium()
            )

    @torch.no_grad()
    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W) in [-1, 1] of z (B, z_size), by the averaged weights; there are no
        classes."""
        with eval_mode(G := self.average.module):
            return G(z).clamp(-1, 1)

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` (B, C, H, W) in [-1, 1], by the averaged weights."""
        return {"samples": self.generate(noise(batch["image"], self.hyper.z_size))}


Model = GAN
