"""Visual Dynamics: one picture in, many possible next frames out. The kernels of its convolutions
are the motion.

A conditional variational autoencoder. The motion encoder reads a pair of frames into z; the kernel
decoder turns z into kernels; each map of the first picture is convolved with its own kernel; what
comes out is painted. To imagine, z is drawn from a prior. `paint = "difference"` is the paper: maps
at four scales, 5x5 kernels, and the difference image. `paint = "layers"` is ours: the picture is
taken apart into layers of colour and opacity, each layer is moved by one large kernel that sums to
1, and the layers are laid over each other again, so that edges stay sharp and nothing is moved in
part. The nets are in `nets.py`.

Shapes: frames I1, I2 (B, C, H, W) in [-1, 1]; z (B, z_size); kernels (B, maps, k, k).

Reference: Xue, Wu, Bouman, Freeman, "Visual Dynamics", arXiv 1607.02586. Kernels that sum to 1 and
move pixels: arXiv 1605.07157. A prior learnt from the picture: arXiv 1802.07687. The rule for a
reconstruction target: arXiv 1810.00597.
How to run: simulacra train visual_dynamics_shapes, visual_dynamics_sprites, visual_dynamics_video,
visual_dynamics_pairs.

Deviations
- Losses are nats of one pair: squared error over 2 sigma^2 plus the KL divergence, both sums. The
  sources average over pixels and over dimensions of z with a weight w; theirs is
  sigma^2 = w C H W / (2 z_size).
- Convolutions are padded, and the motion encoder's maps averaged to 5x5, so that frames of any size
  pass.
- The difference image has the size of the frames.
- A kernel of our layers spreads over the places between which the posterior cannot tell; imagined
  frames have it sharpened.
- A learned prior without an anchor learns with ours to say nothing: posterior and prior widen
  together. Theirs has none.
- Stored posteriors for the empirical prior are those of the last `memory` training pairs.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta, Struct
from torch import Tensor, nn

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.ema import EMA
from simulacra.core.idle import refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import generator, noise
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.models.visual_dynamics.nets import Difference, Layers, MotionEncoder, PriorNet
from simulacra.nn import blocks, maths

Size = Annotated[int, Meta(ge=1)]
Sizes = Annotated[tuple[Size, ...], Meta(min_length=1)]
Strides = Annotated[tuple[Annotated[int, Meta(ge=1, le=2)], ...], Meta(min_length=1)]
Factors = Annotated[tuple[Annotated[float, Meta(gt=0, le=2)], ...], Meta(min_length=1)]
Odd = Annotated[int, Meta(ge=1, le=63)]
PRIORS = "normal", "empirical", "mixture", "learned"
FUTURES = 6  # columns of sampled futures on a sheet


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; the defaults are ours, the paper presets have the paper's."""

    paint: Literal["layers", "difference"] = "layers"  # what the moved maps become
    z_size: Size = 8  # numbers in z (paper: 3200)
    # z is 5x5 maps of half the motion encoder's last channels, as in the paper; z_size must agree
    z_maps: bool = False
    motion: Sizes = (32, 48, 64, 96)  # channels of the motion encoder's 5x5 convolutions
    strides: Strides = (2, 2, 2, 2)  # of each of them
    # after each convolution; batch as in the sources
    norm: Literal["none", "batch", "group"] = "group"
    layers: Size = 4  # paint = layers: moving layers over the background
    # paint = layers: channels of the net that takes pictures apart, fine to coarse
    widths: Sizes = (16, 32, 48, 64)
    kernel: Odd = 13  # paint = layers: side of a layer's kernel, twice the farthest motion and one
    # paint = layers: channels of the net that sharpens what was laid together; 0: none
    finish: Annotated[int, Meta(ge=0)] = 16
    # paint = layers: power of the kernels of imagined frames
    sharpen: Annotated[float, Meta(gt=0, le=10)] = 2.0
    scales: Factors = (2.0, 1.0, 0.5, 0.25)  # paint = difference: the pyramid's factors
    maps: Size = 32  # paint = difference: maps, and so kernels, of a scale
    image: tuple[Size, Size, Size] = (64, 64, 64)  # paint = difference: channels before the maps
    hidden: Size = 128  # of the kernel decoder, and paint = difference of the motion decoder
    # the notes' code has std exp(s) where its KL takes s as log-variance
    log_variance: Literal["exact", "doubled"] = "exact"
    # |log-variance| stays below it, smoothly; 0: unbounded, as in the sources
    bound: NonNegative = 8.0
    sigma: Schedule = 0.1  # standard deviation of the likelihood, in units of [-1, 1]
    weigh: Literal["schedule", "doubling", "target"] = "schedule"  # who sets the weight of KL
    # prior = learned: share of KL to N(0, 1) added, lest both widen together
    anchor: NonNegative = 0.1
    beta: Schedule = 1.0  # its schedule; its first value for the others
    # doubling, target: root mean square error wanted, in units of [-1, 1]
    target: Annotated[float, Meta(gt=0)] = 0.05
    every: Size = 625  # doubling: steps between decisions (20,000 pairs in batches of 32)
    # doubling, target: beta never exceeds it (the source's has no limit)
    beta_most: NonNegative = 1e3
    # from which samples come; learned changes training
    prior: Literal["normal", "empirical", "mixture", "learned"] = "mixture"
    memory: Size = 2048  # posteriors kept for the empirical and mixture priors
    components: Size = 32  # of the mixture
    rate: Schedule = 1e-3  # Adam's learning rate
    beta1: Annotated[float, Meta(ge=0, le=1)] = 0.9  # Adam
    beta2: Annotated[float, Meta(ge=0, le=1)] = 0.999  # Adam
    clip: NonNegative = 0.0  # largest norm of the gradient; 0: none
    # half-life of the moving average, in pairs; 0 samples the last weights
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    return (
        unless(
            h.paint == "layers", "paint = layers", "layers", "widths", "kernel", "finish", "sharpen"
        )
        | unless(h.paint == "difference", "paint = difference", "z_maps", "scales", "maps", "image")
        | unless(h.prior == "learned", "prior = learned", "anchor")
        | unless(h.weigh != "schedule", "weigh = doubling or target", "target", "beta_most")
        | unless(h.weigh == "doubling", "weigh = doubling", "every")
    )


