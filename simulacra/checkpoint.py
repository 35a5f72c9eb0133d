"""Checkpoints: which there are, what is in them, and putting it into a model. Never executes code from a file.

checkpoints/<step>.pt      {"format", "step", "parts": {name: state}}, loadable under weights_only=True
"""

import pickle
import re
import zipfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from simulacra.contract import Model
from simulacra.errors import Mistake
from simulacra.parts import parts

FORMAT = 1
STEP = re.compile(r"[0-9]{8,}")


def step_of(name: str) -> int | None:
    """The step that a checkpoint or a folder of pictures is named after, "00000007"; None of any other name, a copy's too."""
    return int(name) if STEP.fullmatch(name) and name == f"{int(name):08d}" else None


def checkpoints(folder: Path) -> list[Path]:
    """The run's checkpoints, oldest first: files whose name is a step and nothing else."""
    found = [path for path in (folder / "checkpoints").glob("*.pt") if step_of(path.stem) is not None and path.is_file()]
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
    advice = f"remove it to go on from an older checkpoint; {path.parent} holds {len(checkpoints(path.parent.parent))}"
    try:
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():  # torch.load does not look at the checksums
                raise ValueError(f"the checksum of {name} is wrong")
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Mistake(f"checkpoint {path} holds more than tensors and numbers, which is never loaded: {advice}") from None
    except Exception as error:  # what is raised on damaged files is beyond listing
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise Mistake(f"damaged checkpoint {path} ({reason}): {advice}") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT or not {"step", "parts"} <= saved.keys():
        raise Mistake(f"{path} is no checkpoint of this program (format {FORMAT})")
    return saved


def load(path: Path, model: Model) -> int:
    """Put a checkpoint's parts into the model and return its step."""
    saved = contents(path)
    mine = parts(model)
    if set(mine) != set(saved["parts"]):
        raise Mistake(f"{path} holds the parts {sorted(saved['parts'])}, this room needs {sorted(mine)}")
    for name, part in mine.items():
        try:
            part.load_state_dict(saved["parts"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise Mistake(f"{path} does not fit this room's '{name}': {reason}") from None
    return saved["step"]


def digest(state: Any) -> str:
    """A hash of nested state: equal for equal bits."""
    h = blake2b(digest_size=16)

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                h.update(str(key).encode())
                visit(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)
        elif isinstance(value, torch.Tensor):
            h.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        else:
            h.update(repr(value).encode())

    visit(state)
    return h.hexdigest()
