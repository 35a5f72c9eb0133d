"""Standard output that cannot hold what is said:
a terminal of ASCII, a full disk, a reader who leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import needed, of_model

from simulacra.cli.streams import Stream, patient
from simulacra.core import config, run

HOME = Path(config.__file__).parents[2]
ENV = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
SAY = [sys.executable, "-m", "simulacra"]


def said(
    *words: object, env: dict[str, str] | None = None, **how: object
) -> "subprocess.CompletedProcess[bytes]":
    """How `simulacra WORDS` ended."""
    return subprocess.run(
        [*SAY, *map(str, words)], env=ENV | (env or {}), stderr=subprocess.PIPE, **how
    )


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1:strict"},
    ],
)
@pytest.mark.parametrize("words", [["--help"], ["list"], ["data", "list"]])
def test_letters_that_the_terminal_does_not_know(words, env):
    answer = said(*words, env=env, stdout=subprocess.PIPE)
    assert (answer.returncode, answer.stderr) == (0, b"") and len(answer.stdout) > 500


@pytest.mark.parametrize("name", ["\u00e9\u2713\U0001f697", "\udce9"])
def test_names_that_no_terminal_knows(name, tmp_path):
    """A file's name need not even be text."""
    answer = said(
        "sample",
        f"{tmp_path}/{name}",
        "-o",
        "x.png",
        env={"PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
    )
    assert (
        answer.returncode == 2
        and answer.stderr.startswith(b"error: no run folder ")
        and answer.stderr.count(b"\n") == 1
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list"]])
def test_a_full_disk(words):
    with Path("/dev/full").open("wb") as full:
        answer = said(*words, stdout=full)
    assert answer.returncode == 1
    assert answer.stderr == b"error: cannot write to standard output (No space left on device)\n"


@pytest.mark.parametrize("words", [["--help"], ["list"], ["train", "nonsense"]])
def test_a_reader_who_leaves(words):
    """`simulacra list | head -1` is no failure; a mistake stays one."""
    read, write = os.pipe()
    os.close(read)
    answer = said(*words, stdout=write)
    os.close(write)
    assert (
        answer.returncode == (2 if words[0] == "train" else 0) and b"Traceback" not in answer.stderr
    )
    assert answer.stderr.count(b"\n") == (words[0] == "train")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_no_stream_at_all(closed):
    shell = ["sh", "-c", f'"$@" {closed}', "sh"]
    assert (
        subprocess.run([*shell, *SAY, "list"], env=ENV, stdout=subprocess.DEVNULL).returncode == 0
    )


def test_a_training_is_not_lost_by_what_it_says(tmp_path):
    """Its output is full, or its reader gone: it trains to the end all the same."""
    tiny = needed(of_model("ebgan"), "ebgan")
    with Path("/dev/full").open("wb") as full:
        answer = said(*tiny.arguments(tmp_path / "full", "steps=3"), stdout=full)
    assert answer.returncode == 1 and b"cannot write to standard output" in answer.stderr
    assert run._finished(tmp_path / "full", 3)
    read, write = os.pipe()
    os.close(read)
    answer = said(*tiny.arguments(tmp_path / "gone", "steps=3"), stdout=write)
    os.close(write)
    assert (answer.returncode, answer.stderr) == (0, b"") and run._finished(tmp_path / "gone", 3)


def test_streams_are_given_back():
    old = sys.stdout, sys.stderr
    with patient() as out:
        assert isinstance(out, Stream) and sys.stdout is out
        print("heard")
    assert (sys.stdout, sys.stderr) == old and out.lost is None
