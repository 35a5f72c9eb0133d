"""Freed memory is kept for the next step instead of being handed back to the system."""

import ctypes
import platform

TRIM, TOP, MAP = -1, -2, -3  # names of mallopt(3)
PAD = 64 * 2**20  # bytes fetched at once
MOST = 2**30  # bytes from which a piece is handed back all the same


def keep() -> bool:
    """Whether the C library could be told. A training step frees and fetches the same large tensors
    again and again; by default each becomes fresh pages, which the system has to clear
    (bench/cross_convolution.py is up to four times faster without)."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(TRIM, 2 * MOST - 1), libc.mallopt(TOP, PAD), libc.mallopt(MAP, MOST)])
