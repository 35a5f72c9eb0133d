"""VAE: the vision part of World Models. A picture becomes a few numbers with their uncertainty, and
a picture again.

The loss is the negative evidence bound: the sum of squared errors over pixels in [0, 1], plus the
KL divergence of the posterior from N(0, I), of which the first nats are free. That is a Gaussian
likelihood of variance 1/2 for every number of a picture, far more than a decoder's error;
`likelihood = "calibrated"` takes the variance that fits the batch, and so spends as many nats on z
as the decoder can use. The nets are in `nets.py`.

Shapes: x (B, C, H, W) in [-1, 1]; z, mean and log-variance s (B, z_size). Losses are nats of one
picture.

Reference: Ha, Schmidhuber, "World Models", arXiv 1803.10122, appendix A.1. VAE: arXiv 1312.6114.
Calibrated: arXiv 2006.13202.
How to run: simulacra train vae_mnist, vae_faces; --set experiment=published for the paper's nets
and numbers.

Deviations
- The default nets are ours: a quarter of the weights, any size of pictures. `nets = "paper"` has
  the paper's, which read neither the last two rows nor columns of 64x64 pictures; smaller ones get
  black borders there.
- Free nats are the public code's, a floor under the sum; `floor = "dimension"` has one under each
  number's mean (arXiv 1606.04934).
- Samples and reconstructions come from a moving average of the weights; the paper has the last ones
  (`average = 0`).
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.distributed import all_gather
from simulacra.core.ema import EMA
from simulacra.core.idle import ever, refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.models.vae.nets import Coder, light, of_paper, reparameterize
from simulacra.nn import blocks, latent, maths

Size = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
STRIPS = 8  # rows and columns of the sheet of interpolations


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; the defaults are the paper's loss on our nets."""

    # ours | appendix A.1 | the Keras net that the notes compare with
    nets: Literal["light", "paper", "adsp"] = "light"
    width: Size = 24  # channels of the first convolution (A.1: 32)
    z_size: Size = 32  # numbers in z (A.1, for the car)
    # A.1 | the variance that fits the batch best
    likelihood: Literal["squared", "calibrated"] = "squared"
    # of the sum of squared errors (0.8138 is the notes' 10,000 times the mean at 64x64x3)
    weight: Schedule = 1.0
    beta: Schedule = 1.0  # of the KL divergence (arXiv 1804.03599 lets it grow)
    tolerance: NonNegative = 0.5  # free nats for each number in z (the paper's code)
    # what is not pushed below them: a picture's sum | a dimension's mean
    floor: Literal["sum", "dimension"] = "sum"
    rate: Schedule = 1e-3  # Adam's learning rate (the paper's code: 1e-4)
    beta1: Rate = 0.9  # Adam
    beta2: Rate = 0.999  # Adam
    # half-life of the moving average, in pictures; 0: the last weights
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    free = unless(h.tolerance > 0, "tolerance above 0", "floor")
    return free | unless(ever(h.beta), "beta above 0", "tolerance", "floor")


# --- losses: pure functions -----------------------------------------------------------------------


def squared_error(rebuilt: Tensor, x: Tensor) -> Tensor:
    """The sum of squared errors of each picture (B, C, H, W), in units of [0, 1]:
    a quarter of that in [-1, 1]. -> (B,)."""
    return (rebuilt - x).square().flatten(1).sum(1) / 4


def calibrated(sse: Tensor, numbers: int) -> Tensor:
    """arXiv 2006.13202, eq. 10: D/2 log(mean squared error) for pictures of D numbers whose errors
    sum to `sse` (B,): what a Gaussian likelihood costs at its best variance, but for a constant. ->
    scalar."""
    return numbers / 2 * (all_gather(sse).mean() / numbers).log()


def free_bits(KL: Tensor, tolerance: float, kind: str) -> Tensor:
    """The KL divergence (B, z_size) of which `tolerance` nats a dimension are free: mean_b
    max(sum_d KL, tolerance z_size), or sum_d max(mean_b KL, tolerance). -> scalar."""
    if kind == "sum":
        return KL.sum(1).clamp_min(tolerance * KL.shape[1]).mean()
    return all_gather(KL).mean(0).clamp_min(tolerance).sum()


# --- the model ------------------------------------------------------------------------------------


def coder(h: Hyper, shape: tuple[int, int, int]) -> Coder:
    """The chosen encoder and decoder of pictures of this shape."""
    if h.nets == "light":
        return light(shape, h.width, h.z_size)
    return of_paper(h.nets, shape, h.width, h.z_size)


class VAE:
    """Encoder and decoder of pictures "image" (B, C, H, W) in [-1, 1], and their average."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        C, H, W = like["image"].shape[1:]
        self.net = blocks.channels_last(coder(h, (C, H, W)))
        self.average = EMA(self.net)
        self.opt = optim.adam(self.net, h.rate, h.beta1, h.beta2)

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt": self.hyper.rate}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of the nets; as scalars the loss and the KL divergence, in nats of a picture,
        and the squared error in units of [0, 1]."""
        h, x = self.hyper, batch["image"]
        mean, s = self.net.Enc(x)
        sse = squared_error(self.net.Dec(reparameterize(mean, s)), x)
        KL, numbers = maths.gaussian_kl(mean, s), x[0].numel()

        error = calibrated(sse, numbers) if h.likelihood == "calibrated" else sse.mean()
        nats = free_bits(KL, h.tolerance, h.floor)
        loss = value_at(h.weight, k) * error + value_at(h.beta, k) * nats
        descend((loss, self.opt))

        images = len(x) * distributed.world_size()
        self.average.update(images, (k + 1) * images, h.average)
        scalars = {
            "loss": loss,
            "SSE": sse.mean(),
            "MSE": sse.mean() / numbers,
            "beta": sse.new_tensor(value_at(h.beta, k)),
        }
        return scalars | latent.summary(KL)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, z_size) of the codes of pictures x (B, C, H, W),
        by the averaged weights."""
        with eval_mode(net := self.average.module), torch.no_grad():
            mean, s = net.Enc(x)
        return mean, s

    def decode(self, z: Tensor) -> Tensor:
        """The pictures (B, C, H, W) in [-1, 1] of codes z (B, z_size), by the averaged weights."""
        with eval_mode(net := self.average.module), torch.no_grad():
            return net.Dec(z)

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """Of held-out pictures: PSNR (dB) of reconstructions from mean codes,
        and of the mean picture; active dimensions."""
        x = held_out["image"]
        mean, _ = self.encode(x)
        return latent.quality(self.decode(mean), x, mean)

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` of N(0, I); `reconstructed`: pictures, each beside what its mean code becomes;
        `interpolated`: rows of ways between the codes of two pictures (rows, steps, 1, C, H, W)."""
        x = batch["image"]
        mean, _ = self.encode(x)
        ways = latent.strips(mean, STRIPS, STRIPS)
        pictures = self.decode(ways.flatten(0, 1)).unflatten(0, ways.shape[:2])
        samples = self.decode(noise(x, self.hyper.z_size))
        return {
            "samples": samples,
            "reconstructed": latent.beside(x, self.decode(mean)),
            "interpolated": pictures[:, :, None],
        }


Model = VAE
