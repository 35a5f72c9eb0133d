"""EBGAN: the discriminator is an auto-encoder, its error an energy.

Low energy is carved where the data are and pushed up, to a margin, where the generator's pictures
are; the pulling-away term keeps the codes of generated pictures from pointing the same way. Its
siblings BEGAN (a controlled balance instead of a margin) and MAGAN (a margin that shrinks by
itself) differ in one rule and are hyperparameters here, as are the defects of public codes whose
statements are to be tested again.

Reference: Zhao, Mathieu, LeCun, arXiv 1609.03126. BEGAN: arXiv 1703.10717. MAGAN: arXiv 1704.03817.
How to run: simulacra train ebgan_mnist (also ebgan_digits, ebgan_pairs_mnist, ebgan_notes_mnist,
began_mnist, magan_mnist, ebgan_folder).

Deviations
- The margin may be given relative to the error of predicting the mean picture, measured on the
  training data before the first step; the paper's own margins are 0.6 to 0.7 of it.
  `margin_unit = "energy"` takes the paper's absolute numbers.
- Samples come from a moving average of G's weights (the paper samples the last weights).
- Convolutional nets are ours; the paper's MNIST grid is `nets = "mlp"`. Laptop presets' rates fall.
- `rule = "pairs"`, of the pairs configs, is no loss of the paper: energies are compared as
  R3GAN (arXiv 2501.05441) compares logits, with its slope penalties, and a small E(x) keeps D an
  auto-encoder.
- BEGAN and MAGAN use these nets too, so that only rules are compared; MAGAN has Adam, not Adamax.
- BEGAN's players move in turn: L(G(z_G)), by which k_t moves, is what D says after its own move.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.distributed import all_gather, all_mean
from simulacra.core.ema import EMA
from simulacra.core.errors import Mistake, choose
from simulacra.core.idle import ever, refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise, uniform
from simulacra.core.schedules import NonNegative, Schedule, value_at
from simulacra.nn import autoencoder as nets
from simulacra.nn import blocks, maths, stabilise
from simulacra.nn.adversarial import equilibrium, relativistic, slope_penalty

Size = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; sections are those of arXiv 1609.03126 unless said otherwise."""

    energy: Literal["l2", "l1", "sse", "batch"] = "l2"  # eq. 13 | BEGAN | MAGAN | the notes' code
    hinge: Literal["sample", "batch", "none"] = "sample"  # eq. 1 | of the mean | the notes' code
    # eq. 1 | arXiv 1704.03817 | arXiv 1703.10717 | energies compared in pairs (R3GAN eq. 2)
    rule: Literal["margin", "magan", "began", "pairs"] = "margin"
    margin: Schedule = 0.65  # m of eq. 1, in margin_unit
    # error of predicting the mean | the energy's own
    margin_unit: Literal["mean_predictor", "energy"] = "mean_predictor"
    rebuild: Schedule = 0.0  # pairs: weight of E(x) in L_D, so that D still reconstructs; ours
    # weight of both slope penalties of E, halved (R3GAN, arXiv 2501.05441, eq. 4)
    penalty: Schedule = 0.0
    # steps between penalties, each then weighted by it (arXiv 1912.04958, appendix B)
    penalty_every: Size = 1
    # pixels by which each picture is moved at most before D sees it (arXiv 2006.10738), edges kept
    shift: Annotated[int, Meta(ge=0)] = 0
    pull_away: NonNegative = 0.1  # weight of PT (2.4); 0 is EBGAN without it
    pull_away_form: Literal["squared", "unsquared"] = "squared"  # eq. 14 | as the notes coded it
    gamma: Annotated[float, Meta(gt=0, le=1)] = 0.5  # BEGAN's diversity ratio (3.3 there)
    lambda_k: NonNegative = 0.001  # BEGAN's proportional gain (3.4 there)
    epoch: Size = 937  # steps in an epoch, MAGAN's unit of time (algorithm 1 there)
    warm: Annotated[int, Meta(ge=0)] = 2  # MAGAN's epochs on reals; one more measures the margin
    nets: Literal["conv", "mlp"] = "conv"  # ours | the grid of table 1
    z_size: Size = 100  # numbers in z; not in the paper
    # conv: channels, coarse to fine; mlp: hidden layers (table 1)
    widths_G: tuple[Size, ...] = (128, 64)
    # conv: channels of Enc, fine to coarse; mlp: of Enc (table 1)
    widths_D: tuple[Size, ...] = (64, 128)
    # conv: a linear code of this size; 0: the last feature maps are the code
    code_size: Annotated[int, Meta(ge=0)] = 0
    # conv: Dec is one hidden layer of this width behind the code; 0: as convolutional as Enc
    dense_Dec: Annotated[int, Meta(ge=0)] = 0
    norm_G: Literal["none", "batch", "group"] = "batch"  # appendix D
    # appendix D has batch; then D can tell fakes by batch statistics
    norm_D: Literal["none", "batch", "group"] = "none"
    # last layer of Dec; tanh gives the energy a ceiling
    decoder: Literal["linear", "tanh"] = "linear"
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # mlp: in D (table 1)
    # N(0, init_D^2) (appendix D) | keeps the variance of what passes (arXiv 1502.01852)
    start_D: Literal["normal", "he"] = "normal"
    init_G: NonNegative = 0.02  # std of G's weights (appendix D)
    init_D: NonNegative = 0.02  # std of D's weights (appendix D has 0.002)
    rate_G: Schedule = 1e-3  # Adam's learning rate (4.1)
    rate_D: Schedule = 1e-3  # the same of D
    beta1: Rate = 0.5  # Adam
    beta2: Rate = 0.999  # Adam
    steps_G: Size = 1  # generator steps after each discriminator step
    draws: Literal["fresh", "shared"] = "fresh"  # z of each step | one for all, the notes' code
    # half-life of G's moving average, in pictures; 0 samples the last weights
    average: NonNegative = 10_000


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    return (
        unless(h.rule == "margin", "rule = margin", "margin", "margin_unit")
        | unless(ever(h.margin), "margin above 0", "margin_unit")
        | unless(
            h.energy != "batch" or h.hinge == "none",
            "an energy of each picture, not of the batch",
            "hinge",
        )
        | unless(h.rule in ("margin", "magan"), "rule = margin or magan", "hinge")
        | unless(h.rule == "pairs", "rule = pairs", "rebuild")
        | unless(ever(h.penalty), "penalty above 0", "penalty_every")
        | unless(h.start_D == "normal", "start_D = normal", "init_D")
        | unless(h.nets == "conv" and h.code_size > 0, "a code_size, from which", "dense_Dec")
        | unless(h.rule == "began", "rule = began", "gamma", "lambda_k")
        | unless(h.rule == "magan", "rule = magan", "epoch", "warm")
        | unless(
            len(h.widths_D) > 1, "two widths_D or more, between which it is", "norm_D", "dropout"
        )
        | unless(h.nets == "conv", "nets = conv", "code_size", "norm_G", "norm_D")
        | unless(h.nets == "mlp", "nets = mlp", "dropout")
    )


