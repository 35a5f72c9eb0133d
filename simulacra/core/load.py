"""From a config, or a run folder, to its data and its model."""

import os
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from simulacra import __version__
from simulacra.core import (
    config,
    conform,
    data_sets,
    distributed,
    external,
    installed_record,
    packed,
    random,
    run,
    subnormal,
    zoo,
)
from simulacra.core.config import Config
from simulacra.core.contract import Batch, Data, Model
from simulacra.core.data_sets import data_root as data_root
from simulacra.core.ema import EMA
from simulacra.core.errors import Mistake, choose
from simulacra.core.parts import complete, evaluating, parts
from simulacra.core.provenance import commit as commit

# what a batch may hold
KINDS = {"image": "pictures", "series": "series", "video": "clips", "mean": "codes"}


@dataclass(frozen=True)
class Opened:
    """A run, ready to be looked at: its newest (or chosen) checkpoint is in the model."""

    folder: Path
    config: Config
    model: Model
    step: int  # of the checkpoint
    root: Path | None  # the data folder, if one is known
    device: torch.device
    named: bool = False  # a person named the data folder just now

    def data(self) -> Data:
        """The run's data set; a Mistake if its files are not there."""
        return data_sets.load(self.config.data, self.root)

    def examples(self, n: int) -> Batch:
        """The first n held-out examples: of those that a packed run brings,
        unless a data folder was named, or of the run's data."""
        if not self.named and packed.has_examples(self.folder):
            return packed.examples(self.folder, n)
        return self.data().take("held_out", n)

    def like(self, rows: int) -> Batch:
        """A batch of zeros with this many rows, for sampling without any data."""
        return to(self.device, run.like_of(self.folder, rows))


def reopen(
    folder: Path,
    root: Path | None,
    device: str = "cpu",
    step: int | None = None,
    weights: str = "average",
) -> Opened:
    """Open a run folder, or zoo/NAME, for sampling, painting and measuring; `weights` is "average"
    or "raw"."""
    choose("weights", weights, ["average", "raw"])
    folder = zoo.place_of(folder)
    raw = run.config_of(folder)
    external.admit_copies(folder, raw)
    checked = config.settled(packed.beside(config.check(raw, str(folder / "config.json")), folder))
    installed_record.say_differences(run.starts(folder), config.code_of(checked))
    where, named, root = chosen_device(device), root is not None, root_of(folder, root)
    if packed.is_packed(folder):
        return replace(_packed(folder, checked, root, where, step), named=named)
    files = {int(path.stem): path for path in run.checkpoints(folder)}
    if not files:
        raise Mistake(f"{folder} has no checkpoint yet; train it first")
    if step is not None and step not in files:
        raise Mistake(
            f"{folder} has no checkpoint of step {step}; there is: {', '.join(map(str, files))}"
        )
    model = build(checked, run.like_of(folder, 2), where)
    loaded = run.load(files[max(files) if step is None else step], model)
    if weights == "raw":
        for part in parts(model).values():
            if isinstance(part, EMA):
                part.follow()
    evaluating(model)
    return Opened(folder, checked, model, loaded, root, where)


def _packed(
    folder: Path, checked: Config, root: Path | None, where: torch.device, step: int | None
) -> Opened:
    """A packed run, opened; it has one step only."""
    model = build(checked, run.like_of(folder, 2), where)
    loaded = packed.unpack(folder, model)
    if step not in (None, loaded):
        raise Mistake(
            f"{folder} is packed and has no checkpoint of step {step}; there is: {loaded}"
        )
    evaluating(model)
    return Opened(folder, checked, model, loaded, root, where)


def build(checked: Config, like: Batch, device: torch.device) -> Model:
    """The config's model, its first weights a function of the seed; a Mistake if it cannot be built
    of such a batch, or is not what the contract asks for."""
    subnormal.flush()
    random.reseed(random.fold(checked.seed, "init"))
    with device:
        try:
            model_name = config.model(checked.model)
            model: Model = model_name.Model(
                getattr(model_name, "given", _same)(checked.hyper), to(device, like)
            )
        except ValueError as error:
            raise Mistake(f"{checked.name}: {error}") from None
        except KeyError as error:
            if error.args[0] not in KINDS:
                raise
            raise Mistake(
                f"{checked.name}: model {checked.model} takes {KINDS[error.args[0]]}, "
                f"the data hold {_held(like)}"
            ) from None
    conform.check_model(model, checked.model)
    complete(model, checked.model)
    return model


def able(protocol: type) -> str:
    """The names of the models that can do what a protocol describes, asked of their classes; for
    messages."""
    return conform.able(protocol, {name: config.model(name).Model for name in config.models()})


def _same(hyper: Any) -> Any:
    return hyper


def _held(like: Batch) -> str:
    return ", ".join(kind for name, kind in KINDS.items() if name in like) or "none of these"


def chosen_device(name: str) -> torch.device:
    """The torch device of this name, auto being the first that there is of cuda, mps, cpu; of many
    processes of a machine (torchrun) each takes its own GPU. A Mistake if there is none such."""
    if name == "auto":
        gpus = torch.cuda.is_available(), torch.mps.is_available()
        name = "cuda" if gpus[0] else "mps" if gpus[1] else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ and torch.cuda.device_count() > 1:
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = [
            "auto",
            "cpu",
            *(["cuda"] if torch.cuda.is_available() else []),
            *(["mps"] if torch.mps.is_available() else []),
        ]
        reason = str(error).strip().splitlines()[0][:80]
        raise Mistake(
            f"device '{name}' cannot be used ({reason}); there is: {', '.join(found)}"
        ) from None
    return device


def to(device: torch.device, batch: Batch) -> Batch:
    """The batch on this device."""
    return {name: value.to(device) for name, value in batch.items()}


def root_of(folder: Path, option: Path | None) -> Path | None:
    """The data folder of a run: --data, or the one that it was last trained with
    if that still exists, or SIMULACRA_DATA."""
    if option:
        return data_root(option)
    starts = run.starts(folder)
    named = starts[-1].get("data") if starts else None, os.environ.get("SIMULACRA_DATA")
    return next((Path(place).resolve() for place in named if place and Path(place).is_dir()), None)


def machine(root: Path | None, device: torch.device) -> dict[str, Any]:
    """What a start of training records of the machine."""
    return {
        "simulacra": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "device": str(device),
        "data": str(root) if root else None,
        "arguments": sys.argv[1:],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
