"""Fingerprints: of nested state, and of the files that a run is trained on.

Of a file its size and a hash: of small ones (and of all, where `whole` is asked for) of every byte,
of others of pieces all over, since a rewritten picture or recording differs in its size or nearly
everywhere. Names are relative to the data's own place, and times are no evidence, so that data that
were moved or copied are the same.
"""

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from simulacra.core.errors import Mistake

SMALL = 2**17  # bytes of a file that is hashed whole
PIECE, PIECES = 2**13, 32  # bytes of a piece of others, and how many
NAMED = 3  # files that a message names
Files = dict[str, list[Any]]  # name: size and hash


def digest(state: Any) -> str:
    """A hash of nested state: equal for equal bits."""
    h = blake2b(digest_size=16)

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                h.update(str(key).encode())
                visit(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)
        elif isinstance(value, torch.Tensor):
            h.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        else:
            h.update(repr(value).encode())

    visit(state)
    return h.hexdigest()


def of_files(files: Mapping[str, Path], *, whole: bool = False) -> Files:
    """The fingerprint of each file; a Mistake if one cannot be read."""
    found: Files = {}
    for name, path in sorted(files.items()):
        try:
            found[name] = _of_file(path, whole)
        except OSError as error:
            raise Mistake(f"cannot read {path}: {error.strerror}") from None
    return found


def _of_file(path: Path, whole: bool) -> list[Any]:
    h = blake2b(digest_size=8)
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # which Windows asks for
    try:
        size = os.fstat(handle).st_size
        if whole or size <= SMALL:
            while piece := os.read(handle, 2**20):
                h.update(piece)
        else:
            for i in range(PIECES):
                os.lseek(handle, (size - PIECE) * i // (PIECES - 1), os.SEEK_SET)
                h.update(os.read(handle, PIECE))
    finally:
        os.close(handle)
    return [size, h.hexdigest()]


def apart(old: Files, new: Files) -> str:
    """What differs, in words; nothing if nothing does."""
    told = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and list(new[name]) != list(old[name])],
    }
    return "; ".join(
        f"{len(names):,} {what} ({listed(names)})" for what, names in told.items() if names
    )


def listed(names: Iterable[str]) -> str:
    """The first of the names, and whether there are more."""
    every = list(names)
    return ", ".join(every[:NAMED]) + ", ..." * (len(every) > NAMED)
