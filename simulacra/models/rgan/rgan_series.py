"""RGAN on real sequences: one LSTM writes a series, another judges it. The noise is fresh at every
step, and every step is judged.

As published, the generator's LSTM gets a new z_t at each step, and the discriminator's gives one
logit a step, whose cross-entropies are averaged over steps. Conditional (`classes`), both also get
the class at each step. The relativistic game with both slope penalties, in which the two series of
a pair are compared step by step, is ours.

Shapes: B series, T steps, C channels; x (B, T, C) in [-1, 1], z (B, T, z_size), y (B, classes),
logits d (B, T).

Reference: Esteban, Hyland, Raetsch, arXiv 1706.02633; relativistic pairs and penalties: R3GAN,
arXiv 2501.05441.
How to run: simulacra train rgan_sines, rgan_gaussian_process, rgan_series (your own .csv or .npy).

Deviations
- The LSTMs have two biases (torch's weights) and start as torch starts them, with forget bias 1;
  the published output layer starts at standard deviation 1, where 100 units saturate the tanh.
- A batch holds the reals of all `steps_D` updates of a step, so 5 : 1 at the published 28 is
  batch = 140; real series are drawn without replacement.
- Samples come from a moving average of G unless `average = 0`, as in the paper presets.
- The laptop presets have Adam on both sides, rates that fall, and 64 units.
- The differentially private training and the choice of the best epoch by MMD are not offered.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.ema import EMA
from simulacra.core.idle import ever, refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.nn import adversarial, stabilise
from simulacra.nn.stabilise import Stabilisers

Size = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0, le=1)]
without_cudnn = torch.backends.cudnn.flags  # whose LSTM has no second derivatives


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; the defaults are those of arXiv 1706.02633 and its code
    where nothing else is said."""

    # mean over steps (eq. 1 and 2) | R3GAN eq. 2
    loss: Literal["non_saturating", "relativistic"] = "non_saturating"
    gamma: Schedule = 0.0  # weight of both slope penalties, halved (R3GAN eq. 4); as published none
    # steps between penalties, each then weighted by it (arXiv 1912.04958, appendix B)
    penalty_every: Size = 1
    classes: Count = 0  # condition on this many classes, one-hot at each step of G and D; 0: none
    noise: Literal["each_step", "once"] = "each_step"  # a fresh z_t | one z for all steps
    z_size: Size = 5  # numbers in z_t
    units: Size = 100  # of each LSTM
    # D also sees the mean series of its batch, against collapse (an option of the published code)
    batch_mean: bool = False
    # updates of D in a step, each on its share of the batch (published: 5 for sines)
    steps_D: Size = 1
    steps_G: Size = 1  # updates of G in a step
    optimizer_D: Literal["sgd", "adam"] = "sgd"  # plain gradient descent as published | Adam
    rate_D: Schedule = 0.1  # learning rate of D
    rate_G: Schedule = 1e-3  # learning rate of G, which has Adam
    beta1: Rate = 0.9  # Adam
    beta2: Rate = 0.999  # Adam
    # label smoothing, instance noise, spectral norm; augmentation is for pictures
    stabilise: Stabilisers = Stabilisers()
    # half-life of G's moving average, in series; 0 samples the last weights, as published
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    labels = "stabilise.real_target", "stabilise.target_std"
    return unless(ever(h.gamma), "gamma above 0", "penalty_every") | unless(
        h.loss == "non_saturating", "loss = non_saturating, whose labels they smooth", *labels
    )


# --- losses ---------------------------------------------------------------------------------------


def loss_D(kind: str, d_x: Tensor, d_g: Tensor, target: Tensor) -> Tensor:
    """The game of D, averaged over steps: logits (B, T),
    labels of reals (B,), not read in the relativistic game. -> (B,)."""
    if kind == "relativistic":
        return adversarial.relativistic(d_x, d_g).mean(1)
    return adversarial.non_saturating_D(d_x, d_g, target[:, None]).mean(1)


