"""Pictures in WebDataset shards: a folder of .tar files, as many as one likes, in flat memory.

An example is what shares a name up to its first dot in a shard: a picture, and perhaps a class
(`0007.jpg`, `0007.cls`). Where each one lies is noted once, in a file beside the shards, 24 bytes
an example that are mapped and not read. Shards are held out whole, by a hash of their names.

An epoch goes through the shards in shuffled order, a window of some of them at a time, and shuffles
the examples of a window. So a step reads from few files, near each other, and is still a pure
function of its number; nothing is as long as the data set.
"""

import io
import json
import os
import tarfile
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import numpy as np
import torch

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.files import write, write_text
from simulacra.core.random import fold
from simulacra.data._order import shuffled
from simulacra.data._pictures import floats, mirrored
from simulacra.data.folder import held_out, locate
from simulacra.io.pictures import decode, suffixes

INDEX, LIST = "index.bin", "index.json"
PLACE = np.dtype([("at", "<u8"), ("bytes", "<u4"), ("shard", "<u4"), ("label", "<i8")])
OPEN = 64  # shards that are kept open
SPLITS = "train", "held_out"


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="webdataset",
):
    """Which shards, and what is done to their pictures."""

    path: str = ""  # the folder of the shards, absolute or inside the data folder
    size: Annotated[int, msgspec.Meta(ge=8, le=1024)] = 64  # width and height in pixels
    mode: Literal["grey", "colour"] = "colour"
    # how a picture that is not square becomes square
    fit: Literal["crop", "pad", "stretch"] = "crop"
    flip: bool = False  # mirror training pictures left to right at random
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1  # share of the shards, 1 at least
    window: Annotated[int, msgspec.Meta(ge=1)] = 16  # shards whose examples are shuffled together


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The shards, by their names."""
    folder = locate(options.path, root)
    found = {path.name: path for path in sorted(folder.glob("*.tar")) if path.is_file()}
    if len(found) < 2:
        raise Mistake(
            f"{folder} holds {len(found)} shards (*.tar); needed: 2 or more, one of them held out"
        )
    return found


def places(path: Path, number: int) -> np.ndarray:
    """Where a shard's pictures lie and of which classes they are (-1: of none), (n,) PLACE; a
    Mistake if it is no whole archive."""
    found: dict[str, list[int]] = {}
    labels: dict[str, int] = {}
    kinds = suffixes()
    try:
        with tarfile.open(path, "r:") as archive:
            for one in archive:
                folder, _, name = one.name.rpartition("/")
                stem, _, kind = name.partition(".")
                key = f"{folder}/{stem}"
                if one.isfile() and f".{kind.lower()}" in kinds and key not in found:
                    found[key] = [one.offset_data, one.size]
                elif one.isfile() and kind == "cls":
                    labels[key] = int((archive.extractfile(one) or io.BytesIO()).read())
            end = archive.offset
        with path.open("rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ValueError("its end is missing")
    except (tarfile.TarError, ValueError, OSError) as error:
        raise Mistake(f"cannot read the shard {path}: {error}") from None
    rows = [(at, size, number, labels.get(key, -1)) for key, (at, size) in found.items()]
    return np.array(rows, PLACE)


class Shards:
    """Square pictures of many shards, with labels if all have a class."""

    extractor = "efficientnet_lite0"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options, self.folder = options, locate(options.path, root)
        self.paths = list(files(options, root).values())
        self.notes: list[str] = []
        told, self.places = self._indexed()
        self.counts, self.classes = np.array(told["counts"]), int(told["classes"])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        names = [path.name for path in self.paths]
        apart = held_out(names, options.held_out)
        self.shards = {
            split: np.array([i for i, name in enumerate(names) if (name in apart) == side])
            for split, side in zip(SPLITS, (False, True), strict=True)
        }
        for split in SPLITS:
            if not self.size(split):
                raise Mistake(f"{self.folder}: the shards of split '{split}' hold no picture")
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()
        self._epochs: dict[str, tuple[int, Epoch]] = {}

    def _indexed(self) -> tuple[dict[str, Any], np.ndarray]:
        """Counts and places, from the file beside the shards, which is made if it is not there or
        not of these shards; where the folder cannot be written to, it is temporary."""
        shards = {path.name: path.stat().st_size for path in self.paths}
        place = self.folder
        try:
            told = json.loads((place / LIST).read_text("utf-8"))
            if told["shards"] == shards and (place / INDEX).stat().st_size == told["bytes"]:
                return told, np.memmap(place / INDEX, PLACE, "r")
        except (OSError, ValueError, KeyError, TypeError):
            pass
        counts, labels = list[int](), np.array([np.iinfo(np.int64).max, -1])

        def fill(file: Any) -> None:
            for number, path in enumerate(self.paths):
                found = places(path, number)
                counts.append(len(found))
                if len(found):
                    labels[0] = min(labels[0], found["label"].min())
                    labels[1] = max(labels[1], found["label"].max())
                file.write(found.tobytes())

        try:
            write(place / INDEX, fill)
        except OSError:
            self._temporary = tempfile.TemporaryDirectory()
            place = Path(self._temporary.name)
            counts.clear()
            write(place / INDEX, fill)
            self.notes.append(f"{self.folder} cannot be written to: its index is made each time")
        told = {
            "shards": shards,
            "bytes": sum(counts) * PLACE.itemsize,
            "counts": counts,
            "classes": int(labels[1]) + 1 if labels[0] >= 0 and sum(counts) else 0,
        }
        write_text(place / LIST, json.dumps(told) + "\n")
        if not sum(counts):
            raise Mistake(f"{self.folder}: its {len(counts)} shards hold no picture")
        return told, np.memmap(place / INDEX, PLACE, "r")

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "image" (batch, C, H, W) in [-1, 1] and, where all have a class,
        "label" (batch,)."""
        n = self.size("train")
        if not 1 <= batch <= n:
            raise Mistake(
                f"batch {batch} does not fit the {n} training pictures; allowed: 1 to {n}"
            )
        epoch, place = divmod(k, n // batch)
        drawn = self._read(self._epoch("train", fold(seed, "epoch", epoch)), place * batch, batch)
        if self.options.flip:
            drawn["image"] = mirrored(drawn["image"], fold(seed, "step", k))
        return drawn

    def take(self, split: str, n: int) -> Batch:
        """The first n pictures of the split's fixed shuffled order."""
        return self.part(split, 0, n)

    def part(self, split: str, start: int, stop: int) -> Batch:
        """Those from `start` to before `stop` of the same order."""
        size = self.size(split)
        if not 0 <= start < stop <= size:
            raise Mistake(
                f"{stop} pictures of split '{split}' were asked for; allowed: 1 to {size}"
            )
        return self._read(self._epoch(split, fold(0, "take", split)), start, stop - start)

    def size(self, split: str) -> int:
        """How many pictures the split holds."""
        if split not in SPLITS:
            raise Mistake(f"unknown split '{split}'; there is: {', '.join(SPLITS)}")
        return int(self.counts[self.shards[split]].sum())

    def _epoch(self, split: str, seed: int) -> "Epoch":
        """An order of the split that follows from the seed; one is kept."""
        if split not in self._epochs or self._epochs[split][0] != seed:
            self._epochs[split] = seed, Epoch(self, self.shards[split], seed)
        return self._epochs[split][1]

    def _read(self, epoch: "Epoch", start: int, count: int) -> Batch:
        """The pictures at these places of an order."""
        rows = self.places[epoch.rows(start, count)]
        mode = "L" if self.options.mode == "grey" else "RGB"
        pixels = np.stack([self._picture(row, mode) for row in rows])
        batch = {"image": floats(pixels)}
        if self.classes:
            batch["label"] = torch.from_numpy(rows["label"].astype(np.int64))
        return batch

    def _picture(self, row: Any, mode: str) -> np.ndarray:
        """A picture (C, size, size) uint8; a Mistake names one that cannot be decoded."""
        shard = int(row["shard"])
        path, file = self.paths[shard], self._file(shard)
        held = os.pread(file.fileno(), int(row["bytes"]), int(row["at"]))
        size, fit = self.options.size, self.options.fit
        try:
            return decode(path, mode, size, fit, held=io.BytesIO(held))
        except (OSError, ValueError, SyntaxError) as error:
            raise Mistake(f"{path}, byte {row['at']}: cannot decode the picture: {error}") from None

    def _file(self, shard: int) -> BinaryIO:
        """The open shard; of those that are open the one not asked for the longest is closed."""
        if shard not in self._open:
            self._open[shard] = self.paths[shard].open("rb")
            if len(self._open) > OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(shard)
        return self._open[shard]

    @cached_property
    def _count(self) -> str:
        return f"{len(self.places):,} pictures in {len(self.paths):,} shards"

    def describe(self) -> dict[str, str]:
        """Counts and what is done to the pictures, in words."""
        options = self.options
        return {
            "shards": f"{self.folder}: {self._count}",
            "pictures": f"{self.size('train')} to train on, {self.size('held_out')} held out",
            "split": f"{len(self.shards['held_out'])} whole shards held out by their names' hash",
            "order": f"shuffled in windows of {options.window} shards",
            "treatment": f"{options.fit} to {options.size}x{options.size}, {options.mode}",
            "classes": str(self.classes or "none"),
        }


class Epoch:
    """One way through some shards: their order, and within each window of them that of the
    examples."""

    def __init__(self, shards: Shards, which: np.ndarray, seed: int) -> None:
        self.seed, width = seed, shards.options.window
        order = which[shuffled(len(which), fold(seed, "shards"))]
        self.windows = [order[i : i + width] for i in range(0, len(order), width)]
        self.of = shards
        sizes = [int(shards.counts[window].sum()) for window in self.windows]
        self.ends = np.cumsum(sizes)
        self._kept: tuple[int, np.ndarray] | None = None

    def rows(self, start: int, count: int) -> np.ndarray:
        """The rows of the index at the places from `start` on, (count,)."""
        return np.concatenate(list(self._pieces(start, start + count)))

    def _pieces(self, start: int, stop: int) -> Iterator[np.ndarray]:
        while start < stop:
            number = int(np.searchsorted(self.ends, start, "right"))
            end = min(stop, int(self.ends[number]))
            first = int(self.ends[number - 1]) if number else 0
            yield self._window(number)[start - first : end - first]
            start = end

    def _window(self, number: int) -> np.ndarray:
        """The rows of a window, shuffled; one window is kept."""
        if self._kept is None or self._kept[0] != number:
            starts = self.of.starts
            rows = np.concatenate(
                [np.arange(starts[i], starts[i + 1]) for i in self.windows[number]]
            )
            self._kept = number, rows[shuffled(len(rows), fold(self.seed, "window", number))]
        return self._kept[1]


Data = Shards
