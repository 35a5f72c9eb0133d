"""Numbers below 1.2e-38, which float32 cannot hold in full precision, count as zero."""

import torch


def flush() -> bool:
    """Whether the processor could be told. Probabilities of mixtures and optimizers' averages fade
    into such numbers, on which processors are slow: around its 4,000th step the memory of World
    Models trains four times as fast without them (docs/results/world_time.md). It holds for
    whatever the calling thread computes, numpy's numbers too, and for threads that it starts from
    then on, so call it first."""
    return bool(torch.set_flush_denormal(True))
