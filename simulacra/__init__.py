"""Simulacra: a laboratory for models that imagine.

    import simulacra

    model = simulacra.load("zoo/vae_faces")
    pictures = model.sample(16, seed=0)

`load`, `train`, `decompose`, `measure` and the lists `list_models`, `list_configs`, `list_zoo` are
in api.py; `metrics` and `losses` hold functions of tensors. None of them is imported before it is
asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# before torch is imported: it says how OpenMP's threads wait
from simulacra.core import threads as threads
from simulacra.core.errors import Mistake as Mistake

if TYPE_CHECKING:
    from simulacra import losses as losses
    from simulacra import metrics as metrics
    from simulacra.api import Loaded as Loaded
    from simulacra.api import decompose as decompose
    from simulacra.api import list_configs as list_configs
    from simulacra.api import list_models as list_models
    from simulacra.api import list_zoo as list_zoo
    from simulacra.api import load as load
    from simulacra.api import measure as measure
    from simulacra.api import train as train

__version__ = "0.1.0"
FACE = (
    "Loaded",
    "decompose",
    "list_configs",
    "list_models",
    "list_zoo",
    "load",
    "measure",
    "train",
)


def __getattr__(name: str) -> Any:
    """The public names, imported when they are used."""
    if name in FACE:
        return getattr(import_module("simulacra.api"), name)
    if name in ("losses", "metrics"):
        return import_module(f"simulacra.{name}")
    raise AttributeError(
        f"simulacra has no {name}; it has {', '.join((*FACE, 'losses', 'metrics', 'Mistake'))}"
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE, "losses", "metrics"])
