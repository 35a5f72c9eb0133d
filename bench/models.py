"""Speed of every model: steps/s, images/s, peak memory, and the share of this machine's matmul rate
that a step reaches.

    python bench/models.py [CONFIG ...] [--preset laptop] [--steps 20]

The share is counted floating-point operations a second over the rate of a large float32 matrix
product measured in the same process just before and after. It survives a noisy machine; seconds do
not. Rates, operations and shares are means over the steps, which hold what only some steps do
(penalties every fifth, say); "median" is the rate of the middle step, far from the mean where steps
differ or something else ran. "clock" is what reseeding, drawing the batch and checking the scalars
cost, relative to the step.
"""

import argparse
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from simulacra.core import allocator, config, data_sets, loop, optim, random
from simulacra.core.errors import Mistake
from simulacra.core.load import build, data_root


def matmul_rate(n: int = 2048, repeats: int = 8) -> float:
    """Floating-point operations a second of the best of `repeats` n x n float32 products."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


LSTM = {torch.ops.aten.mkldnn_rnn_layer: 1, torch.ops.aten.mkldnn_rnn_layer_backward: 2}
"""torch's fused LSTM on a CPU, one layer and direction a call, and how many times the forward
products each needs."""


class Counter(TorchDispatchMode):
    """Adds up the floating-point operations of convolutions, matrix products and fused LSTMs,
    forward, backward and double backward. torch's own counter hooks modules, which differentiating
    with respect to an input does not allow, and leaves fused LSTMs out."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket is torch.ops.aten._convolution_double_backward:
            self.total += double_backward(*args)
        elif func._overloadpacket in LSTM:
            x, *weights = args[:3]
            self.total += (
                LSTM[func._overloadpacket]
                * 2
                * x.shape[0]
                * x.shape[1]
                * sum(w.numel() for w in weights)
            )
        elif count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def double_backward(ggI: Any, ggW: Any, ggb: Any, gO: Any, weight: Any, x: Any, *rest: Any) -> int:
    """One convolution for each product of the double backward pass that is needed."""
    transposed, needed = rest[3], rest[-1]
    one = conv_flop_count(list(x.shape), list(weight.shape), list(gO.shape), transposed=transposed)
    return one * ((ggI is not None) * (1 + needed[2]) + (ggW is not None) * (1 + needed[1]))


def flops(model: Any, batch: dict[str, torch.Tensor], ks: range) -> float:
    """Floating-point operations of a step, the mean over these."""
    with Counter() as counter:
        for k in ks:
            model.step(batch, k)
    return counter.total / len(ks)


def bench(name: str, preset: str, steps: int, root: Path | None) -> dict[str, Any]:
    """One row of the table."""
    allocator.keep()
    checked = config.resolve(
        name, preset, ["steps=1000000", "log_every=1000000", "save_every=1000000"]
    )
    source = data_sets.load(checked.data, root)
    like = source.draw(0, checked.batch, 0)
    model = build(checked, like, torch.device("cpu"))
    for k in range(3):
        optim.set_rates(model, k)
        model.step(like, k)
    ks = range(3, steps + 3)
    count, before = flops(model, like, ks), matmul_rate()
    bare = []
    for k in ks:
        start = time.perf_counter()
        model.step(like, k)
        bare.append(time.perf_counter() - start)
    rate = max(before, matmul_rate())
    second = statistics.fmean(bare)
    return {
        "config": name,
        "steps/s": 1 / second,
        "median": 1 / statistics.median(bare),
        "images/s": checked.batch / second,
        "GFLOP/step": count / 1e9,
        "share": count / second / rate,
        "matmul GFLOP/s": rate / 1e9,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "clock": overhead(model, source, checked),
    }


def overhead(model: Any, source: Any, checked: Any) -> float:
    """Seconds that reseeding, drawing and checking one step cost."""
    scalars = dict(model.step(source.draw(0, checked.batch, 0), 4))
    start = time.perf_counter()
    for k in range(200):
        random.reseed(random.fold(0, "step", k))
        optim.set_rates(model, k)
        source.draw(k, checked.batch, 0)
        loop.finite(scalars, k)
    return (time.perf_counter() - start) / 200


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="*")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    root = data_root(asked.data)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, preset {asked.preset}")
    titles = f"{'config':22}{'steps/s':>9}{'median':>9}{'images/s':>10}{'GFLOP/step':>12}"
    print(titles + f"{'share':>8}{'clock':>8}{'peak MB':>9}{'matmul GFLOP/s':>16}")
    for name in asked.configs or config.configs():
        try:
            # so that the peak memory is this config's
            with ProcessPoolExecutor(1, get_context("spawn")) as own:
                row = own.submit(bench, name, asked.preset, asked.steps, root).result()
        except Mistake as mistake:
            print(f"{name:22}left out: {mistake}")
            continue
        print(
            f"{name:22}{row['steps/s']:9.2f}{row['median']:9.2f}{row['images/s']:10.0f}"
            f"{row['GFLOP/step']:12.2f}{row['share']:8.0%}{row['clock'] * row['steps/s']:8.2%}"
            f"{row['peak MB']:9.0f}{row['matmul GFLOP/s']:16.0f}"
        )


if __name__ == "__main__":
    main()
