"""M of World Models: an LSTM that predicts a world's next code. It predicts a mixture, from this
code and the action taken.

A picture's code is drawn anew at every step from the mean and variance that the eye gave it, so
that M learns no false precision. Reward and end of the episode may be predicted beside the code;
with a reward head M is a world to train in.

Shapes: B sequences, T steps, Z numbers of a code, A of an action. At time t: code z_t of the frame,
action a_t taken on seeing it, reward r_t that it earned and done_t, 1 where the episode ended with
it. M reads (z_t, a_t) and predicts z_{t+1}, r_t, done_t.

Reference: Ha, Schmidhuber, arXiv 1803.10122, appendix A.2 and A.3, and its published code; Bishop,
Mixture density networks, 1994; rewards as distributions (`reward = "twohot"`): Hafner et al., arXiv
2301.04104.
How to run: simulacra train memory_racing, on codes written by `simulacra encode`.

Deviations
- The LSTM has torch's two biases (1,024 numbers more), and starts as torch starts it.
- The logarithm of a standard deviation has a smooth lower bound (`low`); without it the density of
  a number that never changes grows without end.
- Gradients are clipped by their norm; the published code clips each number at 1.
- Reward and end heads, and one mixture over whole codes (`mixture = "joint"`), are options that the
  published code for this world does not have. All code losses are in nats a number, so that both
  mixtures can be compared.
- With `reward = "value"` rewards are clipped, so that leaving the field, -100, is believed to cost
  10 at most. `"twohot"` is DreamerV3's head, with 61 bins up to symlog +-6 in place of 255 up to
  +-20.
- What is looked at comes from a moving average of M unless `average = 0`.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.ema import EMA
from simulacra.core.idle import refuse, unless
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise, uniform
from simulacra.core.schedules import NonNegative, Schedule
from simulacra.models.world.memory_nets import (
    Form,
    Memory,
    Mixture,
    check_eye,
    expected,
    log_density,
    sample_mixture,
    twohot,
)

Size = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
REACH = 4.0  # codes beyond this leave a plot; one standard deviation of the eye's prior is 1
RENAMED = {"begin": "init_from"}  # hyperparameters of older configs: what they are now
AHEAD = 1, 5, 20, 50  # steps of the open-loop errors


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; the defaults are those of arXiv 1803.10122 and its code
    where nothing else is said."""

    units: Size = 256  # of the LSTM (A.2)
    mixtures: Size = 5  # components (A.2)
    # one for each number of a code | one over whole codes, diagonal
    mixture: Literal["each", "joint"] = "each"
    # lower bound of the logarithm of a standard deviation; ours
    low: Annotated[float, Meta(ge=-12, le=0)] = -6.0
    # predicted: the reward, clipped | its sign | shares of its bins
    reward: Literal["value", "sign", "twohot"] = "value"
    # value: learnt as if within this of 0 (a tile: up to 4, leaving: -100)
    most: Annotated[float, Meta(gt=0)] = 10.0
    weight_reward: NonNegative = 0.0  # of the reward's loss; 0: no such head, as published
    weight_end: NonNegative = 0.0  # of the end's loss; 0: no such head, as published for this world
    rate: Schedule = 1e-3  # Adam's learning rate
    beta1: Rate = 0.9  # Adam
    beta2: Rate = 0.999  # Adam
    clip: NonNegative = 1.0  # largest norm of a gradient; 0: any
    # half-life of M's moving average, in sequences; 0 looks at the last weights, as published
    average: NonNegative = 0.0
    context: Size = 8  # steps that M is shown before it goes on alone, in what is looked at
    tau: NonNegative = 1.0  # temperature of what is looked at (3.2)


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    headed, clipped = h.weight_reward != 0, h.reward == "value"
    most = unless(clipped, "reward = value", "most")
    return most | unless(headed, "weight_reward above 0", "reward", "most")


# --- losses ---------------------------------------------------------------------------------------


def loss_code(mixture: Mixture, z: Tensor) -> Tensor:
    """-log p(z_{t+1} | z_t, a_t, h_t) / Z, nats a number. Codes (B, T, Z) -> (B, T)."""
    return -log_density(mixture, z) / z.shape[-1]


