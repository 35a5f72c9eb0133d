"""The nets of world_memory: an LSTM over codes and actions, and the mixture that it predicts.

Shapes: B sequences, T steps, Z numbers of a code, A of an action, K components, H units.
Time: code z_t and action a_t go in together, and h_{t+1} comes out, from which z_{t+1} and the
reward and the end that follow on a_t are predicted. A controller sees z_t and h_t, the state before
z_t was read.

Reference: Ha, Schmidhuber, arXiv 1803.10122, and its published code; rewards as distributions over
bins: Hafner et al., "Mastering diverse domains through world models", arXiv 2301.04104.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.errors import Mistake

LOG_ROOT = math.log(2 * math.pi) / 2  # of a normal density's normaliser
DIGEST = 16  # bytes of an eye's hash
BINS = 61  # of the distribution of a reward
WIDEST = 6.0  # symlog of the outermost bins, which are rewards of -402 and 402


class State(NamedTuple):
    """What the LSTM carries from step to step, both (B, H)."""

    h: Tensor
    c: Tensor


class Mixture(NamedTuple):
    """A mixture of normals over codes: one for each number, or (one column of logits) one over
    whole codes. Numbers lie innermost: softmax and choice then go through memory in order, six
    times as fast."""

    logits: Tensor  # (..., K, Z), or (..., K, 1) where components are shared by all numbers
    mean: Tensor  # (..., K, Z)
    free_scale: Tensor  # (..., K, Z), any number
    low: float  # lower bound of log_scale

    def select(self, *where: Any) -> "Mixture":
        """Those at these places of the leading axes."""
        return Mixture(self.logits[where], self.mean[where], self.free_scale[where], self.low)

    @property
    def log_scale(self) -> Tensor:
        """The logarithm of each standard deviation, (..., K, Z)."""
        return bounded(self.free_scale, self.low)


def bounded(free: Tensor, low: float) -> Tensor:
    """low + softplus(free - low): above the bound, and unlike a clamp never without a slope."""
    return low + F.softplus(free - low)


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(|x| + 1): like x near 0, a logarithm far from it."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp(|x|) - 1), the inverse of symlog."""
    return x.sign() * x.abs().expm1()


def bins(like: Tensor) -> Tensor:
    """The rewards b_1 < ... < b_n that a distribution is over:
    symexp of evenly spaced numbers, (BINS,)."""
    numbers = torch.arange(BINS, dtype=like.dtype, device=like.device) - BINS // 2
    return symexp(numbers * (2 * WIDEST / (BINS - 1)))


def twohot(x: Tensor) -> Tensor:
    """Weights (..., BINS) of the two bins around each number x (...): where b_k <= x <= b_{k+1},
    bin k has the weight (b_{k+1} - x) / (b_{k+1} - b_k) and bin k + 1 the rest, so that their mean
    is x. Beyond the last bin is the last bin."""
    b = bins(x)
    x = x.clamp(b[0], b[-1])
    k = (torch.searchsorted(b, x.contiguous(), right=True) - 1).clamp(0, BINS - 2)
    upper = (x - b[k]) / (b[k + 1] - b[k])
    below, above = F.one_hot(k, BINS), F.one_hot(k + 1, BINS)
    return below * (1 - upper).unsqueeze(-1) + above * upper.unsqueeze(-1)


def valued(kind: str, told: Tensor) -> Tensor:
    """The reward (...,) that a head of this kind tells of: its number; the mean sum_k p_k b_k of
    its distribution, p the softmax of told (..., BINS); of a sign 1 where it is positive, as the
    published code counts it, else 0."""
    if kind == "twohot":
        return (told.softmax(-1) * bins(told)).sum(-1)
    return told if kind == "value" else (told > 0).float()


class Prediction(NamedTuple):
    """What follows on a code and an action."""

    code: Mixture
    # (...,), the reward or the logit of its being positive; (..., BINS) logits; None without head
    reward: Tensor | None
    end: Tensor | None  # (...,), the logit of the episode's end; None without that head


class Form(NamedTuple):
    """The shape of a memory."""

    z_size: int  # Z
    a_size: int  # A
    units: int = 256  # H
    mixtures: int = 5  # K
    joint: bool = False  # one choice of component for a whole code
    reward: str = "none"  # none | value | sign | twohot
    end: bool = False  # an end head
    low: float = -6.0  # lower bound of the logarithm of a standard deviation


def log_density(mixture: Mixture, z: Tensor) -> Tensor:
    """log p(z) in nats of codes (..., Z): log sum_k pi_k N(z; mean_k, scale_k),
    shifted by its largest term. -> (...,)."""
    log_scale = mixture.log_scale
    each = (
        -0.5 * ((z.unsqueeze(-2) - mixture.mean) * (-log_scale).exp()).square()
        - log_scale
        - LOG_ROOT
    )
    if mixture.logits.shape[-1] == 1:
        each = each.sum(-1, keepdim=True)
    return (mixture.logits.log_softmax(-2) + each).logsumexp(-2).sum(-1)


