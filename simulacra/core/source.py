"""What a Python file says of itself, read without running it:
a list of models or a mistyped key need no torch."""

import ast
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def headline(path: Path) -> str:
    """The first paragraph of the file's docstring, in a line."""
    return " ".join((ast.get_docstring(_parsed(path)) or "").partition("\n\n")[0].split())


def fields(path: Path, name: str) -> list[str]:
    """The annotated fields of a class that inherits no others;
    of another class, or none, nothing is known: []."""
    for node in _parsed(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name and _is_bare(node):
            return [
                one.target.id
                for one in node.body
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            ]
    return []


def constant(path: Path, name: str, default: Any) -> Any:
    """The plain value that a name is given at the top of the file;
    the default where there is none."""
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return default


def _is_bare(node: ast.ClassDef) -> bool:
    """Whether the only base is msgspec's, and no field has another name in a config."""
    renamed = any(word.arg == "rename" for word in node.keywords)
    return not renamed and [ast.unparse(base) for base in node.bases] in (
        ["Struct"],
        ["msgspec.Struct"],
    )
