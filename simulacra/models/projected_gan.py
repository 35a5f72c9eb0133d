"""Projected GAN, and EBGAN on the same projections.

The discriminator looks at what a frozen ImageNet network sees in a picture at several scales, not
at pixels.

`judge = "logits"` is Projected GAN: a small discriminator for each scale. `judge = "energy"` is
EBGAN there: a small auto-encoder for each scale, whose error is an energy, low where the data are
and pushed up where the generator's pictures are. Both have a generator of the FastGAN kind.

Reference: Sauer et al., arXiv 2111.01007; EBGAN: Zhao, Mathieu, LeCun, arXiv 1609.03126; FastGAN:
Liu et al., arXiv 2101.04775; DiffAugment: Zhao et al., arXiv 2006.10738.
How to run: simulacra train ebgan_faces --data FOLDER (also gan_faces).

Deviations
- The frozen network is EfficientNet-Lite0, a smaller one than the paper's Lite1, and sees pictures
  of 64 pixels as they are (`side` enlarges them).
- Features are standardised by channel before the random mixtures, which keep the number of
  channels; the mixtures of channels are orthogonal.
- One draw of fakes serves both players of a step, and so do its features: the frozen network looks
  at each picture once.
- The margin of a scale is in units of the error of predicting the mean, which is about 1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.distributed import all_gather
from simulacra.core.ema import EMA
from simulacra.core.idle import refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.nn import blocks, maths, projected, stabilise
from simulacra.nn.adversarial import relativistic
from simulacra.nn.fastgan import Generator

Size = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Level = Annotated[int, Meta(ge=0, le=15)]


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; sections are those of arXiv 2111.01007 unless said otherwise."""

    judge: Literal["energy", "logits"] = "logits"  # EBGAN's (arXiv 1609.03126) | 3.1
    # each against a margin (appendix; EBGAN's eq. 1) | real against fake (arXiv 2501.05441, eq. 2)
    loss: Literal["hinge", "relativistic"] = "hinge"
    margin: Schedule = 1.0  # hinge: of logits; of energies, in errors of predicting the mean
    sharpness: Annotated[float, Meta(gt=0)] = 10.0  # relativistic energies: factor of differences
    # relativistic energies: weight of the energy of reals, so that it stays an error of rebuilding
    rebuild: NonNegative = 1.0
    levels: Annotated[tuple[Level, ...], Meta(min_length=1)] = (
        2,
        4,
        10,
        14,
    )  # blocks that are seen
    # pixels to which pictures are enlarged for the frozen network; 0: as they are
    side: Annotated[int, Meta(ge=0, le=512)] = 0
    augment: tuple[Literal["translate", "cutout", "colour"], ...] = (
        "colour",
        "translate",
        "cutout",
    )  # DiffAugment, of all that is judged
    z_size: Size = 128  # numbers in z
    widths: tuple[Size, ...] = (256, 128, 96, 48, 16)  # G: channels of a stage, coarse to fine
    norm_G: Literal["batch", "none"] = "batch"  # in G; batch norm sees a process's own half
    width_D: Size = 64  # channels of a head
    rate_G: Schedule = 2e-4  # Adam's learning rate
    rate_D: Schedule = 2e-4  # the same of the heads
    beta1: Rate = 0.0  # Adam
    beta2: Rate = 0.99  # Adam
    # half-life of G's moving average, in pictures; 0 samples the last weights
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    paired = h.loss == "relativistic"
    return unless(not paired, "loss = hinge", "margin") | unless(
        paired and h.judge == "energy",
        "loss = relativistic, judge = energy",
        "sharpness",
        "rebuild",
    )


# --- losses: pure functions -----------------------------------------------------------------------

Scores = Sequence[Tensor]  # of each scale, (B, P): logits of P patches, or one energy


def total(scores: Scores) -> Tensor:
    """The sum over scales of the mean over pictures and patches, a scalar."""
    return torch.stack([s.mean() for s in scores]).sum()


def hinge_D(s_x: Scores, s_g: Scores, m: float) -> Tensor:
    """Logits of each scale, (B, P): sum of mean max(0, m - s(x)) + max(0, m + s(G(z)))."""
    both = zip(s_x, s_g, strict=True)
    return torch.stack([F.relu(m - x).mean() + F.relu(m + g).mean() for x, g in both]).sum()


def margin_D(E_x: Scores, E_g: Scores, m: float) -> Tensor:
    """Energies of each scale, (B, 1): sum of mean E(x) + max(0, m - E(G(z))), EBGAN's eq. 1."""
    both = zip(E_x, E_g, strict=True)
    return torch.stack([x.mean() + F.relu(m - g).mean() for x, g in both]).sum()


def paired(winner: Scores, loser: Scores, factor: float = 1.0) -> Tensor:
    """Sum over scales of mean softplus(-factor (winner - loser)), (B, P) each."""
    both = zip(winner, loser, strict=True)
    return torch.stack([relativistic(factor * w, factor * l).mean() for w, l in both]).sum()


# --- the model ------------------------------------------------------------------------------------

