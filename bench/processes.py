"""How much faster two processes train together (gloo) than one with one thread, at the same whole
batch.

    python bench/processes.py [--config gan_digits] [--pairs 3] [--steps 16] [--json FILE]

The two ways alternate. Each process notes the clock and its own processor seconds at its third step
and at its last, so that starting is left out. Other programs of the machine disturb the clock; the
processor seconds leave out what processes wait for each other.
"""

import argparse
import json
import os
import socket
import statistics
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def trained(rank: int, count: int, port: str, asked: dict[str, Any], place: str, said: Any) -> None:
    """One of `count` processes, as torchrun would start it; it says how long its steps took."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    import torch

    from simulacra.core import config
    from simulacra.tasks.train import train

    torch.set_num_threads(1)
    steps, marks = asked["steps"], dict[int, tuple[float, float]]()

    def note(step: int, row: dict[str, float]) -> None:
        marks[step] = time.monotonic(), time.process_time()

    sets = [f"steps={steps}", f"save_every={steps}", f"log_every={steps}"]
    train(config.resolve(asked["config"], asked["preset"], sets), Path(place), None, tick=note)
    (a, one), (b, two) = marks[3], marks[steps]
    said.put((b - a, two - one))


def measured(count: int, asked: dict[str, Any], place: Path) -> tuple[float, float]:
    """Seconds, and processor seconds of the slowest process, of all but the first steps."""
    context, port = get_context("spawn"), free_port()
    said = context.Queue()
    started = [
        context.Process(target=trained, args=(rank, count, port, asked, str(place), said))
        for rank in range(count)
    ]
    for one in started:
        one.start()
    found = [said.get(timeout=600) for _ in started]
    for one in started:
        one.join()
    return max(seconds for seconds, _ in found), max(processor for _, processor in found)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="gan_digits")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for i in range(options["pairs"]):
            row = {
                n: measured(n, options, Path(place) / f"{i}-{n}") for n in ((1, 2), (2, 1))[i % 2]
            }
            ratios = [one / two for one, two in zip(row[1], row[2], strict=True)]
            rows.append({"one": row[1], "two": row[2], "clock": ratios[0], "processor": ratios[1]})
            print(rows[-1], flush=True)
    kinds = "clock", "processor"
    medians = {kind: statistics.median(row[kind] for row in rows) for kind in kinds}
    found = {key: options[key] for key in ("config", "preset", "steps")} | medians | {"pairs": rows}
    print(json.dumps(found))
    if options["json"]:
        options["json"].write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
