"""One mutant: a one-line mistake, found by the text of its line wherever that has moved."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

HOME = Path(__file__).parent.parent
LIST = HOME / "tests" / "mutants.json"


class Mutant(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A replacement in one line of one function, which is found by its text: lines may move."""

    stratum: str
    file: str
    function: str  # qualified: "EBGAN.step"
    line: str  # without its indentation
    occurrence: int = 0  # among the equal lines of that function
    column: int  # in that line
    old: str
    new: str
    operator: str
    equivalent: str = ""  # why no test could notice

    @property
    def name(self) -> str:
        """What results call it."""
        words = (
            self.file,
            self.function,
            self.line,
            self.occurrence,
            self.column,
            self.old,
            self.new,
        )
        return hashlib.blake2b(repr(words).encode(), digest_size=4).hexdigest()


def read(path: Path = LIST) -> list[Mutant]:
    """The list."""
    return msgspec.json.decode(path.read_bytes(), type=list[Mutant])


# Finding and making


def numbered(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """(qualified name, function), an outer one before what it holds."""
    for node in ast.iter_child_nodes(tree):
        name = f"{above}{node.name}" if isinstance(node, ast.ClassDef | ast.FunctionDef) else ""
        if isinstance(node, ast.FunctionDef):
            yield name, node
        yield from numbered(node, f"{name}." if name else above)


def lines_of(source: str, function: str) -> range:
    """The numbers of a function's lines, from 0; LookupError if there is none of the name."""
    for name, node in numbered(ast.parse(source)):
        if name == function:
            return range(node.lineno - 1, node.end_lineno or node.lineno)
    raise LookupError(f"no function {function}")


def place(source: str, mutant: Mutant) -> int:
    """The number of the mutant's line, from 0; LookupError if the source no longer has it."""
    lines = source.splitlines()
    equal = [i for i in lines_of(source, mutant.function) if lines[i].strip() == mutant.line]
    if len(equal) <= mutant.occurrence:
        raise LookupError(f"no line {mutant.line!r} in {mutant.function}")
    return equal[mutant.occurrence]


def mutated(source: str, mutant: Mutant) -> str:
    """The source with the mutant in it."""
    lines = source.splitlines(keepends=True)
    number = place(source, mutant)
    line = lines[number]
    start = len(line) - len(line.lstrip()) + mutant.column
    end = start + len(mutant.old)
    if line[start:end] != mutant.old:
        raise LookupError(f"{mutant.old!r} is not at column {mutant.column} of {mutant.line!r}")
    lines[number] = line[:start] + mutant.new + line[end:]
    return "".join(lines)


def identity(
    source: str, stratum: str, path: str, line: int, column: int, old: str, new: str, operator: str
) -> Mutant:
    """The mutant that replaces `old` at a line (from 1) and column of the file."""
    lines = source.splitlines()
    owner = [
        (n, f) for n, f in numbered(ast.parse(source)) if f.lineno <= line <= (f.end_lineno or 0)
    ][-1][0]
    text = lines[line - 1].strip()
    equal = [i for i in lines_of(source, owner) if lines[i].strip() == text]
    indent = len(lines[line - 1]) - len(lines[line - 1].lstrip())
    return Mutant(
        stratum=stratum,
        file=path,
        function=owner,
        line=text,
        occurrence=equal.index(line - 1),
        column=column - indent,
        old=old,
        new=new,
        operator=operator,
    )