# --- losses: pure functions -----------------------------------------------------------------------


def l2(rebuilt: Tensor, x: Tensor) -> Tensor:
    """Eq. 13: E(x) = ||Dec(Enc(x)) - x||, the norm of one picture's error. (B, C, H, W) -> (B,)."""
    return torch.linalg.vector_norm((rebuilt - x).flatten(1), dim=1)


def l1(rebuilt: Tensor, x: Tensor) -> Tensor:
    """BEGAN's energy, eq. 1 there with eta = 1: the mean absolute error of a pixel. -> (B,)."""
    return (rebuilt - x).abs().flatten(1).mean(1)


def sse(rebuilt: Tensor, x: Tensor) -> Tensor:
    """MAGAN's energy: the sum of squared errors of one picture. -> (B,)."""
    return (rebuilt - x).square().flatten(1).sum(1)


def batch_norm_error(rebuilt: Tensor, x: Tensor) -> Tensor:
    """As the notes coded it: the Frobenius norm of the whole batch's error over B,
    which falls as 1/sqrt(B). -> (1,)."""
    return (torch.linalg.vector_norm(rebuilt - x) / len(x)).view(1)


ENERGIES = {"l2": l2, "l1": l1, "sse": sse, "batch": batch_norm_error}


def ceiling(energy: str, x: Tensor) -> float:
    """The largest energy of pictures like x (B, C, H, W) when both they
    and the decoder's output stay in [-1, 1]."""
    return float(ENERGIES[energy](torch.ones_like(x), -torch.ones_like(x)).mean())


