"""Received: recordings of other people made into a store, as if they had been recorded here.

A folder holds films beside tables, NAME.mp4 and NAME.csv, a row a frame: what was done on seeing it
(`action`, a choice's name or number; or a column for each number, between -1 and 1), the `reward`
that it earned, and, if the game ended with it, 1 under `end`. Or it holds files of HDF5 as Minari
writes them (main_data.hdf5): groups of observations, actions, rewards, terminations.
"""

import math
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core import extras
from simulacra.core.errors import Mistake
from simulacra.envs import episodes as store
from simulacra.envs.game import SIZE, Game
from simulacra.envs.plays import shrunk
from simulacra.envs.view import Actions
from simulacra.io import film, table
from simulacra.io.clip import FILMS
from simulacra.tasks.worlds.collect import Notify, unheard
from simulacra.tasks.worlds.record import report

H5 = ".hdf5", ".h5"
Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # frames, actions, rewards, ends


def receive(out: Path, game: Game, folder: Path, *, notify: Notify = unheard) -> dict[str, object]:
    """Fill the store `out` with the recordings of a folder and say what is in it; a Mistake names
    file and line, and nothing is written then."""
    sources = listed(folder)
    view, actions = game.view(), game.does()
    for path in sources:  # before anything is written
        if path.suffix.lower() == ".csv":
            rows_of(path, actions)
    spec = store.Spec(
        seed=0,
        simulator="gymnasium",
        size=SIZE,
        hud=False,
        steps=game.steps,
        lead=0,
        mixture={"received": 1.0},
        versions=game.versions(),
        view=view,
    )
    with store.filling(out, spec):
        number = 0
        for count, path in enumerate(sources):
            for parts in read(path, game, actions):
                store.write(out, episode(parts, number))
                number += 1
            notify("episodes", (count + 1) / len(sources))
        return report(store.Store(out))


def listed(folder: Path) -> list[Path]:
    """The tables, each with a film beside it, and the files of HDF5; a Mistake if there are none or
    one lacks the other."""
    if not folder.is_dir():
        raise Mistake(f"{folder} is no folder; allowed: one of films with tables, or of HDF5 files")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    films = {path.with_suffix("") for path in files if path.suffix.lower() in FILMS}
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    others = [path for path in files if path.suffix.lower() in H5]
    for path in tables:
        if path.with_suffix("") not in films:
            raise Mistake(
                f"{path} has no film beside it; allowed: {path.stem}{FILMS[-4]} and so on"
            )
    if alone := sorted(films - {path.with_suffix("") for path in tables}):
        raise Mistake(f"film {alone[0]} has no table beside it; needed: {alone[0].name}.csv")
    if not tables and not others:
        raise Mistake(f"{folder} holds no recordings; allowed: NAME.mp4 with NAME.csv, or {H5[0]}")
    return [*tables, *others]


def read(path: Path, game: Game, actions: Actions) -> Iterator[Parts]:
    """The episodes of a table with its film, or of a file of HDF5."""
    if path.suffix.lower() in H5:
        yield from of_hdf5(path, game, actions)
        return
    done, rewards, ends = rows_of(path, actions)
    filmed = next(
        other
        for end in FILMS
        for other in path.parent.glob(f"{path.stem}.*")
        if other.suffix.lower() == end
    )
    frames = [shrunk(np.asarray(one.convert("RGB")), game) for _, one in film.film(filmed).frames]
    if len(frames) != len(rewards):
        raise Mistake(
            f"{path} has {len(rewards):,} rows, {filmed.name} {len(frames):,} frames; "
            "allowed: a row a frame"
        )
    yield np.stack(frames), done, rewards, ends


