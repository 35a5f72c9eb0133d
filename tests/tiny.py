"""Every model's and config's tiny preset, on data that are there."""

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import coded
import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core import config, data_sets, run
from simulacra.core.config import Config
from simulacra.core.contract import Batch, Model
from simulacra.core.errors import Mistake
from simulacra.core.load import build, data_root
from simulacra.core.warm_start import begin
from simulacra.io import paint
from simulacra.tasks.train import Outcome, train

ROOT = data_root(None)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Tiny:
    """A config's tiny preset, with what has to be changed for its data to be there."""

    source: str
    changes: tuple[str, ...] = ()

    def config(self, *more: str) -> Config:
        """The resolved config, with further changes."""
        return config.resolve(self.source, "tiny", [*self.changes, *more])

    def arguments(self, folder: Path, *more: str) -> list[str]:
        """The command line that trains it."""
        sets = [word for change in (*self.changes, *more) for word in ("--set", change)]
        return ["train", self.source, "--preset", "tiny", "--run", str(folder), *sets]

    def train(self, folder: Path, *more: str, **how: Any) -> Outcome:
        """How training it in this process ended."""
        with mock.patch.object(paint, "curves", scribble):
            return train(self.config(*more), folder, ROOT, **how)

    def model(self, *more: str) -> tuple[Model, list[Batch]]:
        """The untrained model and its first ten batches."""
        checked = self.config(*more)
        source = data_sets.load(checked.data, ROOT)
        batches = [source.draw(k, checked.batch, checked.seed) for k in range(10)]
        return build(checked, batches[0], CPU), batches

    def begun(self, place: Path, *more: str) -> tuple[Model, list[Batch]]:
        """The model that begins with the weights that `init_from` names,
        as a new run would, and its first batches."""
        model, batches = self.model(*more)
        begin(self.config(*more), model, place / "new", CPU)
        return model, batches


def scribble(rows: object, path: Path) -> Path:
    """The path of something quickly written in place of curves,
    which take longer to draw than all else in a tiny run."""
    return paint.write(path, b"curves")


def works(tiny: Tiny, root: Path | None) -> bool:
    """Whether its data are there and its nets take them."""
    try:
        checked = tiny.config()
        build(checked, data_sets.load(checked.data, root).draw(0, checked.batch, 0), CPU)
    except Mistake:
        return False
    return True


@cache
def own_series() -> Path:
    """A file of 60 series of 12 steps and 2 channels, gone with the process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    start, step = torch.rand(2, 60, 1, 2, generator=torch.Generator().manual_seed(0))
    np.save(folder / "series.npy", (start + step * torch.linspace(0, 1, 12)[:, None]).numpy())
    return folder / "series.npy"


@cache
def own_codes() -> Path:
    """A folder of encoded episodes, gone with the process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return coded.folder(folder / "codes")


@cache
def own_frames() -> tuple[Path, Path]:
    """Folders of 20 frames in which a square moves over a colour gradient, and of the same as 19
    pairs of frames; gone with the process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    clip, pairs = folder / "clip", folder / "pairs"
    clip.mkdir()
    pairs.mkdir()
    ramp = np.linspace(0, 200, 64).astype(np.uint8)
    frames = []
    for t in range(20):
        frame = np.stack(
            [
                np.tile(ramp, (64, 1)),
                np.tile(ramp[:, None], (1, 64)),
                np.full((64, 64), 90, np.uint8),
            ],
            -1,
        )
        frame[20:36, 2 * t : 2 * t + 16] = 255
        frames.append(Image.fromarray(frame))
        frames[-1].save(clip / f"{t:02d}.png")
    for t, both in enumerate(pairwise(frames)):
        for i, frame in enumerate(both):
            frame.save(pairs / f"{t:02d}_im{i + 1}.png")
    return clip, pairs


@cache
def own_pictures() -> Path:
    """A folder of 120 pictures of one square each, of which half are enough to measure against;
    gone with the process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for i in range(120):
        picture = np.full((32, 32, 3), 40 + i, np.uint8)
        picture[4:20, i % 16 : i % 16 + 12] = 255 - i, i, 128
        Image.fromarray(picture).save(folder / f"{i:03d}.png")
    return folder


@cache
def of_config(name: str) -> Tiny | None:
    """The config as it is if its data need no files,
    else on the embedded digits or on files made for it, else on the data folder."""
    plain, digits, series = (
        Tiny(name),
        Tiny(name, ("data.name=digits",)),
        Tiny(name, (f"data.path={own_series()}",)),
    )
    codes, *frames = (Tiny(name, (f"data.path={path}",)) for path in (own_codes(), *own_frames()))
    if config.based(config.find(name)).get("data", {}).get("name") == "folder":
        frames = [Tiny(name, (f"data.path={own_pictures()}", "data.held_out=0.5"))]
    made = [(tiny, None) for tiny in (series, codes, *frames)]
    choices = [(plain, None), (digits, None), *made, *([(plain, ROOT)] if ROOT else [])]
    return next((tiny for tiny, root in choices if works(tiny, root)), None)


@cache
def of_model(model_name: str) -> Tiny | None:
    """The model's first config that works, sooner one that need not be changed."""
    names = [
        name
        for name in config.configs()
        if config.based(config.find(name)).get("room") == model_name
    ]
    found = [tiny for tiny in map(of_config, names) if tiny]
    return min(found, key=lambda tiny: len(tiny.changes), default=None)


def needed(tiny: Tiny | None, what: str) -> Tiny:
    """The config, or a skipped test that says why."""
    if tiny is None:
        pytest.skip(
            f"{what} does not take the embedded digits, "
            "and SIMULACRA_DATA names no folder with its data"
        )
    return tiny


def examples(batch: Batch) -> torch.Tensor:
    """The pictures (B, C, H, W), series (B, T, C) or codes (B, T, Z) of a batch;
    of clips their last frames."""
    if "mean" in batch:
        return batch["mean"]
    if "video" in batch:
        return batch["video"][:, -1]
    return batch["image"] if "image" in batch else batch["series"]


def equal(a: Any, b: Any) -> bool:
    """Whether nested states are the same, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return (
            isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
        )
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def assert_same(one: Path, two: Path) -> None:
    """Two runs have ended with the same bits:
    names and tensors of the checkpoints, bytes of the log, digests in `done`."""
    names = [[path.name for path in run.checkpoints(folder)] for folder in (one, two)]
    assert names[0] == names[1] != []
    for name in names[0]:
        there, here = (
            torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (one, two)
        )
        assert equal(there, here), f"checkpoint {name} differs"
    for file in "log.jsonl", "done":
        assert (one / file).read_bytes() == (two / file).read_bytes(), f"{file} differs"
