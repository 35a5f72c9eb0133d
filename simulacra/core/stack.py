"""Clips that may be larger than memory: frames that are read and written a few at a time, as those
of a tensor are, from a file.

A file without a name goes when nobody reads it any more, also after a kill; one with a name is left
for a run that goes on, which believes it only if it is whole and of the same work (`kept`).
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from simulacra.core import files

Kind = Literal["bytes", "colours", "half", "exact", "flags"]
KINDS: dict[Kind, tuple[type[np.generic], torch.dtype]] = {  # as stored, and as read
    "bytes": (np.uint8, torch.uint8),
    "colours": (np.uint8, torch.float32),  # -1 to 1
    "half": (np.float16, torch.float32),
    "exact": (np.float32, torch.float32),
    "flags": (np.uint8, torch.bool),
}


class Frames(Protocol):
    """What a tensor (T, ...) and a stack have in common."""

    @property
    def shape(self) -> Sequence[int]:
        """Of all."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any, /) -> Tensor:
        """One, or the tensors of a slice."""


class Store(Frames, Protocol):
    """Frames that can be put, one at a time."""

    def __setitem__(self, which: Any, value: Any, /) -> None: ...


class Stack:
    """Tensors of one shape in a file. What is stored is rounded: colours in [-1, 1] to bytes,
    halves to float16."""

    def __init__(self, shape: Sequence[int], kind: Kind, place: Path):
        """Of a shape (T, ...), zero at first; a folder for a file without a name, or a file that is
        there."""
        self.shape, self.kind, self.place = tuple(shape), kind, place
        self.stored = np.dtype(KINDS[kind][0])
        self.each = math.prod(self.shape[1:]) * self.stored.itemsize
        # open as long as the stack is there
        self.file: Any = (
            tempfile.TemporaryFile(dir=place) if place.is_dir() else place.open("r+b")  # noqa: SIM115
        )
        self.file.truncate(len(self) * self.each)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any, /) -> Tensor:
        if isinstance(which, slice):
            first, last, step = which.indices(len(self))
            if step == 1:
                return self._read(first, max(0, last - first))
            return torch.stack([self[i] for i in range(first, last, step)])
        if not -len(self) <= which < len(self):
            raise IndexError(f"{which} of {len(self)}")
        return self._read(which % len(self), 1)[0]

    def __setitem__(self, which: int, value: Tensor, /) -> None:
        if self.kind == "colours":
            value = ((value + 1) * 127.5).round().clamp(0, 255)
        data = value.expand(self.shape[1:]).numpy().astype(self.stored)
        self._write(which, np.ascontiguousarray(data))

    def _write(self, which: int, data: np.ndarray) -> None:
        try:
            self.file.seek(which * self.each)
            self.file.write(data.data)
            self.file.flush()
        except OSError as error:
            files.name_it(error, self.place)
            raise

    def _read(self, first: int, count: int) -> Tensor:
        data = np.empty((count, *self.shape[1:]), self.stored)
        self.file.seek(first * self.each)
        self.file.readinto(data.reshape(-1).view(np.uint8).data)
        read = torch.from_numpy(data).to(KINDS[self.kind][1])
        return read.div_(127.5).sub_(1) if self.kind == "colours" else read

    def seen_as(self, kind: Kind) -> "Stack":
        """The same file, read as another kind that is stored alike."""
        other = copy(self)
        other.kind = kind
        return other

    def grow(self, value: np.ndarray) -> None:
        """Add one more, as stored."""
        self._write(len(self), np.ascontiguousarray(value))
        self.shape = (len(self) + 1, *self.shape[1:])

    def raw(self, which: int) -> bytes:
        """The bytes of one, as stored."""
        self.file.seek(which * self.each)
        found: bytes = self.file.read(self.each)
        return found

    def digest(self) -> str:
        """Of all bytes, and what they are."""
        found = hashlib.blake2b(repr((self.kind, self.shape)).encode(), digest_size=16)
        for i in range(len(self)):
            found.update(self.raw(i))
        return found.hexdigest()


