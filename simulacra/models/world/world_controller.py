"""C of World Models: a linear map to actions, found by evolution. It maps code and memory, and is
trained in the world or in M's dream of it.

A step is one generation of CMA-ES: a population of controllers is drawn, each drives the same
rollouts, and the search distribution learns from what they earned. All rollouts of all members run
as one batch. What is judged in the end is the mean of the search distribution, never the best
member.

Shapes: P members, E rollouts of each, N numbers of a controller, 867 = 288 x 3 + 3 as published; Z,
A, T as in world_memory. A step's batch holds E recorded sequences of codes: where dreams begin.

Reference: Ha, Schmidhuber, arXiv 1803.10122, sections 2.3, 2.4 and 4, and its published code;
CMA-ES: Hansen, arXiv 1604.00772.
How to run: simulacra train controller_racing, with hyper.memory the run folder of M and hyper.eye
that of V.

Deviations
- All members of a generation get the same tracks, noise and first codes; published, each had tracks
  of its own (luck = "own").
- Weight decay lowers fitness; in the published code its sign is reversed.
- A dream ends where M says so and pays what M's reward head says; published dreams of another world
  pay 1 a step.
- A dream may begin in the middle of a recorded sequence, of which M has been shown the beginning
  (`context`).
- pycma's defaults (weights of both signs) replace those of its release of 2018.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor

from simulacra.core import distributed
from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.idle import refuse, unless
from simulacra.core.random import fold, generator
from simulacra.core.schedules import NonNegative
from simulacra.envs.carracing import tracks
from simulacra.envs.view import UNSET, View
from simulacra.models.world import acting, artefacts
from simulacra.models.world.dreaming import Dream, Dreamt, beginning, dream_returns, numbers
from simulacra.models.world.evolution import Search
from simulacra.models.world.memory_nets import Form, Memory, check_eye

Size = Annotated[int, Meta(ge=1)]
RUNS = "memory", "eye"  # hyperparameters that name runs, without which there is no agent
RENAMED = {"begin": "init_from"}  # hyperparameters of older configs: what they are now
REACH = 4.0  # codes beyond this leave a plot


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; the defaults are those of arXiv 1803.10122 and its code
    where nothing else is said."""

    # C sees M's state | that of an untrained M | codes alone
    arm: Literal["full", "untrained", "z_only"] = "full"
    # where members drive; published: the world itself
    world: Literal["dream", "envpool", "gymnasium"] = "envpool"
    memory: str = ""  # run folder of world_memory; empty: an untrained M, whose dreams are noise
    eye: str = ""  # run folder of the eye that made the codes; not read in dreams
    # P (appendix A.4); E, rollouts of each (16), is the config's batch
    population: Annotated[int, Meta(ge=4)] = 64
    sigma: Annotated[float, Meta(gt=0)] = 0.1  # first step size
    steps: Size = 1000  # longest rollout
    # tracks and noise of all members of a generation | each its own, as published
    luck: Literal["shared", "own"] = "shared"
    # zero gives gas 1/2, brake 0 | gas and brake 1/2 | all 0
    # | one of A choices, that with the largest number
    squash: Literal["paper", "notes", "tanh", "argmax"] = "paper"
    act_on: Literal["sample", "mean"] = "sample"  # a code drawn from the eye's posterior | its mean
    # fitness lost by the mean of the squared weights; published 0.01, with the sign reversed
    weight_decay: NonNegative = 0.0
    context: Annotated[int, Meta(ge=0)] = 0  # dreams: recorded steps that memories are shown first
    tau: Annotated[float, Meta(ge=0)] = 1.0  # dreams: temperature (3.2)
    # dreams: factor of standard deviations; 0: a component's mean, as Tallec et al. dream
    noise: NonNegative = 1.0
    units: Size = 256  # of an untrained M


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    return unless(
        h.arm == "untrained" or not h.memory, "arm = untrained, or an untrained memory", "units"
    ) | unless(h.world != "dream" or h.tau > 0, "tau above 0", "noise")


# --- what is compared -----------------------------------------------------------------------------


def cost(returns: Tensor, members: Tensor, weight_decay: float) -> Tensor:
    """What a search minimises: minus the mean return,
    plus the decay times the mean squared weight. (P, E), (P, N) -> (P,)."""
    return -returns.double().mean(1) + weight_decay * members.double().square().mean(1)


class Frozen:
    """A memory that no one trains here: kept with the checkpoint, owned by no player."""

    def __init__(self, module: Memory):
        self.module = module.requires_grad_(False).eval()

    def state_dict(self) -> dict[str, Any]:
        """The memory's weights, and the hash of its eye."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a memory's weights back; RuntimeError if they have other shapes."""
        self.module.load_state_dict(state)

    packed, unpack = state_dict, load_state_dict  # the same where one only looks


