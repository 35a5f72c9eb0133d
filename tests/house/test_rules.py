"""The rules of the house, read from the source: they keep a model one readable file and the
machinery in one place."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulacra import cli
from simulacra.core import config

HOME = Path(config.__file__).parents[2]
PACKAGE = HOME / "simulacra"
MODELS = config.model_files()
SOURCES = sorted(path.relative_to(HOME).as_posix() for path in PACKAGE.rglob("*.py"))
BOOKS = sorted(
    path.relative_to(HOME).as_posix()
    for path in [HOME / "README.md", *(HOME / "docs").glob("*.md")]
    if path.exists()
)
HOUSE = {"io.paint", "tasks", "studies", "cli", "data", "metrics"}  # not for models
HOUSE |= {
    f"core.{name}" for name in ("run", "loop", "config", "load", "progress", "packed", "checkpoint")
}


def imports(tree: ast.AST) -> Iterator[str]:
    """The full name of everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """All functions and methods."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def calls(tree: ast.AST) -> list[str]:
    """The dotted name of everything that is called."""
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def parsed(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text())


# Models


def test_a_model_imports_no_model_and_no_machinery(model_name):
    for name in imports(parsed(MODELS[model_name])):
        inner = name.removeprefix("simulacra.")
        # the other files of a long paper
        own = inner.startswith(f"models.{MODELS[model_name].parent.name}.")
        assert (own or not inner.startswith("models")) and not any(
            f"{inner}.".startswith(f"{one}.") for one in HOUSE
        ), name
        assert not name.startswith("."), f"{name}: imports are written in full"


def test_a_model_names_no_device(model_name):
    tree = parsed(MODELS[model_name])
    words = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [word for word in words if re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", word)]
    assert not [
        name for name in calls(tree) if name.rpartition(".")[2] in ("cuda", "cpu", "is_available")
    ]


def test_a_model_is_short(model_name):
    text = MODELS[model_name].read_text()
    assert len(text.splitlines()) <= 400
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(ast.parse(text))}
    assert max(long.values()) <= 40, max(long, key=long.get)


def test_a_model_says_what_it_is(model_name):
    tree = parsed(MODELS[model_name])
    told = ast.get_docstring(tree)
    assert all(
        f"\n{word}" in told
        for word in ("Reference:", "How to run: simulacra train ", "Deviations\n- ")
    )
    assert ast.unparse(tree.body[-1]).startswith("Model = ")
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)][-1] == ast.unparse(
        tree.body[-1]
    )[8:]


def test_the_commands_in_a_model_name_configs(model_name):
    told = (
        ast.get_docstring(parsed(MODELS[model_name]))
        .partition("How to run: simulacra train ")[2]
        .partition("\n\n")[0]
    )
    names = re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", told)
    assert names and not set(names) - set(config.configs())


def test_every_hyperparameter_is_commented(model_name):
    text = MODELS[model_name].read_text()
    (hyper,) = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and node.name == "Hyper"
    ]
    lines = text.splitlines()
    fields = [node for node in hyper.body if isinstance(node, ast.AnnAssign)]
    assert ast.get_docstring(hyper) and fields
    assert not [field.target.id for field in fields if "  # " not in lines[field.end_lineno - 1]]


def test_a_model_leaves_randomness_and_weights_to_the_house(model_name):
    names = calls(parsed(MODELS[model_name]))
    assert not [
        n
        for n in names
        if n.endswith((".backward", ".step", ".zero_grad")) and not n.startswith("self.rule")
    ]


# The package


@pytest.mark.parametrize("source", SOURCES)
def test_sources(source):
    """Sizes, who prints, who seeds."""
    text = (HOME / source).read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(tree) or source.endswith("__main__.py"), "a file says what it holds"
    long = [f.name for f in functions(tree) if f.end_lineno - f.lineno + 1 > 60]
    assert not long, long
    names = calls(tree)
    if not source.startswith("simulacra/cli/"):
        assert "print" not in names
    if source != "simulacra/core/random.py":
        assert not [
            name
            for name in names
            if name.rpartition(".")[2] in ("manual_seed", "manual_seed_all", "seed_all")
        ]
        assert not [
            name
            for name in names
            if re.match(r"(np|numpy)\.random\.(?!default_rng|Generator|PCG64)|random\.", name)
        ]
        assert "random" not in imports(tree), "randomness follows from the seed and the step"
    assert not [name for name in imports(tree) if name.startswith("pickle.")]


def test_names_say_what_a_file_holds():
    assert not [
        s
        for s in SOURCES
        if re.search(r"util|misc|common|helper|base|manager|factory|registry|_v\d", Path(s).stem)
    ]


# The house

# from the ground up
ORDER = [
    "core",
    "nn",
    "io",
    "envs",
    "data",
    "models",
    "video",
    "metrics",
    "tasks",
    "studies",
    "cli",
]


@pytest.mark.parametrize("source", SOURCES)
def test_imports_run_one_way(source):
    """A folder imports those below it; the files beside the folders are above all but the command
    line."""
    folder = source.split("/")[1]
    if folder not in ORDER:
        assert folder in ("__init__.py", "__main__.py", "api.py", "losses.py")
        return
    below = {*ORDER[: ORDER.index(folder) + 1]}
    for name in imports(parsed(HOME / source)):
        inner = name.split(".")
        if inner[0] == "simulacra" and len(inner) > 1 and inner[1] in ORDER:
            assert inner[1] in below, f"{source} imports {name}, which stands above it"


def test_every_folder_says_what_it_holds():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


# Words


def tracked() -> list[Path]:
    """The files of the repository: as git knows them, or all but what is made."""
    listed = subprocess.run(
        ["git", "-C", str(HOME), "ls-files", "-z"], capture_output=True, text=True
    )
    if listed.returncode == 0 and listed.stdout:
        return [
            HOME / name for name in listed.stdout.split("\0") if name and (HOME / name).is_file()
        ]
    found = (path for path in HOME.rglob("*") if path.is_file())
    made = {"runs", "__pycache__", "dist", "build"}
    return [
        p
        for p in found
        if not any(
            x in made or (x.startswith(".") and x != ".ci") for x in p.relative_to(HOME).parts
        )
    ]


def test_no_path_of_a_machine():
    machine = re.compile(r"(?<![\w.~/])/(work|root|tmp|home|Users)/")
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = machine.search(text)
        assert not found, f"{path}: {text[found.start() : found.start() + 40]!r}"


def commands(text: str) -> list[list[str]]:
    """The simulacra commands in a page's code, as words."""
    code = re.findall(r"```(?:sh|bash|console|text)?\n(.*?)```", text, re.S) + re.findall(
        r"`(simulacra [^`]+)`", text
    )
    lines = (
        line.strip().removeprefix("$ ").partition(" #")[0]
        for block in code
        for line in block.splitlines()
    )
    return [line.split() for line in lines if line.startswith("simulacra ")]


@pytest.mark.parametrize("book", BOOKS)
def test_commands_in_the_books_exist(book):
    """Verbs, configs and options; capital words stand for something."""
    verbs = {
        command.name or command.callback.__name__: command.callback
        for command in cli.app.registered_commands
    }
    told = re.sub(r"```(python|toml)\n.*?```", "", (HOME / book).read_text(), flags=re.S)
    coming = set(re.findall(r"^# configs/(\w+)\.toml$", (HOME / book).read_text(), re.M))
    for words in commands(told):
        verb = words[1]
        assert verb in verbs or verb in ("data", "new", "--version"), " ".join(words)
        if (
            verb == "train"
            and not words[2].isupper()
            and "/" not in words[2]
            and not words[2].endswith(".toml")
        ):
            assert words[2] in {*config.configs(), *coming}, " ".join(words)
        if verb in verbs:
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert not options - options_of(verb), " ".join(words)


def options_of(verb: str) -> set[str]:
    """The options of a verb."""
    from typer.main import get_command

    return {
        name
        for one in get_command(cli.app).commands[verb].params
        for name in (*one.opts, *one.secondary_opts)
    }
