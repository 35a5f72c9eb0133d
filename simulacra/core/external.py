"""Models and data sets from outside the package: a .py file that a config names by its path, or an
importable module that it names as package.module.

In a resolved config such a thing is called NAME@HASH, the hash being that of its source: a model
whose source changed is another model. Training copies the source into the run folder as model.py or
data.py. Naming it in a config is the request to run it; the copy in a run folder, which may be
somebody else's, is run only where trust was given (--trust), and only if it has the hash.
"""

import contextlib
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from simulacra.core import older_names
from simulacra.core.errors import Mistake, shown
from simulacra.core.tables import is_file

Kind = Literal["model", "data"]
PREFIX = "simulacra_model_"  # how the modules are called
COPY: dict[Kind, str] = {"model": "model.py", "data": "data.py"}  # in a run folder
OLDER = "room.py"  # as model.py was called in older ones
KEY: dict[Kind, str] = {"model": "model", "data": "data.name"}  # in a config
SETTINGS: dict[Kind, str] = {"model": "Hyper", "data": "Options"}
CALLED: dict[Kind, str] = {"model": "Model", "data": "Data"}
WORD = r"[^\W\d]\w*"
IDENTITY = re.compile(rf"(.+\.py|{WORD}(?:\.{WORD})+)@([0-9a-f]{{32}})")
MODULE = re.compile(rf"{WORD}(?:\.{WORD})+")


@dataclasses.dataclass(frozen=True)
class Outside:
    """A model or a data set as the house sees it."""

    module: ModuleType  # it holds Model, or Data
    settings: type[msgspec.Struct]  # Hyper or Options, strict
    # from checked settings to what its own class of them is
    given: Callable[[Any], Any]
    source: bytes

    @property
    def Model(self) -> Any:
        """The class of the model."""
        return self.module.Model

    @property
    def Data(self) -> Any:
        """The class of the data set, which takes checked Options."""
        return lambda options, root: self.module.Data(self.given(options), root)

    @property
    def Hyper(self) -> type[msgspec.Struct]:
        """The hyperparameters of the model."""
        return self.settings

    @property
    def Options(self) -> type[msgspec.Struct]:
        """The options of the data set."""
        return self.settings

    @property
    def RUNS(self) -> tuple[str, ...]:
        """The hyperparameters that name other runs."""
        return tuple(getattr(self.module, "RUNS", ()))

    @property
    def digest(self) -> str:
        """The hash of the source."""
        return hash_of(self.source)


_modules: dict[str, ModuleType] = {}  # those that were run, by name and hash
_loaded: dict[tuple[str, str], Outside] = {}  # by kind and resolved name
_trust: ContextVar[bool] = ContextVar("trust", default=False)
watched: set[str] = set()  # names of the modules that models and data from outside are defined in


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
    _modules.clear()


def is_outside(name: str) -> bool:
    """Whether a config's `model` or `data.name` is a file or a module, or was one, and not a
    name."""
    return (
        name.endswith(".py")
        or "/" in name
        or MODULE.fullmatch(name) is not None
        or IDENTITY.fullmatch(name) is not None
    )


def is_known(name: str) -> bool:
    """Whether this is a resolved name, with the hash."""
    return IDENTITY.fullmatch(name) is not None


def admit(kind: Kind, name: str, places: list[Path]) -> str:
    """The resolved name of what a person gave: the path of a file, absolute or in the first of
    these folders that has it, or a module; its code is run."""
    by_module = MODULE.fullmatch(name) is not None and not name.endswith(".py")
    file = _of_module(kind, name) if by_module else _of_path(kind, name, places)
    source = _read(file)
    resolved = f"{name if by_module else file.name}@{hash_of(source)}"
    if not is_known(resolved):
        raise Mistake(f"{KEY[kind]} = {shown(name)} is no .py file")
    _load(kind, resolved, file, source)
    return resolved


def _of_path(kind: Kind, name: str, places: list[Path]) -> Path:
    """The file that a path means."""
    meant = Path(name).expanduser()
    file = next((place / meant for place in places if is_file(place / meant)), None)
    if file is not None:
        return file
    looked = (
        ""
        if meant.is_absolute()
        else f" in {' nor '.join(dict.fromkeys(str(place.resolve()) for place in places))}"
    )
    raise Mistake(
        f"{KEY[kind]} = {shown(name)}: there is no such file{looked}; allowed: a name, the path of "
        "a .py file, or package.module"
    )


