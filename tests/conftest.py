"""Fixtures of the house: rooms and configs as found on disk, runs trained once a session, command lines."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from commands import Child, Said
from tiny import Tiny, needed, of_room

from simulacra import cli, config

torch.set_num_threads(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a `room` runs for each file in models/, one that asks for a `name` for each config, unless it
    brings its own."""
    own = [str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")]
    for wish, found in ("room", config.rooms()), ("name", config.configs()):
        if wish in metafunc.fixturenames and not any(wish in names for names in own):
            metafunc.parametrize(wish, found, scope="session")


@pytest.fixture(autouse=True)
def subnormal_numbers() -> None:
    """Each test begins with them, whoever was told to do without before: hypothesis needs them."""
    torch.set_flush_denormal(False)


@pytest.fixture
def tiny(room: str) -> Tiny:
    """The room's tiny config."""
    return needed(of_room(room), f"room {room}")


@pytest.fixture(scope="session")
def trained(room: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the room with checkpoints at 10 and 20; not to be written into."""
    folder = tmp_path_factory.mktemp(room) / "run"
    needed(of_room(room), f"room {room}").train(folder, "steps=20", "save_every=10", "log_every=5")
    return folder


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, for a test to do with as it likes."""
    return Path(shutil.copytree(trained, tmp_path / "own"))


@pytest.fixture
def simulacra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Say `simulacra ARGUMENTS...` in this process."""

    def say(*arguments: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["simulacra", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Said(end.value.code or 0, *capsys.readouterr())

    return say


@pytest.fixture(scope="session")
def launcher() -> Iterator["subprocess.Popen[str]"]:
    """The process from which others are forked."""
    command = [sys.executable, str(Path(__file__).with_name("launcher.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("ready")
        yield process
        process.stdin.close()


@pytest.fixture
def launch(launcher: "subprocess.Popen[str]", tmp_path: Path) -> Callable[..., Child]:
    """Start `simulacra ARGUMENTS...` in a process of its own; see launcher.py for what `limit` and `dies` do."""

    def start(*arguments: object, limit: int | None = None, dies: int | None = None) -> Child:
        return Child(launcher, tmp_path, [str(word) for word in arguments], limit, dies)

    return start
