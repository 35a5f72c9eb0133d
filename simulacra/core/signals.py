"""Signals that ask a program to end. Ctrl-C ends it with 130; SIGTERM, and SIGHUP and SIGUSR1,
which schedulers and closed terminals send before they kill, end it with 143, all of them after what
can be saved was saved."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

# those that a system has: Windows knows SIGTERM alone of them
IGNORABLE = {one for one in signal.Signals if one.name in ("SIGHUP", "SIGUSR1")}
ENDING = (signal.SIGTERM, *sorted(IGNORABLE))


class Interrupted(KeyboardInterrupt):
    """A signal came, this one; whoever catches it may add_note what was saved. `last` is the last
    that was made: some versions of typer swallow it."""

    last: "Interrupted | None" = None

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(number)
        self.status = status(number)
        Interrupted.last = self


def status(number: int) -> int:
    """The exit status of a program that this signal ended."""
    return 130 if number == signal.SIGINT else 143


@contextlib.contextmanager
def heard(act: Callable[[int, FrameType | None], object], *, deaf: bool = False) -> Iterator[None]:
    """Have `act` called when a signal asks to end. SIGHUP (nohup) and SIGUSR1 stay ignored where
    they are; SIGINT too if `deaf`, otherwise it is heard even in the background of a script. In
    threads other than the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = {
        number for number in (signal.SIGINT, *ENDING) if signal.getsignal(number) is signal.SIG_IGN
    }
    ours = {signal.SIGINT, *ENDING} - (ignored & {*IGNORABLE, *([signal.SIGINT] if deaf else [])})
    old = {number: signal.signal(number, act) for number in ours}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> None:
    """What a verb does that has nothing to save between steps: stop where it is. While torch is
    imported nothing has begun, and an exception would have to pass through its C++, which aborts:
    so end at once."""
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    if getattr(spec, "_initializing", False):
        os.write(2, b"interrupted\n")
        os._exit(status(number))
    raise Interrupted(number)


@contextlib.contextmanager
def asked() -> Iterator[list[int]]:
    """The signals that have asked to end so far: one that the clock sees between steps.
    The second one interrupts."""
    numbers: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        numbers.append(number)
        if len(numbers) > 1:
            raise Interrupted(number)

    with heard(ask):
        yield numbers


@contextlib.contextmanager
def saying(kept: Callable[[], str]) -> Iterator[None]:
    """Have whoever interrupts what is done here told what was kept."""
    try:
        yield
    except KeyboardInterrupt as stop:
        # that a folder cannot be read is no reason to end otherwise
        with contextlib.suppress(Exception):
            stop.add_note(kept())
        raise
