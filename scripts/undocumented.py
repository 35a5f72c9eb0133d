"""Which public functions, methods and classes have no docstring? One a line; exits 1 if any.

    python scripts/undocumented.py [FOLDER]     simulacra/ if no folder is named

Public is what has no underscore in front, in modules and packages that have none either; methods
are public if their class is. Left out are methods with two underscores on both sides, overloads,
and what is inside a function. A method needs none if it overrides one of a base class in the same
folder that says what it does, nor does a module's `forward`, if its class says it.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documentable = Function | ast.ClassDef


def public(name: str) -> bool:
    """Whether a name is for others."""
    return not name.startswith("_")


def modules(folder: Path) -> dict[str, tuple[Path, ast.Module]]:
    """Path and syntax tree of every file below the folder, by its dotted name, the folder's name
    first."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).with_suffix("").parts
        parts = inside[:-1] if inside[-1] == "__init__" else inside
        found[".".join((folder.name, *parts))] = (path, ast.parse(path.read_text()))
    return found


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, with those under its conditions and attempts."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
            handled = [one for part in getattr(node, "handlers", ()) for one in part.body]
            yield from statements([*inner, *handled])


def named(tree: ast.Module) -> dict[str, str]:
    """What the names that a module imports stand for, in full."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return found


def classes(files: dict[str, tuple[Path, ast.Module]]) -> dict[str, tuple[ast.ClassDef, list[str]]]:
    """Every class that is not inside a function, by its full name, with the full names of its
    bases."""
    found: dict[str, tuple[ast.ClassDef, list[str]]] = {}

    def note(body: list[ast.stmt], prefix: str, module: str, names: dict[str, str]) -> None:
        for node in statements(body):
            if isinstance(node, ast.ClassDef):
                bases = []
                for base in node.bases:
                    plain = base.value if isinstance(base, ast.Subscript) else base
                    head, dot, rest = ast.unparse(plain).partition(".")
                    bases.append(names.get(head, f"{module}.{head}") + dot + rest)
                found[f"{prefix}.{node.name}"] = (node, bases)
                note(node.body, f"{prefix}.{node.name}", module, names)

    for module, (_, tree) in files.items():
        note(tree.body, module, module, named(tree))
    return found


def is_inherited(
    method: str, bases: list[str], known: dict[str, tuple[ast.ClassDef, list[str]]]
) -> bool:
    """Whether a base class, or a base of that, has this method and says what it does."""
    for base in bases:
        if base not in known:
            continue
        node, further = known[base]
        for one in statements(node.body):
            if isinstance(one, Function) and one.name == method and ast.get_docstring(one):
                return True
        if is_inherited(method, further, known):
            return True
    return False


def is_overload(node: Function) -> bool:
    """Whether it only says what types there are; a property's setter is another half too."""
    last = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
    return bool(last & {"overload", "setter", "deleter"})


def undocumented(folder: Path) -> list[tuple[Path, int, str]]:
    """File, line and name of all that says nothing of itself, in the order of the files."""
    files = modules(folder)
    known = classes(files)
    found: list[tuple[Path, int, str]] = []

    def look(body: list[ast.stmt], path: Path, prefix: str, owner: str) -> None:
        for node in statements(body):
            if not isinstance(node, Documentable) or not public(node.name):
                continue
            name = prefix + node.name
            told = ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                look(node.body, path, f"{name}.", f"{owner}.{node.name}")
            elif is_overload(node) or (owner in known and is_told(node.name, owner)):
                continue
            if not told:
                found.append((path, node.lineno, name))

    def is_told(method: str, owner: str) -> bool:
        node, bases = known[owner]
        by_class = method == "forward" and ast.get_docstring(node) is not None
        return by_class or is_inherited(method, bases, known)

    for module, (path, tree) in files.items():
        if all(public(part) for part in module.split(".")[1:]):
            look(tree.body, path, "", module)
    return sorted(found)


def main() -> int:
    """Print them; 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HOME / "simulacra")
    found = undocumented(parser.parse_args().folder.resolve())
    for path, line, name in found:
        shown = path.relative_to(HOME) if path.is_relative_to(HOME) else path
        print(f"{shown}:{line} {name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
