"""All metrics of sampled futures: against the true one and each other, and, where the law of motion
is known, against it.

Baselines in the same code: copying the picture; copying the flow of a near neighbour (arXiv
1607.02586, section 5.1). The other baseline there, an autoencoder, is the model without KL
(hyper.beta = 0).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.contract import HasTruth
from simulacra.core.random import fold, generator
from simulacra.data import shapes
from simulacra.metrics.futures import motion
from simulacra.metrics.images.extractors import digest
from simulacra.metrics.intervals.jackknife import variance
from simulacra.nn.maths import psnr

NAME = "pairs"
"""What a data set of pairs names as its extractor: there is none, the frames themselves are
compared."""
FUTURES = 6  # sampled for each picture
GROUPS = 10  # of pictures, each of which is left out once for the interval
NEIGHBOURS = 10  # of which one gives its flow
THUMB = 16  # side of the pictures among which neighbours are sought
KNOWN = 4000  # training pairs among which they are
CONSTANTS = (
    FUTURES,
    NEIGHBOURS,
    THUMB,
    KNOWN,
    motion.BIN,
    motion.BINS,
    motion.SMOOTHING,
    motion.MOVED,
    motion.FAR,
)
HASH = digest(repr(CONSTANTS).encode())
"""Of the constants that the numbers depend on, in the place of an extractor's hash."""


@dataclass(frozen=True)
class Reals:
    """Held-out pairs, and what is known of them."""

    image: Tensor  # (N, C, H, W)
    next: Tensor  # (N, C, H, W)
    source: Any  # the data set, whose law may be known
    seed: int  # of the law's other futures, and of the neighbours

    @cached_property
    def truth(self) -> shapes.Truth | None:
        """What the frames show, if the data are painted by a law."""
        return (
            self.source.truth("held_out", len(self.image))
            if isinstance(self.source, HasTruth)
            else None
        )

    def true_futures(self, number: int) -> Tensor:
        """Other futures (N, FUTURES, C, H, W) of the same pictures,
        drawn from the law and painted; other numbers, others."""
        assert self.truth is not None
        drawn = [
            shapes.redraw(self.truth, fold(self.seed, "futures", number, i)) for i in range(FUTURES)
        ]
        return torch.stack([shapes.paint(self.truth, step) for step in drawn], 1)

    @cached_property
    def law(self) -> "Moves":
        """How shapes move by the law, read from painted futures as samples are."""
        return Moves.read(self.true_futures(0), self)


@dataclass(frozen=True)
class Moves:
    """Displacements read from futures, S shapes, k a picture."""

    moved: Tensor  # (N k, S, 2)
    matched: Tensor  # (N k, S)
    truth: shapes.Truth  # of N k pairs

    @classmethod
    def read(cls, futures: Tensor, reals: Reals) -> "Moves":
        """Those of futures (N, k, C, H, W)."""
        assert reals.truth is not None
        truth = reals.truth.select(torch.arange(len(futures)).repeat_interleave(futures.shape[1]))
        return cls(*motion.displacements(futures.flatten(0, 1), truth), truth)

    def of_pictures(self, rows: Tensor, k: int) -> "Moves":
        """Those of k futures of some of the pictures."""
        places = (rows[:, None] * k + torch.arange(k)).flatten()
        return Moves(self.moved[places], self.matched[places], self.truth.select(places))

    def of(self, name: str) -> tuple[Tensor, Tensor]:
        """Displacements (N k, 2) of one shape and whether they were read."""
        s = self.truth.names.index(name)
        return self.moved[:, s], self.matched[:, s]


@dataclass(frozen=True)
class Seen:
    """What is read of k futures of each of N pictures,
    so that numbers of some of the pictures cost nothing more."""

    means: dict[str, Tensor]  # (N,) each: numbers of which the mean over pictures is taken
    edges: Tensor  # (N, 2): of futures and of the true one
    moves: Moves | None  # where the law is known
    k: int

    @classmethod
    def of(cls, futures: Tensor, reals: Reals) -> "Seen":
        """Of futures (N, k, C, H, W)."""
        true = reals.next
        means = {
            "best_of_k_psnr": psnr(futures, true[:, None]).amax(1),
            "copy_psnr": psnr(reals.image, true),
            "best_of_k_ssim": torch.stack(
                [motion.ssim(one, true) for one in futures.unbind(1)], 1
            ).amax(1),
            "diversity_psnr": motion.diversities(futures),
        }
        edges = motion.edges(futures.flatten(0, 1)).unflatten(0, futures.shape[:2]).mean(1)
        moves = Moves.read(futures, reals) if reals.truth is not None else None
        if moves is not None:
            off = motion.off_palettes(futures.flatten(0, 1), moves.truth)
            means["off_palette"] = off.unflatten(0, futures.shape[:2]).mean(1)
        return cls(means, torch.stack([edges, motion.edges(true)], 1), moves, futures.shape[1])

    def select(self, rows: Tensor) -> "Seen":
        """Those of some of the pictures."""
        moves = self.moves.of_pictures(rows, self.k) if self.moves is not None else None
        return Seen(
            {name: values[rows] for name, values in self.means.items()},
            self.edges[rows],
            moves,
            self.k,
        )


