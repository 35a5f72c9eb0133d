"""How many threads compute, and how they wait for each other.
This file imports no torch: it has to come first."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

# of every OpenMP, of GNU's, of LLVM's and Intel's
POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
MOST = 4096  # threads that a record may name


def wait_passively() -> bool:
    """Let threads sleep while they wait for each other, unless the environment says how they wait
    already; whether that is in time. OpenMP reads it once, when torch is imported. By default
    threads that wait spin, and where anything else runs on the machine they spin on the very
    processor that the one they wait for needs (docs/results/threads.md has the measurement)."""
    if not any(name in os.environ for name in POLICIES):
        if "torch" in sys.modules:
            return False
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True


IN_TIME = wait_passively()  # when the package was imported


@contextlib.contextmanager
def held(starts: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Compute with as many threads as the first of a run's starts did, since the bits of sums
    depend on it; a run that was never started takes what the environment (OMP_NUM_THREADS),
    torch.set_num_threads or else the machine gives. Yields what there is to say."""
    import torch

    before = torch.get_num_threads()
    first = starts[0].get("threads") if starts and isinstance(starts[0], dict) else None
    known = before
    if isinstance(first, int) and not isinstance(first, bool) and 1 <= first <= MOST:
        known = first
    told = []
    if known != before:
        told.append(
            f"threads = {known}, with which this run was begun, "
            f"not {before}: its bits depend on the number"
        )
        torch.set_num_threads(known)
    if known > 1 and not IN_TIME:
        told.append(
            f"torch was imported before simulacra: its {known} threads spin while they wait, and "
            "stall beside other programs; import simulacra first, or set OMP_WAIT_POLICY=PASSIVE"
        )
    try:
        yield told
    finally:
        if known != before:
            torch.set_num_threads(before)
