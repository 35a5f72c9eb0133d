"""Where score, drive and dream put what they make, and how a film plays."""

import os
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.io import paint as easel
from simulacra.tasks._picture import within


class Screen(NamedTuple):
    """How a film is shown."""

    fps: float = 25.0  # frames per second
    every: int = 1  # of so many frames one is kept
    scale: int = 3  # pixels of the film for one of a frame

    def check(self, out: Path) -> None:
        """A Mistake if no such film can be written there; nothing is made yet."""
        within(every=(self.every, 1000), scale=(self.scale, 16))
        writable(out, ".mp4", ".gif")
        most = 50 if out.suffix == ".gif" else 1000
        if not 0 < self.fps <= most:
            raise Mistake(f"fps = {self.fps}; allowed: above 0, up to {most} in a {out.suffix}")

    def show(self, clips: Tensor, out: Path, columns: int | None = None) -> Path:
        """The path of a film in which clips (N, T, C, H, W) play side by side."""
        return easel.save_film(clips[:, :: self.every], out, self.fps, columns, self.scale)


def writable(out: Path, *suffixes: str) -> None:
    """A Mistake if a file has another suffix than these or cannot be written;
    nothing is made yet."""
    if out.suffix not in suffixes or out.is_dir():
        raise Mistake(
            f"cannot write '{out.name}'; allowed: the name of a {' or a '.join(suffixes)}"
        )
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise Mistake(
            f"cannot write {out}: "
            f"{there} is {'not to be written into' if there.is_dir() else 'a file'}"
        )
