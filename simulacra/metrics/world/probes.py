"""Linear probes: what a code tells of the car on its road. The targets are truths that no training
sees.

    fits = probes.fit(z, probes.of_frames(racing, "train", n))
    # R2 of each target, by track
    probes.judged(fits, z_held_out, probes.of_frames(racing, "held_out", n))

A probe sees frames after the zoom, of a car that is near its road and faces along it: what else is
in a recording has a heading and a curvature that belong to a road out of sight.
"""

from collections.abc import Sequence
from math import pi
from typing import Any, NamedTuple

import torch
from torch import Tensor

from simulacra.envs.carracing.game import HALF_WIDTH, Truth
from simulacra.envs.carracing.racing import ZOOM
from simulacra.envs.episodes import Store
from simulacra.metrics.intervals import jackknife
from simulacra.metrics.intervals.jackknife import Grouped
from simulacra.metrics.world.linear import Linear, chosen

NEAR = 3 * HALF_WIDTH  # units from the road's middle up to which a car is near it
ALONG = pi / 2  # radians off the road's direction up to which it faces along
FARTHER = 10  # tiles: `curvature_ahead` is the turn of the five tiles after them
TILES = 1000  # more than any track has
TARGETS = "lateral", "heading", "curvature", "curvature_ahead", "speed"


class Known(NamedTuple):
    """What is known of n frames."""

    targets: dict[str, Tensor]  # (n,) each, NaN where no probe looks
    groups: list[str]  # (n,) the seed of the track


def turns(store: Store) -> dict[int, Tensor]:
    """The curvature (TILES,) after each tile of each track of a store, NaN where no drive came."""
    found: dict[int, Tensor] = {}
    for i, entry in enumerate(store.entries):
        truth = torch.from_numpy(store.read(i, "truths"))
        road = found.setdefault(entry.facts.track, torch.full((TILES,), torch.nan))
        road[truth[:, Truth._fields.index("tile")].long()] = truth[
            :, Truth._fields.index("curvature")
        ]
    return found


def ground_truth(
    truth: Tensor, steps: Tensor, tracks: Sequence[int], roads: dict[int, Tensor]
) -> Known:
    """Of frames with these truths (n, 6), steps of the game (n,) and tracks (n,)."""
    column = dict(zip(Truth._fields, truth.unbind(1), strict=True))
    ahead = column["tile"].long() + FARTHER
    road = [
        roads[track][tile]
        for track, tile in zip(tracks, ahead.clamp(max=TILES - 1).tolist(), strict=True)
    ]
    column["curvature_ahead"] = torch.stack(road) if road else truth.new_zeros(0)
    seen = (column["lateral"].abs() <= NEAR) & (column["heading"].abs() <= ALONG) & (steps >= ZOOM)
    return Known(
        {name: column[name].where(seen, torch.nan) for name in TARGETS},
        [str(track) for track in tracks],
    )


def of_frames(source: Any, split: str, n: int) -> Known:
    """Of the frames of `take` of data set racing."""
    drives, steps = source.whence(split, n)
    tracks = [source.store.entries[drive].facts.track for drive in drives.tolist()]
    return ground_truth(source.truth(split, n), steps, tracks, turns(source.store))


def fit(codes: Tensor, of: Known, seed: int = 0) -> dict[str, Linear]:
    """A probe of each target from codes (n, D); targets that are known nowhere have none."""
    fits = {}
    for name, target in of.targets.items():
        rows = ~target.isnan()
        if rows.any():
            groups = [group for group, there in zip(of.groups, rows.tolist(), strict=True) if there]
            fits[name] = chosen(codes[rows], target[rows], groups, seed)
    return fits


def judged(fits: dict[str, Linear], codes: Tensor, of: Known) -> dict[str, Grouped]:
    """R2 of the probes on codes (n, D), by track."""
    return {
        name: jackknife.explained(probe(codes), of.targets[name], of.groups)
        for name, probe in fits.items()
    }
