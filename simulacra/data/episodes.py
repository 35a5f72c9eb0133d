"""Recorded episodes of a game, as `simulacra collect GAME` makes them: single frames for eyes,
sequences for memories.

Held out are whole seeds (tracks), chosen by a hash, so that episodes on one track are never
in both splits and a store that grows moves none. What is drawn is read from disk at that moment:
memory does not grow with the store.

Reference: Ha and Schmidhuber, "World Models", arXiv 1803.10122.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import torch

from simulacra.core.contract import Batch, option
from simulacra.core.errors import Mistake, choose
from simulacra.core.random import fold
from simulacra.data import folder
from simulacra.data._order import Order
from simulacra.data._pictures import floats
from simulacra.envs.episodes import Store
from simulacra.envs.view import same

MAKER = "simulacra collect GAME --episodes N -o"  # and the folder


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="episodes",
):
    """Which recordings, and what is drawn of them."""

    path: str = "episodes"  # a store of episodes, absolute or inside the data folder
    more: tuple[str, ...] = ()  # other stores of the same game, beside it
    # T, steps of a sequence; 0: single frames
    length: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    # steps left out of each game
    skip: Annotated[int, msgspec.Meta(ge=0, le=99_999)] = 0
    # share of the seeds, but at least one in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1


def files(options: Any, root: Path | None, maker: str = MAKER) -> dict[str, Path]:
    """The recorded episodes, and what all of them follow from."""
    found = {}
    for number, path in enumerate(paths(options)):
        place, prefix = folder.locate(path, root, maker), f"{number}/" * (number > 0)
        for file in [place / "store.json", *place.glob("episodes/*.safetensors")]:
            found[prefix + file.relative_to(place).as_posix()] = file
    return found


def paths(options: Any) -> list[str]:
    """The stores that options name."""
    return [options.path, *option(options, "more", ())]


class Stores:
    """Several stores of one game as one."""

    def __init__(self, stores: Sequence[Store]) -> None:
        first, *others = stores
        for one in others:
            same(first.view, str(first.folder), one.view, str(one.folder))
        self.stores, self.spec, self.view = stores, first.spec, first.view
        self.entries = [entry for one in stores for entry in one.entries]
        self.places = [(one, i) for one in stores for i in range(len(one))]

    def read(self, i: int, name: str, start: int = 0, count: int | None = None) -> np.ndarray:
        """Rows of one array of the i-th episode of all."""
        store, place = self.places[i]
        return store.read(place, name, start, count)


class Split(NamedTuple):
    """The drives of a split; each has as many examples as fit into it one after the other."""

    episodes: np.ndarray  # (E,) their places in the store
    skips: np.ndarray  # (E,) rows left out at the beginning
    rows: np.ndarray  # (E,) rows that are left
    counts: np.ndarray  # (E,) examples
    length: int  # rows of an example

    def find(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which drive, and which example of it, is meant by each place of the split."""
        ends = self.counts.cumsum()
        drives = np.searchsorted(ends, places, "right")
        return drives, places - (ends - self.counts)[drives]

    def scattered(self, places: np.ndarray, shift: np.ndarray) -> list[tuple[int, int]]:
        """Episode and first row of the examples at these places. Each lies somewhere in its own
        share of the drive's possible beginnings, as `shift` in [0, 1) says, so that over the epochs
        all are equally likely."""
        drives, numbers = self.find(places)
        beginnings = self.rows[drives] - self.length + 1
        moved = ((numbers + shift) * beginnings / self.counts[drives]).astype(int)
        return list(
            zip(self.episodes[drives].tolist(), (self.skips[drives] + moved).tolist(), strict=True)
        )

    def fixed(self, places: np.ndarray) -> list[tuple[int, int]]:
        """Episode and first row of the examples at these places,
        one after the other, the last ending with its drive."""
        drives, numbers = self.find(places)
        spare = self.rows[drives] - self.counts[drives] * self.length
        starts = self.skips[drives] + spare + numbers * self.length
        return list(zip(self.episodes[drives].tolist(), starts.tolist(), strict=True))


