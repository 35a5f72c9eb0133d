"""Freed memory is kept."""

import subprocess
import sys

import pytest

from simulacra.core import allocator

FAULTS = """
import resource, sys
from simulacra.core import allocator
if sys.argv[1] == "keep":
    assert allocator.keep()
import numpy as np
def round():
    for size in (3_000_000, 400_000, 8_000_000):
        np.ones(size)
round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(allocator.platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_cleared_once():
    found = [
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "leave")
    ]
    assert found[0] < 0.2 * found[1]


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert allocator.keep() is False