def _of_module(kind: Kind, name: str) -> Path:
    """The file of a module; packages above it are imported."""
    allowed = (
        "allowed: a name, the path of a .py file, or package.module as Python can import it "
        "(installed, or in PYTHONPATH)"
    )
    try:
        spec = find_spec(name)
    except ModuleNotFoundError as error:
        raise Mistake(
            f"{KEY[kind]} = {shown(name)}: there is no module {error.name}; {allowed}"
        ) from None
    except Exception as error:  # of the packages above it
        raise Mistake(f"{KEY[kind]} = {shown(name)} cannot be imported: {_why(error)}") from error
    if spec is None:
        raise Mistake(f"{KEY[kind]} = {shown(name)}: there is no module {name}; {allowed}")
    if not spec.origin or not spec.origin.endswith(".py") or not is_file(Path(spec.origin)):
        raise Mistake(f"{KEY[kind]} = {shown(name)} is a module without a source file (.py)")
    return Path(spec.origin)


def admit_copies(folder: Path, raw: Mapping[str, Any]) -> None:
    """The same as `admit_copy`, of the model and the data that a run's config names."""
    data = raw.get("data")
    admit_copy("model", folder, str(raw.get("room")))
    admit_copy("data", folder, str(data.get("name")) if isinstance(data, dict) else "")


def admit_copy(kind: Kind, folder: Path, resolved: str) -> None:
    """Run the model.py or data.py of a run folder, if it is trusted and is what the run was trained
    with."""
    found = IDENTITY.fullmatch(resolved)
    if not found or (kind, resolved) in _loaded:
        return
    file = folder / COPY[kind]
    if kind == "model" and not is_file(file) and is_file(folder / OLDER):
        file = folder / OLDER
    if not _trust.get():
        what = "a model that is" if kind == "model" else "a data set that is"
        raise Mistake(
            f"{folder} is a run of {what} not part of the package, {found[1]}; read {file}, and "
            "allow it to run with --trust"
        )
    source = _read(file)
    if hash_of(source) != found[2]:
        raise Mistake(
            f"{file} is not the source that the run was trained with: its hash is "
            f"{hash_of(source)}, needed: {found[2]}"
        )
    _load(kind, resolved, file, source)


def loaded(kind: Kind, resolved: str) -> Outside:
    """What was admitted."""
    if (kind, resolved) not in _loaded:
        what = "model" if kind == "model" else "data set"
        raise Mistake(
            f"{what} {resolved} is not part of the package, and its code is not run unasked; "
            "allowed: --trust"
        )
    return _loaded[kind, resolved]


def sources(names: Mapping[Kind, str]) -> dict[str, bytes]:
    """FILE -> source of what was admitted, as a run folder keeps it; those of the package or of an
    installed one have none."""
    return {
        COPY[kind]: loaded(kind, name).source for kind, name in names.items() if is_outside(name)
    }


def unkept(names: Mapping[Kind, str]) -> list[str]:
    """Lines on files of its package that a module uses and a run does not hold."""
    lines = []
    for kind, name in names.items():
        named = name.partition("@")[0]
        if not is_outside(name) or named.endswith(".py"):
            continue
        top = named.partition(".")[0]
        others = sorted(
            one
            for one, module in list(sys.modules.items())
            if one.partition(".")[0] == top and one != named and _has_code(module)
        )
        if others:
            lines.append(
                f"{KEY[kind]} {named} belongs to a package whose other files the run does not hold "
                f"({', '.join(others[:3])}{', ...' * (len(others) > 3)}): keep them as they are"
            )
    return lines


def _has_code(module: Any) -> bool:
    file = Path(getattr(module, "__file__", None) or "")
    return is_file(file) and file.stat().st_size > 0


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Mistake(f"cannot read {file}: {error.strerror}") from None


def hash_of(source: bytes) -> str:
    """The hash of a source, as a resolved name has it."""
    return blake2b(source, digest_size=16).hexdigest()


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _load(kind: Kind, resolved: str, file: Path, source: bytes) -> None:
    """Run just these bytes, unless they have been, and keep the model or the data set that they
    make."""
    if (kind, resolved) in _loaded:
        return
    label = f"{'model' if kind == 'model' else 'data set'} {file}"
    if resolved not in _modules:
        _modules[resolved] = _run(label, resolved, file, source)
    _loaded[kind, resolved] = face(kind, label, resolved, _modules[resolved], source)