def compare(futures: Tensor, reals: Reals) -> dict[str, float]:
    """Every metric that applies to futures (N, k, C, H, W), by name."""
    return numbers(Seen.of(futures, reals), reals)


def numbers(seen: Seen, reals: Reals) -> dict[str, float]:
    """The same of what was read of futures of all pictures."""
    return _numbers(seen, reals.law if reals.truth is not None else None)


def _numbers(seen: Seen, law: Moves | None) -> dict[str, float]:
    found = {name: float(values.double().mean()) for name, values in seen.means.items()}
    off = {name: found.pop(name) for name in ("off_palette",) if name in found}
    found["edge_energy_ratio"] = float(seen.edges[:, 0].mean() / seen.edges[:, 1].mean())
    return (
        found
        | off
        | (of_shapes(seen.moves, law) if seen.moves is not None and law is not None else {})
    )


def spread(seen: Seen, reals: Reals) -> dict[str, float]:
    """The variance of each metric that the choice of the pictures makes, by the jackknife over
    GROUPS groups of them; NaN with fewer than three pictures."""
    N = len(reals.image)
    groups = min(GROUPS, N)
    if groups < 3:
        return dict.fromkeys(numbers(seen, reals), float("nan"))
    part, rows = torch.arange(N) % groups, list[dict[str, float]]()
    for g in range(groups):
        rest = (part != g).nonzero()[:, 0]
        rows.append(
            _numbers(
                seen.select(rest),
                reals.law.of_pictures(rest, FUTURES) if reals.truth is not None else None,
            )
        )
    return {
        name: variance(torch.tensor([row[name] for row in rows], dtype=torch.float64))
        for name in rows[0]
    }


def of_shapes(moves: Moves, law: Moves) -> dict[str, float]:
    """What needs the law: displacements and directions."""
    found = {
        "matched": float(moves.matched[moves.truth.present].double().mean()),
        "forbidden": motion.forbidden_share(moves.moved, moves.matched, moves.truth),
    }
    return found | distances(moves, law)


def distances(moves: Moves, law: Moves) -> dict[str, float]:
    """Displacement KL of each shape and of the circle and the triangle together,
    and the correlation of their dy."""
    found, size = {}, moves.truth.options.size
    for name in moves.truth.names:
        (moved, matched), (true, there) = moves.of(name), law.of(name)
        found[f"displacement_kl_{name}"] = (
            motion.displacement_kl(moved[matched], true[there], size) if matched.any() else None
        )
    if moves.truth.options.law == "three":
        mine, true_pair = together(moves), together(law)
        found["displacement_kl_pair"] = (
            motion.pair_kl(mine, true_pair, size) if len(mine[0]) else None
        )
        found["circle_triangle_correlation"] = (
            motion.correlation(*mine) if len(mine[0]) > 1 else None
        )
    return {name: float("nan") if value is None else value for name, value in found.items()}


def together(moves: Moves) -> tuple[Tensor, Tensor]:
    """dy of circle and triangle where both were read."""
    (circle, one), (triangle, two) = moves.of("circle"), moves.of("triangle")
    return circle[one & two, 1], triangle[one & two, 1]


def neighbours_flow(reals: Reals) -> Tensor:
    """The baseline: to each picture the exact flow of one of its NEIGHBOURS nearest training
    pictures, (N, FUTURES, C, H, W). Pictures are compared as thumbnails; what the flow uncovers
    shows what it shows in the picture."""
    source = reals.source
    truth = source.truth("train", min(KNOWN, source.size("train")))
    seen = torch.cat(
        [
            thumb(shapes.paint(one, torch.zeros_like(one.displacement)))
            for one in map(truth.select, truth.chunks(256))
        ]
    )
    nearest = (
        torch.cdist(thumb(reals.image), seen)
        .topk(min(NEIGHBOURS, len(seen)), largest=False)
        .indices
    )
    dice = generator(reals.seed, "neighbours")
    futures = []
    for _ in range(FUTURES):
        chosen = nearest.gather(
            1, torch.randint(nearest.shape[1], (len(nearest), 1), generator=dice)
        )[:, 0]
        futures.append(warped(reals.image, shapes.flow(truth.select(chosen)).backward))
    return torch.stack(futures, 1)


def thumb(images: Tensor) -> Tensor:
    """Small versions of frames as rows of numbers."""
    return F.adaptive_avg_pool2d(images, THUMB).flatten(1)


def warped(images: Tensor, backward: Tensor) -> Tensor:
    """Frames (N, C, H, W) that show at each place what was `backward` (N, 2, H, W) pixels
    from it, borders repeated."""
    H, W = images.shape[2:]
    y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    places = torch.stack([(x + backward[:, 0]) * 2 / W - 1, (y + backward[:, 1]) * 2 / H - 1], 3)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def floor(reals: Reals) -> dict[str, float]:
    """What the law's own futures score; nothing where no law is known."""
    return compare(reals.true_futures(1), reals) if reals.truth is not None else {}


def baseline(reals: Reals) -> dict[str, float]:
    """What copying a neighbour's flow scores, "neighbour_" before each name;
    nothing where no flow is known."""
    if reals.truth is None:
        return {}
    return {
        f"neighbour_{name}": value
        for name, value in compare(neighbours_flow(reals), reals).items()
        if name != "copy_psnr"
    }
