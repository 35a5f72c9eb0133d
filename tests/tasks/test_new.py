"""`simulacra new model`: what it writes works as it is, and it overwrites nothing."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.core import config
from simulacra.core.errors import Mistake
from simulacra.tasks.new import TEMPLATES, checked_name, new

HOME = Path(config.__file__).parents[2]
FILES = ["mine.py", "mine.toml", "test_mine.py"]


@pytest.fixture
def begun(simulacra, tmp_path, monkeypatch):
    """An empty folder in which a model was begun, and what was said."""
    monkeypatch.chdir(tmp_path)
    return tmp_path, simulacra("new", "model", "mine").success()


def test_its_own_test_passes(begun):
    """In a process of its own, in a folder that has nothing else."""
    place, _ = begun
    env = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_commands_that_it_says_work(begun, simulacra):
    place, text = begun
    lines = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert sorted(path.name for path in place.iterdir()) == FILES
    assert [line.split()[1] for line in lines] == [
        "train",
        "sample",
        "reconstruct",
        "measure",
        "test_mine.py",
    ]
    for line in lines[:-1]:
        done = simulacra(*shlex.split(line)[1:])
        assert done.code == 0, (line, done)
    assert "model.squared_error" in done.out
    assert len(list((place / "rebuilt").glob("0*.png"))) == 8


def test_it_overwrites_nothing(simulacra, tmp_path):
    for name in FILES:
        (tmp_path / name).write_text("mine")
        text = simulacra("new", "model", "mine", "-o", tmp_path).refusal()
        assert f"{name} is there already" in text
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()
    text = simulacra("new", "model", "mine", "-o", tmp_path / "a" / "b").success()
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == FILES
    assert f"cd {tmp_path / 'a' / 'b'}" in text
    (tmp_path / "file").touch()
    assert "cannot write into" in simulacra("new", "model", "x", "-o", tmp_path / "file").refusal()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "allowed: a letter"),
        ("3d", "allowed: a letter"),
        ("a-b", "allowed: a letter"),
        ("../up", "allowed: a letter"),
        ("a/b", "allowed: a letter"),
        ("a.py", "allowed: a letter"),
        ("größe", "allowed: a letter"),
        ("x\n", "allowed: a letter"),
        ("a" * 51, "50 at most"),
        ("class", "a word of Python's own"),
        ("match", "a word of Python's own"),
        ("None", "a word of Python's own"),
        ("test_x", "begins as tests do"),
        ("ebgan", "that of a model of the package"),
        ("ebgan_digits", "that of a config of the package"),
        ("digits", "that of a data set of the package"),
        ("torch", "would hide"),
        ("random", "would hide"),
        ("simulacra", "would hide"),
    ],
)
def test_names_that_cannot_be_had(tmp_path, name, words):
    with pytest.raises(Mistake, match=r"^name = ") as refused:
        new(name, tmp_path)
    assert words in str(refused.value) and not list(tmp_path.iterdir())


def test_names_are_put_in_everywhere(tmp_path):
    new("vq2", tmp_path)
    for path in tmp_path.iterdir():
        assert not re.search(r"NAME", path.read_text()) and "vq2" in path.read_text(), path
    assert checked_name("Vq_2") == "Vq_2"


def test_a_wheel_carries_what_it_is_made_of():
    """Files in the package are in a wheel, whatever they are, unless git ignores them."""
    listed = subprocess.run(
        ["git", "-C", str(HOME), "check-ignore", *map(str, TEMPLATES.iterdir())],
        capture_output=True,
        text=True,
    )
    assert not [line for line in listed.stdout.splitlines() if line.endswith(".txt")]
    assert len(list(TEMPLATES.glob("*.txt"))) == 4
