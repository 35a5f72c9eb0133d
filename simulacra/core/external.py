"""Models from outside the package: a .py file that a config names by its path.

In a resolved config such a model is called NAME.py@HASH, the hash being that of its source: a model
whose source changed is another model. Training copies the source into the run folder as model.py.
Naming a path is the request to run it; the copy in a run folder, which may be somebody else's, is
run only where trust was given (--trust), and only if it has the hash.
"""

import contextlib
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from simulacra.core.errors import Mistake, shown
from simulacra.core.tables import is_file

PREFIX = "simulacra_model_"  # how the modules are called
COPY = "model.py"  # in a run folder
OLDER = "room.py"  # as it was called in older ones
IDENTITY = re.compile(r"(.+\.py)@([0-9a-f]{32})")


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model as the house sees it."""

    Model: Any
    Hyper: type[msgspec.Struct]
    # from checked hyperparameters to what the model's own class of them is
    given: Callable[[Any], Any]
    source: bytes
    RUNS: tuple[str, ...] = ()


_loaded: dict[str, ModelFile] = {}  # by hash
_trust: ContextVar[bool] = ContextVar("trust", default=False)


@contextlib.contextmanager
def trusting() -> Iterator[None]:
    """Within, the code that run folders bring may be run."""
    token = _trust.set(True)
    try:
        yield
    finally:
        _trust.reset(token)


def trusted(given: bool) -> contextlib.AbstractContextManager[None]:
    """`trusting` if that was given, else nothing."""
    return trusting() if given else contextlib.nullcontext()


def forget() -> None:
    """Whatever was allowed before is not any more."""
    _loaded.clear()


def is_path(name: str) -> bool:
    """Whether a config's `model` is a file, or was one, and not a name."""
    return name.endswith(".py") or "/" in name or IDENTITY.fullmatch(name) is not None


def is_known(name: str) -> bool:
    """Whether this is a resolved name, with the hash."""
    return IDENTITY.fullmatch(name) is not None


def admit(name: str, places: list[Path]) -> str:
    """The resolved name of a model whose path a person gave, absolute or in the first of these
    folders that has it; its code is run."""
    meant = Path(name).expanduser()
    file = next((place / meant for place in places if is_file(place / meant)), None)
    if file is None:
        folders = dict.fromkeys(str(place.resolve()) for place in places)
        looked = "" if meant.is_absolute() else f" in {' nor '.join(folders)}"
        raise Mistake(
            f"model = {shown(name)}: there is no such file{looked}; "
            "allowed: a name, or the path of a .py file"
        )
    source = _read(file)
    model_name = f"{file.name}@{_hash(source)}"
    if not is_known(model_name):
        raise Mistake(f"model = '{name}' is no .py file")
    _load(file, source)
    return model_name


def admit_copy(folder: Path, model_name: str) -> None:
    """Run the model.py of a run folder, if it is trusted and is what the run was trained with."""
    found = IDENTITY.fullmatch(model_name)
    if not found or found[2] in _loaded:
        return
    older = is_file(folder / OLDER) and not is_file(folder / COPY)
    file = folder / (OLDER if older else COPY)
    if not _trust.get():
        raise Mistake(
            f"{folder} is a run of a model that is not part of the package, {found[1]}; "
            f"read {file}, and allow it to run with --trust"
        )
    source = _read(file)
    if _hash(source) != found[2]:
        raise Mistake(
            f"{file} is not the source that the run was trained with: its hash is {_hash(source)}, "
            f"needed: {found[2]}"
        )
    _load(file, source)


def model(name: str) -> ModelFile:
    """A model that was admitted."""
    found = IDENTITY.fullmatch(name)
    if not found or found[2] not in _loaded:
        raise Mistake(
            f"model {name} is not part of the package, and its code is not run unasked; "
            "allowed: --trust"
        )
    return _loaded[found[2]]


def source_of(name: str) -> bytes | None:
    """The source of an admitted model; None of one of the package."""
    return model(name).source if is_path(name) else None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Mistake(f"cannot read {file}: {error.strerror}") from None


def _hash(source: bytes) -> str:
    return blake2b(source, digest_size=16).hexdigest()


def _load(file: Path, source: bytes) -> None:
    """Run just these bytes, and keep the model that they make."""
    digest = _hash(source)
    if digest in _loaded:
        return
    module = ModuleType(f"{PREFIX}{digest[:12]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where dataclasses and annotations look
    before = set(sys.modules)
    try:
        exec(compile(source, str(file), "exec"), vars(module))
    except SyntaxError as error:
        raise Mistake(f"model {file}, line {error.lineno}: {error.msg}") from None
    except ModuleNotFoundError as error:
        raise Mistake(
            f"model {file} imports {error.name}, which is not installed; a model is one file"
        ) from None
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise Mistake(f"model {file} cannot be run: {type(error).__name__}: {said}") from error
    _alone(file, set(sys.modules) - before)
    if not isinstance(getattr(module, "Model", None), type):
        raise Mistake(
            f"model {file} has no Model; "
            "needed: a class of this name, as by its last line `Model = ...`"
        )
    Hyper, given = _hyper(file, getattr(module, "Hyper", None))
    _loaded[digest] = ModelFile(
        module.Model, Hyper, given, source, tuple(getattr(module, "RUNS", ()))
    )


def _alone(file: Path, imported: set[str]) -> None:
    """A Mistake if the model imported files beside it, which would not be with the run."""
    home = file.resolve().parent
    for name in sorted(imported):
        place = getattr(sys.modules.get(name), "__file__", None)
        if place and Path(place).is_file() and Path(place).resolve().parent == home:
            raise Mistake(
                f"model {file} imports {name}, a file beside it, which a run would not have; "
                "a model is one file"
            )


def _hyper(file: Path, kind: Any) -> tuple[type[msgspec.Struct], Callable[[Any], Any]]:
    """A strict structure of the model's hyperparameters, and what makes the model's own of it."""
    if kind is None:
        none = msgspec.defstruct("Hyper", [], frozen=True, forbid_unknown_fields=True)
        return none, lambda checked: checked
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        strict = msgspec.defstruct(
            "Hyper", [], bases=(kind,), kw_only=True, forbid_unknown_fields=True
        )
        # a copy of its own, which a model may change
        return strict, lambda checked: msgspec.structs.replace(checked)
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        raise Mistake(
            f"model {file}: its Hyper is no class of fields; "
            "allowed: a msgspec Struct, a dataclass, or none"
        )
    hints = typing.get_type_hints(kind, include_extras=True)
    fields: list[Any] = []
    for one in (one for one in dataclasses.fields(kind) if one.init):
        if one.default is not dataclasses.MISSING:
            fields.append((one.name, hints[one.name], one.default))
        elif one.default_factory is not dataclasses.MISSING:
            fields.append(
                (one.name, hints[one.name], msgspec.field(default_factory=one.default_factory))
            )
        else:
            fields.append((one.name, hints[one.name]))
    strict = msgspec.defstruct(
        "Hyper", fields, kw_only=True, frozen=True, forbid_unknown_fields=True
    )
    return strict, lambda checked: kind(
        **{name: getattr(checked, name) for name in strict.__struct_fields__}
    )
