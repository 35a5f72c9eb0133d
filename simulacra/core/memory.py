"""How much memory is free, on systems that say so in different ways. Only Linux is tested."""

import ctypes
import os
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def free() -> int | None:
    """Bytes of memory that a program can have: as Linux and Windows say, what only caches files
    counted in; half of all memory on macOS and wherever else only that is known; None where nothing
    is."""
    if sys.platform == "win32":
        return _windows()
    if (found := _available()) is not None:
        return found
    return _named("SC_AVPHYS_PAGES") or (_named("SC_PHYS_PAGES") or 0) // 2 or None


def _available() -> int | None:
    """What Linux reckons a program can have without swapping; None elsewhere."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, ValueError, IndexError):
        return None


def _named(name: str) -> int | None:
    """So many pages in bytes; None where the system does not know the name."""
    try:
        found = os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return found if found > 0 else None


class _Status(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = [
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        *((f"size_{i}", ctypes.c_ulonglong) for i in range(7)),  # the second: free bytes
    ]


def _windows() -> int | None:
    status = _Status(length=ctypes.sizeof(_Status))
    try:
        known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    except (AttributeError, OSError):
        return None
    return status.size_1 if known else None
