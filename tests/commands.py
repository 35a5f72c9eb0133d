"""Command lines, said in this process or in one that can be killed."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """How a command line ended."""

    code: int  # negative: the signal that ended it
    out: str
    err: str

    def refusal(self) -> str:
        """The one line in which a mistake is told."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert (
            self.err.startswith("error: ") and self.err.count("\n") == 1 and self.err.endswith("\n")
        ), self.err
        assert "Traceback" not in self.out + self.err
        return self.err

    def success(self) -> str:
        """What it printed."""
        assert (self.code, self.err) == (0, ""), (self.code, self.out, self.err)
        return self.out


class Child:
    """A process that the launcher forked. It has its own number and memory;
    only its imports are done."""

    def __init__(
        self,
        launcher: subprocess.Popen[str],
        folder: Path,
        arguments: list[str],
        limit: int | None,
        dies: int | None,
    ):
        self.launcher = launcher
        pipes = [folder / "out.pipe", folder / "err.pipe"]
        for pipe in pipes:
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
        self.ends = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
        order = {
            "arguments": arguments,
            "pipes": [str(pipe) for pipe in pipes],
            "limit": limit,
            "dies": dies,
        }
        print(json.dumps(order), file=launcher.stdin, flush=True)
        self.pid = int(launcher.stdout.readline())

    def wait(self) -> Said:
        """How it ended. What it says has to fit into a pipe."""
        code = os.waitstatus_to_exitcode(int(self.launcher.stdout.readline()))
        texts = []
        for end in self.ends:
            with os.fdopen(end, "rb") as file:
                texts.append((file.read() or b"").decode())
        return Said(code, *texts)

    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            return (
                Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            )
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.alive():
            os.kill(self.pid, number)
