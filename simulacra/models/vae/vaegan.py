"""VAE-GAN: an auto-encoder whose error a discriminator measures. What counts is what the
discriminator has learnt to look at.

The encoder minimises the KL divergence of the posterior from N(0, I) and the distance of a
reconstruction's features from those of the picture, where features are a layer of the
discriminator; the decoder minimises that distance, and wants reconstructions and samples of the
prior to pass for real; the discriminator wants to tell them apart. All three gradients are taken,
then all three move. Three flavours are hyperparameters: ours (`light`), the paper's (experiment
`larsen`) and the notes' (experiment `notes`, with the defects of the code behind them, each one a
switch). The nets are in `nets.py`.

Shapes: x (B, C, H, W) in [-1, 1]; z (B, z_size); logits (B,); features phi (B, c, h, w). x~ is a
reconstruction, x_p a sample.

Reference: Larsen, Sonderby, Larochelle, Winther, "Autoencoding beyond pixels", arXiv 1512.09300.
Spectral norms: arXiv 1802.05957.
How to run: simulacra train vaegan_mnist, vaegan_faces; --set experiment=larsen,
--set experiment=notes, =notes,fixed.

Deviations
- Ours has its own nets, with spectral norms instead of batch normalisation in the discriminator;
  features are divided by their size on real pictures, channel by channel; and there is a pixel
  term, in [0, 1], the VAE's.
- The decoder's game is the non-saturating one; the paper's is a minimax whose gradient vanishes
  when the discriminator wins.
- Samples and codes come from a moving average of the weights (`average = 0` has the last ones, as
  the paper).
- It may go on from a VAE with the same encoder and decoder (`init_from`): before, there is no
  detail to judge.
- The equilibrium gate is that of the authors' code, not in the paper: a player far ahead waits.
- The notes pass the batch through the encoder a second time for `normal`; here it is the first
  pass, with other noise.
"""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer, RMSprop

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.distributed import all_gather, all_mean
from simulacra.core.ema import EMA
from simulacra.core.idle import refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.models.vae import nets
from simulacra.nn import adversarial as games
from simulacra.nn import blocks, latent, maths

Size = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
RENAMED = {"begin": "init_from"}  # hyperparameters of older configs: what they are now
STRIPS = 8  # rows and columns of the sheet of interpolations


