"""gymnasium's games in processes of their own, watched:
a process that dies is an error with its last words, never a wait."""

import contextlib
import faulthandler
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core.errors import Mistake
from simulacra.envs.carracing.drawing import version_is_known
from simulacra.envs.carracing.game import Game

PATIENCE = 120.0  # seconds for one answer, of which a drawn step takes 0.015 a car
WORDS = 300  # last characters that are told of what a dead process wrote


def serve(pipe: Connection, words: str, seeds: list[int], tracks: str, hud: bool) -> None:
    """Drive these tracks until the pipe closes.
    What is written to standard error goes into the file `words`."""
    os.dup2(os.open(words, os.O_WRONLY | os.O_APPEND), 2)
    # the file lives on until both processes have let it go, and is gone however they end
    Path(words).unlink()
    faulthandler.enable()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        games = [Game(seed, tracks=tracks, hud=hud) for seed in seeds]
        pipe.send(np.stack([game.reset() for game in games]))
        while True:
            actions, rows = pipe.recv()
            told = [games[i].step(action) for i, action in zip(rows, actions, strict=True)]
            frames, rewards, ended, _ = zip(*told, strict=True)
            pipe.send((np.stack(frames), np.array(rewards, np.float32), np.array(ended)))


class Worker:
    """One process and its tracks."""

    def __init__(self, number: int, seeds: list[int], tracks: str, hud: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.number, self.seeds = number, seeds
        handle, name = tempfile.mkstemp(prefix="simulacra-worker-")
        self.words, self.place = os.fdopen(handle, encoding="utf-8", errors="replace"), Path(name)
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=serve, args=(theirs, name, seeds, tracks, hud), daemon=True
        )
        self.process.start()
        theirs.close()

    def send(self, message: object) -> None:
        """Ask for something."""
        try:
            self.pipe.send(message)
        except OSError:
            raise self.lost() from None

    def receive(self) -> Any:
        """The answer."""
        try:
            if not wait([self.pipe], PATIENCE):
                raise Mistake(f"racing worker {self.number} has not answered for {PATIENCE:.0f} s")
            return self.pipe.recv()
        except (EOFError, OSError):
            raise self.lost() from None

    def lost(self) -> Mistake:
        """What to say of a process that has ended."""
        self.process.join(5)
        self.words.seek(0)
        said = " ".join(self.words.read().split())[-WORDS:] or "it said nothing"
        told = f"racing worker {self.number}, tracks {self.seeds[0]} to {self.seeds[-1]}, ended"
        return Mistake(f"{told} with status {self.process.exitcode} ({said})")

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.words.close()
        self.place.unlink(missing_ok=True)  # if the process never came so far


class Team:
    """The tracks dealt out to processes; as a simulator, see racing.py."""

    def __init__(self, seeds: Sequence[int], tracks: str, hud: bool, processes: int) -> None:
        version_is_known()  # whose warning would not be heard from the processes
        self.parts = np.array_split(np.arange(len(seeds)), processes)
        self.workers = [
            Worker(k, [int(seeds[i]) for i in part], tracks, hud)
            for k, part in enumerate(self.parts)
        ]

    def reset(self) -> np.ndarray:
        """First frames (N, 96, 96, 3) uint8."""
        with self._all_or_none():
            return np.concatenate([worker.receive() for worker in self.workers])

    def step(
        self, actions: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames, rewards, ends."""
        asked = []
        with self._all_or_none():
            for worker, part in zip(self.workers, self.parts, strict=True):
                mine = (rows >= part[0]) & (rows <= part[-1])
                if mine.any():
                    worker.send((actions[mine], (rows[mine] - part[0]).tolist()))
                    asked.append(worker)
            frames, rewards, ended = zip(*[worker.receive() for worker in asked], strict=True)
        return np.concatenate(frames), np.concatenate(rewards), np.concatenate(ended)

    @contextlib.contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """If one cannot be asked or cannot answer, all are ended."""
        try:
            yield
        except Mistake:
            self.close()
            raise

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()
        self.workers = []
