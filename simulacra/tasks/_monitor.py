"""The collapse monitor of a training: what samples of each painted checkpoint show, a row a
checkpoint in monitor.jsonl.

Like the log it is a function of the config alone: a row follows from the weights and the seed, rows
of steps that were lost are dropped, and a checkpoint that only a stop saved has none.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import answers, random, run
from simulacra.core.contract import Batch, Data, Game
from simulacra.core.files import write_text
from simulacra.core.load import Opened, to
from simulacra.metrics.images import extractors, modes
from simulacra.metrics.images.classifier import CLASSES

FILE = "monitor.jsonl"
CHUNK = 64  # samples made at once
COARSE = 16  # side of pictures that no classifier knows
KINDS = {"image", "series"}  # of what a batch must hold one, and no frame after it


def rows(folder: Path) -> list[dict[str, Any]]:
    """What was seen of a run, in order of step."""
    return run.read_rows(folder / FILE)


def with_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log, each followed by what was seen at its step."""
    return sorted(
        [*run.read_rows(folder / "log.jsonl"), *rows(folder)], key=lambda row: row["step"]
    )


class Monitor:
    """Of one training; real examples are looked at once."""

    def __init__(self, source: Data) -> None:
        self.source = source

    def note(self, opened: Opened, counts: bool) -> None:
        """What the checkpoint's samples show, if it `counts`; of later steps nothing stays."""
        place = opened.folder / FILE
        kept = [row for row in rows(opened.folder) if row["step"] < opened.step]
        seen = self.statistics(opened) if counts and plays(opened.folder, opened.model) else {}
        told = [*kept, *([{"step": opened.step, **seen}] if seen else [])]
        if told or place.exists():
            with run.full_disk(opened.folder):
                write_text(place, "".join(json.dumps(row) + "\n" for row in told))

    def statistics(self, opened: Opened) -> dict[str, float]:
        """Numbers of COUNT samples; none where the model makes no samples
        that are like its data."""
        if not KINDS & self.batch.keys() or "next" in self.batch:
            return {}
        made = self.samples(opened)
        if made is None or made.shape[1:] != self.real[0].shape[1:] or not made.isfinite().all():
            return {}
        features, classes = self.look(made)
        return {
            name: round(value, 6)
            for name, value in modes.look(features, classes, self.real[1]).items()
        }

    def samples(self, opened: Opened) -> Tensor | None:
        """COUNT samples on the CPU, the same at every call;
        held-out examples say for which classes."""
        parts = []
        for start in range(0, modes.COUNT, CHUNK):
            some = torch.arange(start, min(start + CHUNK, modes.COUNT)) % len(
                next(iter(self.batch.values()))
            )
            random.reseed(random.fold(opened.config.seed, "monitor", start))
            with torch.no_grad():
                named = answers.sampled(
                    opened.model,
                    to(opened.device, {name: values[some] for name, values in self.batch.items()}),
                )
            if "samples" not in named:
                return None
            parts.append(named["samples"].detach().float().cpu())
        return torch.cat(parts)

    @cached_property
    def batch(self) -> Batch:
        """Held-out examples, at most COUNT."""
        return self.source.take("held_out", min(modes.COUNT, self.source.size("held_out")))

    @cached_property
    def real(self) -> tuple[Tensor, modes.Reals]:
        """As many real examples as samples, training ones where too few are held out;
        and what is known of them."""
        kind, trained = next(iter(KINDS & self.batch.keys())), self.source.size("train")
        x = self.batch[kind]
        if (lacking := min(modes.COUNT - len(x), trained)) > 0:
            x = torch.cat([x, self.source.take("train", lacking)[kind]])
        features, classes = self.look(x)
        return x, modes.reals(features, classes, CLASSES, trained)

    def look(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (n, D) of examples (n, ...),
        and the classes (n,) that the classifier of these data sees in them."""
        if x.ndim == 3:
            return x.flatten(1), None
        if (
            self.source.extractor in ("mnist_cnn", "fashion_cnn")
            and x.shape[-1] == x.shape[-2]
            and x.shape[1] in (1, 3)
        ):
            extractor = extractors.load(self.source.extractor)
            features = extractor.features(x.clamp(-1, 1))
            return features, extractor.posteriors(features).argmax(1)
        return F.adaptive_avg_pool2d(x, (min(COARSE, x.shape[2]), min(COARSE, x.shape[3]))).flatten(
            1
        ), None


def plays(folder: Path, model: Any) -> bool:
    """Whether the model is a game, so that there may be a collapse: it states an equilibrium, or
    logs a discriminator's loss."""
    return isinstance(model, Game) or any(
        "loss_D" in row for row in run.read_rows(folder / "log.jsonl")
    )
