"""Draw the mutants of tests/mutants.json: `python scripts/mutants_sample.py --seed 0 --each 75 -o
tests/mutants.json`.

The operators are cosmic-ray's (`pip install cosmic-ray`; only this script needs it), without the
replacements that raise at once on tensors and floats (a shift of a float, `is` of numbers), and two
of our own: a statement that is a call is left out, and a reduction is taken for its neighbour (or
`.detach()` left out). Annotations, defaults, decorators, docstrings, assertions (`strict=True` of
zip among them) and what is raised are not mutated. A line gives at most one mutant.
"""

import argparse
import ast
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
from mutant import HOME, LIST, Mutant, identity, mutated, numbered

ARITHMETIC = {
    "Add_Sub",
    "Sub_Add",
    "Mul_Div",
    "Div_Mul",
    "FloorDiv_Div",
    "Mod_FloorDiv",
    "Pow_Mul",
    "BitOr_BitAnd",
    "BitAnd_BitOr",
}
UNUSED = (
    "Variable",
    "Decorator",
    "ExceptionReplacer",
    "_Is",
    "_UAdd",
    "_Invert",
    "USub_Not",
    "Not_USub",
    "Not_Invert",
)
NEIGHBOURS = {
    "mean": "sum",
    "sum": "mean",
    "min": "max",
    "max": "min",
    "minimum": "maximum",
    "maximum": "minimum",
}
NEIGHBOURS |= {
    "argmin": "argmax",
    "argmax": "argmin",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
}
NEIGHBOURS |= {
    "amin": "amax",
    "amax": "amin",
    "std": "var",
    "var": "std",
    "exp": "log",
    "zeros": "ones",
    "ones": "zeros",
}
PLACES = (
    "metrics/",
    "data/",
    "io/",
    "models/",
    "core/optim.py",
    "core/ema.py",
    "core/schedules.py",
    "core/distributed.py",
    "nn/maths.py",
    "nn/stabilise.py",
)
SOURCES = tuple(f"simulacra/{name}" for name in PLACES)
# methods of a model that are no part of its step
UNCHANGED = {"sample", "health", "equilibrium", "won", "__init__"}
READ = {
    "objects",
    "inside",
    "pictures",
    "read_masks",
    "by_sequence",
    "matched",
    "paired",
}  # of mask_scores.py
PAINTERS = {
    f"simulacra/{name}.py" for name in ("data/shapes", "data/sprites", "data/layered", "io/paint")
}


def stratum(path: str, tree: ast.Module, name: str) -> str:
    """losses, steps, metrics or readers; "" for a function that is none of them."""
    if path.startswith("simulacra/metrics/"):
        return "readers" if path.endswith("mask_scores.py") and name in READ else "metrics"
    if path.startswith(("simulacra/data/", "simulacra/io/")) and path not in PAINTERS:
        return "readers"
    if path.startswith("simulacra/core/"):
        return "steps"
    if not (
        path.startswith("simulacra/models/")
        or path in ("simulacra/nn/maths.py", "simulacra/nn/stabilise.py")
    ):
        return ""
    owner, _, method = name.rpartition(".")
    if owner:
        bodies = [
            node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner
        ]
        methods = {
            node.name for body in bodies for node in body if isinstance(node, ast.FunctionDef)
        }
        return "steps" if "step" in methods and method not in UNCHANGED else ""
    made = dict(numbered(tree))[name].returns
    said = ast.unparse(made) if made else ""
    return "losses" if ("Tensor" in said or said == "float") and "Module" not in said else ""


def passed_over(tree: ast.Module) -> set[tuple[int, int]]:
    """(line, column) of every node that is not mutated:
    annotations, defaults, decorators, docstrings, what is raised."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            roots += [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
        elif isinstance(node, ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.keyword) and node.arg == "strict":  # an assertion, as `assert` is
            roots.append(node.value)
        elif isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            roots.append(node)
    spans = [(r, n) for r in roots for n in ast.walk(r) if hasattr(n, "lineno")]
    return {
        (line, column)
        for _, n in spans
        for line in range(n.lineno, n.end_lineno + 1)
        for column in range(
            n.col_offset if line == n.lineno else 0,
            n.end_col_offset if line == n.end_lineno else 400,
        )
    }


def can_run(operator: str) -> bool:
    """Whether what cosmic-ray's operator makes can run on tensors and floats."""
    binary = operator.rpartition("ReplaceBinaryOperator_")
    return binary[2] in ARITHMETIC if binary[1] else not any(word in operator for word in UNUSED)


