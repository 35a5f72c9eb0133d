"""A dry run: what a training would do, with which values, data and weights, where, and how long it
would take. Nothing is written."""

import contextlib
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simulacra.core import answers, config, data_sets, external, loop, packed, random, run
from simulacra.core.config import Config
from simulacra.core.contract import Data
from simulacra.core.errors import Mistake
from simulacra.core.load import chosen_device, to
from simulacra.core.optim import set_rates
from simulacra.core.parts import Held, parts
from simulacra.tasks.train import built, computing, fits

MOST = 10  # steps that are timed, after one that is not
PATIENCE = 5.0  # seconds after which no further step is timed


def dry_run(
    checked: Config,
    folder: Path,  # the run folder, which may not be there
    root: Path | None,  # the data folder
    *,
    plain: Config | None = None,  # the same without what the command line changed
    device: str = "cpu",
    extend: bool = False,
) -> dict[str, Any]:
    """What is known before a training, as JSON would hold it: `config`, `changed` (dotted key ->
    value of the file and of now), `data`, `parts`, `memory`, `training`, `time`, `folder`, `notes`.
    Mistakes are those of training."""
    if packed.is_packed(folder):
        raise Mistake(
            f"{folder} is a packed run, which is only looked at; choose another folder with --run"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise Mistake("--dry-run is for one process, and torchrun has started more")
    notes: list[str] = []
    if (folder / "config.json").exists():
        checked = config.settled(checked)
    with computing(checked, folder, notes.append):
        where, source = chosen_device(device), data_sets.load(checked.data, root)
        fits(checked, source, notes.append)
        model, begun = built(
            checked,
            folder,
            source,
            answers.drawn_batch(source, 0, checked.batch, checked.seed),
            where,
        )
        notes += [begun.said] if begun else []
        notes += external.unkept(config.code_of(checked))
        place, step = _place(checked, folder, root, extend, notes)
        known = parts(model)
        seconds, timed = _timed(checked, model, source, where, checked.steps - step)
        return {
            "config": config.plain(checked),
            "changed": _changed(plain, checked),
            "data": source.describe(),
            "parts": [_part(name, part) for name, part in known.items()],
            "memory": _memory(known, where),
            "training": _training(checked, source, step),
            "time": _time(seconds, timed, checked.steps - step),
            "folder": place,
            "notes": notes,
        }


def _changed(plain: Config | None, checked: Config) -> dict[str, list[Any]]:
    """Where the command line says something else than the file."""
    if plain is None:
        return {}
    old, new = config.plain(plain), config.plain(checked)
    return {
        ".".join([config.called(key.partition(".")[0]), *key.split(".")[1:]]): list(pair)
        for key, pair in run.differences(old, new).items()
    }


def _place(
    checked: Config, folder: Path, root: Path | None, extend: bool, notes: list[str]
) -> tuple[dict[str, Any], int]:
    """Where the run would go and what is there, and the step at which it stands."""
    run.ours(folder)
    files = run.checkpoints(folder)
    step = int(files[-1].stem) if files else 0
    found = run.standing(
        folder,
        config.plain(checked),
        extend=extend,
        known=config.completed,
        files=partial(data_sets.fingerprint, checked.data, root),
    )
    notes += found.notes
    there = "nothing"
    if (folder / "config.json").exists():
        there = "this run, finished" if found.finished else f"this run, at step {step:,}"
    return {"path": str(folder), "there": there, "step": step, "finished": found.finished}, step


def _part(name: str, part: Any) -> dict[str, Any]:
    """A part and how many numbers it learns and holds."""
    inner = getattr(part, "module", part)
    tensors: list[Tensor] = []
    if isinstance(inner, nn.Module):
        tensors = list(inner.parameters())
    elif isinstance(part, Held):
        tensors = [part.tensor]
    learnt = [one for one in tensors if one.requires_grad] if part is inner else []
    return {
        "part": name,
        "kind": type(part.tensor if isinstance(part, Held) else part).__name__,
        "parameters": sum(one.numel() for one in tensors),
        "learnt": sum(one.numel() for one in learnt),
    }


def _memory(known: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Bytes of what a model keeps between steps: the states of its parts, and gradients. On a GPU
    also the most that was taken."""
    seen: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Tensor):
            seen[value.data_ptr()] = value.numel() * value.element_size()
        elif isinstance(value, dict):
            list(map(visit, value.values()))
        elif isinstance(value, (list, tuple)):
            list(map(visit, value))

    for part in known.values():
        visit(part.state_dict())
        for one in part.parameters() if isinstance(part, nn.Module) else ():
            visit(one.grad)
    most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"kept_bytes": sum(seen.values()), "most_bytes": most}


def _training(checked: Config, source: Data, step: int) -> dict[str, Any]:
    """Steps, examples and epochs."""
    size, examples = source.size("train"), checked.steps * checked.batch
    epoch = size // checked.batch * checked.batch or size  # an incomplete batch is dropped
    return {
        "steps": checked.steps,
        "left": max(0, checked.steps - step),
        "batch": checked.batch,
        "examples": examples,
        "train": size,
        "held_out": source.size("held_out"),
        "epochs": round(examples / epoch, 2),
    }


def _timed(
    checked: Config, model: Any, source: Data, device: torch.device, left: int
) -> tuple[float, int]:
    """Seconds of a step, the median of a few after the first; the model is thrown away."""
    seconds: list[float] = []
    begun = time.monotonic()
    for k in range(min(left, MOST + 1)):
        start = time.perf_counter()
        random.reseed(random.fold(checked.seed, "step", k))
        batch = to(device, source.draw(k, checked.batch, checked.seed))
        set_rates(model, k)
        with loop.watched(model) if k < 2 else contextlib.nullcontext():
            found = loop.numbers(model.step(batch, k))
        try:
            loop.finite(found, k + 1)  # which waits for a GPU
        except loop.NotFinite as error:
            raise Mistake(f"training would stop: {error}") from None
        seconds.append(time.perf_counter() - start)
        if k and time.monotonic() - begun > PATIENCE:
            break
    later = sorted(seconds[1:] or seconds)
    return (later[len(later) // 2], len(later)) if later else (0.0, 0)


def _time(seconds: float, timed: int, left: int) -> dict[str, Any]:
    """The estimate; painting, saving and the health monitor come on top."""
    return {
        "timed_steps": timed,
        "seconds_a_step": round(seconds, 5),
        "seconds_left": round(seconds * max(0, left), 1),
        "says": f"an estimate from {timed} steps on this machine as it is now, without painting "
        "and saving"
        if timed
        else "nothing is left to do",
    }
