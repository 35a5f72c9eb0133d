"""The harness of the mutants, on a toy:
a mistake that a test sees is killed, one that no test sees survives."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import mutants  # noqa: E402
import mutants_sample  # noqa: E402
from mutant import Mutant, identity, mutated, read  # noqa: E402

TOY = """
class Purse:
    def __init__(self, coins=1):
        self.coins = coins

    def add(self, coins):
        self.coins = self.coins + coins
        self.told = "more"
        return self.coins


def largest(numbers):
    found = max(numbers)
    found = max(numbers)
    return found


def unseen(x):
    return x + 1
"""
TESTS = """
from simulacra.toy import Purse, largest


def test_adding():
    assert Purse(2).add(3) == 5


def test_largest():
    assert largest([1, 3, 2]) == 3
"""


def mutant(**changes: object) -> Mutant:
    """One of the toy's."""
    usual = {
        "function": "Purse.add",
        "line": "self.coins = self.coins + coins",
        "column": 24,
        "old": "+",
        "new": "-",
    }
    return Mutant(
        **(
            {"stratum": "steps", "file": "simulacra/toy.py", "operator": "Add_Sub"}
            | usual
            | changes
        )
    )


SECOND = {
    "function": "largest",
    "line": "found = max(numbers)",
    "column": 8,
    "old": "max",
    "new": "min",
}
LIST = [
    mutant(),
    mutant(line='self.told = "more"', column=12, old='"more"', new='"less"'),
    mutant(**SECOND, occurrence=1),
    mutant(function="unseen", line="return x + 1", column=9),
    mutant(function="lost"),
    mutant(
        line='self.told = "more"',
        column=0,
        old="self.told",
        new="self.said",
        equivalent="nobody reads it",
    ),
]


def test_a_mutant_is_found_by_its_text():
    changed = mutated(TOY, mutant())
    assert changed == TOY.replace("self.coins + coins", "self.coins - coins")
    moved = "# a line more\n" * 7 + TOY
    assert mutated(moved, mutant()) == "# a line more\n" * 7 + changed
    second = mutated(TOY, mutant(**SECOND, occurrence=1)).splitlines()
    assert [line.strip() for line in second if "found =" in line] == [
        "found = max(numbers)",
        "found = min(numbers)",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"function": "Purse.take"},
        {"line": "self.coins = 3"},
        {"occurrence": 1},
        {"column": 3},
        {"old": "*"},
    ],
)
def test_a_mutant_whose_line_is_gone_is_not_made(changes):
    with pytest.raises(LookupError):
        mutated(TOY, mutant(**changes))


def test_a_mutant_is_named_by_its_place():
    line = TOY.splitlines().index("        self.coins = self.coins + coins") + 1
    made = identity(TOY, "steps", "simulacra/toy.py", line, 32, "+", "-", "Add_Sub")
    assert made == mutant()
    assert made.name == mutant().name != mutant(new="*").name


def test_killed_survived_and_not_tested(tmp_path):
    tree, cache, found = tmp_path / "tree", tmp_path / "cache", tmp_path / "found.jsonl"
    for path, text in {
        "simulacra/__init__.py": "",
        "simulacra/toy.py": TOY,
        "tests/test_toy.py": TESTS,
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tmp_path / "list.json").write_bytes(msgspec.json.encode(LIST))
    said = [
        sys.executable,
        str(SCRIPTS / "mutants.py"),
        "--cache",
        str(cache),
        "--tree",
        str(tree),
        "--bare",
    ]
    subprocess.run([*said, "cover"], check=True)
    seen = mutants.Tests(cache)
    assert seen.of("simulacra/toy.py", TOY.splitlines().index("    return found") + 1) == [
        "tests/test_toy.py::test_largest"
    ]
    for _ in range(2):  # the second time there is nothing left to try
        subprocess.run(
            [*said, "--list", str(tmp_path / "list.json"), "-o", str(found), "run"], check=True
        )
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    assert [row["result"] for row in rows] == ["killed", "survived", "killed", "no test", "gone"]
    assert rows[0]["by"] == "tests/test_toy.py::test_adding"
    assert (tree / "simulacra" / "toy.py").read_text() == TOY
    last = mutants.table([found], LIST).splitlines()[-1]
    assert last == "| all | 6 | 1 | 1 | 2 | 1 | 1 | 0 | 50.0 % |"


def test_the_list_is_300_of_four_strata():
    drawn = read()
    assert len({m.name for m in drawn}) == len(drawn) == 300
    assert {m.stratum for m in drawn} == {"losses", "steps", "metrics", "readers"}
    assert all(m.old != m.new for m in drawn)


def test_the_list_is_of_this_code():
    """Files may move, but the list goes with them;
    another one would be drawn from what is there."""
    assert len(mutants.gone(read())) <= 30
    assert all(
        (mutants.HOME / path).exists()
        for path in (*mutants_sample.SOURCES, *mutants_sample.PAINTERS)
    )
