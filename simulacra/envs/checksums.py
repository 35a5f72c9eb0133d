"""Checksums of recordings and codes: of each row, so that what is read in parts is verified in
parts, and of what it is as a whole, which is its identity."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from zlib import crc32

import numpy as np

DIGEST = 16  # bytes of an identity


def of_rows(array: np.ndarray) -> np.ndarray:
    """CRC-32 (T,) uint32 of the bytes of each row of an array (T, ...)."""
    width = int(np.prod(array.shape[1:], dtype=int)) * array.itemsize
    rows = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), width)
    return np.fromiter((crc32(row.data) for row in rows), np.uint32, len(array))


def table(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Those of several arrays of T rows each, (T, n) uint32."""
    return np.stack([of_rows(array) for array in arrays], 1)


def identity(*parts: bytes) -> str:
    """A name of 32 letters 0 to f: equal for equal bytes."""
    h = blake2b(digest_size=DIGEST)
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.hexdigest()


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """The identity of named arrays, whatever their order."""
    parts = [
        (name.encode(), np.ascontiguousarray(arrays[name]).tobytes()) for name in sorted(arrays)
    ]
    return identity(*(part for pair in parts for part in pair))
