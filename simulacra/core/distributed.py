"""What many processes (torchrun) share:
each has equal rows of a batch, and all have equal weights."""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many processes train together (torchrun); 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def own_rows(whole: Tensor) -> Tensor:
    """This process's equal share of a tensor's rows."""
    return whole if world_size() == 1 else whole.tensor_split(world_size())[rank()]


def all_gather(own: Tensor) -> Tensor:
    """The rows of all processes, for losses that look across the batch. The gradient reaches this
    process's rows, times the number of processes, since descend averages."""
    if world_size() == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(parts, own.detach().contiguous())
    parts[rank()] = own.detach() + world_size() * (own - own.detach())
    return torch.cat(parts)


def all_mean(value: Tensor) -> Tensor:
    """The mean of a value over processes, without gradient."""
    value = value.detach()
    if world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / world_size()


def all_mean_of_list(values: list[Tensor]) -> list[Tensor]:
    """The mean over processes of each of many tensors, sent as one."""
    if world_size() == 1:
        return values
    flat = torch.cat([g.flatten() for g in values])
    dist.all_reduce(flat)
    parts = (flat / world_size()).split([g.numel() for g in values])
    return [part.view_as(g) for part, g in zip(parts, values, strict=True)]
