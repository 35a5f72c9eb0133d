"""Encode recorded episodes: every frame as the mean and log-variance that an eye gives it, one file an episode.

A stopped call goes on: an episode is there whole or not at all. Each file carries the hash of its eye, and a folder holds codes
of one eye only.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from simulacra import run
from simulacra.data.codes import SUFFIX, header
from simulacra.errors import Mistake
from simulacra.reopen import Opened
from simulacra.world.acting import Eye, pictures
from simulacra.world.parts import eye_of

CHUNK = 256  # frames encoded at once
MOST = 6e4  # of float16, less a little


class Recorded(NamedTuple):
    """One episode of n frames: on seeing frame i the action i was taken, which earned the reward i."""

    frames: Any  # (n, C, H, W) uint8, an array or a memory map
    actions: Any  # (n, A)
    rewards: Any  # (n,)
    done: Any  # (n,), whether the episode ended with this step; a recording that was cut has no such step


class Recordings(Protocol):
    """Episodes by name."""

    names: Sequence[str]

    def episode(self, name: str) -> Recorded:
        """Read one."""


class Stored:
    """Recordings of a store that `simulacra collect` filled; an episode is named as its file is, after a prefix that keeps
    stores apart."""

    def __init__(self, store: Any, prefix: str = ""):
        self.store = store
        self.names: Sequence[str] = [prefix + entry.path.stem for entry in store.entries]

    def episode(self, name: str) -> Recorded:
        """Read one, its frames mapped from disk."""
        found = self.store.episode(self.names.index(name))
        return Recorded(found.frames, found.actions, found.rewards, found.ends)


class Encoded(NamedTuple):
    """What was done."""

    written: int  # episodes
    already: int  # episodes that were there
    frames: int  # of those written
    eye: str  # hash


def encode(
    opened: Opened,  # a run of an eye
    recordings: Recordings,
    out: Path,  # a folder
    *,
    told: Callable[[int, int], None] = lambda done, of: None,  # told of episodes done
) -> Encoded:
    """Write the codes of all episodes into `out`; those that are there are left as they are."""
    eye, name = eye_of(opened)
    if not recordings.names:
        raise Mistake("there are 0 episodes to encode; allowed: 1 and more")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(out.glob(f"*{SUFFIX}")):
        if (found := header(path).eye) != name:
            raise Mistake(f"{path} is of eye {found}, this eye is {name}; allowed: one eye a folder, choose another with -o")
    written = frames = 0
    for count, episode in enumerate(recordings.names, 1):
        path = out / f"{episode}{SUFFIX}"
        if not path.exists():
            tensors = codes(eye, recordings.episode(episode), episode)
            data = save(tensors, {"eye": name, "run": opened.folder.name, "step": str(opened.step)})
            with run.full_disk(out):
                run.write(path, lambda file, data=data: file.write(data))
            written, frames = written + 1, frames + len(tensors["mean"])
        told(count, len(recordings.names))
    return Encoded(written, len(recordings.names) - written, frames, name)


@torch.inference_mode()
def codes(eye: Eye, recorded: Recorded, name: str) -> dict[str, Tensor]:
    """The tensors of one episode's file, as data/codes.py reads them."""
    n = len(recorded.frames)
    if not n or not n == len(recorded.actions) == len(recorded.rewards) == len(recorded.done):
        lengths = f"{n} frames, {len(recorded.actions)} actions, {len(recorded.rewards)} rewards, {len(recorded.done)} ends"
        raise Mistake(f"episode {name} has {lengths}; allowed: 1 and more, equally many")
    made = [eye.encode(pictures(recorded.frames[i : i + CHUNK])) for i in range(0, n, CHUNK)]
    mean, log_variance = (torch.cat(part) for part in zip(*made, strict=True))
    if not (mean.abs().max() < MOST and log_variance.abs().max() < MOST):  # which is also not so where one is no number
        raise Mistake(f"episode {name}: its codes do not fit float16 or are not finite; is the eye trained?")
    return {
        "mean": mean.half(),
        "log_variance": log_variance.half(),
        "action": torch.from_numpy(np.array(recorded.actions, np.float32)),
        "reward": torch.from_numpy(np.array(recorded.rewards, np.float32)),
        "done": torch.from_numpy(np.array(recorded.done, bool)).byte(),
    }
