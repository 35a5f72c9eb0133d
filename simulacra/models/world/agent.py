"""An agent as its run has left it: the controller, the memory,
and the eye through which both see."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from simulacra.core import contract
from simulacra.core.contract import Batch, option
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, able, reopen
from simulacra.envs.view import View, same
from simulacra.models.world import seeing
from simulacra.models.world.acting import Senses
from simulacra.models.world.artefacts import Seen, eye_of, eye_of_world, hash_of, same_eye
from simulacra.models.world.memory_nets import Memory

FRAME = 3, 64, 64  # channels, height, width of what a world shows


class Agent(NamedTuple):
    """Everything that drives."""

    centre: Tensor  # (N,), the mean of the search distribution, never its best member
    senses: Senses  # what it sees with
    memory: Memory  # M that the run carries: the world of its dreams
    hash: str  # of the run's weights
    eye: str  # hash of the eye
    view: View | None = None  # what it sees
    # what had to be assumed, or is shown otherwise than usual, in sentences
    notes: tuple[str, ...] = ()


def agent_of(opened: Opened, eye: Path | None = None) -> Agent:
    """The agent of a run of world_controller, with the eye of its config, or of the run folder
    `eye`; a Mistake if its memory was trained on another eye."""
    if not isinstance(opened.model, contract.Agent):
        raise Mistake(
            f"{opened.folder} is a run of model {opened.config.model}; allowed: model "
            f"{able(contract.Agent)}"
        )
    model: Any = opened.model
    seen = eye_for(opened, eye)
    mine = seeing.of_run(opened).view
    same(mine, str(opened.folder), seen.view, "its eye")
    for memory in (model.memory.module, model.senses()):
        if memory is not None:
            same_eye(memory, seen)
    if seen.eye.z_size != (size := model.memory.module.form.z_size):
        raise Mistake(
            f"this eye's codes have {seen.eye.z_size} numbers; "
            f"allowed: {size}, as {opened.folder} was trained with"
        )
    senses = Senses(
        seen.eye,
        model.senses(),
        model.hyper.squash,
        model.hyper.act_on == "sample",
        model.actions,
    )
    shown = (
        "the world is shown with the bar of score and speed (hud), as this agent's eye saw it",
    ) * bool(seen.view and seen.view.hud)
    return Agent(
        model.centre,
        senses,
        model.memory.module,
        hash_of(opened),
        seen.hash,
        seen.view,
        (*seen.notes, *shown),
    )


def eye_for(opened: Opened, eye: Path | None = None) -> Seen:
    """The eye of the run folder `eye`, or else of the config;
    a Mistake if neither names one, or if it sees other frames."""
    hyper: Any = opened.config.hyper
    named = str(eye) if eye else option(hyper, "eye", "")
    if not named:
        raise Mistake(
            f"{opened.folder} names no eye, since it was trained on codes alone; "
            "name its eye's run folder with --eye"
        )
    found = reopen(Path(named).expanduser(), None)
    eye_of(found)
    shape = tuple(found.like(1)["image"].shape[1:])
    if shape != FRAME:
        raise Mistake(
            f"{found.folder} sees pictures of shape {shape}; "
            f"allowed: {FRAME}, as the world shows them"
        )
    return eye_of_world(found)


def same_codes(batch: Batch, eye: str) -> None:
    """A Mistake with both hashes if the codes of a batch are of another eye than
    that of this hash."""
    there = bytes(batch["eye"][0].tolist()).hex()
    if there != eye:
        raise Mistake(
            f"the run's codes are of eye {there}, this eye is {eye}; "
            "name the eye that made them with --eye"
        )