class Picked:
    """Some frames of others, in another order, to read."""

    def __init__(self, of: Frames, order: Sequence[int]):
        self.of, self.order = of, order

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all."""
        return (len(self.order), *self.of.shape[1:])

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, which: Any, /) -> Tensor:
        if isinstance(which, slice):
            some = [self.of[i] for i in self.order[which]]
            return torch.stack(some) if some else torch.empty(0, *self.of.shape[1:])
        return self.of[self.order[which]]


class Instead:
    """Frames of which some are others."""

    def __init__(self, of: Frames, others: Mapping[int, Tensor]):
        self.of, self.others, self.shape = of, others, tuple(of.shape)

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, which: Any, /) -> Tensor:
        if isinstance(which, slice):
            some = range(*which.indices(len(self)))
            if not any(t in self.others for t in some):
                return self.of[which]
            return torch.stack([self[t] for t in some])
        return self.others[which] if which in self.others else self.of[which]


class Each:
    """Frames of a shape as a function makes each of them, every time that it is read."""

    def __init__(self, shape: Sequence[int], make: Callable[[int], Tensor]):
        self.shape, self.make = tuple(shape), make

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any, /) -> Tensor:
        if isinstance(which, slice):
            return torch.stack([self[t] for t in range(*which.indices(len(self)))])
        return self.make(which)


def made(shape: Sequence[int], kind: Kind, place: Path | None) -> Store:
    """Frames to be filled: in memory, to full precision, or in a file of a folder."""
    if place is None:
        return torch.zeros(*shape, dtype=KINDS[kind][1])
    return Stack(shape, kind, place)


def kept(
    place: Path,
    of: str,
    wanted: Mapping[str, tuple[Sequence[int], Kind]],
    make: Callable[[Mapping[str, Stack]], None],
) -> tuple[dict[str, Stack], list[str]]:
    """The stacks, shapes and kinds by name, that an earlier, stopped run of the work `of` has left
    at PLACE.NAME, or that `make` fills now; and a note if the former are not to be believed.
    PLACE.json, written last, says that they are whole."""
    notes: list[str] = []
    paths = {name: place.with_name(f"{place.name}.{name}") for name in wanted}
    says = place.with_name(f"{place.name}.json")
    if says.exists():
        found, why = _left(says, paths, of, wanted)
        if not why:
            return found, notes
        notes = [f"{says} cannot be used ({why}); made again"]
        says.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    for path in paths.values():
        path.unlink(missing_ok=True)
        path.touch()
    stacks = {name: Stack(*wanted[name], path) for name, path in paths.items()}
    make(stacks)
    digests = {name: one.digest() for name, one in stacks.items()}
    files.write_text(says, json.dumps({"of": of, "digests": digests}) + "\n")
    return stacks, notes


def _left(
    says: Path,
    paths: Mapping[str, Path],
    of: str,
    wanted: Mapping[str, tuple[Sequence[int], Kind]],
) -> tuple[dict[str, Stack], str]:
    """The stacks of files, and why they are not to be believed, "" if they are."""
    try:
        told = json.loads(says.read_bytes())
        if told["of"] != of:
            return {}, "it is of another clip, mask or seed"
        sizes = {name: path.stat().st_size for name, path in paths.items()}
        found = {name: Stack(*wanted[name], path) for name, path in paths.items()}
        for name, one in found.items():
            if sizes[name] != len(one) * one.each:
                return {}, f"{paths[name].name} has {sizes[name]} bytes"
        whole = all(told["digests"][name] == one.digest() for name, one in found.items())
    except (OSError, ValueError, TypeError, KeyError) as error:
        return {}, " ".join(str(error).split()) or type(error).__name__
    return found, "" if whole else "a checksum does not fit"
