"""What a stopped run leaves for the next one: tensors in a file that is believed only if it is
whole, of this work, and of the right shapes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from simulacra.core import files

Shapes = Mapping[str, tuple[int, ...]]  # of each tensor, by name


def digest(tensors: dict[str, Tensor]) -> str:
    """Of the bytes of tensors, in the order of their names."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        found.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        found.update(value.numpy().tobytes())
    return found.hexdigest()


def keep(path: Path, tensors: dict[str, Tensor], of: str) -> None:
    """Write tensors of the work whose fingerprint is `of`."""
    whole = {name: value.contiguous() for name, value in tensors.items()}
    data = save(whole, {"of": of, "digest": digest(whole)})
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, lambda file: file.write(data))


def fault(path: Path, of: str, shapes: Shapes) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file, and why they are not to be believed, "" if they are."""
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        return {}, " ".join(str(error).split()) or type(error).__name__
    have = {name: tuple(value.shape) for name, value in found.items()}
    if have != shapes:
        return {}, f"it holds {have}; needed: {shapes}"
    if "digest" not in told:
        return {}, "it has no checksum"
    if told.get("of") != of:
        return {}, "it is of another clip, mask or seed"
    if told["digest"] != digest(found):
        return {}, "its checksum does not fit"
    if not all(torch.isfinite(value).all() for value in found.values()):
        return {}, "not all its values are finite"
    return found, ""
