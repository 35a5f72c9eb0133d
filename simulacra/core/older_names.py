"""Where things were before, for the models that run folders bring: a run of today opens tomorrow.

Only while such a model's file is run are the older modules importable; each of their names leads to
where the thing is now.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PLAY = {
    "simulacra.core.optim": ("descend", "like_weight", "weights", "adam", "set_rate"),
    "simulacra.core.random": ("noise", "uniform"),
    "simulacra.core.distributed": ("rank", "own_rows"),
    "simulacra.core.schedules": ("Schedule", "Points"),
}
RENAMED = {
    "Weight": "simulacra.core.schedules:NonNegative",
    "at": "simulacra.core.schedules:value_at",
    "Average": "simulacra.core.ema:EMA",
    "processes": "simulacra.core.distributed:world_size",
    "gathered": "simulacra.core.distributed:all_gather",
    "averaged": "simulacra.core.distributed:all_mean",
    "quiet": "simulacra.core.parts:eval_mode",
}
MOVED = {  # modules whose names stayed, but for those beside them
    "simulacra.contract": ("simulacra.core.contract", {}),
    "simulacra.errors": ("simulacra.core.errors", {}),
    "simulacra.idle": ("simulacra.core.idle", {}),
    "simulacra.seeds": ("simulacra.core.random", {}),
    "simulacra.core.seeds": ("simulacra.core.random", {}),
    "simulacra.layers": ("simulacra.nn.blocks", {}),
    "simulacra.games": ("simulacra.nn.adversarial", {}),
    "simulacra.maths": ("simulacra.nn.maths", {}),
    "simulacra.latent": ("simulacra.nn.latent", {}),
    "simulacra.stabilise": (
        "simulacra.nn.stabilise",
        {"seen": "simulacra.nn.stabilise:augment"},
    ),
    "simulacra.play": (
        "simulacra.core.optim",
        {name: f"{module}:{name}" for module, names in PLAY.items() for name in names} | RENAMED,
    ),
}
MOVED["simulacra.core.play"] = MOVED["simulacra.play"]


class Older(MetaPathFinder, Loader):
    """Finds the older modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an older module, None of any other."""
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with what is now elsewhere."""
        now, renamed = MOVED[module.__name__]
        vars(module).update(
            {
                key: value
                for key, value in vars(importlib.import_module(now)).items()
                if key[0] != "_"
            }
        )
        for name, place in renamed.items():
            home, _, attribute = place.partition(":")
            setattr(module, name, getattr(importlib.import_module(home), attribute))


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """Within, the older modules can be imported; after it they are gone from sys.modules."""
    finder = Older()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in MOVED:
            if sys.modules.pop(name, None) is not None:
                above, _, last = name.rpartition(".")
                vars(sys.modules[above]).pop(last, None)
