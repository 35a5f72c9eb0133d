"""The four IDX files in which MNIST and its relatives come, checked to the last bit."""

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import md5
from pathlib import Path

import numpy as np

from simulacra.core.errors import Mistake
from simulacra.data._pictures import Pictures, Split, padded
from simulacra.io.download import fetch

LARGEST = 2**26  # bytes, decompressed; the largest official file holds 47,040,016
TRAIN = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
HELD_OUT = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True)
class Source:
    """A data set that comes as IDX files."""

    name: str  # also the folder's name inside the data folder
    digests: Mapping[str, str]  # MD5 of each file, decompressed


def found(folder: Path, file: str) -> Path | None:
    """The file, raw or compressed, if the folder has it."""
    return next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None)


def home(source: Source, root: Path | None) -> Path:
    """The folder the files belong in: the one named after the data set,
    or the data folder itself if only that has them."""
    if root is None:
        raise Mistake(
            f"data set '{source.name}' needs a data folder; name one with --data or SIMULACRA_DATA"
        )
    named = root / source.name
    return (
        root if not named.is_dir() and any(found(root, file) for file in source.digests) else named
    )


def locate(source: Source, root: Path | None, url: str) -> dict[str, Path]:
    """Where each of the four files is, fetched first where a mirror is given."""
    folder = home(source, root)
    for file, digest in source.digests.items():
        if url and found(folder, file) is None:
            fetch(
                f"{url.rstrip('/')}/{file}.gz", folder / f"{file}.gz", partial(read, digest=digest)
            )
    paths = {file: found(folder, file) for file in source.digests}
    missing = [file for file, path in paths.items() if path is None]
    if missing:
        raise Mistake(
            f"data set '{source.name}': no {', '.join(missing)} (raw or .gz) in {folder}; "
            "put the official IDX files there, "
            "or set data.url to a mirror's address to have them downloaded"
        )
    return {file: path for file, path in paths.items() if path is not None}


def unpacked(path: Path) -> bytes:
    """The file's content, decompressed where the name ends in .gz;
    no more is read than the official files hold."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = bytes(file.read(LARGEST + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise Mistake(f"cannot read {path}: {error}") from None
    if len(data) > LARGEST:
        raise Mistake(
            f"{path} holds other data than the official file: more than {LARGEST:,} bytes"
        )
    return data


def read(path: Path, digest: str) -> np.ndarray:
    """The array in an IDX file of bytes, (N, H, W) or (N,) uint8;
    it must be the one with this MD5."""
    data = unpacked(path)
    axes = 3 if "idx3" in path.name else 1
    head = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < head:
        raise Mistake(
            f"{path} is no IDX file of bytes: it begins with {data[:4].hex()}, "
            f"expected 0000080{axes}"
        )
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", count=axes, offset=4))
    wanted = head + int(np.prod(shape, dtype=object))
    if len(data) != wanted:
        raise Mistake(f"{path} holds {len(data)} bytes; its header tells of {wanted}")
    actual = md5(data, usedforsecurity=False).hexdigest()
    if actual != digest:
        raise Mistake(
            f"{path} holds other data than the official file: MD5 {actual}, expected {digest}"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def pictures(source: Source, root: Path | None, url: str, pad: int) -> Pictures:
    """The data set, official test pictures held out."""
    paths = locate(source, root, url)

    def split(images: str, labels: str) -> Split:
        pixels = padded(read(paths[images], source.digests[images])[:, None], pad)
        return Split(pixels, read(paths[labels], source.digests[labels]), np.arange(len(pixels)))

    return Pictures(split(*TRAIN), split(*HELD_OUT))