HEADS: dict[str, Any] = {"energy": projected.Energy, "logits": projected.Logits}


class ProjectedGAN:
    """Generator, projection and heads, for pictures "image" (B, C, H, W) in [-1, 1]."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        if list(h.levels) != sorted(set(h.levels)):
            raise ValueError(
                f"hyper.levels = {list(h.levels)}; allowed: each greater than the last"
            )
        C, H, W = like["image"].shape[1:]
        projected.eyes(like["image"].device)  # a Mistake now if the weights are not there
        sizes = projected.sizes(h.levels, h.side or min(H, W))
        self.G = blocks.channels_last(Generator(h.z_size, h.widths, (C, H, W), h.norm_G))
        self.project = projected.Projection([channels for channels, _ in sizes])
        heads = projected.Heads(HEADS[h.judge], sizes, h.width_D, lambda x: self.mixtures(x, ()))
        self.D = blocks.channels_last(heads)
        self.average = EMA(self.G)
        self.opt_G = optim.adam(self.G, h.rate_G, h.beta1, h.beta2)
        self.opt_D = optim.adam(self.D, h.rate_D, h.beta1, h.beta2)
        self.measured = False  # whether the projection knows the features' spread

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt_G": self.hyper.rate_G, "opt_D": self.hyper.rate_D}

    def look(self, pictures: Callable[[], Iterator[Batch]], batch: int) -> None:
        """Measure the features' spread on the training data,
        which the first step would else do on its own pictures."""
        self.project.measure(lambda: (self.features(each["image"]) for each in pictures()))
        self.measured = True

    def features(self, x: Tensor) -> list[Tensor]:
        """What the frozen network sees in pictures (B, C, H, W), before it is mixed."""
        return projected.look(x, self.hyper.levels, self.hyper.side)

    def mixtures(self, x: Tensor, augment: Sequence[str]) -> list[Tensor]:
        """What the heads see of pictures (B, C, H, W); G's gradient passes through."""
        for name in augment:
            x = stabilise.AUGMENT[name](x)
        return self.project(self.features(x))

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of D, then one of G, on the same fakes; losses and mean scores as scalars."""
        h, x = self.hyper, batch["image"]
        if k == 0 and not self.measured:
            self.project.measure(lambda: iter([self.features(all_gather(x))]))
            self.measured = True
        fake = self.G(noise(x, h.z_size))
        with torch.no_grad():
            y_x = self.mixtures(x, h.augment)
        y_g = self.mixtures(fake, h.augment)

        s_x, s_g = self.D.judge(y_x), self.D.judge([y.detach() for y in y_g])
        loss_D = self.loss_D(s_x, s_g, k)
        descend((loss_D, self.opt_D))

        loss_G = self.loss_G(y_x, y_g)
        descend((loss_G, self.opt_G))

        images = len(x) * distributed.world_size()
        self.average.update(images, (k + 1) * images, h.average)
        letter = "E" if h.judge == "energy" else "D"
        scores = {
            f"{letter}_real": total(s_x) / len(s_x),
            f"{letter}_fake": total(s_g) / len(s_g),
        }
        return {"loss_D": loss_D, "loss_G": loss_G} | scores

    def loss_D(self, s_x: Scores, s_g: Scores, k: int) -> Tensor:
        """D's loss of scores (B, P) of reals and fakes at each scale, a scalar."""
        h = self.hyper
        if h.loss == "hinge":
            form = margin_D if h.judge == "energy" else hinge_D
            return form(s_x, s_g, value_at(h.margin, k))
        if h.judge == "logits":
            return paired(s_x, s_g)
        return paired(s_g, s_x, h.sharpness) + h.rebuild * total(s_x)

    def loss_G(self, y_x: Sequence[Tensor], y_g: Sequence[Tensor]) -> Tensor:
        """G's loss of mixtures of reals and fakes, a scalar."""
        h, s_g = self.hyper, self.D.judge(y_g)
        if h.loss == "hinge":
            return total(s_g) if h.judge == "energy" else -total(s_g)
        with torch.no_grad():
            s_x = self.D.judge(y_x)
        return paired(s_x, s_g, h.sharpness) if h.judge == "energy" else paired(s_g, s_x)

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """What D says of held-out pictures, as the weights that told of reals would say it, and how
        diverse samples are."""
        x, G = batch["image"], self.average.module
        letter = "E" if self.hyper.judge == "energy" else "D"
        with eval_mode(G, self.D), torch.no_grad():
            told, unseen = self.D(x), self.D(held_out["image"])
            gap = (total(unseen) - total(told)) / len(told)
            fake = G(noise(x, self.hyper.z_size))
        return {
            f"{letter}_held_out": scalars[f"{letter}_real"] + gap,
            "diversity": maths.diversity(all_gather(fake), all_gather(x)),
        }

    @torch.no_grad()
    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` (B, C, H, W) in [-1, 1], by the averaged weights."""
        with eval_mode(G := self.average.module):
            return {"samples": G(noise(batch["image"], self.hyper.z_size))}


Model = ProjectedGAN
