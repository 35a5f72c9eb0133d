"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 + 10,000 grey clothes at 28x28, from the
official IDX files.

The four files are looked for, raw or .gz, in the data folder's `fashion-mnist` and in the data
folder itself. The official test pictures are held out.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from simulacra.data._idx import Source, pictures

SOURCE = Source(
    name="fashion-mnist",
    digests={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="fashion_mnist",
):
    """How Fashion-MNIST is found and prepared."""

    # pixels of background on every side of 28x28; 2 makes 32x32
    pad: Annotated[int, msgspec.Meta(ge=0, le=18)] = 0
    # address of a folder with the four .gz files, to download what is missing; empty: no download
    url: str = ""


class FashionMnist:
    """Ten kinds of clothes, grey, 28x28 before padding."""

    classes = 10
    extractor = "fashion_cnn"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.pictures = pictures(SOURCE, root, options.url, options.pad)
        self.draw, self.take, self.size = self.pictures.draw, self.pictures.take, self.pictures.size
        self.part = self.pictures.part

    def describe(self) -> dict[str, str]:
        """Where the pictures come from and what they are like."""
        return {
            "source": "Fashion-MNIST, official files; the test pictures are held out",
            **self.pictures.describe(),
        }


Data = FashionMnist
