"""RGAN: generator and discriminator take pictures as sequences. One writes them, the other reads
them.

Versions v1 to v5 are the convolutions and LSTMs of a public series of experiments, each as
published and repaired (`published.py` has their layers). v6 is ours and what their notes ask
for: a strided convolutional trunk whose maps are scanned by two bidirectional LSTMs, one along the
rows and one along the columns, the relativistic game with both slope penalties, and switches for
noise, multi-scale gradients, augmentation and a spectral norm that bounds.

Reference: "RGAN Model Performance Summary" I to V (atreyasha/mv-temporal-rgan); its parent,
Esteban, Hyland, Raetsch, arXiv 1706.02633. v6: R3GAN, arXiv 2501.05441; multi-scale gradients,
arXiv 1903.06048; projection, arXiv 1802.05637; scans in two directions after ReNet, arXiv
1505.00393.
How to run: simulacra train rgan_mnist (v6), rgan_v1_mnist (and v2 to v5), rgan_digits,
rgan_fashion, rgan_folder.

Deviations
- v1 to v5 as published have two LSTM biases (cuDNN's weights), draw real pictures without
  replacement, and take the log-losses from logits, so that Keras's ceiling of 16 is gone.
- As published, D's fakes come from G in evaluation mode and D steps twice, on reals and then on
  fakes; repaired, G is in training mode, D steps once on the mean of both, and only D's label is
  smoothed.
- The laptop presets let the rates fall, as all models' do.
"""

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
from simulacra.models.rgan import published
from simulacra.nn import adversarial, stabilise
from simulacra.nn import blocks as layers
from simulacra.nn.stabilise import Stabilisers

Size = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0, le=1)]
AXES = {
    "both": ("rows", "columns"),
    "rows": ("rows",),
    "columns": ("columns",),
    "raster": ("raster",),
    "none": (),
}


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; nets and their switches are v6's unless said otherwise."""

    version: Literal["v1", "v2", "v3", "v4", "v5", "v6"] = "v6"  # which nets
    form: Literal["published", "repaired"] = "repaired"  # v1 to v5: with or without their defects
    # R3GAN eq. 2 | v1 to v5: cross-entropy
    loss: Literal["relativistic", "non_saturating"] = "relativistic"
    gamma: Schedule = 1.0  # weight of both slope penalties, halved (R3GAN eq. 4); 0: none
    # steps between penalties, each then weighted by it (arXiv 1912.04958, appendix B)
    penalty_every: Size = 1
    # condition on this many classes: G's input is extended, D projects (arXiv 1802.05637); 0: none
    classes: Count = 0
    z_size: Size = 64  # numbers in z (v1 to v5: 100)
    widths: tuple[Size, ...] = (64, 32)  # channels of a stage, coarse to fine
    norm_G: Literal["none", "batch", "group"] = "batch"  # in G before each stage; D has none
    blocks: Count = 0  # residual 3x3 blocks in each stage of G and D
    # ways in which the maps are read as sequences
    scan: Literal["both", "rows", "columns", "raster", "none"] = "both"
    units: Size = 16  # of each direction of each LSTM
    scan_G: Size = 2  # which stage of G is scanned, from 1 (the coarsest)
    scan_D: Size = 2  # which stage of D is scanned, from 1 (the finest)
    # standard deviation of fresh noise on each step of G's scans, relative to 1
    step_noise: NonNegative = 0.0
    multi_scale: bool = False  # G paints at every stage and D reads each (arXiv 1903.06048)
    # how D ends; never the maximum over the picture
    head: Literal["flatten", "attention", "average"] = "flatten"
    hidden: Size = 256  # numbers in D's dense layer
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.25  # v1 to v5: in D
    # G's label (v1 to v5 as published: smoothed as D's)
    target_G: Annotated[float, Meta(gt=0, le=1)] = 1.0
    # label smoothing, instance noise, augmentation, spectral norm
    stabilise: Stabilisers = Stabilisers()
    rate_G: Schedule = 1e-3  # Adam's learning rate (v1 to v5: 1e-4)
    rate_D: Schedule = 1e-3  # the same of D (v1 to v5: 4e-4)
    beta1: Rate = 0.5  # Adam (v1 to v5: 0.9)
    beta2: Rate = 0.99  # Adam (v1 to v5: 0.999)
    # half-life of G's moving average, in pictures; 0 samples the last weights (v1 to v5)
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    v6, scanned = h.version == "v6", h.scan != "none"
    labels = "target_G", "stabilise.real_target", "stabilise.target_std"
    return (
        unless(not v6, "version = v1 to v5", "form", "dropout")
        | unless(ever(h.gamma), "gamma above 0", "penalty_every")
        | unless(
            h.loss == "non_saturating", "loss = non_saturating, whose labels they smooth", *labels
        )
        | unless(scanned, "a scan", "units", "scan_G", "scan_D", "step_noise")
        | unless(len(h.widths) > 1, "two widths or more", "multi_scale")
        | unless(v6, "version = v6", "widths", "norm_G", "blocks", "scan", "units")
        | unless(v6, "version = v6", "scan_G", "scan_D", "step_noise")
        | unless(v6, "version = v6", "multi_scale", "head", "hidden", "stabilise.spectral")
    )


