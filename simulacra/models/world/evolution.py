"""CMA-ES, the library's, as a part of a model: its noise follows from the step, its state is
arrays, so that a resumed search is the unbroken one, bit for bit.

Reference: Hansen, arXiv 1604.00772; pycma.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulacra.core import extras
from simulacra.core.errors import Mistake

STATE = [  # all that a generation changes and a later one reads
    *("mean", "sigma", "pc", "pc2", "pc_neg", "dC", "countiter", "countevals", "itereigenupdated"),
    *("sm.C", "sm.B", "sm.D", "sm.last_update", "sm.count_tell", "sm.count_eigen"),
    *("adapt_sigma.ps", "adapt_sigma._ps_updated_iteration"),
]
# and this from 300 numbers on, where the library finds the step size by two samples along the last
# shift
MIRRORED = "adapt_sigma.s"
DIRECTIONS = "directions"  # of those samples, (2, N), or none: (0, N)
# what checkpoints of old lack; a search that goes on from one of them is not the unbroken one
LATE = {MIRRORED, DIRECTIONS}


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers from torch's generator, which the clock reseeds before each step."""
    return torch.randn(shape, dtype=torch.float64).numpy()


class Search:
    """A search distribution N(mean, sigma^2 C) over N numbers,
    from a first mean (N,) and C = 1, that minimises costs."""

    def __init__(self, first: Tensor, sigma: float, population: int):
        try:
            import cma
        except ImportError:
            raise Mistake(
                "model world_controller needs the package cma; install it with: "
                f"{extras.install('worlds')}"
            ) from None
        quiet = {"verbose": -9, "verb_log": 0, "verb_disp": 0}
        # seed nan: the library seeds nothing
        settings = {"popsize": population, "randn": normal, "seed": np.nan, **quiet}
        self.strategy = cma.CMAEvolutionStrategy(first.double().numpy(), sigma, settings)
        # or its path is only there after a first generation
        self.strategy.adapt_sigma.initialize(self.strategy)
        self.strategy.adapt_sigma.initialize_base(self.strategy)

    def ask(self) -> Tensor:
        """A population (P, N) float64."""
        return torch.from_numpy(np.stack(self.strategy.ask()))

    def tell(self, population: Tensor, costs: Tensor) -> None:
        """Learn from the costs (P,) of what was asked for."""
        self.strategy.tell(list(population.numpy()), costs.double().tolist())

    @property
    def mean(self) -> Tensor:
        """The middle of the search distribution (N,) float64:
        what is evaluated, never the best member."""
        return torch.from_numpy(np.array(self.strategy.mean))

    @property
    def sigma(self) -> float:
        """The step size."""
        return float(self.strategy.sigma)

    @property
    def names(self) -> list[str]:
        """Of the arrays and numbers of its state that the library keeps by these names."""
        return [*STATE, *([MIRRORED] if hasattr(self.strategy.adapt_sigma, "s") else [])]

    def state_dict(self) -> dict[str, Any]:
        """Every array and number of the search."""
        found = {name: torch.from_numpy(np.array(self._at(name)[0][1])) for name in self.names}
        directions = np.array(self.strategy.pop_injection_directions).reshape(-1, len(self.mean))
        return found | {DIRECTIONS: torch.from_numpy(directions)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a state back; ValueError if it is of another search."""
        wanted = {*self.names, DIRECTIONS}
        if not wanted - LATE <= set(state) <= wanted or state["mean"].shape != self.mean.shape:
            raise ValueError(
                f"a search over {tuple(self.mean.shape)} numbers, "
                f"not {tuple(state.get('mean', torch.empty(0)).shape)}"
            )
        if (
            self.strategy.countiter == 0 < state["countiter"]
        ):  # a generation makes what the library makes only then; all that counts is put back
            population = self.ask()
            self.tell(population, torch.arange(len(population)))
        for name, value in state.items():
            if name == DIRECTIONS:
                continue
            (part, old), last = self._at(name)
            array = np.array(value.numpy())  # a copy laid out alike, which rounding depends on
            setattr(
                part,
                last,
                array if isinstance(old, np.ndarray) and old.ndim else type(old)(array.item()),
            )
        if len(directions := state.get(DIRECTIONS, torch.empty(0)).numpy().copy()):
            self.strategy.pop_injection_directions = list(directions)
            # by these the library checks the samples
            self.strategy.mean_after_tell = self.strategy.mean.copy()
            self.strategy.mean_old = self.strategy.mean - directions[0]
        self.strategy.C = self.strategy.sm.C
        self.strategy.B, self.strategy.D = self.strategy.sm.B, self.strategy.sm.D

    def follow(self, other: "Search") -> None:
        """Go on from another search's distribution, but for the step size: what it has learnt of
        the landscape, as in a dream, is kept."""
        sigma = self.strategy.sigma
        self.load_state_dict(other.state_dict())
        self.strategy.sigma = sigma

    def widen(self, other: "Search", places: Tensor) -> None:
        """Go on from a search over fewer numbers, which are those at `places` here; the mean of all
        others is 0, their variance the mean of its variances, but for the step size, and nothing
        correlates with them."""
        at, own = places.numpy(), self.strategy
        own.mean = np.zeros(len(self.mean))
        own.mean[at] = other.mean.numpy()
        C = np.eye(len(self.mean)) * np.diag(other.strategy.sm.C).mean()
        C[np.ix_(at, at)] = other.strategy.sm.C
        variances, own.sm.B = np.linalg.eigh(C)
        own.sm.C, own.sm.D = C, np.sqrt(variances)
        own.C, own.B, own.D = own.sm.C, own.sm.B, own.sm.D

    def packed(self) -> dict[str, Tensor]:
        """The mean: all that one looks at."""
        return {"mean": self.mean}

    def unpack(self, state: dict[str, Tensor]) -> None:
        """Put a mean back into a search that is not gone on with;
        ValueError if it is of another one."""
        if state["mean"].shape != self.mean.shape:
            raise ValueError(
                f"a search over {tuple(self.mean.shape)} numbers, not {tuple(state['mean'].shape)}"
            )
        self.strategy.mean = state["mean"].numpy().copy()

    def _at(self, name: str) -> tuple[tuple[Any, Any], str]:
        *parts, last = name.split(".")
        part: Any = self.strategy
        for one in parts:
            part = getattr(part, one)
        return (part, getattr(part, last)), last