def loss_reward(kind: str, told: Tensor, reward: Tensor, most: float) -> Tensor:
    """(r - reward)^2 with the reward clipped to [-most, most], the cross-entropy of reward > 0, or
    that of the two bins around the reward: -twohot(reward) . log softmax(told) (arXiv 2301.04104).
    told (B, T) or (B, T, BINS) -> (B, T)."""
    if kind == "twohot":
        return -(twohot(reward.to(told.dtype)) * told.log_softmax(-1)).sum(-1)
    if kind == "sign":
        positive = (reward > 0).to(told.dtype)
        return F.binary_cross_entropy_with_logits(told, positive, reduction="none")
    return (told - reward.clamp(-most, most)).square()


def loss_end(logit: Tensor, done: Tensor) -> Tensor:
    """The cross-entropy of the episode's end. (B, T) -> (B, T)."""
    return F.binary_cross_entropy_with_logits(logit, done.to(logit.dtype), reduction="none")


def mean_of(each: Tensor, there: Tensor | None) -> Tensor:
    """The mean of losses (B, T), or of those of the steps that are `there` (B, T), 0 or 1."""
    if there is None:
        return each.mean()
    return (each * there).sum() / there.sum().clamp_min(1)


def normal_nll(error: Tensor, seen: Tensor) -> Tensor:
    """Nats a number of errors (..., Z) under a normal distribution around 0 fitted
    to other errors (..., Z), each number's own."""
    scale = seen.flatten(0, -2).square().mean(0).sqrt().clamp_min(1e-6)
    return -torch.distributions.Normal(torch.zeros_like(scale), scale).log_prob(error).mean()


# --- the model ------------------------------------------------------------------------------------


