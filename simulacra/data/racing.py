"""Recorded drives of CarRacing, as `simulacra collect racing` makes them: single frames for eyes,
sequences for memories. All but what is said here is as in data/episodes.py.

Reference: Ha and Schmidhuber, "World Models", arXiv 1803.10122.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import torch

from simulacra.core.errors import choose
from simulacra.data import episodes

MAKER = "simulacra collect racing --episodes N -o"  # and the folder


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="racing",
):
    """Which recordings, and what is drawn of them."""

    path: str = "racing"  # a store of episodes, absolute or inside the data folder
    # T, steps of a sequence; 0: single frames
    length: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    # steps left out of each game: 0 also pays for the two tiles at the start, 50 end the zoom
    skip: Annotated[int, msgspec.Meta(ge=0, le=999)] = 1
    # share of the tracks, but at least one in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The recorded episodes, and what all of them follow from."""
    return episodes.files(options, root, MAKER)


class Racing(episodes.Episodes):
    """Frames or sequences of recorded drives."""

    maker = MAKER

    def shown(self) -> str:
        """Whose frames they are, in words."""
        bar = "with" if self.store.spec.hud else "without"
        return f"{self.store.spec.simulator}, {bar} the bar of score and speed"

    def truth(self, split: str, n: int) -> torch.Tensor:
        """Of the examples of `take`, for probes alone: (n, 6), with sequences (n, T, 6), the
        columns of game.Truth: units from the road's middle, heading error in radians, curvature per
        unit, units per second, tile, share of tiles visited."""
        spots = self.splits[choose("split", split, list(self.splits))].fixed(
            self.order.take(split, n)
        )
        found = torch.from_numpy(self._rows("truths", spots))
        return found if self.options.length else found[:, 0]


Data = Racing
