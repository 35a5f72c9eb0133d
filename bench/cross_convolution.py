"""Cross convolution: one grouped call against a loop over the batch, forward and backward, as
ratios in one run.

    python bench/cross_convolution.py [--batch 32] [--maps 32] [--side 32]

The published codes loop over the examples of a batch. The second table has the large kernels of our
layers.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import allocator
from simulacra.models.visual_dynamics.nets import cross_convolution, grouped

Way = Callable[[Tensor, Tensor], Tensor]


def loop(maps: Tensor, kernels: Tensor) -> Tensor:
    """An example at a time, each map with its own kernel."""
    half, count = kernels.shape[-1] // 2, maps.shape[1]
    each = zip(maps, kernels, strict=True)
    return torch.cat([F.conv2d(x[None], k[:, None], padding=half, groups=count) for x, k in each])


def library(maps: Tensor, kernels: Tensor) -> Tensor:
    """The same grouped call, its gradient left to the library."""
    return grouped(maps, kernels, kernels.shape[-1] // 2)


def loop_of_maps(maps: Tensor, kernels: Tensor) -> Tensor:
    """An example and a map at a time."""
    half = kernels.shape[-1] // 2
    flat = zip(maps.flatten(0, 1), kernels.flatten(0, 1), strict=True)
    return torch.cat(
        [F.conv2d(x[None, None], k[None, None], padding=half) for x, k in flat]
    ).view_as(maps)


def seconds(way: Way, maps: Tensor, kernels: Tensor, repeats: int) -> float:
    """Processor time of a forward and a backward pass, the median."""
    found = []
    for _ in range(repeats + 1):
        start = time.process_time()
        torch.autograd.grad(way(maps, kernels).sum(), (maps, kernels))
        found.append(time.process_time() - start)
    return statistics.median(found[1:])


def compare(title: str, ways: dict[str, Way], shape: tuple[int, ...], k: int, repeats: int) -> None:
    """Print one table; the first way is the measure of the others."""
    maps, kernels = (
        torch.randn(shape, requires_grad=True),
        torch.randn(*shape[:2], k, k, requires_grad=True),
    )
    times = {name: seconds(way, maps, kernels, repeats) for name, way in ways.items()}
    first = next(iter(times.values()))
    print(f"{title}, maps {tuple(shape)}, kernels {k} x {k}")
    for name, value in times.items():
        print(f"  {name:18}{value * 1e3:10.1f} ms{value / first:10.1f} x")


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--maps", type=int, default=32)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    allocator.keep()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    ways = {"ours": cross_convolution, "loop": loop, "library's gradient": library}
    compare(
        "the paper's",
        ways | {"loop over maps": loop_of_maps},
        (asked.batch, asked.maps, asked.side, asked.side),
        5,
        asked.repeats,
    )
    compare("our layers'", ways, (16, 16, 64, 64), 13, asked.repeats)


if __name__ == "__main__":
    main()