class WorldMemory:
    """M and its average, for codes "mean" and "log_variance" (B, T, Z) with actions, rewards and
    ends."""

    decode: Callable[[Tensor], Tensor] | None = None
    """The eye's decoder, codes (N, Z) -> pictures (N, C, H, W), if whoever looks has one; it is no
    part of M."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        if "mean" not in like:
            raise ValueError(f"model world_memory takes codes, the data hold {', '.join(like)}")
        form = Form(
            like["mean"].shape[2],
            like["action"].shape[2],
            units=h.units,
            mixtures=h.mixtures,
            joint=h.mixture == "joint",
            reward=h.reward if h.weight_reward else "none",
            end=h.weight_end > 0,
            low=h.low,
        )
        if like["mean"].shape[1] < 2:
            raise ValueError(
                f"sequences of {like['mean'].shape[1]} steps; "
                "model world_memory takes 2 or more (data.length)"
            )
        self.M = Memory(form)
        self.average = EMA(self.M)
        self.opt = optim.adam(self.M, h.rate, h.beta1, h.beta2)

    def begin(self, other: "WorldMemory") -> tuple[str, ...]:
        """Go on from another run's M as one looks at it, as after more drives."""
        if other.M.form != self.M.form:
            raise ValueError(
                f"a memory of {tuple(other.M.form)}; allowed: one of {tuple(self.M.form)}"
            )
        self.M.load_state_dict(other.average.module.state_dict())
        self.average.follow()
        return "M", "average"

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt": self.hyper.rate}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of M on codes drawn anew; losses as scalars, that of the code in nats a number.
        A Mistake if the codes are of another eye than those before."""
        h, z = self.hyper, self.sample_codes(batch)
        self.meet(batch["eye"])
        told = self.losses(self.M, z, batch)
        loss = told["loss_z"]
        for name, weight in ("loss_reward", h.weight_reward), ("loss_end", h.weight_end):
            if name in told:
                loss = loss + weight * told[name]
        descend((loss, self.opt), clip=h.clip)

        sequences = len(z) * distributed.world_size()
        self.average.update(sequences, (k + 1) * sequences, h.average)
        return {"loss": loss, **told}

    def losses(self, M: Memory, z: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Every loss over codes z (B, T, Z): of the code over T - 1 steps, of reward and end over
        all T; of steps that were filled up ("there" is 0) none."""
        follows, _ = M(z, batch["action"])
        there = batch.get("there")
        each = loss_code(follows.code.select(slice(None), slice(-1)), z[:, 1:])
        told = {"loss_z": mean_of(each, None if there is None else there[:, 1:])}
        if follows.reward is not None:
            kind, most = self.hyper.reward, self.hyper.most
            each = loss_reward(kind, follows.reward, batch["reward"], most)
            told["loss_reward"] = mean_of(each, there)
        if follows.end is not None:
            told["loss_end"] = mean_of(loss_end(follows.end, batch["done"]), there)
        return told

    def sample_codes(self, batch: Batch) -> Tensor:
        """Codes (B, T, Z), drawn from the eye's posterior."""
        mean = batch["mean"]
        return mean + (batch["log_variance"] / 2).exp() * noise(mean, *mean.shape[1:])

    def check(self, batch: Batch) -> None:
        """A Mistake if the memory that this one goes on from was trained on another eye."""
        check_eye(self.M, batch["eye"])

    def meet(self, eye: Tensor) -> None:
        """Remember the hash of the eye that made the codes (B, 16),
        or refuse those of another one."""
        if not self.M.eye.any():
            self.M.eye.copy_(eye[0])
        check_eye(self.M, eye)

    # --- looking ---

    def imagine(self, z: Tensor, a: Tensor, tau: float | None) -> Tensor:
        """Codes (B, T, Z) for actions a (B, T, A): the first C are z (B, C, Z), from then on M's
        own at temperature tau, fed back to it; None feeds back the mixture's mean."""
        M, C = self.average.module, z.shape[1]
        with eval_mode(M), torch.no_grad():
            follows, state = M(z, a[:, :C])
            code, codes = follows.code.select(slice(None), -1), [z]
            for t in range(C, a.shape[1]):
                u = uniform(z, 1 if M.form.joint else z.shape[2])
                if tau is None:
                    now = expected(code)
                else:
                    now = sample_mixture(code, tau, u, noise(z, z.shape[2]))
                codes.append(now[:, None])
                state = M.advance(now, a[:, t], state)
                code = M.predict(state.h).code
        return torch.cat(codes, 1)

    def forecast(self, batch: Batch) -> dict[str, Tensor]:
        """The open-loop error k steps ahead, root mean square over codes, relative to that of the
        last code shown: below 1 M knows more than that the world stands still. As many k as the
        sequences are long enough for."""
        mean, C = batch["mean"], self.shown(batch)
        ahead = self.imagine(mean[:, :C], batch["action"], None)
        told = {}
        for k in AHEAD:
            if C - 1 + k < mean.shape[1]:
                true, last = mean[:, C - 1 + k], mean[:, C - 1]
                off, still = (
                    distributed.all_gather((code - true).square()).mean()
                    for code in (ahead[:, C - 1 + k], last)
                )
                told[f"open_{k}"] = (off / still.clamp_min(1e-12)).sqrt()
        return told

    def shown(self, batch: Batch) -> int:
        """How many steps are shown before M goes on alone."""
        return min(self.hyper.context, batch["mean"].shape[1] - 1)

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """Of held-out codes: the losses; in nats a number those of one normal distribution and of
        the last code, both fitted to the training batch; open-loop errors."""
        check_eye(self.M, held_out["eye"])
        z, unseen = self.sample_codes(batch), self.sample_codes(held_out)
        with eval_mode(self.average.module), torch.no_grad():
            losses = self.losses(self.average.module, unseen, held_out)
            told = {f"{name}_held_out": value for name, value in losses.items()}
        z = distributed.all_gather(z)
        middle = z.flatten(0, 1).mean(0)
        told["nats_normal"] = normal_nll(unseen[:, 1:] - middle, z - middle)
        told["nats_copy"] = normal_nll(unseen.diff(dim=1), z.diff(dim=1))
        return told | self.forecast(held_out)

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples`: codes (B, T, Z) of which M imagined all but the first few, for the recorded
        actions, 4 as 1. `beside`: the code's liveliest number as it was and as M imagined it.
        `dream`: with a decoder, the same as films."""
        C = self.shown(batch)
        made = self.imagine(self.sample_codes(batch)[:, :C], batch["action"], self.hyper.tau)
        liveliest = batch["mean"].std((0, 1)).argmax()
        beside = torch.stack([batch["mean"][..., liveliest], made[..., liveliest]], 2)
        told = {"samples": (made / REACH).clamp(-1, 1), "beside": (beside / REACH).clamp(-1, 1)}
        if self.decode is None:
            return told
        few = torch.stack([batch["mean"][:4], made[:4]], 1)
        with torch.no_grad():
            films = torch.stack([self.decode(codes) for codes in few.flatten(0, 1)])
        return told | {"dream": films.unflatten(0, (-1, 2)).clamp(-1, 1)}


Model = WorldMemory
