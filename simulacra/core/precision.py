"""Faster steps that are not the same bits: bfloat16 where torch thinks it safe (autocast), and nets
that are compiled. Both are off unless a config asks for them, and no part of its hash while they
are."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from simulacra.core.contract import Model
from simulacra.core.errors import Mistake
from simulacra.core.parts import parts

TWICE = "double backward"  # in what torch says of a compiled net whose gradient is differentiated


@contextlib.contextmanager
def cast(asked: bool, device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 inside, if that is asked for; weights stay float32."""
    if not asked:
        yield
        return
    with torch.autocast(device.type, torch.bfloat16):
        yield


@contextlib.contextmanager
def compilable(asked: bool) -> Iterator[None]:
    """A Mistake in place of torch's error where a compiled net cannot do what a step asks of it."""
    try:
        yield
    except RuntimeError as error:
        if not (asked and TWICE in str(error)):
            raise
        raise Mistake(
            "compile = true: the model differentiates a gradient (a penalty on it), which torch "
            "does not compile; allowed: compile = false"
        ) from None


def compile_nets(asked: bool, model: Model) -> None:
    """Have every net of the model compiled when it is first called, if that is asked for. Names of
    its numbers stay."""
    found: dict[str, Any] = parts(model) if asked else {}
    for part in found.values():
        if isinstance(part, nn.Module):
            part.compile()