# --- the net --------------------------------------------------------------------------------------


class Net(nn.Module):
    """All three parts, and the log-variance's bound."""

    def __init__(self, h: Hyper, shape: tuple[int, int, int]):
        super().__init__()
        if len(h.strides) != len(h.motion):
            raise ValueError(
                f"motion has {len(h.motion)} convolutions and strides {len(h.strides)}; "
                "allowed: as many"
            )
        if h.z_maps and 2 * h.z_size != h.motion[-1] * 25:
            raise ValueError(
                f"z_maps makes z_size {h.motion[-1] * 12.5:g} of {h.motion[-1]} channels, "
                f"found {h.z_size}"
            )
        self.encoder = MotionEncoder(h, shape)
        self.painter = (Layers if h.paint == "layers" else Difference)(h, shape)
        self.prior = PriorNet(h, shape) if h.prior == "learned" else None
        self.limit, self.doubled = h.bound, h.log_variance == "doubled"

    def bounded(self, s: Tensor) -> Tensor:
        """Log-variance within the bound, its slope 1 at 0."""
        return self.limit * torch.tanh(s / self.limit) if self.limit else s

    def posterior(self, I1: Tensor, I2: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | I1, I2)."""
        mean, s = self.encoder(I1, I2)
        return mean, self.bounded(s)

    def std(self, s: Tensor) -> Tensor:
        """The standard deviation with which z is drawn. As the notes have it, it is exp(s)."""
        return (s if self.doubled else s / 2).exp()

    def reparameterize(self, mean: Tensor, s: Tensor) -> Tensor:
        """z = mean + std e."""
        return mean + self.std(s) * noise(mean, mean.shape[1])

    def learned(self, I1: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z | I1), or of N(0, 1)."""
        if self.prior is None:
            zero = I1.new_zeros(len(I1), 1)
            return zero, zero
        mean, s = self.prior(I1)
        return mean, self.bounded(s)


