"""What ends a program from outside: a training saves,
everything ends in one line, schedulers are told 143."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import needed, of_model

from simulacra.core import config, run, signals

HOME = Path(config.__file__).parents[2]
ENV = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143, signal.SIGUSR1: 143}


def listening() -> None:
    """Hear all signals, be it that the suite itself runs under nohup,
    or in the background of a script."""
    for number in STATUS:
        signal.signal(number, signal.SIG_DFL)


def started(command: list[str]) -> "subprocess.Popen[str]":
    """A process of its own, as a person's shell begins it."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=ENV, text=True, preexec_fn=listening, **pipes)


def begun(*words: object, before: list[str] | None = None) -> "subprocess.Popen[str]":
    """`simulacra WORDS`, so begun."""
    return started([*(before or []), sys.executable, "-m", "simulacra", *map(str, words)])


def until(ready, child: "subprocess.Popen[str]") -> None:
    """Wait for it."""
    last = time.monotonic() + 600
    while not ready():
        if child.poll() is not None or time.monotonic() > last:
            child.kill()
            raise AssertionError(child.communicate()[1])
        time.sleep(0.02)


def ended(child: "subprocess.Popen[str]", number: int) -> tuple[int, str]:
    """Exit status and what it said, after a signal."""
    child.send_signal(number)
    try:
        return child.wait(600), child.communicate()[1]
    finally:
        child.kill()


def endless(folder: Path) -> list[str]:
    """A tiny training that will not end by itself."""
    return needed(of_model("ebgan"), "ebgan").arguments(
        folder, "steps=1000000", "save_every=1000000", "log_every=1"
    )


def logged(folder: Path) -> bool:
    """Whether a step was logged."""
    path = folder / "log.jsonl"
    return path.exists() and path.stat().st_size > 0


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_a_training_saves_and_says_so(number, status, tmp_path):
    folder = tmp_path / "run"
    child = begun(*endless(folder))
    until(lambda: logged(folder), child)
    code, told = ended(child, number)
    (path,) = run.checkpoints(folder)
    assert code == status
    assert (
        told
        == f"stopped and saved at step {int(path.stem):,}; the same command goes on from there\n"
    )


def test_where_hanging_up_is_ignored_it_stays_ignored(tmp_path):
    """As nohup has it; the training goes on, and SIGTERM still ends it."""
    folder = tmp_path / "run"
    child = begun(*endless(folder), before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
    until(lambda: logged(folder), child)
    child.send_signal(signal.SIGHUP)
    rows = len(run.read_rows(folder / "log.jsonl"))
    until(lambda: len(run.read_rows(folder / "log.jsonl")) > rows + 5, child)
    assert not run.checkpoints(folder)
    assert ended(child, signal.SIGTERM)[0] == 143


def test_a_second_signal_ends_at_once_with_its_own_status():
    with pytest.raises(signals.Interrupted) as stop, signals.asked() as numbers:
        signal.raise_signal(signal.SIGUSR1)
        assert numbers == [signal.SIGUSR1]
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.status == 143 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_says_what_stays(simulacra, monkeypatch, tmp_path):
    """Also where the library that parses words makes another end of an interrupt."""

    def stopped(*words, **how):
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr("simulacra.tasks.train.train", stopped)
    said = simulacra(*endless(tmp_path / "run"))
    told = "interrupted; no checkpoint was written yet; the same command begins again\n"
    assert (said.code, said.err) == (143, told)


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a script's background ignores
from simulacra import cli
from simulacra.tasks.worlds import collect
def slow(target, *words, **more):
    (target / "episodes").mkdir(parents=True)
    (target / "episodes" / "00000.safetensors").write_bytes(b"")
    (target / "begun").touch()
    time.sleep(60)
collect.collect = slow
sys.argv = ["simulacra", "collect", "racing", "-o", sys.argv[1], "--episodes", "3"]
cli.main()
"""


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_other_verbs_end_in_a_line_that_says_what_stays(number, status, tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path / "store")]
    child = started(command)
    until((tmp_path / "store" / "begun").exists, child)
    place = tmp_path / "store"
    assert ended(child, number) == (
        status,
        f"interrupted; 1 episodes are in {place}; the same command goes on from there\n",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_torch_is_imported(number, tmp_path):
    """At whatever moment of the start: one line at most, never a traceback,
    and nothing is begun."""
    folder = tmp_path / "run"
    for delay in 0.3, 0.8, 1.3, 1.9, 2.6:
        child = begun("train", "ebgan_digits", "--preset", "paper", "--run", folder)
        time.sleep(delay)
        code, told = ended(child, number)
        assert "Traceback" not in told and told.count("\n") <= 1, told
        assert code in (STATUS[number], -number), "the second where Python itself had not begun"


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_an_import_of_torch_is_not_interrupted_by_an_exception(number, status):
    """It would have to pass through C++, and abort the program with lines of its own."""
    code = (
        "import sys, types\n"
        "from simulacra.core import signals\n"
        "sys.modules['torch'] = "
        "types.SimpleNamespace(__spec__=types.SimpleNamespace(_initializing=True))\n"
        f"signals.interrupt({int(number)}, None)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV)
    assert (said.returncode, said.stderr) == (status, "interrupted\n")


def test_while_the_command_line_is_imported():
    code = (
        "import sys, signal, builtins\n"
        "real = builtins.__import__\n"
        "def press(name, *rest):\n"
        "    if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = press\n"
        "from simulacra.__main__ import main\n"
        "main()"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENV, preexec_fn=listening
    )
    assert (said.returncode, said.stderr) == (130, "interrupted\n")


def test_what_a_library_makes_of_ctrl_c_is_still_ctrl_c(simulacra, monkeypatch):
    """numpy and torch turn one that comes while they are imported into an ImportError."""

    def press(*words):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy._core failed to import") from None

    monkeypatch.setattr(config, "resolve", press)
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        said = simulacra("train", "ebgan_digits")
    finally:
        signal.signal(signal.SIGINT, old)
    assert (said.code, said.err) == (130, "interrupted\n")


def test_the_record_of_a_run_is_whole_after_each(tmp_path):
    folder = tmp_path / "run"
    for number in STATUS:
        child = begun(*endless(folder))
        rows = len(run.read_rows(folder / "log.jsonl"))
        until(lambda rows=rows: len(run.read_rows(folder / "log.jsonl")) > rows, child)
        ended(child, number)
        json.loads((folder / "machine.json").read_text())
    steps = [row["step"] for row in run.read_rows(folder / "log.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
