"""Frames in files are those of tensors, rounded."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

from simulacra.core.stack import Each, Instead, Picked, Stack, kept, made

SHAPE = 5, 3, 4, 6


@pytest.mark.parametrize(
    ("kind", "values", "error"),
    [
        ("colours", torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, 1 / 255),
        ("half", torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)), 2e-3),
        ("exact", torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)), 0.0),
        ("flags", torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) > 0.5, 0.0),
    ],
)
def test_what_is_put_is_read(kind, values, error, tmp_path) -> None:
    stack = made(SHAPE, kind, tmp_path)
    for t in (3, 0, 4, 1, 2):
        stack[t] = values[t]
    assert not list(tmp_path.iterdir()), "the file has no name"
    assert len(stack) == 5 and tuple(stack.shape) == SHAPE and stack[:].dtype == values.dtype
    for which in (2, -1, slice(1, 4), slice(None), slice(4, None, -2), slice(3, 3)):
        far = (stack[which].float() - Backwards(values)[which].float()).abs()
        assert stack[which].shape == Backwards(values)[which].shape
        assert not far.numel() or float(far.max()) <= error
    in_memory = made(SHAPE, kind, None)
    in_memory[2] = values[2]
    assert torch.equal(in_memory[2], values[2]) and not in_memory[0].any()


class Backwards:
    """A tensor whose slices may go backwards, as those of a stack."""

    def __init__(self, values: torch.Tensor):
        self.values = values

    def __getitem__(self, which):
        return torch.from_numpy(self.values.numpy()[which].copy())


def test_beyond_the_end(tmp_path) -> None:
    stack = Stack((2, 3), "exact", tmp_path)
    with pytest.raises(IndexError, match="2 of 2"):
        stack[2]
    assert [one.tolist() for one in stack] == [[0, 0, 0]] * 2, "it can be walked through"


def test_it_grows_and_is_read_as_bytes_or_colours(tmp_path) -> None:
    stack = Stack((0, 1, 2, 2), "bytes", tmp_path)
    for level in (0, 255):
        stack.grow(np.full((1, 2, 2), level, np.uint8))
    assert stack.shape == (2, 1, 2, 2) and stack.raw(1) == bytes([255] * 4)
    assert stack.seen_as("colours")[:].unique().tolist() == [-1, 1]


def test_others_in_another_order_and_as_a_function_makes_them() -> None:
    values = torch.arange(12.0).view(4, 3)
    some = Picked(values, [3, 1])
    assert len(some) == 2 and some[0].tolist() == [9, 10, 11]
    assert torch.equal(some[:], values[[3, 1]]) and some[2:].shape == (0, 3)
    other = Instead(values, {1: torch.zeros(3)})
    assert other[1].tolist() == [0, 0, 0] and torch.equal(other[2:], values[2:])
    assert other[:2].tolist() == [[0, 1, 2], [0, 0, 0]] and other.shape == (4, 3)
    twice = Each((4, 3), lambda t: 2 * values[t])
    assert torch.equal(twice[1], 2 * values[1]) and torch.equal(twice[1:3], 2 * values[1:3])


def test_files_are_closed_when_nobody_reads_them(tmp_path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        Stack((2, 3), "exact", tmp_path)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_what_is_left_whole_is_not_made_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def make(stacks) -> None:
        calls.append(1)
        stacks["a"][1] = torch.tensor([1.0, 2.0])
        if len(calls) == 1:
            raise KeyboardInterrupt

    def asked(of: str = "this"):
        return kept(tmp_path / "work" / "x", of, {"a": ((2, 2), "half")}, make)

    with pytest.raises(KeyboardInterrupt):
        asked()
    stacks, notes = asked()
    assert len(calls) == 2 and not notes and stacks["a"][1].tolist() == [1, 2]
    stacks, notes = asked()
    assert len(calls) == 2 and not notes and stacks["a"][1].tolist() == [1, 2]
    _, notes = asked("another")
    assert len(calls) == 3 and "another clip" in notes[0]