# --- priors, and the weight of KL -----------------------------------------------------------------


class Memory(nn.Module):
    """The posteriors of the last training pairs,
    from which the empirical and the mixture prior are made."""

    mean: Tensor
    s: Tensor
    seen: Tensor

    def __init__(self, count: int, z_size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(count, z_size))
        self.register_buffer("s", torch.zeros(count, z_size))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def keep(self, mean: Tensor, s: Tensor) -> None:
        """Write these over the oldest, the same in all processes."""
        mean, s = distributed.all_gather(mean).detach(), distributed.all_gather(s).detach()
        last = slice(-len(self.mean), None)
        places = (self.seen + torch.arange(len(mean), device=mean.device))[last] % len(self.mean)
        self.mean[places], self.s[places] = mean[last], s[last]
        self.seen += len(mean)

    def filled(self) -> tuple[Tensor, Tensor]:
        """Means and log-variances (n, z_size) of what is kept; of N(0, 1) before the first step."""
        count = max(1, min(int(self.seen), len(self.mean)))
        return self.mean[:count], self.s[:count]


class KLWeight(nn.Module):
    """beta, and the rule by which it moves;
    `told` is a moving average of the mean squared error."""

    beta: Tensor
    told: Tensor

    def __init__(self, h: Hyper):
        super().__init__()
        self.h = h
        self.register_buffer("beta", torch.tensor(value_at(h.beta, 0)))
        self.register_buffer("told", torch.tensor(-1.0))

    def now(self, k: int) -> float:
        """beta at step k."""
        return value_at(self.h.beta, k) if self.h.weigh == "schedule" else float(self.beta)

    def hear(self, error: Tensor, k: int) -> None:
        """After step k with this mean squared error. "doubling": beta doubles whenever the error is
        on target. "target": beta grows while the error is below its target and falls while it is
        above, by at most 1 % a step."""
        h, error = self.h, distributed.all_mean(error)
        self.told.copy_(error if self.told < 0 else 0.99 * self.told + 0.01 * error)
        on_target = (h.target**2 - self.told) / h.target**2
        if h.weigh == "doubling" and (k + 1) % h.every == 0 and on_target > 0:
            self.beta.mul_(2)
        elif h.weigh == "target":
            self.beta.mul_((0.01 * on_target.clamp(-1, 1)).exp())
        self.beta.clamp_(1e-6, h.beta_most)


