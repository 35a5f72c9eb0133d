"""The work of a studio in a process of its own, so that it can be stopped and the page stays quick.

It reads an order, a line of JSON, from its standard input, and ends when that is closed, as it is
when the studio ends, however that ends. What it has to tell are lines of JSON on its standard
output; what else is printed goes to its standard error.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core.errors import Mistake, shown
from simulacra.studies._studio_labels import to_runs

Order = dict[str, Any]  # clip, out, masks by frame, names of objects, longest, frames, fast
Tell = Callable[[dict[str, Any]], None]
Work = Callable[[Order, Tell], dict[str, Any]]  # returns what quality.json says


def hardened(soft: np.ndarray, names: list[int]) -> np.ndarray:
    """Labels (H, W) uint8, of K names, of how probable each object is (K, H, W): the likeliest
    above a half."""
    best = soft.argmax(0)
    sure = np.take_along_axis(soft, best[None], 0)[0] > 0.5
    return np.where(sure, np.array(names)[best], 0).astype(np.uint8)


def arrived(t: int, labels: np.ndarray, confidence: list[float]) -> dict[str, Any]:
    """What is told of a frame's labels (H, W), and the confidence of each object."""
    return {"frame": t, "runs": to_runs(labels), "sure": [round(one, 4) for one in confidence]}


def decomposed(order: Order, tell: Tell) -> dict[str, Any]:
    """Have tasks/decompose do it."""
    from simulacra.tasks.decompose import decompose

    facts, _ = decompose(
        Path(order["clip"]),
        {int(t): Path(path) for t, path in order["masks"].items()},
        Path(order["out"]),
        longest=order["longest"],
        frames=order["frames"],
        fast=order["fast"],
        anew=True,
        notify=lambda stage, share: tell({"stage": stage, "share": share}),
        said=lambda line: tell({"note": line}),
        arrived=lambda t, soft, sure: tell(
            arrived(t, hardened(soft.float().numpy(), order["names"]), sure.tolist())
        ),
    )
    return dict(facts)


def work(do: Work = decomposed) -> None:
    """Read an order, do it, and say how it ended."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what others print is none of ours
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    lock = threading.Lock()

    def tell(event: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(event) + "\n")
            out.flush()

    try:
        tell({"done": do(order, tell)})
    except Mistake as mistake:
        tell({"error": str(mistake)})
    except MemoryError:
        tell({"error": "not enough memory; take a shorter clip, or a smaller size with --longest"})
    except Exception as error:
        import traceback

        traceback.print_exc()
        tell({"error": f"{type(error).__name__}: {shown(str(error), quoted=False)}"})


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    work()
