"""Checkpoints: which there are, what is in them, and putting it into a model. Never executes code
from a file.

checkpoints/<step>.pt      loadable under weights_only=True: "format", "step", "parts" (name: state)
                           and perhaps "remembered", what the model's steps change beside its parts,
                           by attribute
"""

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from simulacra.core.contract import Model
from simulacra.core.errors import Mistake
from simulacra.core.parts import parts
from simulacra.core.state import restore

FORMAT = 1
STEP = re.compile(r"[0-9]{8,}")


def step_of(name: str) -> int | None:
    """The step that a checkpoint or a folder of pictures is named after, "00000007";
    None of any other name, a copy's too."""
    return int(name) if STEP.fullmatch(name) and name == f"{int(name):08d}" else None


def checkpoints(folder: Path) -> list[Path]:
    """The run's checkpoints, oldest first: files whose name is a step and nothing else."""
    found = [
        path
        for path in (folder / "checkpoints").glob("*.pt")
        if step_of(path.stem) is not None and path.is_file()
    ]
    return sorted(found, key=lambda path: int(path.stem))


def last_good(folder: Path) -> str:
    """Which checkpoint survives, in words."""
    files = checkpoints(folder)
    return f"the last good checkpoint is {files[-1]}" if files else "no checkpoint was written yet"


def states(model: Model) -> dict[str, Any]:
    """The state of every part."""
    return {name: part.state_dict() for name, part in parts(model).items()}


def contents(path: Path) -> dict[str, Any]:
    """What is in a checkpoint. Never executes code from the file."""
    count = len(checkpoints(path.parent.parent))
    advice = f"remove it to go on from an older checkpoint; {path.parent} holds {count}"
    try:
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():  # torch.load does not look at the checksums
                raise ValueError(f"the checksum of {name} is wrong")
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Mistake(
            f"checkpoint {path} holds more than tensors and numbers, "
            f"which is never loaded: {advice}"
        ) from None
    except Exception as error:  # what is raised on damaged files is beyond listing
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise Mistake(f"damaged checkpoint {path} ({reason}): {advice}") from None
    if (
        not isinstance(saved, dict)
        or saved.get("format") != FORMAT
        or not {"step", "parts"} <= saved.keys()
    ):
        raise Mistake(f"{path} is no checkpoint of this program (format {FORMAT})")
    if saved["step"] != int(path.stem):
        raise Mistake(
            f"checkpoint {path} holds step {saved['step']}, not what its name says; {advice}"
        )
    return saved


def load(path: Path, model: Model) -> int:
    """Put a checkpoint's parts into the model and return its step."""
    return put(path, contents(path), model)


def put(path: Path, saved: dict[str, Any], model: Model) -> int:
    """Put the contents of a checkpoint into the model and return its step."""
    mine = parts(model)
    if set(mine) != set(saved["parts"]):
        raise Mistake(
            f"{path} holds the parts {sorted(saved['parts'])}, this model needs {sorted(mine)}"
        )
    for name, part in mine.items():
        try:
            part.load_state_dict(saved["parts"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise Mistake(f"{path} does not fit this model's '{name}': {reason}") from None
    restore(model, saved.get("remembered", {}))
    return int(saved["step"])


def storable(model: Model, model_name: str) -> None:
    """A Mistake if the state of a part holds what is never loaded again:
    more than tensors, numbers, texts, lists and dicts."""
    for name, state in states(model).items():
        file = io.BytesIO()
        try:
            torch.save(_bare(state), file)
            file.seek(0)
            torch.load(file, weights_only=True)
        except Exception as error:  # what pickling raises is beyond listing
            reason = " ".join(str(error).split())
            found = re.search(r"GLOBAL (\S+)", reason) or re.search(
                r"Unsupported \w+ (\S+)", reason
            )
            raise Mistake(
                f"model {model_name}: the state of part '{name}' holds "
                f"{found[1] if found else reason[:100]}, which is never loaded from a checkpoint; "
                "allowed: tensors, numbers, texts, lists and dicts"
            ) from None


def _bare(state: Any) -> Any:
    """The state without the numbers of its tensors."""
    if isinstance(state, torch.Tensor):
        return None
    if type(state) in (list, tuple):
        return [_bare(item) for item in state]
    return {key: _bare(item) for key, item in state.items()} if type(state) is dict else state
