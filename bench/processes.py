"""How much faster two processes (torchrun on two "nodes" of this machine, gloo) train than one with
one thread, at the same whole batch.

    python bench/processes.py [--config gan_digits] [--pairs 3] [--steps 30] [--json FILE]

The two ways alternate, and seconds are those of the run's own clock between its first logged step
and its last, so that starting is left out. The median of the ratios of a pair is what counts.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).parents[1]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def trained(words: list[str], folder: Path, nodes: int) -> float:
    """Seconds of the logged steps of a training by one process or by one on each of two nodes."""
    python, say = [sys.executable, "-m"], ["simulacra", *words, "--run", str(folder)]
    command = python + say
    if nodes > 1:
        meets = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}"]
        command = [*python, "torch.distributed.run", "--nnodes", str(nodes), *meets]
        command += ["--nproc-per-node", "1", "--local-addr", "127.0.0.1", "-m", "--", *say]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(command, env=ENV, **quiet) for _ in range(nodes)]
    if any([one.wait() for one in started]):
        raise SystemExit(f"a training failed: {' '.join(command)}")
    rows = [json.loads(row) for row in (folder / "clock.jsonl").read_text().splitlines()]
    return float(rows[-2]["seconds"] - rows[0]["seconds"])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="gan_digits")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sets = {"steps": asked.steps, "log_every": 2, "save_every": asked.steps}
    words = ["train", asked.config, "--preset", asked.preset, "--no-tensorboard"]
    words += [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for i in range(asked.pairs):
            row = {
                f"{n}": trained(words, Path(place) / f"{i}-{n}", n) for n in ((1, 2), (2, 1))[i % 2]
            }
            rows.append({"one": row["1"], "two": row["2"], "ratio": row["1"] / row["2"]})
            print(rows[-1], flush=True)
    found = {
        "config": asked.config, "preset": asked.preset, "steps": asked.steps, "pairs": rows,
        "median": statistics.median(row["ratio"] for row in rows),
    }  # fmt: skip
    print(json.dumps(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
