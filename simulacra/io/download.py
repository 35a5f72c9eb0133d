"""Downloading one file so that it is either there, whole and checked, or not there at all."""

import os
import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.request import urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from simulacra.core.errors import Mistake
from simulacra.core.files import settle

LARGEST = 2**28  # bytes of a download


def copy(url: str, target: IO[bytes], label: str) -> None:
    """Write what the address holds into an open file, with a progress bar on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with urlopen(url, timeout=30) as answer, bar:
        task = bar.add_task(label, total=int(answer.headers.get("Content-Length") or 0) or None)
        while block := answer.read(1 << 16):
            target.write(block)
            if target.tell() > LARGEST:
                raise ValueError(f"more than {LARGEST:,} bytes come")
            bar.advance(task, len(block))


def fetch(url: str, path: Path, check: Callable[[Path], object]) -> None:
    """Download to a file beside `path`, let `check` look at it, then give it its name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
            part = Path(folder, path.name)
            with part.open("wb") as target:
                copy(url, target, path.name)
                target.flush()
                os.fsync(target.fileno())
            check(part)
            part.replace(path)
            settle(path.parent)
    except (OSError, HTTPException, ValueError) as error:
        raise Mistake(f"cannot download {url} to {path}: {error}") from None
