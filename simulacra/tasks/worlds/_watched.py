"""What the stages of a chain share with whoever watches them:
a stop, a training that nobody looks at, an agent's name."""

from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

from simulacra.core.load import reopen
from simulacra.models.world.artefacts import hash_of


class Stopped(Exception):
    """A signal stopped a training; the same command goes on."""

    status = 130  # of the program that ends so


class Shown(AbstractContextManager["Shown"]):
    """Whoever watches a training; this one does not look."""

    def tick(self, step: int, row: dict[str, float]) -> None:
        """Hear of a step."""

    def saved(self, path: Path) -> None:
        """Hear of a checkpoint."""

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


@cache
def agent_at(folder: Path) -> str:
    """The hash of the agent that a finished run has made, as recordings of it are named after."""
    return hash_of(reopen(folder, None))
