"""What the frozen network of projected models costs: processor milliseconds of one thread for 16
pictures, enlarged to a side or not, forward and with the gradient back to the pictures.

    python bench/frozen.py [--rounds 3]

Prints JSON, a row a side, the least of the rounds.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch

from simulacra.models.projected_gan import Hyper
from simulacra.nn import projected

SIDES = 64, 96, 128


def least(work: Callable[[], object], rounds: int) -> float:
    """Processor milliseconds of the quickest of some rounds, after one that warms up."""
    found = []
    for _ in range(rounds + 1):
        start = time.process_time()
        work()
        found.append(1e3 * (time.process_time() - start))
    return min(found[1:])


def main() -> None:
    """Print a row a side."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(16, 3, 64, 64) * 2 - 1
    x.requires_grad_()
    rows = []
    for side in SIDES:

        def forward(side: int = side) -> None:
            with torch.no_grad():
                projected.look(x, Hyper().levels, side)

        def both(side: int = side) -> None:
            seen = projected.look(x, Hyper().levels, side)
            torch.autograd.grad(torch.stack([f.square().sum() for f in seen]).sum(), x)

        rows.append(
            {
                "side": f"{side} pixels",
                "forward": least(forward, given.rounds),
                "both": least(both, given.rounds),
            }
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
