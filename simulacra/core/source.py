"""What a Python file says of itself, read without running it:
a list of models or a mistyped key need no torch."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

MOST = 25  # letters of a title


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _docstring(path: Path) -> str:
    """The file's docstring, or nothing. Where it is the first in the file nothing else is
    parsed."""
    text = path.read_text(encoding="utf-8")
    first = re.match(r'"""(?:[^"\\]|\\.|"(?!""))*"""\n', text, re.S)
    tree = ast.parse(first[0]) if first else _parsed(path)
    return (ast.get_docstring(tree) or "").strip()


def headline(path: Path) -> str:
    """The first paragraph of the file's docstring, in a line."""
    return " ".join(_docstring(path).partition("\n\n")[0].split())


def sentence(path: Path) -> str:
    """The first sentence of the file's docstring, without the title before its colon."""
    words = headline(path).split()
    ends = (n for n, word in enumerate(words) if word.endswith(".") and n < len(words) - 1)
    first = " ".join(words[: next(ends, len(words)) + 1])
    title, colon, rest = first.partition(": ")
    return (rest if colon and len(title) <= MOST else first).rstrip(".")


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
