"""What starting costs: help, lists and mistakes import nothing that takes seconds;
threads wait without spinning."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import needed, of_model

from simulacra import cli
from simulacra.core import config, data_sets, run, threads
from simulacra.core.threads import POLICIES

HOME = Path(config.__file__).parents[2]
HEAVY = "torch", "numpy", "scipy", "PIL", "matplotlib", "av", "cv2", "sklearn"
LIGHT = """
import contextlib, io, json, sys
from simulacra import cli
said = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["simulacra", *words]
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    heavy = [name for name in HEAVY if name in sys.modules]
    said.append([code or 0, streams[0].getvalue(), streams[1].getvalue(), heavy])
print(json.dumps(said))
""".replace("HEAVY", repr(HEAVY))


def clean() -> dict[str, str]:
    """The environment of a person who has said nothing of threads."""
    return {name: value for name, value in os.environ.items() if name not in POLICIES} | {
        "PYTHONPATH": str(HOME)
    }


def said(*commands: list[str]) -> list[tuple[int, str, str, list[str]]]:
    """Exit status, output, error and what was imported, of command lines in one fresh process."""
    words = [sys.executable, "-c", LIGHT, json.dumps(commands)]
    answer = subprocess.run(words, capture_output=True, text=True, env=clean(), check=True)
    return json.loads(answer.stdout)


def verbs() -> list[list[str]]:
    """The words of every verb."""
    from typer.main import get_command

    found = get_command(cli.app).commands
    return [[name] for name in found] + [["data", name] for name in found["data"].commands]


def test_help_imports_nothing_that_takes_seconds():
    asked = [["--help"], ["--version"], [], *([*verb, "--help"] for verb in verbs())]
    assert len(asked) > 25
    for words, (code, out, _, heavy) in zip(asked, said(*asked), strict=True):
        assert (code, heavy) == (0 if words else 2, []) or (not words and not heavy), words
        assert "Usage" in out or words in (["--version"], []), words


def test_lists_import_nothing_that_takes_seconds():
    asked = ["list"], ["data", "list"], ["list", "--configs"]
    (code, out, err, heavy), (code2, out2, err2, heavy2), (code3, out3, err3, heavy3) = said(*asked)
    assert (code, err, heavy, code2, err2, heavy2) == (0, "", [], 0, "", [])
    assert (code3, err3, heavy3) == (0, "", []) and all(name in out3 for name in config.configs())
    assert all(name in out for name in config.models())
    assert [line.split()[0] for line in out2.splitlines()] == data_sets.names()
    for name in data_sets.names():
        told = (data_sets.module(name).__doc__ or "").partition("\n\n")[0]
        assert " ".join(told.split()) in out2


MISTAKES = [
    (["brew"], "No such command 'brew'"),
    (["train"], "Missing argument 'CONFIG'"),
    (["train", "ebgan_digits", "--margin", "3"], "No such option: --margin"),
    (["train", "nonsense"], "unknown config 'nonsense'; there is: "),
    (["train", "none.toml"], "no config file none.toml"),
    (
        ["train", "ebgan_digits", "--preset", "huge"],
        "unknown preset 'huge'; there is: tiny, laptop, paper",
    ),
    (["train", "ebgan_digits", "--set", "steps"], "--set takes key=value, found 'steps'"),
    (["train", "ebgan_digits", "--set", "steps=few"], "steps = 'few': expected `int`"),
    (
        ["train", "ebgan_digits", "--set", "stepz=3"],
        "unknown key stepz (did you mean steps?); there is: name, preset, ",
    ),
    (["train", "ebgan_digits", "--set", "model=none"], "unknown model 'none'; there is: "),
    (["train", "ebgan_digits", "--set", "data.name=none"], "unknown data set 'none'; there is: "),
    (
        ["train", "ebgan_digits", "--set", "data.none=1"],
        "unknown key data.none; there is: data.pad",
    ),
    (
        ["train", "ebgan_digits", "--set", "hyper.margni=1"],
        "unknown key hyper.margni (did you mean hyper.margin or hyper.margin_unit?); there is: h",
    ),
    (["sample", "gone", "-o", "x.png"], "no run folder gone"),
    (["paint", "."], ". is no run folder: it has no config.json"),
    (["evolve", "gone", "-o", "x.png"], "no run folder gone"),
    (["export", "gone", "-o", "x"], "no run folder gone"),
    (["measure", "gone"], "no run folder gone"),
    (["measure", "gone", "--samples", "few"], "Invalid value for '--samples'"),
    (["score", "gone"], "no run folder gone"),
    (["score"], "score needs a run folder or --driver, and not both"),
    (["drive", "gone", "-o", "x.mp4"], "no run folder gone"),
    (["dream", "gone", "-o", "x.mp4"], "no run folder gone"),
    (["encode", "gone", "store", "-o", "x"], "no run folder gone"),
    (["reconstruct", "gone", "x.png", "-o", "x"], "no run folder gone"),
    (["interpolate", "gone", "x.png", "y.png", "-o", "z.png"], "no run folder gone"),
    (["predict", "gone", "x.png", "-o", "x"], "no run folder gone"),
    (["transfer", "gone", "x.png", "y.png", "z.png", "-o", "x"], "no run folder gone"),
    (["traverse", "gone", "x.png", "-o", "x"], "no run folder gone"),
    (["sweep", "none"], "unknown sheet 'none'; there is: "),
    (["table", "none.toml"], "no sheet none.toml"),
]


def test_mistakes_import_nothing_that_takes_seconds():
    answers = said(*(words for words, _ in MISTAKES))
    for (words, says), (code, out, err, heavy) in zip(MISTAKES, answers, strict=True):
        assert (code, out, heavy) == (2, "", []) and says in err and err.count("\n") == 1, (
            words,
            code,
            out,
            err,
            heavy,
        )


def test_fields_read_from_source_are_those_of_the_class(model_name):
    """A key that is there is never refused."""
    from simulacra.core.source import fields

    found = fields(config.model_files()[model_name], "Hyper")
    assert found == list(config.model(model_name).Hyper.__struct_fields__)


def test_what_is_no_plain_class_is_left_to_its_import(tmp_path):
    from simulacra.core.source import fields

    path = tmp_path / "model.py"
    path.write_text(
        "class Hyper(Basis):\n    a: int = 1\nclass Other(Struct, rename='camel'):\n    b: int = "
        "1\n"
    )
    assert fields(path, "Hyper") == fields(path, "Other") == fields(path, "None") == []


# Threads


def spins(code: str, **more: str) -> int:
    """How often GNU's OpenMP, which torch for Linux brings,
    says that a thread looks before it sleeps."""
    env = clean() | {"OMP_DISPLAY_ENV": "VERBOSE"} | more
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    (count,) = set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", answer.stderr))
    return int(count)


@pytest.mark.skipif(platform.system() != "Linux", reason="another OpenMP")
def test_threads_sleep_while_they_wait():
    """Unless a person said otherwise, or torch came first."""
    assert spins("import simulacra, torch") == 0
    assert spins("import simulacra, torch", OMP_WAIT_POLICY="ACTIVE") > 10**6
    assert spins("import torch, simulacra") > 1000


def test_a_person_s_own_policy_stays(monkeypatch):
    for name in POLICIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    assert threads.wait_passively() and "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert not threads.wait_passively() and "OMP_WAIT_POLICY" not in os.environ, (
        "torch is there already"
    )


def test_too_late_is_said_once_and_only_where_threads_wait(monkeypatch):
    monkeypatch.setattr(threads, "IN_TIME", False)
    with threads.held([]) as told:
        assert told == [], "one thread waits for nobody"
    torch.set_num_threads(2)
    try:
        with threads.held([]) as told:
            assert len(told) == 1 and "torch was imported before simulacra" in told[0]
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    "starts",
    [[], [{}], [{"threads": None}], [{"threads": True}], [{"threads": 0}], [{"threads": "2"}]],
)
def test_nothing_recorded_changes_nothing(starts):
    with threads.held(starts) as told:
        assert torch.get_num_threads() == 1 and told == []


def test_a_run_goes_on_with_the_threads_that_it_began_with(simulacra, tmp_path):
    tiny = needed(of_model(config.models()[0]), "the first model")
    torch.set_num_threads(2)
    try:
        simulacra(*tiny.arguments(tmp_path / "run", "steps=2")).success()
    finally:
        torch.set_num_threads(1)
    text = simulacra(*tiny.arguments(tmp_path / "run", "steps=4"), "--extend").success()
    assert text.startswith("note: threads = 2, with which this run was begun, not 1: ")
    assert [start["threads"] for start in run.starts(tmp_path / "run")] == [2, 2]
    assert torch.get_num_threads() == 1, "whoever called has his own again"
