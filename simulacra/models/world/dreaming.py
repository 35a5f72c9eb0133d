"""Controllers as one batch of agents, and dreams: what they earn inside a memory instead of the
world.

Shapes: P controllers, E rollouts of each, N numbers of a controller, F features that it sees, Z, A,
H as in memory_nets. Rows of a batch are controller by controller: row p * E + e is rollout e of
controller p.

Reference: Ha, Schmidhuber, arXiv 1803.10122, section 2.4 and its published code.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.core import distributed
from simulacra.core.random import generator
from simulacra.models.world.memory_nets import Memory, Prediction, State, sample_mixture, valued

ROWS = 1024  # dreamt at once: more leave the processor's cache


def squashed(kind: str, x: Tensor) -> Tensor:
    """Actions (..., A) from numbers (..., A). "paper": steer tanh, gas (tanh + 1) / 2, brake tanh
    clipped at 0, so that the zero controller gives 0, 1/2, 0; "notes": the brake as the gas, so
    that it brakes by half; "tanh": all alike; "argmax": the choice whose number is largest is 1,
    the others 0, and of equal ones it is the first."""
    if kind == "argmax":
        return torch.nn.functional.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype)
    x = x.tanh()
    if kind == "tanh":
        return x
    steer, gas, brake = x.unbind(-1)
    brake = brake.clamp_min(0) if kind == "paper" else (brake + 1) / 2
    return torch.stack([steer, (gas + 1) / 2, brake], -1)


def numbers(features: int, actions: int) -> int:
    """N of a linear controller: 867 for 288 features and 3 actions."""
    return actions * (features + 1)


class Agents:
    """P linear controllers (P, N), each in E rollouts: a = squash(W [z; h] + b), W first in a row,
    by action. The memory is advanced with (z_t, a_t) after a_t was chosen from h_t. Without one
    they see codes alone."""

    def __init__(
        self,
        controllers: Tensor,
        senses: Memory | None,
        state: State | None,
        squash: str,
        actions: int = 3,
    ):
        weight, bias = controllers.split([controllers.shape[1] - actions, actions], 1)
        self.weight = weight.unflatten(1, (actions, -1)).transpose(1, 2).contiguous()  # (P, F, A)
        self.bias, self.senses, self.squash = bias[:, None], senses, squash
        self.state = state  # of the memory, (P E, H); None without one

    def act(self, z: Tensor) -> Tensor:
        """The actions (P E, A) on codes (P E, Z)."""
        seen = torch.cat([z, self.state.h.to(z.dtype)], 1) if self.state else z
        raw = torch.baddbmm(self.bias, seen.unflatten(0, (len(self.weight), -1)), self.weight)
        a = squashed(self.squash, raw).flatten(0, 1)
        if self.senses and self.state:
            self.state = self.senses.advance(z, a, self.state)
        return a


@dataclass(frozen=True)
class Dream:
    """Where controllers dream, and how they see it."""

    memory: Memory  # the world; it has a reward head
    # whose state controllers see: `memory` itself, another (the untrained arm) or none
    senses: Memory | None
    steps: int  # longest rollout
    tau: float  # temperature
    squash: str = "paper"  # of actions
    noise: float = 1.0  # of the standard deviations; 0: the mean of the drawn component
    # of the memories; bfloat16 is faster where the processor knows it
    dtype: torch.dtype = torch.float32

    def typed(self) -> "Dream":
        """The same with memories of the dream's type."""
        if self.dtype == torch.float32:
            return self
        memory, same = copy.deepcopy(self.memory).to(self.dtype), self.senses is self.memory
        other = None if self.senses is None else copy.deepcopy(self.senses).to(self.dtype)
        return replace(self, memory=memory, senses=memory if same else other)


class Start(NamedTuple):
    """Where E rollouts begin: frames that are only remembered, and the first to act on.
    (E, C, Z), (E, C, A), (E, Z)."""

    codes: Tensor
    actions: Tensor
    first: Tensor

    def state(self, memory: Memory | None, controllers: int) -> State | None:
        """What a memory carries then, (P E, H)."""
        if memory is None:
            return None
        state = memory.start(self.first)
        if self.codes.shape[1]:
            state = memory.remember(self.codes, self.actions, state)[1]
        return State(*(part.repeat(controllers, 1) for part in state))


