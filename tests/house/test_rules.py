"""The rules of the house, read from the source:
they keep a model one readable file and the machinery in one place."""

import ast
import importlib
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulacra import cli, metrics
from simulacra.core import config

HOME = Path(config.__file__).parents[2]
PACKAGE = HOME / "simulacra"
MODELS = config.model_files()
SOURCES = sorted(path.relative_to(HOME).as_posix() for path in PACKAGE.rglob("*.py"))
BOOKS = sorted(
    path.relative_to(HOME).as_posix()
    for path in [HOME / "README.md", *(HOME / "docs").rglob("*.md")]
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
    assert len(text.splitlines()) <= 500
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
    assert not [
        field.target.id
        for field in fields
        if "  # " not in lines[field.end_lineno - 1] and "    # " not in lines[field.lineno - 2]
    ], "beside it, or in the line above"


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
        assert "random" not in imports(tree), "randomness follows from the seed and the step"
        ours = "simulacra.core.random" in imports(tree)
        of_python = r"random\." if not ours else r"(?!)"
        of_numpy = r"(np|numpy)\.random\.(?!default_rng|Generator|PCG64)"
        assert not [name for name in names if re.match(f"{of_numpy}|{of_python}", name)]
    assert not [name for name in imports(tree) if name.startswith("pickle.")]


def locale_bound(tree: ast.AST) -> list[int]:
    """The lines of calls that read or write text as the machine's locale has it."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or "encoding" in {word.arg for word in node.keywords}:
            continue
        place, _, name = ast.unparse(node.func).rpartition(".")
        modes = {one.value for one in node.args if isinstance(one, ast.Constant)} & MODES
        if (
            (name == "read_text" and not any(isinstance(a, ast.Constant) for a in node.args))
            or (name == "open" and place not in BYTES and (modes if place else not node.args[2:]))
            or (name == "fdopen" and (modes or not node.args[1:]))
        ):
            found.append(node.lineno)
    return found


MODES = {"r", "w", "a", "x", "r+", "w+", "a+"}
BYTES = {"archive", "av"}  # whose files hold no text
TEXTS = {
    "path.read_text()": 1,
    'path.read_text("utf-8")': 0,
    'path.open("a")': 1,
    'path.open("a", encoding="utf-8")': 0,
    'path.open("rb")': 0,
    "open(path)": 1,
    'os.fdopen(handle, "wb")': 0,
    "os.fdopen(handle)": 1,
}


@pytest.mark.parametrize("line", TEXTS)
def test_text_of_a_locale_is_noticed(line):
    assert len(locale_bound(ast.parse(line))) == TEXTS[line]


@pytest.mark.parametrize("source", SOURCES)
def test_text_is_utf_8_on_every_machine(source):
    assert not locale_bound(parsed(HOME / source))


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


# Contracts

PROBING = {  # files that may ask an object what it has, and of what
    "simulacra/cli/__init__.py": "errors of typer's",
    "simulacra/cli/streams.py": "streams of the machine",
    "simulacra/core/conform.py": "the one place that asks a model or a data set",
    "simulacra/core/parts.py": "what a model consists of, whatever that is",
    "simulacra/core/state.py": "what a model remembers, whatever that is",
    "simulacra/nn/efficientnet.py": "layers of another package",
    "simulacra/models/world/acting.py": "simulators of other packages",
    "simulacra/models/world/evolution.py": "the search of another package",
}
PROBED = re.compile(r"\b(model|Model|source|data|batch|memory|controller|options|hyper)$")


@pytest.mark.parametrize("source", SOURCES)
def test_models_and_data_are_asked_by_protocols(source):
    """What a model or a data set can do is told by core/contract.py: no hasattr, and no getattr
    with a default, for a name that is written out."""
    for call in (n for n in ast.walk(parsed(HOME / source)) if isinstance(n, ast.Call)):
        function, line = ast.unparse(call.func), f"{source}:{call.lineno}: {ast.unparse(call)}"
        if source not in PROBING:
            assert function != "hasattr", line
            literal = len(call.args) == 3 and isinstance(call.args[1], ast.Constant)
            probed = function == "getattr" and literal
            assert not (probed and PROBED.search(ast.unparse(call.args[0]))), line


def named(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Where a tree decides by the name of a model: comparisons with it, cases, tables and lists of
    nothing but such names, and messages that list them."""

    def told(nodes: list[ast.expr | None]) -> bool:
        return bool(nodes) and all(
            isinstance(node, ast.Constant) and node.value in names for node in nodes
        )

    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and isinstance(node.body[0], ast.Expr)
    }
    message = re.compile(rf"\bmodels? ({'|'.join(sorted(names))})\b")
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            inner = [node.left, *node.comparators]
            found = any(told([one]) for one in inner)
        elif isinstance(node, ast.MatchValue):
            found = told([node.value])
        elif isinstance(node, ast.Dict):
            found = told(node.keys)
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            found = told(node.elts)
        else:
            text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            found = text and id(node) not in docs and bool(message.search(node.value))
        if found:
            yield f"line {node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("source", [s for s in SOURCES if "/models/" not in s])