def loss_G(kind: str, d_x: Tensor | None, d_g: Tensor) -> Tensor:
    """The game of G, averaged over steps: logits (B, T), of reals only in the relativistic game.
    -> (B,)."""
    if d_x is None:
        return adversarial.non_saturating_G(d_g).mean(1)
    return adversarial.relativistic(d_g, d_x).mean(1)


# --- networks -------------------------------------------------------------------------------------


def at_each_step(x: Tensor, y: Tensor | None) -> Tensor:
    """x (B, T, C) with the condition beside it at every step, (B, T, C + classes)."""
    return x if y is None else torch.cat([x, y[:, None].expand(-1, x.shape[1], -1)], 2)


def lstm(inputs: int, units: int) -> nn.LSTM:
    """One layer, batch first, forget bias 1."""
    layer = nn.LSTM(inputs, units, batch_first=True)
    with torch.no_grad():
        for weight, start in zip(layer.all_weights[0][2:], (1.0, 0.0), strict=True):
            weight[units : 2 * units] = start
    return layer


class Generator(nn.Module):
    """z (B, T, z_size), y (B, classes) -> series (B, T, C) in [-1, 1]."""

    def __init__(self, h: Hyper, channels: int):
        super().__init__()
        self.write = lstm(h.z_size + h.classes, h.units)
        self.end = nn.Linear(h.units, channels)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.tanh(self.end(self.write(at_each_step(z, y))[0]))


class Discriminator(nn.Module):
    """x (B, T, C), y (B, classes) -> logits (B, T), each of the series up to its step."""

    def __init__(self, h: Hyper, channels: int):
        super().__init__()
        self.batch_mean = h.batch_mean
        self.read = lstm(channels * (1 + h.batch_mean) + h.classes, h.units)
        # no bias where differences alone are seen
        self.judge = nn.Linear(h.units, 1, bias=h.loss != "relativistic")

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.batch_mean:
            x = torch.cat([x, distributed.all_gather(x).mean(0).expand_as(x)], 2)
        logits: Tensor = self.judge(self.read(at_each_step(x, y))[0]).squeeze(2)
        return logits


# --- the model ------------------------------------------------------------------------------------