def _run(label: str, resolved: str, file: Path, source: bytes) -> ModuleType:
    """The module that these bytes make."""
    name, _, digest = resolved.partition("@")
    alone = name.endswith(".py")
    module = ModuleType(f"{PREFIX}{digest[:12]}")
    module.__file__ = str(file)
    if not alone:
        module.__package__ = _package(name)  # where its relative imports begin
    sys.modules[module.__name__] = module  # where dataclasses and annotations look
    before = set(sys.modules)
    try:
        with older_names.importable():
            exec(compile(source, str(file), "exec"), vars(module))
    except SystemExit as error:
        raise Mistake(
            f"{label} ends the program when it is imported (sys.exit({error.code!r}))"
        ) from None
    except SyntaxError as error:
        raise Mistake(f"{label}, line {error.lineno}: {error.msg}") from None
    except ModuleNotFoundError as error:
        raise Mistake(
            f"{label} imports {error.name}, which is not installed"
            + ("; a model is one file" if alone and label.startswith("model") else "")
        ) from None
    except Exception as error:
        raise Mistake(f"{label} cannot be run: {_why(error)}") from error
    if alone:
        _alone(label, file, set(sys.modules) - before)
    return module


def _package(name: str) -> str:
    """The package in which a module's relative imports begin; that of a package is its own."""
    try:
        spec = find_spec(name)
    except Exception:  # it is not there, and only relative imports would need it
        spec = None
    return (spec and spec.parent) or name.rpartition(".")[0]


def face(kind: Kind, label: str, name: str, module: ModuleType, source: bytes) -> Outside:
    """A module as the house sees it; a Mistake if it lacks what a model or a data set needs. `name`
    is the one that a config has."""
    wanted = CALLED[kind]
    if not isinstance(getattr(module, wanted, None), type):
        raise Mistake(
            f"{label} has no {wanted}; needed: a class of this name, as by its last line `{wanted} "
            "= ...`"
        )
    watched.add(module.__name__)
    tag = {"tag_field": "name", "tag": name} if kind == "data" else {}
    kept, given = _settings(label, SETTINGS[kind], getattr(module, SETTINGS[kind], None), tag)
    return Outside(module, kept, given, source)


def _alone(label: str, file: Path, imported: set[str]) -> None:
    """A Mistake if the file imported files beside it, which would not be with the run."""
    home = file.resolve().parent
    for name in sorted(imported):
        place = getattr(sys.modules.get(name), "__file__", None)
        if place and Path(place).is_file() and Path(place).resolve().parent == home:
            what = "a model" if label.startswith("model") else "a data set"
            raise Mistake(
                f"{label} imports {name}, a file beside it, which a run would not have; {what} is "
                "one file"
            )


def _settings(
    label: str, name: str, kind: Any, tag: dict[str, Any]
) -> tuple[type[msgspec.Struct], Callable[[Any], Any]]:
    """A strict structure of the hyperparameters or options, and what makes the own one of it."""
    own: dict[str, Any] = {"kw_only": True, "forbid_unknown_fields": True, **tag}
    if kind is None:
        return msgspec.defstruct(name, [], frozen=True, **own), lambda checked: checked
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {one.encode_name for one in msgspec.structs.fields(kind)}
    elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
        fields = {one.name for one in dataclasses.fields(kind)}
    else:
        raise Mistake(
            f"{label}: its {name} is no class of fields; allowed: a msgspec Struct, a dataclass, "
            "or none"
        )
    if tag and "name" in fields:
        raise Mistake(f"{label}: its {name} has a field `name`, which is that of the data set")
    if issubclass(kind, msgspec.Struct):
        if tag:  # options can be told apart by their values: they are keys
            own["frozen"] = True
        strict = msgspec.defstruct(name, [], bases=(kind,), **own)
        # its own: a model may change it
        return strict, lambda checked: msgspec.structs.replace(checked)
    hints = typing.get_type_hints(kind, include_extras=True)
    described = [_field(one, hints[one.name]) for one in dataclasses.fields(kind) if one.init]
    strict = msgspec.defstruct(name, described, frozen=True, **own)
    return strict, lambda checked: kind(
        **{name: getattr(checked, name) for name in strict.__struct_fields__}
    )


def _field(one: Any, hint: Any) -> Any:
    """A dataclass's field as msgspec describes one."""
    if one.default is not dataclasses.MISSING:
        return one.name, hint, one.default
    if one.default_factory is not dataclasses.MISSING:
        return one.name, hint, msgspec.field(default_factory=one.default_factory)
    return one.name, hint