def test_nothing_depends_on_the_name_of_a_model(source):
    """Models say what they can (core/contract.py), and messages name those that can by asking them
    (core/load.py: able). A model's own file names itself, and of which runs it can begin."""
    assert not list(named(parsed(HOME / source), set(config.models())))


def test_no_model_names_another_but_to_begin_with_it(model_name):
    tree = parsed(MODELS[model_name])
    own = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INIT_MODELS"
    }
    for node in ast.walk(tree):
        if id(node) not in own and isinstance(node, (ast.Compare, ast.Tuple, ast.List, ast.Set)):
            alone = ast.Module([ast.Expr(node)], [])
            names = set(config.models()) - {model_name}
            found = [one for one in named(alone, names)]
            assert not found or any(id(inner) in own for inner in ast.walk(node)), found


@pytest.mark.parametrize(
    "line",
    [
        'if opened.config.model == "vae": pass',
        'if name in ("vae", "gan"): pass',
        'EYES = "vae", "vaegan"',
        'made = {"vae": 1, "gan": 2}[name]',
        'match name:\n    case "vae":\n        pass',
        'raise Mistake(f"{folder}: allowed: models vae, vaegan")',
    ],
)
def test_a_name_is_found_wherever_it_decides(line):
    assert list(named(ast.parse(line), {"vae", "vaegan", "gan"}))


def test_a_type_checker_sees_the_metrics_that_there_are():
    """What is imported late is imported at once for a type checker, from the same places."""
    (seen,) = [n for n in parsed(PACKAGE / "metrics" / "__init__.py").body if isinstance(n, ast.If)]
    renamed = {n.value.id: n.targets[0].id for n in seen.body if isinstance(n, ast.Assign)}
    found = {
        renamed.get(alias.name, alias.asname): f"{node.module}.{alias.name}"
        for node in seen.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert found == {name: f"simulacra.{place}" for name, place in metrics.FACE.items()}


def test_rates_are_set_by_the_loop(model_name):
    """A model's `rates` says what they are; no step sets them."""
    assert not [name for name in calls(parsed(MODELS[model_name])) if name.endswith("set_rate")]


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


SCRIPTS = sorted(
    path.relative_to(HOME).as_posix()
    for name in ("experiments", "bench", "scripts")
    for path in (HOME / name).rglob("*.py")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_scripts_import_of_the_house_is_there(script):
    """Nothing else runs them: a room that moved would leave them broken."""
    for node in ast.walk(ast.parse((HOME / script).read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "simulacra":
            room = importlib.import_module(str(node.module))
            for alias in node.names:
                there = hasattr(room, alias.name) or importlib.util.find_spec(
                    f"{node.module}.{alias.name}"
                )
                assert there, f"{node.module} has no {alias.name}"