class Episodes:
    """Frames or sequences of recorded episodes."""

    classes = 0
    maker = MAKER

    def __init__(self, options: Any, root: Path | None) -> None:
        self.options = options
        self.place, *others = (folder.locate(path, root, self.maker) for path in paths(options))
        self.store: Any = Store(self.place)
        if others:
            self.store = Stores([self.store, *map(Store, others)])
        self.view = self.store.view
        self.extractor = "clips" if options.length else "efficientnet_lite0"
        self.length = max(1, options.length)
        self.tracks = [str(one.facts.track) for one in self.store.entries]
        if len(set(self.tracks)) < 2:
            raise Mistake(
                f"{self.place} holds drives on {len(set(self.tracks))} track; "
                "needed: 2, one of them held out"
            )
        hidden = folder.held_out(sorted(set(self.tracks)), options.held_out)
        self.splits = {name: self._split(name, hidden) for name in ("train", "held_out")}
        sizes = {name: int(split.counts.sum()) for name, split in self.splits.items()}
        self.order = Order(sizes, "sequences" if options.length else "frames")
        self.size = self.order.size

    def _split(self, name: str, hidden: set[str]) -> Split:
        """The drives of a split that are long enough."""
        mine = [
            i for i, track in enumerate(self.tracks) if (track in hidden) == (name == "held_out")
        ]
        entries = [self.store.entries[i] for i in mine]
        skips = np.array([max(0, self.options.skip - one.facts.start) for one in entries])
        left = np.array([one.length for one in entries]) - skips
        kept = left >= self.length
        if not kept.any():
            told = f"data.length = {self.options.length}, data.skip = {self.options.skip}"
            raise Mistake(
                f"{told}: no drive of split '{name}' in {self.place} is so long; "
                f"allowed: up to {max(left)} steps"
            )
        return Split(
            np.array(mine)[kept], skips[kept], left[kept], left[kept] // self.length, self.length
        )

    def _rows(self, name: str, spots: list[tuple[int, int]]) -> np.ndarray:
        """(B, T, ...) of one array, from each episode and first row."""
        return np.stack([self.store.read(i, name, start, self.length) for i, start in spots])

    def _batch(self, spots: list[tuple[int, int]]) -> Batch:
        """The examples that begin there."""
        frames = floats(self._rows("frames", spots))
        if not self.options.length:
            return {"image": frames[:, 0]}
        kept = {"action": "actions", "reward": "rewards", "done": "ends"}
        return {"video": frames} | {
            key: torch.from_numpy(self._rows(name, spots)).float() for key, name in kept.items()
        }

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "image" (B, 3, H, W) in [-1, 1]; with `length`, "video" (B, T,
        3, H, W) and "action" (B, T, A), "reward" (B, T), "done" (B, T) float32, where action t was
        chosen on seeing frame t, and reward t and done t, 1 where the game ended, came of it.
        Sequences begin anywhere in a drive, each epoch elsewhere."""
        places = self.order.draw(k, batch, seed)
        stream = np.random.Generator(np.random.PCG64(fold(seed, "shift", k)))
        return self._batch(self.splits["train"].scattered(places, stream.random(batch)))

    def take(self, split: str, n: int) -> Batch:
        """The first n examples of the split's fixed shuffled order;
        sequences are cut so that a drive's last ends with it."""
        return self._batch(
            self.splits[choose("split", split, list(self.splits))].fixed(self.order.take(split, n))
        )

    def part(self, split: str, start: int, stop: int) -> Batch:
        """Those from `start` to before `stop` of the same order,
        so that a whole split is read in flat memory."""
        splits = self.splits[choose("split", split, list(self.splits))]
        return self._batch(splits.fixed(self.order.take(split, stop)[start:]))

    def whence(self, split: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the examples of `take`: the place (n,) of each one's drive in the store, and the step
        (n,) of the game at which it begins."""
        spots = self.splits[choose("split", split, list(self.splits))].fixed(
            self.order.take(split, n)
        )
        steps = [self.store.entries[i].facts.start + row for i, row in spots]
        return torch.tensor([i for i, _ in spots]), torch.tensor(steps)

    def shown(self) -> str:
        """Whose frames they are, in words."""
        return f"game {self.view.world}"

    def describe(self) -> dict[str, str]:
        """Counts, shapes, who drove, and what is left out."""
        entries, size = self.store.entries, self.store.spec.size
        policies = sorted({one.facts.policy for one in entries})
        short = len(entries) - sum(len(split.episodes) for split in self.splits.values())
        shape = (
            f"{self.options.length} steps of 3 x {size} x {size}"
            if self.options.length
            else f"3 x {size} x {size}"
        )
        train, rest = self.splits["train"], self.splits["held_out"]
        return {
            "drives": f"{len(entries)} by {', '.join(policies)}, "
            f"{sum(one.length for one in entries):,} frames ({self.shown()})",
            "split": f"{self.size('train'):,} {self.order.kind} of {len(train.episodes)} drives to "
            "train on, "
            f"{self.size('held_out'):,} of {len(rest.episodes)} drives on other tracks held out",
            "shape": f"{shape}, bytes become floats in [-1, 1]",
            "left out": f"the first {self.options.skip} steps of each game, and {short} drives "
            "that are too short",
        }


Data = Episodes