# --- networks of v6 -------------------------------------------------------------------------------


class Scan(nn.Module):
    """x + LSTMs that read the maps (B, C, H, W) along rows, columns, or row after row as one
    string. Bidirectional; whole rows (columns) are examples, so nothing loops over pixels. The way
    back to maps starts at `start` times its usual size."""

    def __init__(
        self, channels: int, axes: tuple[str, ...], units: int, *, start: float, noise: float = 0.0
    ):
        super().__init__()
        self.axes, self.noise = axes, noise
        self.read = nn.ModuleList(
            nn.LSTM(channels, units, batch_first=True, bidirectional=True) for _ in axes
        )
        self.back = nn.ModuleList(nn.Linear(2 * units, channels) for _ in axes)
        for layer in self.back:
            layers.kept(layer, start, leak=1.0)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        out = x
        heard = x + self.noise * noise(x, C, H, W) if self.noise else x
        for axis, read, back in zip(self.axes, self.read, self.back, strict=True):
            maps = heard.permute(0, 3, 2, 1) if axis == "columns" else heard.permute(0, 2, 3, 1)
            shape = (B, H * W) if axis == "raster" else (B * maps.shape[1], maps.shape[2])
            y = back(read(maps.reshape(*shape, C))[0]).view(B, maps.shape[1], maps.shape[2], C)
            out = out + (y.permute(0, 3, 2, 1) if axis == "columns" else y.permute(0, 3, 1, 2))
        return out


