"""What a model consists of: the one answer for saving, loading, soundness and export."""

from typing import Any

from torch import nn


def parts(model: Any) -> dict[str, Any]:
    """Name -> part: every attribute of the model that has a state_dict (module, optimizer, average, controller), in the order
    of their making. Where the model is an nn.Module itself, its children are parts too."""
    found = {name: value for name, value in vars(model).items() if hasattr(value, "state_dict")}
    if isinstance(model, nn.Module):
        found |= {name: child for name, child in model._modules.items() if child is not None}
    return found
