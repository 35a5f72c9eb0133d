"""Reports of a world's eyes and memories: rows with intervals over tracks or drives."""

from math import nan
from typing import Any

from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.data.codes import Codes
from simulacra.envs.carracing.view import same
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
    """Rows of a run of world_memory on held-out episodes, and notes;
    a Mistake for another model of codes."""
    model_name = opened.config.model
    if model_name == "world_controller":
        raise Mistake(
            "a run of model world_controller is measured by its score on fixed tracks: "
            "simulacra score RUN"
        )
    if not (hasattr(opened.model, "imagine") and hasattr(opened.model, "losses")):
        raise Mistake(
            f"model {model_name} predicts no codes, and these data are codes; "
            "allowed: model world_memory"
        )
    same(seeing.of_run(opened).view, str(opened.folder), source.view, "its data")
    check_eye(opened.model.average.module, source.eye[None])  # type: ignore[attr-defined]
    found = rollouts.alone(opened, source, windows=windows, seed=seed)
    context = opened.model.hyper.context  # type: ignore[attr-defined]
    notes = [
        "likelihoods and open-loop errors of codes of two eyes are not comparable",
        f"open_k: error k steps ahead over that of the last code; {context} steps are shown",
    ]
    return rows(found, "episodes"), notes


def sees(opened: Opened, source: Any) -> bool:
    """Whether the run is of an eye, and its data are frames of which truths are known."""
    eye = hasattr(opened.model, "encode") and hasattr(opened.model, "decode")
    return eye and hasattr(source, "whence") and "image" in source.take("train", 1)


def of_eye(
    opened: Opened, source: Any, count: int, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of an eye's reconstructions, codes and probes on at most `count` held-out frames,
    `linear_` before those of as many principal components, and notes. Features are left to the
    report of samples."""
    if (view := getattr(source, "view", None)) is not None:
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
