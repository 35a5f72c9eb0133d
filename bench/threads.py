"""What a training takes by how OpenMP's threads wait and how many there are, alone and beside busy
programs.

    python bench/threads.py [CONFIG] [--steps 60] [--rounds 3] [--busy 0 2]

Each number is the mean over rounds of the seconds of a whole `simulacra train`, its start included:
first those that pass, with their range, then those of processors. The rows of a round are run one
after the other and the rounds are interleaved, so that a machine that others use, too, is as slow
for one as for another; processor seconds suffer less from them. "spinning" is what OpenMP does by
itself, "sleeping" what simulacra/core/threads.py asks of it.
"""

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HOME = Path(__file__).parent.parent
# the defaults of GNU's and of LLVM's OpenMP
SPIN = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}
SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many programs compute beside."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(config: str, steps: int, threads: int, wait: dict[str, str]) -> tuple[float, float]:
    """Of one training: that pass, and of processors."""
    env = {name: value for name, value in os.environ.items() if name not in (*SPIN, *SLEEP)}
    env |= wait | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HOME)}
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "train",
            config,
            "--run",
            f"{folder}/run",
            "--set",
            f"steps={steps}",
            "--no-tensorboard",
        ]
        begun, spent = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "simulacra", *words],
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (
            time.monotonic() - begun,
            now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime,
        )


def in_words(found: list[tuple[float, float]]) -> str:
    """A cell of the table."""
    passed, spent = zip(*found, strict=True)
    wall = f"{statistics.mean(passed):.1f} ({min(passed):.1f} to {max(passed):.1f})"
    return f"{wall}; processor {statistics.mean(spent):.1f}"


def main() -> None:
    """Parse, measure, print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", default="ebgan_digits")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--busy", type=int, nargs="+", default=[0, 2], help="How many programs compute beside."
    )
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    asked = parser.parse_args()
    ways = [
        (n, name, wait)
        for n in asked.threads
        for name, wait in (("spinning", SPIN), ("sleeping", SLEEP))
    ]
    # one thread waits for nobody
    ways = [way for way in ways if way[0] > 1 or way[1] == "sleeping"]
    found: dict[tuple[int, str, int], list[tuple[float, float]]] = {}
    for _ in range(asked.rounds):
        for count in asked.busy:
            with busy(count):
                for threads, name, wait in ways:
                    found.setdefault((threads, name, count), []).append(
                        seconds(asked.config, asked.steps, threads, wait)
                    )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"`{asked.config}`, {asked.steps} steps, {os.cpu_count()} processors, {asked.rounds} "
        f"rounds; load at the end {load}\n"
    )
    print(
        "| threads | they wait | "
        + " | ".join(f"s, {count} busy beside" for count in asked.busy)
        + " |"
    )
    print("|---|---" + "|---" * len(asked.busy) + "|")
    for threads, name, _ in ways:
        cells = [found[threads, name, count] for count in asked.busy]
        print(
            f"| {threads} | {name if threads > 1 else '-'} | "
            + " | ".join(map(in_words, cells))
            + " |"
        )


if __name__ == "__main__":
    main()
