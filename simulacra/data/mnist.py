"""MNIST (LeCun, Cortes, Burges 1998): 60,000 + 10,000 grey handwritten digits at 28x28, from the
official IDX files.

The four files are looked for, raw or .gz, in the data folder's `mnist` and in the data folder
itself. The official test digits are held out.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from simulacra.data._idx import Source, pictures

SOURCE = Source(
    name="mnist",
    digests={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="mnist",
):
    """How MNIST is found and prepared."""

    # pixels of background on every side of 28x28; 2 makes 32x32
    pad: Annotated[int, msgspec.Meta(ge=0, le=18)] = 0
    # address of a folder with the four .gz files, to download what is missing; empty: no download
    url: str = ""


class Mnist:
    """Handwritten digits, grey, 28x28 before padding."""

    classes = 10
    extractor = "mnist_cnn"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.pictures = pictures(SOURCE, root, options.url, options.pad)
        self.draw, self.take, self.size = self.pictures.draw, self.pictures.take, self.pictures.size
        self.part = self.pictures.part

    def describe(self) -> dict[str, str]:
        """Where the digits come from and what they are like."""
        return {
            "source": "MNIST, official files; the test digits are held out",
            **self.pictures.describe(),
        }


Data = Mnist
