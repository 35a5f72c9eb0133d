"""Fingerprints: of nested state."""

from hashlib import blake2b
from typing import Any

import torch


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