def sample_mixture(mixture: Mixture, tau: float, u: Tensor, noise: Tensor) -> Tensor:
    """A code (..., Z) at temperature tau: logits / tau, standard deviation x sqrt(tau) (the
    published sampling); tau = 0 is the mean of the likeliest component. u in [0, 1) is shaped as
    the logits without K, noise as the code; either may be broadcast. Only the chosen components'
    scales are computed."""
    if tau == 0:
        chosen = mixture.logits.argmax(-2, keepdim=True)
    else:
        reached = (mixture.logits / tau).softmax(-2).cumsum(-2)[..., :-1, :]
        chosen = (u.unsqueeze(-2) >= reached).sum(-2, keepdim=True)
    chosen = chosen.expand(*chosen.shape[:-1], mixture.mean.shape[-1])
    mean = mixture.mean.gather(-2, chosen).squeeze(-2)
    if tau == 0:
        return mean
    scale = bounded(mixture.free_scale.gather(-2, chosen).squeeze(-2), mixture.low).exp()
    return mean + scale * (math.sqrt(tau) * noise)


def expected(mixture: Mixture) -> Tensor:
    """The mixture's mean, (..., Z)."""
    return (mixture.logits.softmax(-2) * mixture.mean).sum(-2)


class Memory(nn.Module):
    """M: codes (B, T, Z) and actions (B, T, A) to states and predictions.
    A step is a sequence of length 1."""

    eye: Tensor

    def __init__(self, form: Form):
        super().__init__()
        self.form, K, columns = form, form.mixtures, 1 if form.joint else form.z_size
        told = {"none": 0, "twohot": BINS}.get(form.reward, 1)
        self.sizes = [K * columns, K * form.z_size, K * form.z_size, told, int(form.end)]
        self.lstm = nn.LSTM(form.z_size + form.a_size, form.units, batch_first=True)
        self.head = nn.Linear(form.units, sum(self.sizes))
        # from weights of 0 it begins with a reward of 0, not with any of hundreds
        if form.reward == "twohot":
            rows = slice(sum(self.sizes[:3]), sum(self.sizes[:4]))
            for weight in self.head.parameters():
                weight.data[rows] = 0
        self.register_buffer(
            "eye", torch.zeros(DIGEST, dtype=torch.uint8)
        )  # hash of the eye whose codes these are; 0: none yet

    def start(self, like: Tensor) -> State:
        """The state before anything was seen, for each of the rows of `like`."""
        zero = self.head.weight.new_zeros(len(like), self.form.units)
        return State(zero, zero)

    def remember(self, z: Tensor, a: Tensor, state: State) -> tuple[Tensor, State]:
        """The states (B, T, H) after each step, and what is carried on."""
        x = torch.cat([z, a], -1).to(self.head.weight.dtype)
        seen, (h, c) = self.lstm(x, (state.h[None], state.c[None]))
        return seen, State(h[0], c[0])

    def advance(self, z: Tensor, a: Tensor, state: State) -> State:
        """One step: z (B, Z), a (B, A)."""
        return self.remember(z[:, None], a[:, None], state)[1]

    def predict(self, h: Tensor) -> Prediction:
        """From states (..., H) to what follows."""
        logits, mean, scale, reward, end = self.head(h).float().split(self.sizes, -1)
        K, ended = self.form.mixtures, end.squeeze(-1) if end.shape[-1] else None
        # squeezes one number alone, not bins
        heads = (reward.squeeze(-1) if reward.shape[-1] else None), ended
        logits, mean, scale = (part.unflatten(-1, (K, -1)) for part in (logits, mean, scale))
        return Prediction(Mixture(logits, mean, scale, self.form.low), *heads)

    def forward(self, z: Tensor, a: Tensor, state: State | None = None) -> tuple[Prediction, State]:
        seen, state = self.remember(z, a, state or self.start(z))
        return self.predict(seen), state


def check_eye(memory: Memory, eye: Tensor) -> None:
    """A Mistake if codes are of another eye than the memory was trained on; hashes eye (B, 16)
    uint8. An untrained memory takes those of any."""
    strange = (eye != memory.eye).any(1)
    if memory.eye.any() and strange.any():
        there, here = (bytes(one.tolist()).hex() for one in (memory.eye, eye[strange][0]))
        raise Mistake(
            f"these codes are of eye {here}; "
            f"allowed: those of eye {there}, which the memory was trained on"
        )
