"""Everything public says what it is; scripts/undocumented.py counts what does not."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "undocumented.py"
MADE = '''"""A module."""

from typing import overload

from torch import nn


class Told:
    """It says what it is."""

    def __init__(self):
        self.x = 1

    def __len__(self):
        return 1

    def known(self):
        """One."""
        return 1

    def silent(self):  # silent
        def inner():
            return 1

        return inner

    def _own(self):
        return 1

    @property
    def half(self):
        """A half."""
        return 0.5

    @half.setter
    def half(self, value):
        self.x = value


class Heir(Told):
    """It goes on from another one."""

    def known(self):
        return 2

    def silent(self):  # silent
        return 2


class Net(nn.Module):
    """It tells of its forward."""

    def forward(self, x):
        return x


class Mute(nn.Module):  # silent
    def forward(self, x):  # silent
        return x


class _Hidden:
    def method(self):
        return 1


@overload
def either(x: int) -> int: ...
@overload
def either(x: str) -> str: ...
def either(x):
    """x."""
    return x


if True:

    async def late():  # silent
        return 1
'''
HEIR = '''
from {}.made import Told


class Late(Told):
    """It says what it is."""

    def known(self):
        return 3

    def silent(self):  # silent
        return 3
'''


def counted(*words: object) -> tuple[int, list[str]]:
    """The exit status of the script, and its lines."""
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_everything_public_says_what_it_is():
    assert counted() == (0, [])


def test_what_says_nothing_is_found(tmp_path):
    """Methods, classes, a `forward` of which its class does not tell, and what overrides a method
    that says nothing; no name with an underscore, and nothing in a module of such a name."""
    sources = {
        "made.py": MADE,
        "_private.py": "def silent(): pass\n",
        "inside/__init__.py": "def silent(): pass  # silent\n",
        "inside/heir.py": HEIR.format(tmp_path.name),
    }
    (tmp_path / "inside").mkdir()
    expected = []
    for name, text in sorted(sources.items()):
        (tmp_path / name).write_text(text)
        lines = enumerate(text.splitlines(), 1)
        expected += [f"{tmp_path / name}:{i}" for i, line in lines if "# silent" in line]
    status, found = counted(tmp_path)
    assert status == 1 and [line.split()[0] for line in found] == expected
    assert [line.split()[1] for line in found] == [
        *("silent", "Late.silent", "Told.silent", "Heir.silent", "Mute", "Mute.forward", "late")
    ]
    (tmp_path / "inside" / "__init__.py").unlink()
    (tmp_path / "inside" / "heir.py").unlink()
    (tmp_path / "made.py").write_text('"""Nothing."""\n')
    assert counted(tmp_path) == (0, [])