class Defects(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What public codes do wrong; all off.
    Some need the nets that are named, which have the part."""

    # V1, nets = notes: D's second convolution reads the picture, so the first is dead
    dead_conv: bool = False
    # V4, notes, larsen: batch normalisation never trains, and normalises nothing
    frozen_norm: bool = False
    # V5: `normal` is of posterior means, which tanh then drives to +-1
    normal_of_mean: bool = False
    # V6, notes, larsen: mean and log-variance through tanh: at most 0.95 bit a dimension
    tanh_heads: bool = False
    # V10: so many samples of the prior, however large the batch; 0: as many
    prior_batch: Annotated[int, Meta(ge=0)] = 0
    # V13: the decoder maximises D's loss, whose slope vanishes where D is sure
    saturating: bool = False
    raw_features: bool = False  # V14: features before normalisation, which D can shrink
    means: bool = False  # V15: features and KL are means, so that sizes set their weights
    tanh_decoder: bool = False  # V16, notes: the decoder's range is that of tanh, the data's [0, 1]
    squashed: bool = False  # V17, notes, larsen: D's probability goes where a logit is expected
    leak: bool = False  # V23: the encoder feels the game, and the discriminator the features
    sign: bool = False  # the decoder minimises D's own loss, as algorithm 1 reads to the letter


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; sections are those of arXiv 1512.09300. The defaults are ours."""

    # ours | the authors' code | the notes' listing
    nets: Literal["light", "larsen", "notes"] = "light"
    # of encoder and decoder, in channels of the first convolution (larsen: 64, notes: 32)
    width: Size = 24
    width_D: Size = 24  # of the discriminator (the same)
    z_size: Size = 32  # numbers in z (larsen: 128, notes: 512)
    beta: Schedule = 1.0  # weight of the KL divergence (eq. 4; notes: 0.01 of its mean)
    feature: NonNegative = 0.05  # of the features' distance (eq. 7: 1)
    pixel: NonNegative = 1.0  # of the sum of squared errors, in [0, 1] (not in the paper)
    gamma: NonNegative = 1.0  # of both, once more, for the decoder (eq. 9; the authors' code: 1e-6)
    # of the game, for the decoder (eq. 9: 1); `pull` tells how much of it is felt
    adversarial: Schedule = 5.0
    # of a term that wants each dimension of a batch of codes to be like N(0, 1) (notes: 0.1)
    normal: NonNegative = 0.0
    # of x, x~ and x_p in the game (3.2: 1, 1, 1)
    shares: tuple[NonNegative, NonNegative, NonNegative] = (1.0, 0.5, 0.5)
    gate: NonNegative = 0.5  # a player ahead by this much waits (the authors' code: 0.35); 0: none
    centre: NonNegative = 0.68  # where neither is ahead: a cost near ln 2
    defects: Defects = Defects()  # of public codes
    mover: Literal["adam", "rmsprop"] = "adam"  # how weights move (4: RMSProp)
    rate_E: Schedule = 1e-3  # learning rate of the encoder (4: 3e-4)
    rate_G: Schedule = 1e-3  # of the decoder
    rate_D: Schedule = 3e-4  # of the discriminator
    beta1: Rate = 0.9  # Adam
    beta1_D: Rate = 0.5  # Adam of the discriminator
    beta2: Rate = 0.999  # Adam
    decay: NonNegative = 0.0  # L2 penalty on all weights (the authors' code: 1e-5)
    # half-life of the moving average, in pictures; 0: the last weights
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    return (
        unless(h.mover == "adam", "mover = adam", "beta1", "beta1_D", "beta2")
        | unless(h.gate > 0, "gate above 0", "centre")
        | unless(h.normal > 0, "normal above 0", "defects.normal_of_mean")
    )


class Costs(NamedTuple):
    """The mean costs of the game: of real pictures, reconstructions and samples, for D;
    and the same for the decoder."""

    real: Tensor
    rebuilt: Tensor
    prior: Tensor


class Played(NamedTuple):
    """What a batch of pictures comes to."""

    mean: Tensor  # of q(z | x), (B, z_size)
    s: Tensor  # its log-variance
    d_x: Tensor  # logits of the pictures, (B,)
    d_r: Tensor  # of their reconstructions
    d_p: Tensor  # of samples
    sse: Tensor  # sum of squared errors in [0, 1], the mean over pictures
    feat: Tensor  # the features' distance
    error: Tensor  # both, weighed
    game: Tensor  # the decoder's


# --- losses: pure functions -----------------------------------------------------------------------


def costs_D(d_x: Tensor, d_r: Tensor, d_p: Tensor) -> Costs:
    """Eq. 8, each term negated and averaged:
    -log D(x), -log(1 - D(x~)), -log(1 - D(x_p)), of logits (B,)."""
    return Costs(F.softplus(-d_x).mean(), F.softplus(d_r).mean(), F.softplus(d_p).mean())


def shared(costs: Costs, shares: tuple[float, float, float]) -> Tensor:
    """The costs, each times its share. -> scalar."""
    return torch.stack([share * cost for share, cost in zip(shares, costs, strict=True)]).sum()


def game_G(
    d_r: Tensor, d_p: Tensor, shares: tuple[float, float, float], form: str = "non-saturating"
) -> Tensor:
    """What the decoder minimises of its logits (B,): -log D, each times its share. "saturating":
    log(1 - D). "helping": -log(1 - D), which is D's own loss. -> scalar."""
    _, of_r, of_p = shares
    sides = {"non-saturating": (1, -1), "saturating": (-1, 1), "helping": (1, 1)}
    sign, side = sides[form]
    return sign * (of_r * F.softplus(side * d_r).mean() + of_p * F.softplus(side * d_p).mean())


def normalised(phi: Tensor, like: Tensor) -> Tensor:
    """Features phi (B, c, ...) over the root mean square that each channel has in `like`,
    which feels nothing of it."""
    axes = [0, *range(2, like.ndim)]
    square = all_mean(like.square().mean(axes, keepdim=True))
    return phi / (square + 1e-8).sqrt()


def feature_loss(phi_r: Tensor, phi_x: Tensor, means: bool = False) -> Tensor:
    """Eq. 7: |phi(x~) - phi(x)|^2 / 2, the mean over pictures: a unit Gaussian's negative log, but
    for a constant. `means`, as the notes have it: the mean of the square over all features. ->
    scalar."""
    square = (phi_r - phi_x).square()
    return square.mean() if means else square.flatten(1).sum(1).mean() / 2


def normal_loss(u: Tensor) -> Tensor:
    """The notes' mean_d (mean_b u)^2 + mean_d (var_b u - 1)^2 of codes u (B, z_size). -> scalar."""
    u = all_gather(u)
    return u.mean(0).square().mean() + (u.var(0, correction=0) - 1).square().mean()


def turns(
    costs: Costs, shares: tuple[float, float, float], centre: float, margin: float
) -> tuple[bool, bool]:
    """Whether the decoder and whether the discriminator move: the authors' equilibrium gate. The
    discriminator waits where one of its costs is below centre - margin, the decoder where one is
    above centre + margin; if both would wait, both move."""
    played = [float(all_mean(cost)) for share, cost in zip(shares, costs, strict=True) if share > 0]
    D, G = min(played) >= centre - margin, max(played) <= centre + margin
    return (G, D) if G or D else (True, True)


# --- the model ------------------------------------------------------------------------------------


def networks(h: Hyper, shape: tuple[int, int, int]) -> tuple[nets.Coder, nets.Discriminator]:
    """Encoder and decoder, and the discriminator, of pictures of this shape;
    ValueError where they lack a defect's part."""
    d = h.defects
    parts = {
        "dead_conv": "notes",
        "tanh_decoder": "notes",
        "frozen_norm": "",
        "tanh_heads": "",
        "squashed": "",
    }
    for name, owner in parts.items():
        if getattr(d, name) and (h.nets == "light" or owner not in ("", h.nets)):
            raise ValueError(
                f"hyper.defects.{name} is for nets = {owner or 'notes or larsen'}, "
                f"found nets = {h.nets}"
            )
    if h.nets == "light":
        return nets.light(shape, h.width, h.z_size), nets.light_D(shape, h.width_D)
    if h.nets == "larsen":
        coder = nets.of_larsen(shape, h.width, h.z_size, d.frozen_norm, d.tanh_heads)
        return coder, nets.larsen_D(shape, h.width_D, d.frozen_norm, d.raw_features, d.squashed)
    coder = nets.of_notes(shape, h.width, h.z_size, d.frozen_norm, d.tanh_heads, d.tanh_decoder)
    defects = d.frozen_norm, d.dead_conv, d.raw_features, d.squashed
    return coder, nets.notes_D(shape, h.width_D, *defects)


def optimizer(h: Hyper, module: nn.Module, rate: Schedule, beta1: float) -> Optimizer:
    """Adam, or RMSProp as torch has it, over a module's named weights."""
    if h.mover == "rmsprop":
        return RMSprop(module.named_parameters(), lr=value_at(rate, 0), weight_decay=h.decay)
    adam = optim.adam(module, rate, beta1, h.beta2)
    adam.param_groups[0]["weight_decay"] = h.decay
    return adam


class VAEGAN:
    """Encoder, decoder and discriminator of pictures "image" (B, C, H, W) in [-1, 1], and the
    average of the first two."""

    INIT_MODELS = "vae", "vaegan"
    # as one looks at them; D is new
    INIT_PARTS: ClassVar = {"net": "average", "average": "average"}

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        C, H, W = like["image"].shape[1:]
        if h.shares[0] == 0 or h.shares[1] + h.shares[2] == 0:
            raise ValueError(
                f"hyper.shares = {list(h.shares)}; allowed: above 0 for x and for x~ or x_p"
            )
        if h.defects.saturating and h.defects.sign:
            raise ValueError(
                "hyper.defects: saturating and sign are two games; allowed: one of them"
            )
        net, D = networks(h, (C, H, W))
        self.net, self.D = blocks.channels_last(net), blocks.channels_last(D)
        self.average = EMA(self.net)
        self.opt_E = optimizer(h, self.net.Enc, h.rate_E, h.beta1)
        self.opt_G = optimizer(h, self.net.Dec, h.rate_G, h.beta1)
        self.opt_D = optimizer(h, self.D, h.rate_D, h.beta1_D)

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        h = self.hyper
        return {"opt_E": h.rate_E, "opt_G": h.rate_G, "opt_D": h.rate_D}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of all players but those whom the gate lets wait; losses, errors, mean logits,
        who waited, and KL in nats, as scalars."""
        h, x, defects = self.hyper, batch["image"], self.hyper.defects
        p = self.played(x)
        KL, costs = maths.gaussian_kl(p.mean, p.s), costs_D(p.d_x, p.d_r, p.d_p)
        adversarial = value_at(h.adversarial, k)
        loss_E = value_at(h.beta, k) * (KL.mean(1) if defects.means else KL.sum(1)).mean() + p.error
        if h.normal > 0:
            u = p.mean if defects.normal_of_mean else nets.reparameterize(p.mean, p.s)
            loss_E = loss_E + h.normal * normal_loss(u)
        loss_G, loss_D = h.gamma * p.error + adversarial * p.game, shared(costs, h.shares)
        if defects.leak:
            loss_E, loss_D = loss_E + adversarial * p.game, loss_D + h.feature * p.feat

        G, D = turns(costs, h.shares, h.centre, h.gate) if h.gate > 0 else (True, True)
        moves = [(loss_E, self.opt_E), *[(loss_G, self.opt_G)] * G, *[(loss_D, self.opt_D)] * D]
        descend(*moves)
        images = len(x) * distributed.world_size()
        self.average.update(images, (k + 1) * images, h.average)

        losses = {"loss_D": shared(costs, h.shares), "loss_E": loss_E, "loss_G": loss_G}
        errors = {"features": p.feat, "SSE": p.sse, "MSE": p.sse / x[0].numel()}
        logits = {"D_real": p.d_x.mean(), "D_rebuilt": p.d_r.mean(), "D_fake": p.d_p.mean()}
        told = {"adversarial": adversarial, "waits_G": float(not G), "waits_D": float(not D)}
        numbers = {name: p.sse.new_tensor(value) for name, value in told.items()}
        return losses | {"game_G": p.game} | errors | logits | numbers | latent.summary(KL)

    def played(self, x: Tensor) -> Played:
        """A batch goes through all nets."""
        h, defects = self.hyper, self.hyper.defects
        mean, s = self.net.Enc(x)
        rebuilt = self.net.Dec(nets.reparameterize(mean, s))
        prior = self.net.Dec(self.prior(x))
        (d_x, phi_x), (d_r, phi_r), (d_p, _) = self.D(x), self.D(rebuilt), self.D(prior)
        sse, feat = (rebuilt - x).square().flatten(1).sum(1).mean() / 4, self.features(phi_r, phi_x)
        form = "helping" if defects.sign else "non-saturating"
        form = "saturating" if defects.saturating else form
        game = game_G(d_r, d_p, h.shares, form)
        return Played(mean, s, d_x, d_r, d_p, sse, feat, h.feature * feat + h.pixel * sse, game)

    def prior(self, x: Tensor) -> Tensor:
        """As many codes of N(0, I) as there are pictures, or as many as defect V10 says."""
        count = self.hyper.defects.prior_batch
        return noise(x.new_empty(count) if count else x, self.hyper.z_size)

    def features(self, phi_r: Tensor, phi_x: Tensor) -> Tensor:
        """The distance of a reconstruction's features from the picture's;
        ours and the notes' are normalised."""
        defects = self.hyper.defects
        if not defects.raw_features and self.hyper.nets != "larsen":
            phi_r, phi_x = normalised(phi_r, phi_x), normalised(phi_x, phi_x)
        return feature_loss(phi_r, phi_x, defects.means)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, z_size) of the codes of pictures x (B, C, H, W),
        by the averaged weights."""
        with eval_mode(net := self.average.module), torch.no_grad():
            mean, s = net.Enc(x)
        return mean, s

    def decode(self, z: Tensor) -> Tensor:
        """The pictures (B, C, H, W) in [-1, 1] of codes z (B, z_size), by the averaged weights."""
        with eval_mode(net := self.average.module), torch.no_grad():
            return net.Dec(z).clamp(-1, 1)

    def equilibrium(self) -> dict[str, float]:
        """Where D answers 1/2 everywhere: ln 2 for each share of the game."""
        real, rebuilt, prior = self.hyper.shares
        return {"loss_D": math.log(2) * (real + rebuilt + prior)}

    def pull(self, x: Tensor, adversarial: Tensor) -> Tensor:
        """How hard the game pulls the decoder's weights: the norm of its gradient over that of the
        errors'. Near 0 the discriminator is a spectator, and this is a VAE. -> scalar."""
        with eval_mode(self.net, self.D):
            p, weights = self.played(x), list(self.net.Dec.parameters())
            game, error = (
                torch.stack(
                    [g.norm() for g in torch.autograd.grad(loss, weights, retain_graph=True)]
                ).norm()
                for loss in (adversarial * p.game, self.hyper.gamma * p.error)
            )
        return distributed.all_mean(game / error.clamp_min(1e-12))

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """How the game stands (adversarial.standing). Of held-out pictures: PSNR (dB) of
        reconstructions from mean codes, and of the mean picture; active dimensions. Of the batch:
        the share of mean codes beyond +-0.95, where tanh is flat; `pull`."""
        x, unseen = batch["image"], held_out["image"]
        fake, (mean, _) = self.decode(noise(x, self.hyper.z_size)), self.encode(unseen)
        beyond = {
            "code_beyond": (self.encode(x)[0].abs() > 0.95).float().mean(),
            "pull": self.pull(x, scalars["adversarial"]),
        }
        with eval_mode(self.D):
            with torch.no_grad():
                told, _ = self.D(unseen)
            stands = games.standing(
                lambda y: self.D(y)[0], x, fake, told, scalars, self.equilibrium()
            )
        return stands | latent.quality(self.decode(mean), unseen, mean) | beyond

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` of N(0, I); `reconstructed`: pictures, each beside what its mean code becomes;
        `interpolated`: rows of ways between the codes of two pictures (rows, steps, 1, C, H, W)."""
        x = batch["image"]
        mean, _ = self.encode(x)
        ways = latent.strips(mean, STRIPS, STRIPS)
        between = self.decode(ways.flatten(0, 1)).unflatten(0, ways.shape[:2])[:, :, None]
        samples = self.decode(noise(x, self.hyper.z_size))
        return {
            "samples": samples,
            "reconstructed": latent.beside(x, self.decode(mean)),
            "interpolated": between,
        }


Model = VAEGAN