HINGES = ["sample", "batch", "none"]
FORMS = ["squared", "unsquared"]


def hinge_loss(E_x: Tensor, E_g: Tensor, m: Tensor, form: str = "sample") -> Tensor:
    """Eq. 1: L_D = E(x) + max(0, m - E(G(z))), per sample, then averaged. Form "batch" takes the
    maximum of the batch's mean, "none" takes none: then m is an additive constant without any
    effect."""
    choose("form", form, HINGES)
    gap = m - E_g if form == "sample" else m - E_g.mean()
    return E_x.mean() + (gap if form == "none" else F.relu(gap)).mean()


def balance_loss(E_x: Tensor, E_g: Tensor, k: Tensor) -> Tensor:
    """BEGAN: L_D = L(x) - k_t L(G(z))."""
    return E_x.mean() - k * E_g.mean()


def pull_away(codes: Tensor, form: str = "squared") -> Tensor:
    """Eq. 14: the mean over pairs i != j of the squared cosine of codes i and j; (B, ...) ->
    scalar. "unsquared", as the notes coded it, is smallest for opposite codes, not for orthogonal
    ones."""
    choose("form", form, FORMS)
    if len(codes) < 2:
        raise Mistake(
            f"pull_away of {len(codes)} codes; allowed: 2 or more, whose pairs it compares"
        )
    s = F.normalize(codes.flatten(1), dim=1, eps=1e-8)
    cosines = s @ s.T
    if form == "squared":
        cosines = cosines.square()
    n = len(s)
    return (cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1))


# --- rules: what holds the discriminator back -----------------------------------------------------


class Margin(nn.Module):
    """m as a schedule, in units of the energy or of the error of predicting the mean picture."""

    unit: Tensor

    def __init__(self, hyper: Hyper):
        super().__init__()
        self.hyper = hyper
        self.register_buffer("unit", torch.ones(()))

    def loss(self, E_x: Tensor, E_g: Tensor, k: int) -> Tensor:
        """L_D of eq. 1, a scalar, of the energies (B,) of reals and fakes, the margin that of step
        k."""
        return hinge_loss(E_x, E_g, self.m(k), self.hyper.hinge)

    def m(self, k: int) -> Tensor:
        """The margin at step k, a scalar in units of the energy."""
        return value_at(self.hyper.margin, k) * self.unit

    def update(self, E_x: Tensor, E_g: Tensor, k: int) -> dict[str, Tensor]:
        """The margin of step k, to be logged; the energies (B,) change nothing."""
        return {"margin": self.m(k)}


class Pairs(nn.Module):
    """No margin: D wants each real to cost less than the fake beside it, G the other way about
    (arXiv 2501.05441, eq. 2, with -E as the logit)."""

    def loss(self, E_x: Tensor, E_g: Tensor, k: int) -> Tensor:
        """The mean of softplus(E(x) - E(G(z))), a scalar, of the energies (B,)."""
        return relativistic(E_g, E_x).mean()

    def update(self, E_x: Tensor, E_g: Tensor, k: int) -> dict[str, Tensor]:
        """The share of pairs in which the fake costs less than the real, 1/2 where D cannot
        tell."""
        return {"fooled": (E_g < E_x).float().mean()}