def beginning(codes: Tensor, actions: Tensor, context: int) -> Start:
    """The start of rollouts from recorded codes (E, T, Z) and actions (E, T, A),
    of which the first C are only remembered."""
    return Start(codes[:, :context], actions[:, :context], codes[:, context])


@dataclass(frozen=True)
class Dreamt:
    """What came of it."""

    returns: Tensor  # (P, E) float32, sums of the rewards dreamt until the end
    lengths: Tensor  # (P, E), steps until the end, that one included
    codes: Tensor | None = None  # (P, E, T, Z), if they were asked for
    actions: Tensor | None = None  # (P, E, T, A)


@torch.inference_mode()
def dream_returns(
    controllers: Tensor,
    dream: Dream,
    start: Start,
    seed: int,
    *,
    keep: bool = False,
    own: bool = False,
) -> Dreamt:
    """What controllers (P, N) earn in E rollouts, with noise by seed that is the same for every
    controller, so that equal ones earn the same, unless each is to have its `own`; `keep` also
    returns what was dreamt, whose ends are not waited for. Only then the memory may be one without
    a reward head, in whose dreams nothing is earned."""
    if dream.memory.form.reward == "none" and not keep:
        raise ValueError(
            "this memory has no reward head, "
            "so nothing is earned in its dreams (hyper.weight_reward above 0 trains one)"
        )
    typed, few = dream.typed(), max(1, ROWS // len(start.first))
    parts = []
    for i, some in enumerate(controllers.float().split(few)):
        dice = generator(seed, "dream", *([i] if own else []))
        parts.append(_dreamt(some, typed, start, dice, keep, own))
    names = ["returns", "lengths", *(["codes", "actions"] if keep else [])]
    return Dreamt(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _dreamt(
    controllers: Tensor,
    dream: Dream,
    start: Start,
    dice: torch.Generator,
    keep: bool,
    own_luck: bool,
) -> Dreamt:
    memory, P, (E, Z) = dream.memory, len(controllers), start.first.shape
    shape = (P, E) if own_luck else (E,)
    count = math.prod(shape) * distributed.world_size()
    columns = 1 if memory.form.joint else Z
    agents = Agents(
        controllers, dream.senses, start.state(dream.senses, P), dream.squash, memory.form.a_size
    )
    shared = dream.senses is memory
    own = None if shared else start.state(memory, P)
    z = start.first.repeat(P, 1)
    earned, lengths, alive = (torch.full_like(z[:, 0], fill).view(P, E) for fill in (0.0, 0.0, 1.0))
    told: list[tuple[Tensor, Tensor]] = []
    for _ in range(dream.steps):
        a = agents.act(z)
        if keep:
            told.append((z, a))
        own = agents.state if shared else memory.advance(z, a, own)  # type: ignore[arg-type]
        u = distributed.own_rows(torch.rand(count, columns + 1, generator=dice))
        u = u.to(z.device).unflatten(0, shape)
        noise = distributed.own_rows(torch.randn(count, Z, generator=dice))
        noise = dream.noise * noise.to(z.device).unflatten(0, shape)
        follows = memory.predict(own.h.unflatten(0, (P, E)))  # type: ignore[union-attr]
        earned += alive * earning(memory, follows)
        lengths += alive
        z = sample_mixture(follows.code, dream.tau, u[..., 1:], noise).flatten(0, 1)
        if follows.end is not None:
            alive = alive * (u[..., 0] >= follows.end.sigmoid())
            if not (keep or alive.any()):
                break
    kept = [torch.stack(one, 1).unflatten(0, (P, E)) for one in zip(*told, strict=True)]
    return Dreamt(earned, lengths, *kept)


def earning(memory: Memory, follows: Prediction) -> Tensor:
    """The reward dreamt, as the world would pay it,
    or 1 where it is positive of a memory of signs; 0 without that head."""
    if follows.reward is None:
        return torch.zeros(())
    return valued(memory.form.reward, follows.reward)
