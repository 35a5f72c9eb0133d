"""What a sweep over two nodes of a Ray cluster costs beside two plain processes, and whether it
ends with the same bits when nodes die.

    python bench/cluster.py speed [--pairs 5] [--json FILE]
    python bench/cluster.py deaths [--deaths 3] [--apart] [--json FILE]
    python bench/cluster.py costs [--json FILE]

The first two run on this machine: a cluster of a head without processors and two nodes of one each,
as processes. "speed" alternates the two ways and reports the median of the ratios of a pair.
"deaths" kills a node (SIGKILL) at random moments while runs train, and adds another one each time;
--apart hides the sweep's folder from the nodes, so that checkpoints are fetched back. "costs" is
what each run of a sheet costs beside its training.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
SHEET = """
name = "Two runs"
base = "ebgan_digits"
preset = "tiny"
seeds = [0, 1]
measure = "measure --samples 20 --repeats 1"
[set]
steps = {steps}
save_every = {save}
log_every = {save}
"""
STORE = 80 * 2**20  # bytes of a node's object store


class Nodes:
    """A cluster of this machine's own: a head, and nodes of one processor that come and go."""

    def __init__(self, count: int = 2) -> None:
        os.environ["PYTHONPATH"] = str(HOME)
        # as plain processes are, for the sake of `speed`
        os.environ.update({"RAY_worker_niceness": "0"})
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add() for _ in range(count)]
        self.address = self.cluster.address

    def add(self) -> Any:
        """A node more."""
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE)

    def kill(self, which: int) -> None:
        """A node dies as with its machine."""
        self.cluster.remove_node(self.nodes[which], allow_graceful=False)
        self.nodes[which] = None

    def mend(self) -> None:
        """Others come for those that are lost; in the main thread, where Ray sets signals."""
        self.nodes = [node or self.add() for node in self.nodes]

    def close(self) -> None:
        """End all."""
        self.cluster.shutdown()


def swept(out: Path, text: str, address: str | None, apart: bool = False) -> float:
    """Seconds of a sweep."""
    from simulacra.core.cluster import Cluster
    from simulacra.studies import sheet, sweep
    from simulacra.studies.many import RayCrew

    path = out.parent / "asked.toml"
    path.write_text(text)
    asked, begun = sheet.read(path), time.monotonic()
    if address is None:
        sweep.sweep(asked, text.encode(), out, at_once=2)
        return time.monotonic() - begun

    class Hidden(Cluster):
        """Nodes that do not see the folder."""

        def _attempt(self, order: Any) -> Any:
            return super()._attempt(order._replace(token=("/nowhere", "")))

    kind = Hidden if apart else Cluster
    with kind(address, out, notify=lambda line: print(f"  {line}", flush=True)) as cluster:
        begun = time.monotonic()
        crew = RayCrew(cluster, sweep.jobs(asked, out))
        sweep.sweep(asked, text.encode(), out, at_once=2, crew=crew)
        return time.monotonic() - begun


def bits(out: Path) -> dict[str, Any]:
    """By run the digest of its weights, and its log."""
    return {
        path.parent.name: (path.read_text(), (path.parent / "log.jsonl").read_text())
        for path in sorted(out.glob("*/done"))
    }


def speed(place: Path, pairs: int) -> dict[str, Any]:
    """The ratio of the two ways' throughput, pair by pair. Other programs of the machine disturb
    it: the two ways alternate, and the median counts."""
    nodes, text = Nodes(), SHEET.format(steps=60, save=20)
    rows = []
    try:
        for i in range(pairs):
            row = {}
            for name, address in [("plain", None), ("ray", nodes.address)][:: 1 if i % 2 else -1]:
                row[name] = swept(place / f"{name}{i}", text, address)
            rows.append(row | {"ratio": row["plain"] / row["ray"]})
            print(rows[-1], flush=True)
            assert bits(place / f"plain{i}") == bits(place / f"ray{i}"), "other bits"
    finally:
        nodes.close()
    return {"pairs": rows, "median": statistics.median(row["ratio"] for row in rows)}


def deaths(place: Path, count: int, apart: bool) -> dict[str, Any]:
    """Whether an unbroken sweep and one whose nodes die have the same bits."""
    text = SHEET.format(steps=60, save=5)
    swept(place / "plain", text, None)
    nodes, moments, ended = Nodes(), list[float](), list[float]()
    sweeping = threading.Thread(
        target=lambda: ended.append(swept(place / "ray", text, nodes.address, apart))
    )
    begun = time.monotonic()
    sweeping.start()
    try:
        while len(moments) < count and sweeping.is_alive():
            if any((place / "ray").glob("*/checkpoints/*.pt")):
                time.sleep(random.uniform(2, 15))
                nodes.kill(which := random.randrange(2))
                moments.append(round(time.monotonic() - begun, 1))
                print(f"  node {which} killed", flush=True)
                nodes.mend()
            time.sleep(0.5)
        sweeping.join()
    finally:
        nodes.close()
    same = bits(place / "plain") == bits(place / "ray") != {}
    return {"killed_at_seconds": moments, "seconds": ended, "apart": apart, "same_bits": same}


def processor(*words: str) -> float:
    """Processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "simulacra", *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def costs(place: Path) -> dict[str, Any]:
    """What a run of a sheet costs beside its training, in processor seconds and megabytes."""
    from simulacra.studies import sheet, sweep

    run = place / "run"
    change = ("--set", "steps=1", "--set", "save_every=1")
    begun = processor("train", "ebgan_digits", "--preset", "tiny", "--run", str(run), *change)
    ended = processor("measure", str(run), "--samples", "20", "--repeats", "1")
    path = place / "asked.toml"
    seeds = ", ".join(map(str, range(1000)))
    path.write_text(SHEET.format(steps=1, save=1).replace("[0, 1]", f"[{seeds}]"))
    asked, start = sheet.read(path), time.process_time()
    sweep.jobs(asked, place / "out")
    each = (time.process_time() - start) / 1000
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    return {"train": begun, "measure": ended, "resolve_ms": 1000 * each, "folder_mb": size / 1e6}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "deaths", "costs"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--deaths", type=int, default=3)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        ways = {
            "speed": lambda: speed(Path(place), asked.pairs),
            "deaths": lambda: deaths(Path(place), asked.deaths, asked.apart),
            "costs": lambda: costs(Path(place)),
        }
        found = ways[asked.what]()
    print(json.dumps(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if found.get("same_bits", True) else 1)


if __name__ == "__main__":
    main()
