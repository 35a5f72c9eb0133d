"""A command of this program that another machine carries out: what is asked, what is told, and the
process itself. It imports neither torch nor Ray, so that a node's worker is there in a moment.

Where the machine sees the folder that the command works on, it works there; elsewhere in a copy,
whose changes it tells about once a second.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from simulacra.core import carried
from simulacra.core.carried import Bundle, Stamp

PAUSE = 1.0  # seconds between looks at a folder
UNSEEN = -1000  # exit status: the machine does not see the folder, and was not sent it
OTHER = -1001  # it has other versions of what decides about bits; which, is what it says
NOW = "config.json"  # in a scratch folder: the config that a command there names
DATA = "SIMULACRA_DATA"
DIES_WITH_PARENT = 1  # Linux: PR_SET_PDEATHSIG


class Order(NamedTuple):
    """What is asked."""

    name: str  # of the folder, and of the attempt
    words: list[str]  # after `simulacra`, where the folder is seen
    apart: list[str]  # the same with FOLDER and CONFIG for paths, where it is not
    config: bytes  # what CONFIG holds
    folder: str  # absolute, as the asking machine names it
    place: str  # the working directory there
    token: tuple[str, str]  # a file of the asking machine beside the folder, and what it holds
    environment: dict[str, str]
    versions: dict[str, str]  # that this machine must have too


class Answer(NamedTuple):
    """What came of it."""

    code: int  # exit status
    said: bytes
    left: Bundle | None = None  # the whole folder, where it is a copy


# tells what is new, and asks whether to save and end, and of which desk that is the word
Tell = Callable[[Bundle | None], tuple[bool, str]]


class Desk:
    """Between the machines and the asking process: each comes by about once a second."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Bundle | None]] = []
        self.over: set[str] = set()
        self.stopping = False
        self.sign = secrets.token_hex(4)  # another one if the desk had to be made anew

    def tell(self, name: str, node: str, bundle: Bundle | None) -> tuple[bool, str]:
        """Leave what is new; whether to save and end, and the desk's sign."""
        self.told.append((name, node, bundle))
        return self.stopping or name in self.over, self.sign

    def take(self) -> list[tuple[str, str, Bundle | None]]:
        """All that was left since the last time: name, machine, what is new."""
        found, self.told = self.told, []
        return found

    def stop(self, name: str = "") -> None:
        """Have one command save and end, or all of them."""
        self.stopping = self.stopping or not name
        self.over.add(name)


def versions() -> dict[str, str]:
    """What decides about bits on this machine, beside its processor."""
    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in "simulacra", "torch", "numpy":
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def seen(order: Order) -> bool:
    """Whether this machine sees the folder and its surroundings as the asking one does."""
    path, text = order.token
    try:
        return Path(path).read_text("utf-8") == text and Path(order.place).is_dir()
    except OSError:
        return False


def carry_out(order: Order, tell: Tell, copy: Bundle | bool | None) -> Answer:
    """Do it; `copy` is what the folder holds, None if there is none yet, False if it was not sent.
    An answer of UNSEEN asks for it."""
    here = versions()
    if odd := [
        f"{key} {here.get(key)}" for key in order.versions if here.get(key) != order.versions[key]
    ]:
        wanted = ", ".join(f"{key} {value}" for key, value in order.versions.items())
        return Answer(
            OTHER, f"{socket.gethostname()} has {', '.join(odd)}; wanted: {wanted}".encode()
        )
    if seen(order):
        return _watched(order.words, order, tell, order.place, None, {})
    if copy is False:
        return Answer(UNSEEN, b"")
    with tempfile.TemporaryDirectory(prefix="simulacra-") as scratch:
        folder, config = Path(scratch) / Path(order.folder).name, Path(scratch) / NOW
        config.write_bytes(order.config)
        marks: dict[str, Stamp] = {}
        if isinstance(copy, Bundle):
            carried.put(copy, folder)
            carried.changed(folder, marks)
        named = {"FOLDER": str(folder), "CONFIG": str(config)}
        words = [named.get(word, word) for word in order.apart]
        return _watched(words, order, tell, scratch, folder, marks)


def _watched(
    words: list[str],
    order: Order,
    tell: Tell,
    place: str,
    folder: Path | None,  # whose changes are told
    marks: dict[str, Stamp],
) -> Answer:
    """Run the command, and tell of it while it runs."""

    def new() -> Bundle | None:
        return carried.changed(folder, marks) if folder and folder.is_dir() else None

    with tempfile.TemporaryFile() as said:
        child = _started(words, _own(order.environment), place, said.fileno())
        asked, known = False, ""
        try:
            while child.poll() is None:
                stop, sign = tell(new())
                if sign != known and known:  # what the last desk was told may be lost
                    marks.clear()
                known = sign
                if stop and not asked:
                    asked = True
                    child.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(PAUSE)
        except BaseException:  # cancelled, or nobody is there to be told
            child.kill()
            raise
        finally:
            child.wait()
        said.seek(0)
        everything = carried.changed(folder, {}) if folder and folder.is_dir() else None
        return Answer(child.returncode, said.read(), everything)


def _own(environment: dict[str, str]) -> dict[str, str]:
    """The variables, without a data folder that this machine has not: it may name its own."""
    data = environment.get(DATA)
    lacks = data is not None and not Path(data).is_dir()
    return {key: value for key, value in environment.items() if not (lacks and key == DATA)}


def _started(
    words: list[str], environment: dict[str, str], place: str, said: int
) -> "subprocess.Popen[bytes]":
    """The command as a process that ends when this one does, however that ends (on Linux)."""
    me, libc = os.getpid(), ctypes.CDLL(None) if sys.platform == "linux" else None

    def bound() -> None:
        if libc is not None:
            libc.prctl(DIES_WITH_PARENT, signal.SIGKILL)
            if os.getppid() != me:  # it ended before it was asked
                os._exit(1)

    return subprocess.Popen(
        [sys.executable, "-m", "simulacra", *words],
        cwd=place,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=bound,
    )