class RGANSeries:
    """Generator and discriminator of series "series" (B, T, C) in [-1, 1], and the generator's
    average."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        channels = like["series"].shape[2]
        if h.classes and "label" not in like:
            raise ValueError(f"classes = {h.classes}, but the data have no labels")
        if h.stabilise.augment:
            raise ValueError(
                f"stabilise.augment = {', '.join(h.stabilise.augment)}, which is for pictures; "
                "allowed: none"
            )
        self.G, self.D = Generator(h, channels), Discriminator(h, channels)
        if h.stabilise.spectral:
            stabilise.spectral(self.D)
        self.average = EMA(self.G)
        self.opt_G = optim.adam(self.G, h.rate_G, h.beta1, h.beta2)
        self.opt_D: Optimizer = SGD(self.D.named_parameters(), value_at(h.rate_D, 0))
        if h.optimizer_D == "adam":
            self.opt_D = optim.adam(self.D, h.rate_D, h.beta1, h.beta2)

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt_G": self.hyper.rate_G, "opt_D": self.hyper.rate_D}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """`steps_D` moves of D, each on its share of the batch, then `steps_G` of G; what the last
        of either told, as scalars."""
        h, x, y = self.hyper, batch["series"], self.one_hot(batch)
        for i in range(h.steps_D):
            own = slice(i % len(x), None, h.steps_D)
            told = self.step_D(x[own], None if y is None else y[own], k)

        for i in range(h.steps_G):
            own = slice(i % min(len(x), h.steps_D), None, h.steps_D)
            L_G = self.step_G(x[own], None if y is None else y[own], k)

        seen = len(x) * distributed.world_size()
        self.average.update(seen, (k + 1) * seen, h.average)
        return told | {"loss_G": L_G}

    def step_D(self, x: Tensor, y: Tensor | None, k: int) -> dict[str, Tensor]:
        """One move of the discriminator."""
        h = self.hyper
        with torch.no_grad():
            fake = self.G(self.z(x), y)
        gamma = value_at(h.gamma, k) * (h.penalty_every if (k + 1) % h.penalty_every == 0 else 0)
        real_seen, fake_seen = (stabilise.augment(h.stabilise, some, k) for some in (x, fake))
        d_x, d_g, penalties = self.judge(real_seen, fake_seen, y, gamma > 0)
        target = x.new_ones(len(x))
        if h.loss == "non_saturating":
            target = stabilise.targets(h.stabilise, x)
        game = loss_D(h.loss, d_x, d_g, target).mean()
        descend((game + gamma / 2 * sum(penalties.values(), torch.zeros_like(game)), self.opt_D))
        return {"loss_D": game, "D_real": d_x.mean(), "D_fake": d_g.mean()} | penalties

    def step_G(self, x: Tensor, y: Tensor | None, k: int) -> Tensor:
        """One move of the generator; the value of its loss."""
        h, d_x = self.hyper, None
        d_g = self.D(stabilise.augment(h.stabilise, self.G(self.z(x), y), k), y)
        if h.loss == "relativistic":
            with torch.no_grad():
                d_x = self.D(stabilise.augment(h.stabilise, x, k), y)
        game = loss_G(h.loss, d_x, d_g).mean()
        descend((game, self.opt_G))
        return game

    def judge(
        self, x: Tensor, fake: Tensor, y: Tensor | None, penalised: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Logits (B, T) of reals and fakes, and the mean squared slopes of a series' mean logit at
        both, if penalised. They are read apart, since `batch_mean` looks across the batch."""
        if not penalised:
            return self.D(x, y), self.D(fake, y), {}
        found = []
        with without_cudnn(enabled=False):
            for series in x, fake:
                series = series.detach().requires_grad_()
                d = self.D(series, y)
                found.append((d, adversarial.slope_penalty(d.mean(1), [series]).mean()))
        (d_x, R1), (d_g, R2) = found
        return d_x, d_g, {"R1": R1, "R2": R2}

    def z(self, x: Tensor) -> Tensor:
        """Noise for as many series as long as x, (B, T, z_size)."""
        T, size = x.shape[1], self.hyper.z_size
        if self.hyper.noise == "each_step":
            return noise(x, T, size)
        return noise(x, 1, size).expand(-1, T, -1)

    def one_hot(self, batch: Batch) -> Tensor | None:
        """The condition (B, classes)."""
        count = self.hyper.classes
        return F.one_hot(batch["label"], count).float() if count else None

    def equilibrium(self) -> dict[str, float]:
        """ln 2 for both where D cannot tell at any step; else that of a smoothed label."""
        return (
            adversarial.equilibrium()
            if self.hyper.loss == "relativistic"
            else adversarial.equilibrium(self.hyper.stabilise.real_target)
        )

    def won(self) -> dict[str, float]:
        """The discriminator's loss when it has won."""
        if self.hyper.loss == "non_saturating":
            return {"loss_D": adversarial.won(self.hyper.stabilise.real_target)}
        return {"loss_D": 0.0}

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """How the game stands (adversarial.standing);
        a series' logit is the mean over its steps."""
        x, y, G = batch["series"], self.one_hot(batch), self.average.module
        with eval_mode(G, self.D), without_cudnn(enabled=False):
            with torch.no_grad():
                fake, unseen = G(self.z(x), y), self.D(held_out["series"], self.one_hot(held_out))
            return adversarial.standing(
                lambda x: self.D(x, y).mean(1), x, fake, unseen, scalars, self.equilibrium()
            )

    @torch.no_grad()
    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` (B, T, C) in [-1, 1], by the averaged weights, of the batch's classes."""
        with eval_mode(G := self.average.module):
            return {"samples": G(self.z(batch["series"]), self.one_hot(batch))}


Model = RGANSeries