# --- the model ------------------------------------------------------------------------------------


class WorldController:
    """The search for a controller, and the memory whose state it sees; for codes with actions, from
    which dreams begin."""

    opened: tuple[acting.Eye, acting.Factory] | None = None
    """The eye and the world, opened when members first drive; whoever has others puts them here
    before."""
    sees: View | None = None
    """What that eye sees, so that the world shows it."""
    faults = 0
    """Plays that broke in the last rollouts."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        if "mean" not in like:
            raise ValueError(f"model world_controller takes codes, the data hold {', '.join(like)}")
        Z, A = like["mean"].shape[2], like["action"].shape[2]
        if A != 3 and h.squash in ("paper", "notes"):
            raise ValueError(
                f"actions of {A} numbers; squash = {h.squash} is for 3: steer, gas, brake; "
                "allowed: tanh, or argmax of choices"
            )
        untrained = Form(Z, A, units=h.units, reward="value", end=True)
        memory = artefacts.memory_of(h.memory) if h.memory else Memory(untrained)
        if (memory.form.z_size, memory.form.a_size) != (Z, A):
            raise ValueError(
                f"codes and actions of {Z} and {A} numbers; {h.memory} takes {memory.form[:2]}"
            )
        if h.world == "dream" and memory.form.reward == "none":
            raise ValueError(
                f"{h.memory} has no reward head to dream with; "
                "train it with hyper.weight_reward above 0"
            )
        if h.context >= like["mean"].shape[1]:
            raise ValueError(
                f"context = {h.context}; "
                f"allowed: below the {like['mean'].shape[1]} steps of a sequence (data.length)"
            )
        self.memory = Frozen(memory)
        if h.arm == "untrained":
            self.untrained = Frozen(Memory(untrained))
        senses = self.senses()
        size = numbers(Z + (senses.form.units if senses else 0), A)
        self.alone, self.actions = numbers(Z, A), A
        self.search = Search(torch.zeros(size), h.sigma, h.population)

    def begin(self, other: "WorldController") -> tuple[str, ...]:
        """Go on from another run's search with `sigma`;
        from one of codes alone with weights of 0 on the memory's state."""
        begun, alone, actions = other.search, self.alone, self.actions
        size, found = len(self.search.mean), len(begun.mean)
        if found == size:
            self.search.follow(begun)
        elif found == alone:
            weights = torch.arange(size - actions).view(actions, -1)[:, : alone // actions - 1]
            biases = torch.arange(size - actions, size)
            self.search.widen(begun, torch.cat([weights.flatten(), biases]))
        else:
            allowed = " or ".join(str(one) for one in sorted({alone, size}))
            raise ValueError(f"a controller of {found} numbers; allowed: one of {allowed}")
        return ("search",)

    def senses(self) -> Memory | None:
        """Whose state controllers see."""
        if self.hyper.arm == "z_only":
            return None
        return self.memory.module if self.hyper.arm == "full" else self.untrained.module

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One generation: P members drive or dream, and the search hears what each earned; as
        scalars the mean cost, returns, their spread, steps of a rollout and sigma."""
        members = self.search.ask()
        each_has = 1 if self.hyper.luck == "shared" else len(members)
        drawn = tracks.random_tracks(len(batch["mean"]) * distributed.world_size() * each_has)
        returns, lengths = self.rollouts(members, batch, drawn)
        costs = distributed.all_mean(cost(returns, members, self.hyper.weight_decay))
        self.search.tell(members, costs)
        each = distributed.all_mean(returns.mean(1))
        told = {
            "loss": costs.mean(),
            "return": each.mean(),
            "return_best": each.max(),
            "return_worst": each.min(),
        }
        if self.faults:
            told["faults"] = torch.tensor(float(self.faults))
        return told | {
            "spread": each.std(),
            "steps": lengths.mean(),
            "sigma": torch.tensor(self.search.sigma),
        }

    def check(self, batch: Batch) -> None:
        """A Mistake if M was trained on another eye than that of the codes, or than that through
        which members see. Dreams do not look, but score, drive and dream do later."""
        check_eye(self.memory.module, batch["eye"])
        if self.drives:
            self.open()
        elif self.hyper.eye:
            seen = artefacts.eye_at(self.hyper.eye)
            artefacts.same_eye(self.memory.module, seen)
            if bytes(batch["eye"][0].tolist()).hex() != seen.hash:
                raise Mistake(
                    f"hyper.eye: {self.hyper.eye} is not the eye that made the codes: its hash is "
                    f"{seen.hash}, theirs {bytes(batch['eye'][0].tolist()).hex()}"
                )

    def rollouts(self, members: Tensor, batch: Batch, seeds: list[int]) -> tuple[Tensor, Tensor]:
        """Returns and lengths (P, E) of controllers (P, N): in dreams from the batch's codes, or on
        this process's share of the tracks of these seeds: those of all processes, which all members
        drive, or P times as many of which each has its own."""
        own = len(seeds) > len(batch["mean"]) * distributed.world_size()
        if self.hyper.world == "dream":
            dreamt = self.dream(members, batch, fold(seeds[0], "rank", 0), own=own)
            return dreamt.returns.clone(), dreamt.lengths.clone()
        eye, factory = self.open()
        h = self.hyper
        senses = acting.Senses(eye, self.senses(), h.squash, h.act_on == "sample", self.actions)
        # seeds (P or 1, E)
        some = distributed.own_rows(torch.tensor(seeds).view(len(members) if own else 1, -1).T).T
        with acting.closing(factory(some.expand(len(members), -1).flatten().tolist())) as world:
            driven = acting.drive(members, senses, world, fold(seeds[0], "luck"), h.steps, own=own)
            self.faults = len(getattr(world, "faults", ()))
        return driven.returns.clone(), driven.lengths.clone()

    def open(self) -> tuple[acting.Eye, acting.Factory]:
        """The eye and the world that the config names;
        a Mistake if M was trained on another eye."""
        if self.opened is None:
            seen = artefacts.eye_at(self.hyper.eye)
            artefacts.same_eye(self.memory.module, seen)
            self.does(seen.view)
            world = artefacts.world(self.hyper.world, seen.view)
            self.opened, self.sees = (seen.eye, world), seen.view
        return self.opened

    def does(self, view: View | None) -> None:
        """A Mistake if controllers do something else than can be done in a game."""
        if view is None or (able := view.actions) is UNSET:
            return
        wanted = "argmax" if able.kind == "discrete" else "tanh"
        if able.size != self.actions:
            raise Mistake(
                f"game {view.world} has actions of {able.size} numbers, the codes of "
                f"{self.actions}; allowed: recordings of that game"
            )
        if self.hyper.squash != wanted:
            raise Mistake(
                f"hyper.squash = {self.hyper.squash}; allowed: {wanted}, since actions of game "
                f"{view.world} are {able.kind}"
            )

    @property
    def drives(self) -> bool:
        """Whether members drive in the world, not in dreams."""
        return self.hyper.world != "dream"

    def view(self) -> View | None:
        """What members see who drive in the world, if that is known."""
        self.open()
        return self.sees

    def dream(
        self,
        members: Tensor,
        batch: Batch,
        seed: int,
        steps: int = 0,
        keep: bool = False,
        tau: float | None = None,
        own: bool = False,
    ) -> Dreamt:
        """What controllers earn in dreams that begin with the batch's codes; None: the run's own
        temperature. `own`: each controller has noise of its own."""
        h, z = self.hyper, batch["mean"]
        check_eye(self.memory.module, batch["eye"])
        if h.act_on == "sample":
            dice = generator(seed, "codes")
            noise = torch.randn(len(z) * distributed.world_size(), *z.shape[1:], generator=dice)
            noise = distributed.own_rows(noise).to(z.device)
            z = z + (batch["log_variance"] / 2).exp() * noise
        dream = Dream(
            self.memory.module,
            self.senses(),
            steps or h.steps,
            h.tau if tau is None else tau,
            h.squash,
            h.noise,
        )
        return dream_returns(
            members, dream, beginning(z, batch["action"], h.context), seed, keep=keep, own=own
        )

    @property
    def centre(self) -> Tensor:
        """The controller that is judged, the mean of the search distribution, (N,) float32."""
        return self.search.mean.float()

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """What the mean of the search distribution earns,
        always in the same dreams or on the same tracks, which are for that."""
        count = len(held_out["mean"]) * distributed.world_size()
        returns, _ = self.rollouts(self.centre[None], held_out, list(tracks.SELECTION[:count]))
        return {"return_centre": distributed.all_mean(returns.mean())}

    @torch.no_grad()
    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples`: codes (B, T, Z) of what the centre dreams, 4 as 1,
        and `actions`, what it does there: steer, gas, brake."""
        T = batch["mean"].shape[1]
        dreamt = self.dream(self.centre[None], batch, int(torch.randint(2**31, ())), T, keep=True)
        assert dreamt.codes is not None and dreamt.actions is not None
        return {
            "samples": (dreamt.codes[0] / REACH).clamp(-1, 1),
            "actions": dreamt.actions[0].clamp(-1, 1),
        }


Model = WorldController
