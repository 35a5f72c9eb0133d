"""A data set as somebody writes one: stripes of a width that a file holds."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Options:
    count: int = 40  # pictures to train on
    path: str = ""  # a file that holds the width of a stripe; empty: 2


def files(options, root):
    return {"width": Path(options.path)} if options.path else {}


class Data:
    classes = 0
    extractor = "pixels"

    def __init__(self, options, root):
        self.options = options
        self.width = int(Path(options.path).read_text()) if options.path else 2

    def _pictures(self, index):
        rows = (torch.arange(16) // self.width)[None, :] + index[:, None]
        return ((rows % 2).float() * 2 - 1)[:, None, :, None].expand(-1, 1, 16, 16).contiguous()

    def draw(self, k, batch, seed):
        return {"image": self._pictures(torch.arange(batch) + k * batch + seed)}

    def take(self, split, n):
        return {"image": self._pictures(torch.arange(n))}

    def size(self, split):
        return self.options.count if split == "train" else 10

    def describe(self):
        return {"stripes": f"{self.width} pixels wide"}
