"""Reports of a world's eyes and memories: rows with intervals over tracks or drives."""

from math import nan
from typing import Any

from simulacra.core.contract import Agent, HasView, Memory
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, able
from simulacra.data.codes import Codes
from simulacra.envs.view import same
from simulacra.metrics.images.extractors import digest
from simulacra.metrics.intervals import jackknife
from simulacra.metrics.intervals.jackknife import Grouped
from simulacra.metrics.world import encoders, rollouts
from simulacra.models.world import seeing
from simulacra.models.world.artefacts import eye_of
from simulacra.models.world.memory_nets import check_eye

NAME = "codes"
"""What a data set of codes names as its extractor: there is none."""
HASH = digest(
    repr((10_000, rollouts.AHEAD, rollouts.DRIVES, encoders.TRAINED, encoders.PALETTE)).encode()
)
"""Of the constants that the numbers depend on, in the place of an extractor's hash; the first is of
intervals as they were, and stays so that numbers still compare."""
HASH_OF_MEMORIES = digest(f"{HASH}, rewards as they are paid, {rollouts.CRASH}".encode())
"""The same of memories' numbers."""


def of_memory(
    opened: Opened, source: Codes, windows: int, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of a run of world_memory on held-out episodes, and notes; a Mistake for another model of
    codes."""
    model, name = opened.model, opened.config.model
    if isinstance(model, Agent):
        raise Mistake(
            f"a run of model {name} is measured by its score on fixed tracks: simulacra score RUN"
        )
    if not isinstance(model, Memory):
        raise Mistake(
            f"model {name} predicts no codes, and these data are codes; allowed: model "
            f"{able(Memory)}"
        )
    same(seeing.of_run(opened).view, str(opened.folder), source.view, "its data")
    check_eye(model.average.module, source.eye[None])
    found = rollouts.alone(opened, source, windows=windows, seed=seed)
    notes = [
        "likelihoods and open-loop errors of codes of two eyes are not comparable",
        f"open_k: error k steps ahead over that of the last code; {opened.config.hyper.context} "
        "steps are shown",
    ]
    return rows(found, "episodes"), notes


def of_eye(
    opened: Opened, source: Any, count: int, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of an eye's reconstructions, codes and probes on at most `count` held-out frames,
    `linear_` before those of as many principal components, and notes. Features are left to the
    report of samples."""
    if (view := source.view if isinstance(source, HasView) else None) is not None:
        same(seeing.of_run(opened).view, str(opened.folder), view, "its data")
    held = encoders.Held(source, count, featured=0, seed=seed)
    look = encoders.look(opened, held)
    linear = encoders.linearly(held, eye_of(opened).eye.z_size)
    measures = look.measures | {f"linear_{name}": one for name, one in linear.measures.items()}
    plain = {"low": nan, "high": nan, "over": None, "n_groups": None}
    found = [
        *rows(measures, "tracks"),
        *({"metric": name, "value": value} | plain for name, value in look.values.items()),
    ]
    tracks = found[0]["n_groups"]
    notes = [
        f"psnr to aggregate_variance: {held.n:,} frames of {tracks} held-out tracks, "
        "intervals over tracks"
    ]
    told = {
        "n_real": held.n,
        "n_fake": held.n,
        "repeats": 1,
        "extractor": "frames",
        "extractor_hash": HASH,
        "resize": None,
    }
    return [row | told for row in found], notes


def rows(measures: dict[str, Grouped], over: str) -> list[dict[str, Any]]:
    """A row a measure."""
    found = []
    for name, one in measures.items():
        value, low, high, groups = jackknife.estimate(one)
        found.append(
            {
                "metric": name,
                "value": value,
                "low": low,
                "high": high,
                "over": over,
                "n_groups": groups,
            }
        )
    return found