def rows_of(path: Path, actions: Actions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions (T, A), rewards (T,), ends (T,) of a table; a Mistake names its line."""
    heads, *rows = table.lines(path)
    single = actions.kind == "discrete" or actions.size == 1
    wanted = ["action"] if single and "action" in heads else list(actions.names)
    wanted = ["action"] if actions.kind == "discrete" else wanted
    for name in [*wanted, "reward"]:
        if name not in heads:
            raise Mistake(
                f"{path}, line 1: no column '{name}'; needed: {', '.join([*wanted, 'reward'])}, "
                f"found: {', '.join(heads)}"
            )
    if not rows:
        raise Mistake(f"{path} has no rows; allowed: one a frame")
    done, rewards = np.zeros((len(rows), actions.size), np.float32), np.zeros(len(rows), np.float32)
    ends = np.zeros(len(rows), bool)
    for t, row in enumerate(rows):
        where = f"{path}, line {t + 2}"
        if len(row) != len(heads):
            raise Mistake(f"{where}: {len(row)} cells; allowed: {len(heads)}, as line 1 has")
        cells = dict(zip(heads, row, strict=True))
        rewards[t] = number(cells["reward"], "reward", where)
        if actions.kind == "discrete":
            done[t, choice(cells["action"], actions, where)] = 1
        else:
            done[t] = [number(cells[name], name, where, bounded=True) for name in wanted]
        ends[t] = cells.get("end", "") in ("1", "true", "True", "1.0")
        if ends[t] and t + 1 < len(rows):
            raise Mistake(
                f"{where}: the game ends here, but the table goes on; one table an episode"
            )
    return done, rewards, ends


def number(text: str, name: str, where: str, bounded: bool = False) -> float:
    """The number in a cell."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    allowed = "numbers from -1 to 1" if bounded else "finite numbers"
    if not math.isfinite(value) or (bounded and abs(value) > 1):
        raise Mistake(f"{where}: {name} = {text!r}; allowed: {allowed}")
    return value


def choice(text: str, actions: Actions, where: str) -> int:
    """Which choice is meant by its name or its number."""
    if text in actions.names:
        return actions.names.index(text)
    if text.isdecimal() and int(text) < actions.size:
        return int(text)
    raise Mistake(
        f"{where}: action = {text!r}; allowed: {', '.join(actions.names)}, or 0 to "
        f"{actions.size - 1}"
    )


def of_hdf5(path: Path, game: Game, actions: Actions) -> Iterator[Parts]:
    """The episodes of a file as Minari writes it."""
    try:
        h5py = import_module("h5py")
    except ImportError:
        how = extras.install_packages("h5py")
        raise Mistake(f"{path}: files of HDF5 need the package h5py; install it: {how}") from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise Mistake(f"cannot read {path}: {' '.join(str(error).split())[:100]}") from None
    with file:
        names = [name for name in file if "actions" in file[name]]
        if not names:
            raise Mistake(f"{path} holds no groups with actions; allowed: as Minari writes it")
        for name in sorted(names, key=lambda name: (len(name), name)):
            seen = file[name].get("observations")
            if not isinstance(seen, h5py.Dataset) or seen.ndim != 4 or seen.dtype != np.uint8:
                raise Mistake(
                    f"{path}, {name}: observations are {seen}; allowed: pictures (T, H, W, 3) uint8"
                )
            yield of_group(file[name], f"{path}, {name}", game, actions)


def of_group(group: Any, where: str, game: Game, actions: Actions) -> Parts:
    """One episode of T steps; of T + 1 pictures the last is left out."""
    if "rewards" not in group:
        raise Mistake(f"{where}: no rewards; needed: observations, actions, rewards")
    raw, rewards = np.asarray(group["actions"]), np.asarray(group["rewards"], np.float32)
    T, seen = len(rewards), group["observations"]
    if len(seen) not in (T, T + 1) or len(raw) != T or not T:
        raise Mistake(
            f"{where}: {len(seen)} observations, {len(raw)} actions, {T} rewards; allowed: equally "
            "many, or one observation more"
        )
    done = np.zeros((T, actions.size), np.float32)
    if actions.kind == "discrete":
        if raw.ndim != 1 or raw.min() < 0 or raw.max() >= actions.size:
            raise Mistake(
                f"{where}: actions of shape {raw.shape}, {raw.min()} to {raw.max()}; allowed: one "
                f"choice a step, 0 to {actions.size - 1}, as {game.name} has"
            )
        done[np.arange(T), raw.astype(int)] = 1
    else:
        if raw.shape != done.shape:
            raise Mistake(f"{where}: actions of shape {raw.shape}; allowed: {done.shape}")
        done[:] = scaled(raw, game)
    ends = np.zeros(T, bool)
    if "terminations" in group:
        ends[-1] = bool(np.asarray(group["terminations"])[-1])
    return np.stack([shrunk(np.asarray(seen[t]), game) for t in range(T)]), done, rewards, ends


def scaled(raw: np.ndarray, game: Game) -> np.ndarray:
    """Actions of the game's own numbers, between its bounds, as numbers from -1 to 1."""
    environment = game.environment()
    try:
        low, high = environment.action_space.low, environment.action_space.high
    finally:
        environment.close()
    return np.clip((raw - low) / (high - low) * 2 - 1, -1, 1)


def episode(parts: Parts, number: int) -> store.Episode:
    """An episode of a store; that its seed is not known, its number stands for it."""
    frames, actions, rewards, ends = parts
    facts = store.Facts(
        number=number,
        track=number,
        simulator="gymnasium",
        policy="received",
        hud=False,
        start=0,
        terminated=bool(ends[-1]),
        lap_finished=False,
    )
    return store.Episode(
        frames, actions, rewards, ends, np.zeros((len(rewards), 0), np.float32), facts
    )
