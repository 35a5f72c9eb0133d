"""Whether a model or a data set is what it looks like: asked once, when it is built.

A model that has some methods of a protocol and not the others is a Mistake that names the model,
the method, and the wanted signature with shapes. What methods return is looked at where it is first
used: `core/answers.py`.
"""

import inspect
from typing import Any, NamedTuple

from torch import nn

from simulacra.core import contract
from simulacra.core.errors import Mistake


class Kind(NamedTuple):
    """A protocol, and what tells that a model means to fulfil it."""

    protocol: type
    name: str  # with its article
    told_by: tuple[str, ...]  # whoever has one of these needs all of the protocol


ABILITIES = (
    Kind(contract.AutoEncoder, "an auto-encoder", ("encode", "decode")),
    Kind(contract.Futures, "a model of futures", ("imagine", "transfer", "traverse")),
    Kind(contract.Memory, "a memory of a world", ("imagine", "sample_codes")),
    Kind(contract.Agent, "an agent", ("dream", "drives")),
    Kind(contract.Game, "a game", ("won",)),
)
SINGLE = (  # methods that need no other, but have to be called as the house calls them
    contract.Layered,
    contract.Game,
    contract.HasWon,
    contract.HasRates,
    contract.HasHealth,
    contract.HasMeasure,
    contract.HasCheck,
    contract.HasLook,
    contract.HasGenerate,
    contract.HasRebuild,
    contract.HasMotions,
    contract.HasBegin,
)


def check_model(model: Any, name: str) -> None:
    """A Mistake if a model lacks `step` or `sample`, or a method that others of its methods need,
    or has one that cannot be called as its protocol says."""
    who = f"model {name}"
    for method in missing(model, contract.Model):
        raise Mistake(
            f"{who}: its Model has no method {method}; needed: "
            f"{both(contract.Model)}: {signature(contract.Model, method)}"
        )
    complete = [one for one in ABILITIES if not missing(model, one.protocol)]
    covered = {method for one in complete for method in members(one.protocol)}
    for kind in ABILITIES:
        found = [method for method in kind.told_by if has(model, method) and method not in covered]
        lacking = missing(model, kind.protocol)
        if found and lacking:
            raise Mistake(_lacks(model, who, kind, found[0], lacking))
    for protocol in (contract.Model, *(one.protocol for one in complete), *SINGLE):
        for method in members(protocol):
            if has(model, method):
                _callable(model, who, protocol, method)


def check_data(data: Any, name: str) -> None:
    """A Mistake if a data set lacks a method or a fact of the contract, or has a method that cannot
    be called as the contract says."""
    who = f"data set {name}"
    for member in missing(data, contract.Data):
        wanted = signature(contract.Data, member)
        raise Mistake(f"{who}: its Data has no {member}; needed: {wanted}")
    for protocol in (contract.Data, contract.HasPart, contract.HasTruth):
        for method in members(protocol):
            if has(data, method):
                _callable(data, who, protocol, method)


def able(protocol: type, models: dict[str, Any]) -> str:
    """The names of the models, of classes by name, that have what a protocol asks for; for
    messages."""
    return ", ".join(name for name, one in models.items() if not missing(one, protocol)) or "none"


def members(protocol: type) -> list[str]:
    """The names of what a protocol asks for, in order."""
    own = [name for name in vars(protocol) if not name.startswith("_")]
    facts = inspect.get_annotations(protocol)
    return [*facts, *(name for name in own if name not in facts)]


def missing(thing: Any, protocol: type) -> list[str]:
    """What of a protocol an object or a class lacks. A class cannot show what only its objects
    have: facts that are no methods are not asked of it."""
    facts = inspect.get_annotations(protocol)
    asked = members(protocol)
    if isinstance(thing, type):
        asked = [name for name in asked if name not in facts]
    return [name for name in asked if not has(thing, name)]


def has(thing: Any, name: str) -> bool:
    """Whether an object or class has this; a method that is None is none."""
    return getattr(thing, name, None) is not None


def signature(protocol: type, method: str) -> str:
    """How a method of a protocol is called and what it returns, with shapes: the first paragraph of
    its docstring. Of a fact its type."""
    member = vars(protocol).get(method)
    if member is None:
        return f"{method}: {getattr(inspect.get_annotations(protocol)[method], '__name__', '')}"
    text = inspect.getdoc(member) or method
    return " ".join(text.partition("\n\n")[0].split())


def both(protocol: type) -> str:
    """The names of what a protocol asks for, in words."""
    *others, last = members(protocol)
    return f"{', '.join(others)} and {last}" if others else last


def _lacks(model: Any, who: str, kind: Kind, found: str, lacking: list[str]) -> str:
    """What a model has, what it lacks for that, and how that would be called."""
    choices = [
        other for other in ABILITIES if found in other.told_by and missing(model, other.protocol)
    ]
    wanted = []
    for one in choices if len(choices) > 1 else [kind]:
        methods = [signature(one.protocol, name) for name in missing(model, one.protocol)]
        wanted.append(f"{one.name} needs {both(one.protocol)}: {'; '.join(methods)}")
    what = f"no {' and no '.join(lacking)}" if len(choices) < 2 else "not what belongs to it"
    return f"{who} has {found} and {what}; {', or '.join(wanted)}"


def _callable(model: Any, who: str, protocol: type, name: str) -> None:
    """A Mistake if a method cannot be called with what its protocol gives it."""
    wanted, method = vars(protocol).get(name), getattr(model, name)
    if wanted is None or isinstance(wanted, property):
        return
    if not callable(method):
        raise Mistake(
            f"{who}: {name} is {type(method).__name__}, which cannot be called; needed: "
            f"{signature(protocol, name)}"
        )
    given = [
        one.name
        for one in list(inspect.signature(wanted).parameters.values())[1:]
        if one.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    try:
        asked = inspect.signature(method.forward if isinstance(method, nn.Module) else method)
        asked.bind(*given)
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError):  # what is not written in Python shows no signature
            return
        raise Mistake(
            f"{who}: {name} cannot be called with {', '.join(given) or 'nothing'} ({error}); "
            f"needed: {signature(protocol, name)}"
        ) from None