class Magan(nn.Module):
    """MAGAN's margin (algorithm 1 there): the mean real energy, whenever an epoch has brought it
    below the fake one and the fake one has risen. It only falls."""

    margin: Tensor
    sums: Tensor

    def __init__(self, hyper: Hyper):
        super().__init__()
        self.hyper = hyper
        self.register_buffer("margin", torch.zeros(()))
        # of E(x), of E(G(z)), of E(G(z)) in the epoch before
        self.register_buffer("sums", torch.zeros(3))

    def loss(self, E_x: Tensor, E_g: Tensor, k: int) -> Tensor:
        """L_D of eq. 1, a scalar, of the energies (B,) of reals and fakes, with the margin that
        stands."""
        return hinge_loss(E_x, E_g, self.margin, self.hyper.hinge)

    @torch.no_grad()
    def measure(self, E_x: Tensor) -> None:
        """Add a step of an epoch to its mean energy of reals (B,), which is the first margin."""
        self.margin += all_mean(E_x.mean()) / self.hyper.epoch

    def update(self, E_x: Tensor, E_g: Tensor, k: int) -> dict[str, Tensor]:
        """After step k with these energies (B,): the margin to be logged, which the last step of an
        epoch may let fall."""
        self.sums[:2] += all_mean(torch.stack([E_x.mean(), E_g.mean()]))
        if (k + 1) % self.hyper.epoch == 0:
            self.close_epoch(*self.sums)
        return {"margin": self.margin}

    def close_epoch(self, real: Tensor, fake: Tensor, before: Tensor) -> None:
        """End an epoch in which the energies summed to `real` and `fake`,
        `before` being the epoch before (0: none)."""
        mean = real / self.hyper.epoch
        if before > 0 and fake >= before and real < fake and mean < self.margin:
            self.margin.copy_(mean)
        self.sums.copy_(torch.stack([torch.zeros_like(fake), torch.zeros_like(fake), fake]))


class Began(nn.Module):
    """BEGAN's k_t (eq. 3 there), held in [0, 1],
    and its measure of convergence, of the energies L(x) and L(G(z_G))."""

    k_t: Tensor

    def __init__(self, hyper: Hyper):
        super().__init__()
        self.hyper = hyper
        self.register_buffer("k_t", torch.zeros(()))

    def loss(self, E_x: Tensor, E_g: Tensor, k: int) -> Tensor:
        """L_D, a scalar, of the energies L(x) and L(G(z_D)), (B,), balanced by k_t."""
        return balance_loss(E_x, E_g, self.k_t)

    def update(self, E_x: Tensor, E_g: Tensor, k: int) -> dict[str, Tensor]:
        """Move k_t after a step with the energies L(x) and L(G(z_G)), (B,), and return it as "k",
        in [0, 1], with the measure of convergence, "M_global"."""
        real, fake = all_mean(E_x.mean()), all_mean(E_g.mean())
        off = self.hyper.gamma * real - fake
        self.k_t.copy_((self.k_t + self.hyper.lambda_k * off).clamp(0, 1))
        return {"k": self.k_t, "M_global": real + off.abs()}


RULES: dict[str, Any] = {
    "margin": Margin,
    "magan": Magan,
    "began": Began,
    "pairs": lambda h: Pairs(),
}


# --- networks -------------------------------------------------------------------------------------