class Mixture:
    """A Gaussian mixture with full covariances fitted to the aggregate posterior: to one z of each
    stored posterior, in the dimensions whose posteriors are more than 0.01 nats from N(0, 1); the
    others are N(0, 1). Fewer components where posteriors are few."""

    def __init__(self, mean: Tensor, std: Tensor, components: int):
        from sklearn.mixture import GaussianMixture  # a second that training need not pay

        self.used = maths.gaussian_kl(mean, 2 * std.log()).mean(0) > 0.01
        # the fit is a function of what is stored
        e = torch.randn(mean.shape, generator=generator(0, "mixture"))
        z = (mean + std * e.to(mean))[:, self.used].numpy(force=True).astype("float64")
        self.fitted = None
        if z.shape[1]:
            fewer = max(1, min(components, len(z) // (4 * z.shape[1])))
            self.fitted = GaussianMixture(fewer, reg_covar=1e-4, random_state=0).fit(z)

    def draw(self, like: Tensor, z_size: int) -> Tensor:
        """One z (B, z_size) for each row of `like`."""
        z = noise(like, z_size)
        if self.fitted is not None:
            means, roots = (
                torch.from_numpy(x).to(z)
                for x in (self.fitted.means_, np.linalg.cholesky(self.fitted.covariances_))
            )
            count = len(z) * distributed.world_size()
            weights = torch.from_numpy(self.fitted.weights_)
            chosen = torch.multinomial(weights, count, replacement=True)
            chosen = distributed.own_rows(chosen).to(z.device)
            z[:, self.used] = means[chosen] + (roots[chosen] @ z[:, self.used, None])[..., 0]
        return z


def active(mean: Tensor) -> Tensor:
    """Which dimensions of z (z_size,) have posterior means (n, z_size)
    that vary by more than 0.01 (arXiv 1509.00519)."""
    return mean.var(0, correction=0) > 0.01


# --- the model ------------------------------------------------------------------------------------


class VisualDynamics:
    """The nets, their average, stored posteriors and the weight of KL, for pairs of frames "image"
    and "next"."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        if h.kernel % 2 == 0:
            raise ValueError(
                f"hyper.kernel = {h.kernel}; allowed: odd numbers, whose middle is no motion"
            )
        _, C, H, W = like["image"].shape
        if "next" not in like:
            raise ValueError(
                "model visual_dynamics takes pairs of frames, and the data hold single pictures"
            )
        self.net = blocks.channels_last(Net(h, (C, H, W)))
        self.average = EMA(self.net)
        self.memory = Memory(h.memory, h.z_size)
        self.fitted: tuple[int, Mixture] | None = None  # to this many posteriors
        self.weight = KLWeight(h)
        self.opt = optim.adam(self.net, h.rate, h.beta1, h.beta2)

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt": self.hyper.rate}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of the nets; as scalars the loss and KL in nats of a pair, the mean squared
        error in [-1, 1], beta, and KL of the eight dimensions that use most."""
        h, I1, I2 = self.hyper, batch["image"], batch["next"]
        mean, s = self.net.posterior(I1, I2)
        error = (self.net.painter(I1, self.net.reparameterize(mean, s)) - I2).square().flatten(1)
        KL = maths.gaussian_kl(mean, s, *self.net.learned(I1))
        mse, nats, beta = error.mean(), KL.sum(1).mean(), self.weight.now(k)
        loss = error.sum(1).mean() / (2 * value_at(h.sigma, k) ** 2) + beta * nats
        if self.net.prior is not None:
            loss = loss + beta * h.anchor * maths.gaussian_kl(mean, s).sum(1).mean()
        descend((loss / error.shape[1], self.opt), clip=h.clip)
        with torch.no_grad():
            self.memory.keep(mean, s)
            self.weight.hear(mse.detach(), k)
            pairs = len(I1) * distributed.world_size()
            self.average.update(pairs, (k + 1) * pairs, h.average)
        told = {"loss": loss, "L2": mse, "KL": nats, "beta": mse.new_tensor(beta)}
        each = distributed.all_mean(KL.mean(0)).sort(descending=True).values
        return told | {f"KL_{i}": nat for i, nat in enumerate(each[:8], 1)}

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """Of held-out pairs: PSNR of the posterior's mean,
        of one sample and of I1 itself (dB); active dimensions of z."""
        I1, I2, net = held_out["image"], held_out["next"], self.average.module
        with eval_mode(net), torch.no_grad():
            mean, _ = net.posterior(I1, I2)
            # a mixture is fitted when pictures are asked for
            stored = "empirical" if self.hyper.prior == "mixture" else None
            shown = {
                "psnr": net.painter(I1, mean),
                "psnr_sample": self.imagine(I1, 1, stored)[:, 0],
                "psnr_copy": I1,
            }
            found = distributed.all_gather(net.posterior(batch["image"], batch["next"])[0])
        told = {name: maths.psnr(image, I2).mean() for name, image in shown.items()}
        return told | {"active": active(found).float().sum()}

    # --- what the verbs ask ---

    def sample_prior(self, I1: Tensor, prior: str | None = None) -> Tensor:
        """One z (B, z_size) for each picture from a prior, `hyper.prior` unless named."""
        h, prior, net = self.hyper, prior or self.hyper.prior, self.average.module
        if prior == "normal":
            return noise(I1, h.z_size)
        if prior == "learned":
            if net.prior is None:
                raise ValueError("this run has no learned prior (hyper.prior = learned trains one)")
            return net.reparameterize(*net.learned(I1))
        mean, s = self.memory.filled()
        if prior == "mixture" and len(mean) > 1:
            if self.fitted is None or self.fitted[0] != int(self.memory.seen):
                self.fitted = int(self.memory.seen), Mixture(mean, net.std(s), h.components)
            return self.fitted[1].draw(I1, h.z_size)
        chosen = torch.randint(len(mean), (len(I1) * distributed.world_size(),))
        chosen = distributed.own_rows(chosen)
        return net.reparameterize(mean[chosen], s[chosen])

    @torch.no_grad()
    def future(self, I1: Tensor, z: Tensor) -> Tensor:
        """The futures (B, C, H, W) of pictures by motions z (B, z_size)."""
        with eval_mode(net := self.average.module):
            painted: Tensor = net.painter(I1, z, self.hyper.sharpen)
        return painted.clamp(-1, 1)

    @torch.no_grad()
    def motion(self, I1: Tensor) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation (B, z_size) of the learned prior of pictures' motions; None
        where the run's prior is another, which depends on no picture."""
        if self.hyper.prior != "learned":
            return None
        with eval_mode(net := self.average.module):
            mean, s = net.learned(I1)
        return mean, net.std(s)

    @torch.no_grad()
    def imagine(self, I1: Tensor, count: int, prior: str | None = None) -> Tensor:
        """Sampled futures (B, count, C, H, W)."""
        net, B = self.average.module, len(I1)
        with eval_mode(net):
            z = self.sample_prior(I1.repeat_interleave(count, 0), prior)
            parts = [
                net.painter(x, y, self.hyper.sharpen)
                for x, y in zip(I1.repeat_interleave(count, 0).split(64), z.split(64), strict=True)
            ]
        return torch.cat(parts).clamp(-1, 1).unflatten(0, (B, count))

    @torch.no_grad()
    def transfer(self, I1: Tensor, I2: Tensor, to: Tensor) -> Tensor:
        """The motion from I1 to I2 given to other pictures, (B, C, H, W) each."""
        with eval_mode(net := self.average.module):
            painted: Tensor = net.painter(to, net.posterior(I1, I2)[0], self.hyper.sharpen)
        return painted.clamp(-1, 1)

    @torch.no_grad()
    def traverse(self, I1: Tensor, dimensions: int, steps: int) -> tuple[Tensor, list[int]]:
        """One picture (1, C, H, W) with the most active dimensions of z moved, one at a time, from
        three standard deviations of the stored means below their mean to three above: (dimensions,
        steps, C, H, W), and which they are."""
        mean, _ = self.memory.filled()
        spread = mean.std(0, correction=0)
        chosen = spread.argsort(descending=True)[:dimensions]
        z = mean.mean(0).expand(len(chosen), steps, -1).clone()
        way = torch.linspace(-3, 3, steps, device=z.device) if steps > 1 else z.new_zeros(1)
        for row, dimension in enumerate(chosen.tolist()):
            z[row, :, dimension] += way * spread[dimension]
        flat = z.flatten(0, 1)
        with eval_mode(net := self.average.module):
            painted = [
                net.painter(I1.expand(len(z), -1, -1, -1), z, self.hyper.sharpen)
                for z in flat.split(64)
            ]
        return torch.cat(painted).clamp(-1, 1).unflatten(0, (len(chosen), steps)), chosen.tolist()

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples`: one future a picture. `futures`: rows of the picture, six futures, the true
        one; `moving`: the same, to and fro. `reconstructed`: the picture, the true future, and that
        of the posterior's mean."""
        I1, I2 = batch["image"], batch["next"]
        told = {"samples": self.imagine(I1, 1)[:, 0]}
        few = slice(0, 8)
        futures = self.imagine(I1[few], FUTURES)
        rows = torch.cat([I1[few, None], futures, I2[few, None]], 1)
        still = I1[few, None].expand_as(rows)
        seen = torch.stack([I1[few], I2[few], self.transfer(I1[few], I2[few], I1[few])], 1)
        return told | {
            "futures": rows[:, :, None],
            "moving": torch.stack([still, rows], 2),
            "reconstructed": seen[:, :, None],
        }


Model = VisualDynamics