def of_cosmic_ray(source: str) -> Iterator[tuple[str, int, int, int]]:
    """(operator, occurrence, line, column) of everything
    that cosmic-ray's operators change and that can run."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(source)))
    for name in filter(can_run, sorted(operator_names())):
        operator, count = get_operator(name)(), 0
        for node in nodes:
            for (line, column), _ in operator.mutation_positions(node):
                yield name, count, line, column
                count += 1


def difference(line: str, other: str) -> tuple[int, str, str]:
    """(column, old, new): what has to be replaced in one line to have the other."""
    start = 0
    while start < min(len(line), len(other)) and line[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(line), len(other)) - start and line[-1 - end] == other[-1 - end]:
        end += 1
    while start and end_of_word(line[start - 1]) and end_of_word((line + " ")[start]):
        start -= 1
    while end and end_of_word(line[len(line) - end]) and end_of_word((" " + line)[len(line) - end]):
        end -= 1
    return start, line[start : len(line) - end], other[start : len(other) - end]


def end_of_word(letter: str) -> bool:
    """Whether a letter belongs to a name or a number."""
    return letter.isalnum() or letter in "_."


def by_cosmic_ray(source: str, name: str, occurrence: int) -> tuple[int, int, str, str] | None:
    """(line, column, old, new) of one mutation;
    None where it spans lines or is not one that can run."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed = mutate_code(source, get_operator(name)(), occurrence)
    lines, others = source.splitlines(), (changed or source).splitlines()
    places = [i for i, (a, b) in enumerate(zip(lines, others, strict=False)) if a != b]
    if len(lines) != len(others) or len(places) != 1:
        return None
    column, old, new = difference(lines[places[0]], others[places[0]])
    return places[0] + 1, column, old, new


def of_ours(tree: ast.Module, lines: list[str]) -> Iterator[tuple[str, int, int, str, str]]:
    """(operator, line, column, old, new) of calls left out
    and of reductions that become their neighbour."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and node.lineno == node.end_lineno
        ):
            yield (
                "LeaveOutCall",
                node.lineno,
                node.col_offset,
                lines[node.lineno - 1][node.col_offset : node.end_col_offset],
                "pass",
            )
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.end_lineno == node.end_lineno
        ):
            line, name, end = node.func.end_lineno, node.func.attr, node.func.end_col_offset
            if name in NEIGHBOURS:
                yield "NeighbouringCall", line, end - len(name), name, NEIGHBOURS[name]
            if name == "detach" and lines[line - 1][end : end + 2] == "()":
                yield "LeaveOutDetach", line, end - 7, ".detach()", ""


def candidates(
    path: str, source: str
) -> Iterator[tuple[str, tuple[int, int], tuple[str, int] | tuple[str, int, int, str, str]]]:
    """(stratum, place, how) of every mutation of a file;
    how is made to a mutant once it is drawn."""
    tree = ast.parse(source)
    over = passed_over(tree)
    owners = {
        line: name
        for name, f in numbered(tree)
        for line in range(f.body[0].lineno, f.end_lineno + 1)
    }
    kinds = {name: stratum(path, tree, name) for name in set(owners.values())}
    for name, count, line, column in of_cosmic_ray(source):
        if line in owners and kinds[owners[line]] and (line, column) not in over:
            yield kinds[owners[line]], (line, column), (name, count)
    for ours in of_ours(tree, source.splitlines()):
        if ours[1] in owners and kinds[owners[ours[1]]] and ours[1:3] not in over:
            yield kinds[owners[ours[1]]], ours[1:3], ours


def made(
    path: str, source: str, kind: str, how: tuple[str, int] | tuple[str, int, int, str, str]
) -> Mutant | None:
    """The mutant, named so that it is found again where lines have moved; None where it is none."""
    found = by_cosmic_ray(source, *how) if len(how) == 2 else how[1:]
    if found is None:
        return None
    line, column, old, new = found
    mutant = identity(source, kind, path, line, column, old, new, how[0].removeprefix("core/"))
    try:
        same = ast.dump(ast.parse(mutated(source, mutant))) == ast.dump(ast.parse(source))
    except SyntaxError:
        return None
    return None if same else mutant


def draw(each: int, seed: int) -> list[Mutant]:
    """`each` mutants of every stratum: a place first (a line once),
    then one of what can be done to it."""
    dice = random.Random(seed)
    pools: dict[str, dict[tuple[str, int], list[tuple[int, tuple]]]] = {}
    sources = {
        p.relative_to(HOME).as_posix(): p.read_text()
        for p in sorted((HOME / "simulacra").rglob("*.py"))
    }
    sources = {path: source for path, source in sources.items() if path.startswith(SOURCES)}
    for path, source in sources.items():
        for kind, place, how in candidates(path, source):
            pools.setdefault(kind, {}).setdefault((path, place[0]), []).append((place[1], how))
    drawn = []
    for kind, pool in sorted(pools.items()):
        lines = sorted(pool)
        dice.shuffle(lines)
        taken = 0
        for path, line in lines:
            ways = pool[path, line]
            column = dice.choice(sorted({column for column, _ in ways}))
            there = [how for at, how in ways if at == column]
            dice.shuffle(there)
            mutant = next((m for how in there if (m := made(path, sources[path], kind, how))), None)
            if mutant and taken < each:
                drawn.append(mutant)
                taken += 1
            if taken == each:
                break
        print(
            f"{kind}: {taken} of {len(lines)} lines that can be mutated, "
            f"{sum(map(len, pool.values()))} mutations"
        )
    return drawn


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=75, help="mutants a stratum")
    parser.add_argument("-o", "--output", type=Path, default=LIST)
    arguments = parser.parse_args()
    mutants = draw(arguments.each, arguments.seed)
    text = ",\n".join(msgspec.json.encode(mutant).decode() for mutant in mutants)
    arguments.output.write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