def networks(h: Hyper, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """G, z (B, z_size) -> picture (B, C, H, W) in [-1, 1], and D, picture -> (picture, code), for
    pictures of this shape (C, H, W), with their first weights."""
    last = [nn.Tanh()] if h.decoder == "tanh" else []
    if h.nets == "mlp":
        G = nets.dense_generator(h.z_size, h.widths_G, shape)
    else:
        G = nets.conv_generator(h.z_size, h.widths_G, h.norm_G, shape)
    G = blocks.normal_init(G, h.init_G)
    if h.nets == "mlp":
        D = nets.dense_autoencoder(h.widths_D, h.dropout, last, shape)
    else:
        D = nets.conv_autoencoder(h.widths_D, h.code_size, h.dense_Dec, h.norm_D, last, shape)
    return G, blocks.kept_init(D) if h.start_D == "he" else blocks.normal_init(D, h.init_D)


# --- the model ------------------------------------------------------------------------------------


class EBGAN:
    """Generator, auto-encoder as discriminator, its rule; for "image" (B, C, H, W) in [-1, 1]."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        C, H, W = like["image"].shape[1:]
        self.energy, self.measured = ENERGIES[h.energy], False  # whether the margin's unit is known
        self.G, self.D = (blocks.channels_last(net) for net in networks(h, (C, H, W)))
        self.rule = RULES[h.rule](h)
        self.average = EMA(self.G)
        self.opt_G = optim.adam(self.G, h.rate_G, h.beta1, h.beta2)
        self.opt_D = optim.adam(self.D, h.rate_D, h.beta1, h.beta2)

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt_G": self.hyper.rate_G, "opt_D": self.hyper.rate_D}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of D and `steps_G` of G, or one of MAGAN's warm-up; losses, energies and margin
        or k_t as scalars. A Mistake at step 0 if no energy can reach the margin."""
        h, x = self.hyper, batch["image"]
        if k == 0 and h.rule == "margin":
            self.set_margin(x)
        if h.rule == "magan" and k < (h.warm + 1) * h.epoch:
            return self.warm_up(x, k)

        z = noise(x, h.z_size)
        with torch.no_grad():
            fake = self.G(z)
        real, fake = (stabilise.shift(v, h.shift) for v in (x, fake))
        E_x, E_g, slopes = self.judge(real, fake, k)
        game = self.rule.loss(E_x, E_g, k)
        cost = value_at(h.penalty, k) * h.penalty_every / 2 * sum(slopes.values())
        if h.rule == "pairs":
            cost = cost + value_at(h.rebuild, k) * E_x.mean()
        descend((game + cost, self.opt_D))

        for _ in range(h.steps_G):
            fake = self.G(z if h.draws == "shared" else noise(x, h.z_size))
            fake = stabilise.shift(fake, h.shift)
            rebuilt, code = self.D(fake)
            PT = pull_away(all_gather(code), h.pull_away_form)
            E_made = self.energy(rebuilt, fake)
            cost = relativistic(self.E(real).detach(), E_made) if h.rule == "pairs" else E_made
            loss_G = cost.mean() + h.pull_away * PT
            descend((loss_G, self.opt_G))

        images = len(x) * distributed.world_size()
        self.average.update(images, (k + 1) * images, h.average)
        ruled = self.rule.update(E_x.detach(), (E_made if h.rule == "began" else E_g).detach(), k)
        active = (E_g < ruled["margin"]).float().mean() if "margin" in ruled else torch.ones(())
        losses = {"loss_D": game, "loss_G": loss_G, "E_real": E_x.mean(), "E_fake": E_g.mean()}
        losses |= {"hinge_active": active} if h.rule != "pairs" else {}
        return losses | {"pull_away": PT} | ruled | slopes

    def judge(self, x: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Energies (B,) of reals and fakes, and where step k penalises slopes the means of theirs,
        squared, as R1 and R2."""
        h = self.hyper
        if (k + 1) % h.penalty_every or not value_at(h.penalty, k):
            return self.E(x), self.E(fake), {}
        x, fake = x.detach().requires_grad_(), fake.requires_grad_()
        E_x, E_g = self.E(x), self.E(fake)
        R1, R2 = slope_penalty(E_x, x).mean(), slope_penalty(E_g, fake).mean()
        return E_x, E_g, {"R1": R1, "R2": R2}

    def warm_up(self, x: Tensor, k: int) -> dict[str, Tensor]:
        """MAGAN before the game: D learns real pictures,
        then one epoch measures their energy, the first margin."""
        E_x = self.E(x)
        if k < self.hyper.warm * self.hyper.epoch:
            descend((E_x.mean(), self.opt_D))
        else:
            self.rule.measure(E_x)
        return {"loss_D": E_x.mean(), "E_real": E_x.mean(), "margin": self.rule.margin}

    def look(self, pictures: Callable[[], Iterator[Batch]], batch: int) -> None:
        """Measure the margin's unit on all training data, before a step does on its own."""
        h = self.hyper
        if h.rule == "margin" and h.margin_unit == "mean_predictor":
            error = maths.error_of_mean(
                lambda: (each["image"] for each in pictures()),
                sse if h.energy == "batch" else self.energy,
            )
            self.rule.unit.copy_((error / batch).sqrt() if h.energy == "batch" else error)
            self.measured = True

    def set_margin(self, x: Tensor) -> None:
        """Measure the margin's unit on a batch, unless `look` did; refuse one out of reach."""
        h = self.hyper
        if h.margin_unit == "mean_predictor" and not self.measured:
            self.rule.unit.copy_(self.predict_mean(x))
        margins = [h.margin] if isinstance(h.margin, float) else [m for _, m in h.margin]
        top = max(margins) * float(self.rule.unit)
        if h.decoder == "tanh" and h.hinge != "none" and top >= (most := ceiling(h.energy, x)):
            raise Mistake(
                f"hyper.margin is {top:.4g} in units of the energy; "
                f"with a tanh decoder no energy reaches {most:.4g}"
            )

    def E(self, x: Tensor) -> Tensor:
        """The energy of pictures (B, C, H, W), in the chosen unit."""
        return self.energy(self.D(x)[0], x)

    def predict_mean(self, x: Tensor) -> Tensor:
        """The energy of answering every picture with the mean one, unbiased for l2 and sse."""
        x = all_gather(x)
        unbias = len(x) / max(1, len(x) - 1)
        return self.energy(x.mean(0, keepdim=True).expand_as(x), x).mean() * (
            unbias if self.hyper.energy == "sse" else unbias**0.5
        )

    def equilibrium(self) -> Mapping[str, float]:
        """In pairs each loss is ln 2 where D cannot tell (R3GAN eq. 2); a margin is logged."""
        return equilibrium() if self.hyper.rule == "pairs" else {}

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """Slopes of the energy, the energy of held-out pictures, of noise and of the mean picture,
        spread of codes and pictures; losses minus their equilibrium, L_D's a margin (theorem 1)."""
        x, G = batch["image"], self.average.module
        with eval_mode(G, self.D), torch.no_grad():
            fake = G(noise(x, self.hyper.z_size))
            static = uniform(x, *x.shape[1:]) * 2 - 1
            spread = {
                "pull_away_real": pull_away(all_gather(self.D(x)[1])),
                "diversity": maths.diversity(all_gather(fake), all_gather(x)),
            }
            # in one mode, by the same weights
            gap = self.E(held_out["image"]).mean() - self.E(x).mean()
            unseen = {"E_held_out": scalars["E_real"] + gap} if "E_real" in scalars else {}
            levels = {"E_noise": self.E(static).mean(), "predict_mean": self.predict_mean(x)}
        with eval_mode(self.D):
            slopes = {
                "grad_real": maths.slope(self.E, x).mean(),
                "grad_fake": maths.slope(self.E, fake).mean(),
            }
        margin = {"loss_D": scalars["margin"]} if "margin" in scalars else {}
        goals: Mapping[str, Tensor | float] = {**self.equilibrium(), **margin}
        off = {f"{name}_from_equilibrium": scalars[name] - goal for name, goal in goals.items()}
        return unseen | spread | levels | slopes | off

    @torch.no_grad()
    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W) of z (B, z_size), by the averaged weights; there are no classes."""
        with eval_mode(G := self.average.module):
            return G(z)

    @torch.no_grad()
    def rebuild(self, x: Tensor) -> Tensor:
        """What D makes of pictures, (B, C, H, W) as they are."""
        with eval_mode(self.D):
            return self.D(x)[0]

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples` (B, C, H, W); `reconstructed_real` and `reconstructed_fake`, (2 B, C, H, W):
        pictures, real or sampled, each followed by its reconstruction."""
        fake = self.generate(noise(x := batch["image"], self.hyper.z_size))
        return {"samples": fake} | {
            f"reconstructed_{name}": torch.stack([v, self.rebuild(v)], 1).flatten(0, 1)
            for name, v in (("real", x), ("fake", fake))
        }


Model = EBGAN
