"""CarRacing: steps a processor second of the simulators, of truths in lockstep and of recording;
the scripted driver's returns.

    python bench/racing.py

One thread. Steps count cars: 64 cars that make 10 steps each make 640. A ratio survives a busy
machine, seconds do not.
"""

import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from simulacra.data.racing import Options, Racing
from simulacra.envs.carracing.game import Game
from simulacra.envs.carracing.policies import Ghosts, Scripted, solo
from simulacra.envs.carracing.racing import Pool
from simulacra.tasks.worlds.collect import checked, collect, plan, record

torch.set_num_threads(1)


def per_second(work: Callable[[], int]) -> float:
    """What `work` returns, over its processor seconds."""
    start = time.process_time()
    count = work()
    return count / (time.process_time() - start)


def driven(kind: str, cars: int, steps: int, truths: bool) -> int:
    """Drive the scripted driver along, from the undrawn games, or constantly without them;
    how many steps that were."""
    seeds = list(range(1000, 1000 + cars))
    ghosts = Ghosts(seeds) if truths else None
    with Pool(kind, seeds) as pool:
        pool.reset()
        actions = np.tile(np.array([0.0, 0.1, 0.0], np.float32), (cars, 1))
        for _ in range(steps):
            if ghosts:
                actions = np.stack([Scripted().act(game) for game in ghosts.games])
                ghosts.truths()
                ghosts.step(actions, pool.alive)
            pool.step(actions)
    return cars * steps


def watched(steps: int, hud: bool, fast: bool = True) -> int:
    """Drive one drawn game, whose steps are those of 96 x 96 pixels."""
    game = Game(1000, hud=hud)
    if not fast:
        game.env._render = game.env._render.own
    game.reset()
    for _ in range(steps):
        game.step(np.array([0, 0.1, 0]))
    return steps


def undrawn(steps: int) -> int:
    """Drive one undrawn game."""
    return solo(Scripted(), 0, steps)[1]


def collected(episodes: int) -> int:
    """Record episodes without writing them."""
    spec = checked(0, {"scripted": 1.0}, "envpool", 200, 0, 64, False)
    return sum(
        len(one.frames) for one in record(spec, [plan(spec, number) for number in range(episodes)])
    )


def drawn_from(home: Path, batches: int, batch: int, length: int) -> int:
    """Draw batches of the data set; how many frames that were."""
    source = Racing(Options(path=str(home), length=length), None)
    for k in range(batches):
        source.draw(k, batch, 0)
    return batches * batch * max(1, length)


def resident() -> float:
    """Kilobytes of this process that are in memory,
    once all that was freed is handed back (glibc)."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1000


def grown(pools: int, cars: int = 64) -> float:
    """Kilobytes that stay of each environment of envpool that was made, reset and closed."""
    for k in range(10 + pools):
        if k == 10:
            before = resident()
        with Pool("envpool", range(k * cars, (k + 1) * cars)) as pool:
            pool.reset()
    return (resident() - before) / (pools * cars)


def notify(what: str, work: Callable[[], int]) -> None:
    """Print one rate."""
    sys.stdout.write(f"{what:36}{per_second(work):8,.0f} /s\n")


def main() -> None:
    """Print the table."""
    driven("envpool", 1, 5, False), driven("gymnasium", 1, 5, False)  # imports
    for cars, steps in (1, 600), (16, 100), (64, 25):
        notify(
            f"envpool, crop, resize, {cars} cars", partial(driven, "envpool", cars, steps, False)
        )
    notify("gymnasium, crop, resize, 1 car", partial(driven, "gymnasium", 1, 500, False))
    notify("gymnasium's own drawing", partial(watched, 200, False, fast=False))
    notify("the same pixels, with the bar", partial(watched, 500, True))
    notify("the same pixels, without it", partial(watched, 500, False))
    notify("undrawn, scripted driver", partial(undrawn, 1000))
    notify("envpool in lockstep, 16 cars", partial(driven, "envpool", 16, 100, True))
    notify("recording, 8 cars", partial(collected, 8))
    with tempfile.TemporaryDirectory() as home:
        collect(Path(home), 12, steps=100)
        notify("data set, frames, batch 100", partial(drawn_from, Path(home), 40, 100, 0))
        notify(
            "data set, frames of 16 sequences of 32", partial(drawn_from, Path(home), 20, 16, 32)
        )
    sys.stdout.write(f"{'memory that envpool keeps':36}{grown(60):8.1f} kB an environment\n")
    for tracks in "own", "shared":
        drives = [solo(Scripted(), seed, tracks=tracks) for seed in range(12)]
        pays, laps = np.array([pay for pay, *_ in drives]), sum(finished for *_, finished in drives)
        some = f"tracks 0-2 {pays[:3].mean():.0f}, 0-11 {pays.mean():.0f} +- {pays.std():.0f}"
        sys.stdout.write(f"scripted driver, {tracks} {some}, {laps} laps finished of 12\n")


if __name__ == "__main__":
    main()
