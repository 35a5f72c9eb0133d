"""Numbers below the processor's normal format are zero, in every thread that computes."""

import importlib
import subprocess
import sys

import pytest
import torch

from simulacra import tasks
from simulacra.core import config, data_sets, subnormal
from simulacra.core.load import build

TINY = """
import sys, torch
from simulacra.core import subnormal
if sys.argv[1] == "flush":
    assert subnormal.flush()
torch.set_num_threads(2)
x = torch.full((2_000_000,), 1e-30, requires_grad=True)
y = x * 1e-10
y.backward(torch.full_like(x, 1e-30))
print(int((y != 0).sum()), int((x.grad != 0).sum()))
"""


def nonzero(how: str) -> list[int]:
    """Of 2,000,000 products and as many gradients, all of which are 1e-40."""
    said = subprocess.run(
        [sys.executable, "-c", TINY, how], capture_output=True, text=True, check=True
    ).stdout
    return [int(word) for word in said.split()]


def test_no_thread_knows_them():
    if not subnormal.flush():
        pytest.skip("this processor cannot")
    assert nonzero("flush") == [0, 0]
    assert nonzero("keep") == [2_000_000, 2_000_000]


def test_whoever_builds_a_model_and_whoever_calls_a_verb_computes_without(monkeypatch):
    asked = []
    monkeypatch.setattr(subnormal, "flush", lambda: asked.append(1))
    checked = config.resolve("ebgan_digits", "tiny", [])
    build(checked, data_sets.load(checked.data, None).draw(0, 2, 0), torch.device("cpu"))
    assert asked == [1]
    importlib.reload(tasks)
    assert asked == [1, 1]
