"""Measure samples of any origin: pictures that another program made, against a data set or a folder
of pictures.

The numbers are those of `measure`, by the same code and with the same provenance; there is one set
of samples, so the intervals that independent sets give are missing.
"""

import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulacra.core import config, data_sets
from simulacra.core.contract import Data
from simulacra.core.errors import Mistake
from simulacra.core.provenance import commit
from simulacra.data._pictures import floats
from simulacra.io.clip import blaming
from simulacra.io.listing import listing, usable
from simulacra.io.pictures import decode, header, is_grey, top
from simulacra.metrics.intervals import versions
from simulacra.tasks._judges import Protocol, of_pictures
from simulacra.tasks.measure import LEAST, Rows, judged, rows_of

ARRAYS = ".npy", ".npz"
NOT_PICTURES = "series", "pairs", "clips", "codes"  # what a data set may hold instead


def pictures(samples: Tensor | np.ndarray | Path | str) -> tuple[Tensor, list[str]]:
    """Pictures (N, C, H, W) float32 in [-1, 1], and what was assumed of them. Given are a tensor or
    an array, bytes (uint8) or numbers in [-1, 1], channels first or last; a .npy or .npz of such;
    or a folder of pictures of one size."""
    if isinstance(samples, (str, Path)):
        place = Path(samples).expanduser()
        if place.is_dir():
            return _folder(place)
        return as_pictures(_array(place), str(place))
    return as_pictures(samples, "samples")


def _array(file: Path) -> np.ndarray:
    if file.suffix.lower() not in ARRAYS:
        raise Mistake(
            f"samples {file}: "
            f"{'' if file.exists() else 'not there; '}allowed: a folder of pictures, .npz or .npy"
        )
    if not file.is_file():
        raise Mistake(f"no samples {file}")
    with blaming(file):
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            names = [
                name for name in found.files if name in ("images", "samples", "arr_0")
            ] or found.files[:1]
            if not names:
                raise Mistake(f"{file} holds no array")
            return found[names[0]]


def as_pictures(values: Tensor | np.ndarray, what: str) -> tuple[Tensor, list[str]]:
    """An array or tensor as pictures (N, C, H, W) in [-1, 1];
    a Mistake that names shape, type or range if it is none."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    notes: list[str] = []
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise Mistake(
            f"{what} has shape {array.shape}; "
            "allowed: (N, C, H, W), (N, H, W, C) or (N, H, W), one picture or more"
        )
    if array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.shape[1] not in (1, 3):
        raise Mistake(f"{what} has shape {array.shape}; allowed: 1 or 3 channels")
    if array.dtype == np.uint8:
        return floats(np.ascontiguousarray(array)), notes
    if array.dtype.kind != "f":
        raise Mistake(
            f"{what} holds values of type {array.dtype}; "
            "allowed: uint8, or floating point in [-1, 1]"
        )
    if not np.isfinite(array).all() or array.min() < -1.001 or array.max() > 1.001:
        raise Mistake(
            f"{what} holds values from {array.min():g} to {array.max():g}; "
            "allowed: finite ones in [-1, 1]"
        )
    if array.min() >= 0:
        notes.append(
            f"{what}: no value is below 0; they are taken as they are, in [-1, 1], "
            "where 0 is mid-grey"
        )
    return torch.from_numpy(np.array(array, np.float32)).clamp(-1, 1), notes


def _folder(folder: Path) -> tuple[Tensor, list[str]]:
    names, ignored = listing(folder)
    heads = usable(folder, names, lambda _, path: header(path))
    sizes = {head.size for head in heads.values()}
    (width, height), *others = sorted(sizes)
    if others or width != height:
        shown = ", ".join(f"{w}x{h}" for w, h in sorted(sizes)[:3])
        raise Mistake(
            f"{folder} holds pictures of {shown}; "
            "allowed: squares of one size, as a generator makes them"
        )
    mode = "L" if all(is_grey(head.mode) for head in heads.values()) else "RGB"
    white = top(head.peak for head in heads.values())
    found = usable(folder, names, lambda _, path: decode(path, mode, width, "crop", white))
    said = ignored.named()
    return floats(np.stack([found[name] for name in names])), [
        f"{folder}: left out: {said}"
    ] if said else []


def against(name: str | Path, like: Tensor, root: Path | None) -> Data:
    """The data set of this name, or a folder of pictures,
    whose pictures are like these samples (N, C, H, W)."""
    C, H, W = like.shape[1:]
    place = Path(name).expanduser()
    if str(name) in data_sets.names():
        raw: dict[str, Any] = {"name": str(name)}
    elif place.is_dir():
        raw = {
            "name": "folder",
            "path": str(place.resolve()),
            "size": H,
            "mode": "grey" if C == 1 else "colour",
        }
    else:
        known = ", ".join(data_sets.names())
        raise Mistake(f"against = '{name}' is neither a folder nor a data set; data sets: {known}")
    source = data_sets.load(config.check_data(raw, str(name)), root)
    if source.extractor in NOT_PICTURES:
        raise Mistake(f"against = '{name}' holds {source.extractor}, not pictures")
    there = tuple(source.take("held_out", 1)["image"].shape[1:])
    if there != (C, H, W):
        raise Mistake(
            f"samples are {C} channels of {H}x{W}, "
            f"those of '{name}' {there[0]} of {there[1]}x{there[2]}"
        )
    return source


def measure_samples(
    samples: Tensor | np.ndarray | Path | str,
    name: str | Path,  # a data set, or a folder of pictures
    *,
    extractor: str | None = None,  # None: the one that fits the data
    seed: int = 0,
    root: Path | None = None,  # the data folder
) -> tuple[Rows, list[str]]:
    """One row a metric with its provenance, and notes for the reader. Training pictures are what
    may have been memorised, held-out ones what the samples are compared with."""
    start = time.monotonic()
    made, notes = pictures(samples)
    if len(made) < LEAST:
        raise Mistake(f"{len(made)} samples; allowed: {LEAST} and more")
    source = against(name, made, root)
    protocol = Protocol(len(made), 1, seed, extractor)
    judge = of_pictures(lambda _: made, source, protocol)
    numbers, more = judged(judge, protocol)
    provenance = {
        "step": None,
        "n_fake": len(made),
        **judge.provenance,
        "split": "held_out",
        "repeats": 1,
        "seed": seed,
        "weights": None,
        "config": None,
        "samples": blake2b(made.numpy().tobytes(), digest_size=6).hexdigest(),
        "against": str(name),
        "commit": commit(),
        "seconds": round(time.monotonic() - start, 1),
    }
    return [versions.stamped(row) for row in rows_of(numbers, judge, provenance)], [*notes, *more]
