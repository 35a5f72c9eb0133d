"""Scores: the mean over 100 fixed tracks, with what is known of its error; never the best episode,
never a chosen one.

Every agent drives the same tracks to the official end, so that two of them are compared track by
track.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.envs.carracing.tracks import OFFICIAL
from simulacra.metrics.intervals.interval import interval
from simulacra.models.world.acting import LIMIT, Factory, Senses, closing, drive

AT_ONCE = 25  # episodes driven in one batch
COLUMNS = "track", "return", "steps", "lap_finished", "progress"


@dataclass(frozen=True)
class Row:
    """One episode."""

    track: int  # its seed
    value: float  # the return
    steps: int  # until the end
    lap_finished: float  # 1 or 0; NaN where the world does not tell
    progress: float  # share of the tiles that were reached; NaN where the world does not tell


@dataclass(frozen=True)
class Summary:
    """What numbers, one a track, say of their mean."""

    n: int
    mean: float
    std: float  # between tracks, n - 1
    standard_error: float  # of the mean
    low: float  # ends of its 95 % Student interval
    high: float


@dataclass(frozen=True)
class Score:
    """All episodes of one agent."""

    rows: tuple[Row, ...]

    def summary(self) -> Summary:
        """Of the returns."""
        return summary([row.value for row in self.rows])

    def shares(self) -> dict[str, float]:
        """The share of laps finished and the mean share of tiles reached."""
        names = "lap_finished", "progress"
        return {name: float(np.mean([getattr(row, name) for row in self.rows])) for name in names}


def score(
    controller: Tensor,  # (N,), the mean of a search
    senses: Senses,
    factory: Factory,
    seeds: Sequence[int] = OFFICIAL,
    *,
    # of the noise of codes; each track has its own, the same for every agent, whatever else is
    # driven
    seed: int = 0,
    limit: int = LIMIT,  # steps of the longest episode, which is the official end
    notify: Callable[[int, int], None] = lambda done, of: None,  # told of episodes done
) -> Score:
    """One episode on each track to the official end, whatever cap the agent was trained with."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise Mistake(
            f"{len(seeds)} tracks of which {len(set(seeds))} differ; allowed: 1 and more, each once"
        )
    rows: list[Row] = []
    for start in range(0, len(seeds), AT_ONCE):
        some = list(seeds[start : start + AT_ONCE])
        with closing(factory(some)) as world:
            if (cap := getattr(world, "limit", limit)) != limit:
                raise Mistake(
                    f"this world ends episodes after {cap} steps; "
                    f"allowed: {limit}, or it is no score"
                )
            driven = drive(controller[None], senses, world, fold(seed, "score"), limit)
        columns = (
            driven.returns[0],
            driven.lengths[0].int(),
            driven.finished[0],
            driven.progress[0],
        )
        rows += [
            Row(*one) for one in zip(some, *(column.tolist() for column in columns), strict=True)
        ]
        notify(len(rows), len(seeds))
    return Score(tuple(rows))


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and error, and the 95 % Student interval of the mean."""
    found = np.asarray(values, np.float64)
    if not len(found) or not np.isfinite(found).all():
        raise Mistake(
            f"{len(found)} returns, {int((~np.isfinite(found)).sum())} of them no numbers; "
            "allowed: 1 and more numbers"
        )
    n, mean = len(found), float(found.mean())
    if n == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan, math.nan)
    std = float(found.std(ddof=1))
    return Summary(n, mean, std, std / math.sqrt(n), *interval(found.tolist())[1:])


def paired(one: Score, other: Score) -> Summary:
    """Of the differences one - other, track by track; a Mistake if they drove different tracks."""
    theirs = {row.track: row.value for row in other.rows}
    ours = {row.track: row.value for row in one.rows}
    if ours.keys() != theirs.keys():
        alone = sorted(ours.keys() ^ theirs.keys())
        raise Mistake(
            f"two scores differ in {len(alone)} tracks, {alone[0]} among them; "
            "allowed: scores on the same tracks"
        )
    return summary([ours[track] - theirs[track] for track in sorted(ours)])


def save_csv(found: Score, path: Path) -> Path:
    """The path of a table with a row an episode."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(
        (row.track, repr(row.value), row.steps, row.lap_finished, row.progress)
        for row in found.rows
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        run.write_text(path, text.getvalue())
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path


def read_csv(path: Path) -> Score:
    """A score that was saved; a Mistake if the file is none."""
    try:
        header, *lines = csv.reader(path.read_text("utf-8").splitlines())
        if tuple(header) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(header)}")
        return Score(
            tuple(Row(int(a), float(b), int(c), float(d), float(e)) for a, b, c, d, e in lines)
        )
    except (OSError, ValueError) as error:
        raise Mistake(
            f"{path} is no table of a score ({error}); allowed: columns {', '.join(COLUMNS)}"
        ) from None
