"""Every random number follows from (seed, step), so that resuming needs no generator state."""

import random
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from simulacra.core import distributed


def fold(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. fold(seed, "step", 12). Never seed + k: there, step k of
    one seed is step k-1 of the next, and runs that should be independent overlap."""
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def reseed(seed: int) -> None:
    """Set torch's generators (CPU, and CUDA where it is in use), and those of Python and numpy,
    which a model from outside may use. Many times cheaper on CPU than torch.manual_seed, whose cost
    is the lazy look at CUDA."""
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002, the generator that old code uses
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator of its own for one purpose; the global one is not touched."""
    return torch.Generator().manual_seed(fold(seed, *names))


def noise(like: Tensor, *shape: int) -> Tensor:
    """Standard normal noise (len(like), *shape) on like's device. It is drawn for all processes and
    on the CPU, so that the numbers depend neither on how many processes there are nor on the
    device."""
    drawn = torch.randn(len(like) * distributed.world_size(), *shape)
    return distributed.own_rows(drawn).to(like.device)


def uniform(like: Tensor, *shape: int) -> Tensor:
    """As `noise`, uniform in [0, 1)."""
    drawn = torch.rand(len(like) * distributed.world_size(), *shape)
    return distributed.own_rows(drawn).to(like.device)