class Residual(nn.Module):
    """x + two 3x3 convolutions, the second starting at 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        layers.kept(self.first)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, layers.LEAK)), layers.LEAK))


def sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """The sides of the maps after 0, 1, ... halvings, rounded up;
    ValueError if the picture is too small."""
    least = 2**levels
    if min(height, width) < least:
        raise ValueError(
            f"these nets take pictures of at least {least}x{least}, found {height}x{width}"
        )
    return [(-(-height // 2**i), -(-width // 2**i)) for i in range(levels + 1)]


def pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """The picture and its halves, quarters, ..., as means over squares;
    odd sides are rounded up."""
    return [x] + [F.avg_pool2d(x, 2**i, ceil_mode=True) for i in range(1, levels)]


class Generator(nn.Module):
    """z (B, z_size), y (B, classes) -> pictures (B, C, H, W) in [-1, 1],
    the full one first, smaller ones if multi_scale."""

    def __init__(self, h: Hyper, shape: tuple[int, int, int]):
        super().__init__()
        C, H, W = shape
        self.sizes = sizes(H, W, len(h.widths))[::-1]
        self.start = nn.Linear(
            h.z_size + h.classes, h.widths[0] * self.sizes[0][0] * self.sizes[0][1]
        )
        self.maps = layers.Unflatten(h.widths[0], *self.sizes[0])
        self.stages, self.paint = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(h.widths, 1):
            # made at every stage, so that the same seed draws the same weights wherever it stands
            scan = Scan(width, AXES[h.scan], h.units, start=0.0, noise=h.step_noise)
            scans = [scan] if i == h.scan_G and h.scan != "none" else []
            blocks = (Residual(width) for _ in range(h.blocks))
            stage = layers.norm(h.norm_G, width), *blocks, *scans, nn.LeakyReLU(layers.LEAK)
            self.stages.append(nn.Sequential(*stage))
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise((*h.widths, C))
        )
        if h.multi_scale:
            self.paint = nn.ModuleList(nn.Conv2d(width, C, 1) for width in h.widths[1:])
        for layer in self.start, *self.grow, *self.paint:
            layers.normal_init(layer, 0.02)

    def forward(self, z: Tensor, y: Tensor | None = None) -> list[Tensor]:
        x = self.maps(self.start(z if y is None else torch.cat([z, y], 1)))
        made = []
        for i, (stage, grow) in enumerate(zip(self.stages, self.grow, strict=True)):
            x = stage(x)
            if self.paint and i:
                made.append(torch.tanh(self.paint[i - 1](x)))
            height, width = self.sizes[i + 1]
            x = grow(x)[..., :height, :width]
        return [torch.tanh(x), *made[::-1]]


class Discriminator(nn.Module):
    """Pictures (B, C, H, W), or a list of one and its smaller versions,
    and y (B, classes) -> logit (B, 1)."""

    def __init__(self, h: Hyper, shape: tuple[int, int, int]):
        super().__init__()
        C, H, W = shape
        widths = h.widths[::-1]
        self.scales = len(widths) if h.multi_scale else 1
        extra = C if h.multi_scale else 0
        ends = [C, *(width + extra for width in widths[:-1])]
        self.shrink = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(ends, widths, strict=True)
        )
        self.stages = nn.ModuleList()
        for i, width in enumerate(widths, 1):
            scan = Scan(width, AXES[h.scan], h.units, start=0.3)  # at every stage, as in G
            scans = [scan] if i == h.scan_D and h.scan != "none" else []
            blocks = (Residual(width) for _ in range(h.blocks))
            self.stages.append(nn.Sequential(nn.LeakyReLU(layers.LEAK), *blocks, *scans))
        rows, cols = sizes(H, W, len(widths))[-1]
        self.look = nn.Conv2d(widths[-1], 1, 1) if h.head == "attention" else None
        self.head = h.head
        self.dense = nn.Linear(widths[-1] * (rows * cols if h.head == "flatten" else 1), h.hidden)
        self.judge = nn.Linear(h.hidden, 1)
        self.classes = nn.Linear(h.classes, h.hidden, bias=False) if h.classes else None
        layers.kept_init(self.shrink)
        layers.kept(self.dense)
        layers.kept(self.judge, leak=1.0)

    def forward(self, x: Tensor | list[Tensor], y: Tensor | None = None) -> Tensor:
        first, *smaller = pyramid(x, self.scales) if isinstance(x, Tensor) else x
        maps = first
        for i, (shrink, stage) in enumerate(zip(self.shrink, self.stages, strict=True)):
            if i and smaller:
                maps = torch.cat([maps, smaller[i - 1]], 1)
            odd = (0, maps.shape[3] % 2, 0, maps.shape[2] % 2)
            maps = stage(shrink(F.pad(maps, odd) if any(odd) else maps))
        features = F.leaky_relu(self.dense(self.pooled(maps)), layers.LEAK)
        logit = self.judge(features)
        if self.classes is not None and y is not None:
            logit = logit + (self.classes(y) * features).sum(1, keepdim=True)
        return logit

    def pooled(self, maps: Tensor) -> Tensor:
        """One row of numbers a picture."""
        if self.head == "flatten":
            return maps.flatten(1)
        flat = maps.flatten(2)
        if self.look is None:
            return flat.mean(2)
        return (flat * self.look(maps).flatten(2).softmax(2)).sum(2)


def networks(h: Hyper, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """G and D; ValueError if the hyperparameters do not go together."""
    if h.version != "v6":
        if h.classes or h.loss != "non_saturating":
            raise ValueError(
                f"{h.version} takes classes = 0 and loss = non_saturating, "
                f"found {h.classes} and {h.loss}"
            )
        if h.form == "published" and h.gamma:
            raise ValueError(f"{h.version} as published has no penalties: gamma must be 0")
        return published.networks(h.version, h.form, shape, h.z_size, h.dropout)
    if h.multi_scale and h.stabilise.augment:
        raise ValueError(
            "multi_scale and augment exclude each other: smaller pictures would not be moved alike"
        )
    for name, stage in ("scan_G", h.scan_G), ("scan_D", h.scan_D):
        if stage > len(h.widths):
            raise ValueError(f"{name} = {stage}, but there are {len(h.widths)} stages (widths)")
    D = Discriminator(h, shape)
    return Generator(h, shape), stabilise.spectral(D) if h.stabilise.spectral else D


# --- the model ------------------------------------------------------------------------------------


class RGAN:
    """Generator and discriminator of pictures "image" (B, C, H, W) in [-1, 1], as published, as
    repaired, or v6."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        C, H, W = like["image"].shape[1:]
        if h.classes and "label" not in like:
            raise ValueError(f"classes = {h.classes}, but the data have no labels")
        self.as_published = h.version != "v6" and h.form == "published"
        self.low = -1.0 if h.version == "v6" else published.RANGES[h.version][0]
        self.G, self.D = (layers.channels_last(net) for net in networks(h, (C, H, W)))
        self.average = EMA(self.G)
        self.opt_G = optim.adam(self.G, h.rate_G, h.beta1, h.beta2)
        self.opt_D = optim.adam(self.D, h.rate_D, h.beta1, h.beta2)
        if h.version != "v6":  # Keras's constraint on LSTMs
            for net, optimizer in (self.G, self.opt_G), (self.D, self.opt_D):
                optimizer.register_step_post_hook(lambda *_, net=net: published.max_norm(net))

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt_G": self.hyper.rate_G, "opt_D": self.hyper.rate_D}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of D (two as published), then one of G; losses, D's mean logits and the share of
        G's numbers beyond [-1, 1] as scalars."""
        h, x, y = self.hyper, batch["image"], self.one_hot(batch)

        told = self.step_published(x, k) if self.as_published else self.step_D(x, y, k)
        fake = self.make(self.G, noise(x, h.z_size), y)
        d_fake = self.judge(self.shown(fake, k), y)
        if h.loss == "relativistic":
            with torch.no_grad():
                d_real = self.judge(self.shown(self.scaled(x), k), y)
            loss_G = adversarial.relativistic(d_fake, d_real).mean()
        else:
            loss_G = adversarial.non_saturating_G(d_fake, h.target_G).mean()
        descend((loss_G, self.opt_G))

        images = len(x) * distributed.world_size()
        self.average.update(images, (k + 1) * images, h.average)
        outside = (fake[0].detach().abs() > 1 + 1e-6).float().mean()
        return told | {"loss_G": loss_G, "out_of_range": outside}

    def step_D(self, x: Tensor, y: Tensor | None, k: int) -> dict[str, Tensor]:
        """One move of the discriminator."""
        h = self.hyper
        with torch.no_grad():
            fake = self.make(self.G, noise(x, h.z_size), y)
        real_seen, fake_seen = self.shown(self.scaled(x), k), self.shown(fake, k)
        gamma = value_at(h.gamma, k) * (h.penalty_every if (k + 1) % h.penalty_every == 0 else 0)
        if gamma > 0:
            both = [
                torch.cat(pair).requires_grad_() for pair in zip(real_seen, fake_seen, strict=True)
            ]
            d = self.judge(both, None if y is None else torch.cat([y, y]))
            d_x, d_g = d.chunk(2)
            R1, R2 = adversarial.slope_penalty(d, both).chunk(2)
            penalties = {"R1": R1.mean(), "R2": R2.mean()}
        else:
            d_x, d_g, penalties = self.judge(real_seen, y), self.judge(fake_seen, y), {}
        if h.loss == "relativistic":
            game = adversarial.relativistic(d_x, d_g).mean()
        else:
            game = adversarial.non_saturating_D(d_x, d_g, stabilise.targets(h.stabilise, x)).mean()
        descend((game + gamma / 2 * sum(penalties.values(), torch.zeros_like(game)), self.opt_D))
        return {"loss_D": game, "D_real": d_x.mean(), "D_fake": d_g.mean()} | penalties

    def step_published(self, x: Tensor, k: int) -> dict[str, Tensor]:
        """Two moves of the discriminator, on reals
        and then on fakes from G in evaluation mode; half of both losses is told."""
        h = self.hyper
        with eval_mode(self.G), torch.no_grad():
            fake = self.make(self.G, noise(x, h.z_size))
        d_x = self.judge(self.shown(self.scaled(x), k))
        loss_x = adversarial.cross_entropy(d_x, stabilise.targets(h.stabilise, x)).mean()
        descend((loss_x, self.opt_D))
        d_g = self.judge(self.shown(fake, k))
        loss_g = adversarial.cross_entropy(d_g, 0.0).mean()
        descend((loss_g, self.opt_D))
        return {"loss_D": (loss_x + loss_g) / 2, "D_real": d_x.mean(), "D_fake": d_g.mean()}

    def make(self, G: nn.Module, z: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """Pictures in [-1, 1], or beyond it where a published G has no bound,
        the full size first."""
        if self.hyper.version == "v6":
            made: list[Tensor] = G(z, y)
            return made
        return [(G(z) - self.low) * 2 / (1 - self.low) - 1]

    def judge(self, pictures: list[Tensor], y: Tensor | None = None) -> Tensor:
        """Logits (B,)."""
        if self.hyper.version == "v6":
            return self.D(pictures, y).squeeze(1)
        return self.D(self.low + (pictures[0] + 1) / 2 * (1 - self.low)).squeeze(1)

    def scaled(self, x: Tensor) -> list[Tensor]:
        """A picture in all sizes that D reads."""
        if self.hyper.multi_scale and self.hyper.version == "v6":
            return pyramid(x, len(self.hyper.widths))
        return [x]

    def shown(self, pictures: list[Tensor], k: int) -> list[Tensor]:
        """What D gets to see of them."""
        return [stabilise.augment(self.hyper.stabilise, x, k) for x in pictures]

    def one_hot(self, batch: Batch) -> Tensor | None:
        """The condition (B, classes)."""
        count = self.hyper.classes
        return F.one_hot(batch["label"], count).float() if count else None

    def equilibrium(self) -> dict[str, float]:
        """ln 2 for both in the relativistic game; else that of smoothed labels."""
        h = self.hyper
        return (
            adversarial.equilibrium()
            if h.loss == "relativistic"
            else adversarial.equilibrium(h.stabilise.real_target, h.target_G)
        )

    def won(self) -> dict[str, float]:
        """The discriminator's loss when it has won."""
        if self.hyper.loss == "non_saturating":
            return {"loss_D": adversarial.won(self.hyper.stabilise.real_target)}
        return {"loss_D": 0.0}

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """How the game stands (adversarial.standing)."""
        x, y, G = batch["image"], self.one_hot(batch), self.average.module
        with eval_mode(G, self.D):
            with torch.no_grad():
                fake = self.make(G, noise(x, self.hyper.z_size), y)[0]
                unseen = self.judge(self.scaled(held_out["image"]), self.one_hot(held_out))
            return adversarial.standing(
                lambda x: self.judge(self.scaled(x), y),
                x,
                fake,
                unseen,
                scalars,
                self.equilibrium(),
            )

    @torch.no_grad()
    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W) in [-1, 1] of z (B, z_size) and classes y (B, classes), one-hot,
        where it has some; by the averaged weights."""
        with eval_mode(G := self.average.module):
            return self.make(G, z, y)[0].clamp(-1, 1)

    @torch.no_grad()
    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` (B, C, H, W) in [-1, 1], by the averaged weights, of the batch's classes; with
        multi_scale also `samples_HEIGHT`, the smaller ones."""
        with eval_mode(G := self.average.module):
            made = self.make(G, noise(batch["image"], self.hyper.z_size), self.one_hot(batch))
        smaller = {f"samples_{x.shape[2]}": x.clamp(-1, 1) for x in made[1:]}
        return {"samples": made[0].clamp(-1, 1)} | smaller


Model = RGAN
