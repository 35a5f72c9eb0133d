"""Paint a run: pictures from fixed held-out inputs and fixed noise, and the curves of its log."""

from pathlib import Path

from simulacra.core import answers, random, run, zoo
from simulacra.core.contract import Data
from simulacra.core.load import Opened, to
from simulacra.io import paint as easel

COUNT = 64  # pictures on a sheet


def paint(opened: Opened, source: Data) -> list[Path]:
    """The pictures of the opened checkpoint, in the run's pictures/<step>/.
    The same inputs and noise at every step."""
    count = min(COUNT, source.size("held_out"))
    random.reseed(random.fold(opened.config.seed, "paint"))
    named = answers.sampled(opened.model, to(opened.device, source.take("held_out", count)))
    place, _ = zoo.results(opened.folder)
    made = easel.pictures(named, place / "pictures" / f"{opened.step:08d}")
    rows = run.read_rows(opened.folder / "log.jsonl")
    if rows:
        easel.curves(rows, opened.folder / "curves.png")
        made.append(opened.folder / "curves.png")
    return made
