"""Fixtures of the house: models and configs as found on disk,
runs trained once a session, command lines."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Child, Said
from tiny import Tiny, needed, of_model

from simulacra import cli
from simulacra.core import config

torch.set_num_threads(1)

SKIPS = tomllib.loads(Path(__file__).with_name("skips.toml").read_text())
unlisted: list[str] = []  # skipped tests, with the reason, where that is not in skips.toml


SLOW = Path(__file__).with_name("slow.json")  # written by scripts/slow_tests.py


def pytest_addoption(parser: pytest.Parser) -> None:
    """--fast, of `make fast`."""
    parser.addoption("--fast", action="store_true", help="leave out what tests/slow.json names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, where that is asked for."""
    if not config.getoption("--fast"):
        return
    slow = set(json.loads(SLOW.read_text("utf-8")))
    out = [item for item in items if item.nodeid.partition("[")[0] in slow]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item.nodeid.partition("[")[0] not in slow]


def listed(reason: str, data: str | None) -> bool:
    """Whether tests may be skipped for this reason, `data` being what SIMULACRA_DATA names."""
    allowed = SKIPS["always"] + ([] if data else SKIPS["without_data"])
    return any(re.match(pattern, reason) for pattern in allowed)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = (
            str(report.longrepr[-1]).removeprefix("Skipped: ")
            if isinstance(report.longrepr, tuple)
            else "?"
        )
        if not listed(reason, os.environ.get("SIMULACRA_DATA")):
            unlisted.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each skip."""
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note each file that is skipped whole."""
    _note(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in continuous integration if anything was skipped that skips.toml does not list."""
    if (
        os.environ.get("CI")
        and unlisted
        and session.exitstatus == 0
        and not hasattr(session.config, "workerinput")
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped and is not listed."""
    for line in sorted(set(unlisted)):
        terminalreporter.write_line(f"skipped, and not listed in tests/skips.toml: {line}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a `model_name` runs for each file in models/, one that asks for a `name`
    for each config, unless it brings its own."""
    own = [str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")]
    for wish, found in ("model_name", config.models()), ("name", config.configs()):
        if wish in metafunc.fixturenames and not any(wish in names for names in own):
            metafunc.parametrize(wish, found, scope="session")


@pytest.fixture(autouse=True)
def subnormal_numbers() -> None:
    """Each test begins with them, whoever was told to do without before: hypothesis needs them."""
    torch.set_flush_denormal(False)


@pytest.fixture
def tiny(model_name: str) -> Tiny:
    """The model's tiny config."""
    return needed(of_model(model_name), f"model {model_name}")


@pytest.fixture(scope="session")
def trained(model_name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the model with checkpoints at 10 and 20; not to be written into."""
    folder = tmp_path_factory.mktemp(model_name) / "run"
    needed(of_model(model_name), f"model {model_name}").train(
        folder, "steps=20", "save_every=10", "log_every=5"
    )
    return folder


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, for a test to do with as it likes."""
    return Path(shutil.copytree(trained, tmp_path / "own"))


@pytest.fixture
def simulacra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Say `simulacra ARGUMENTS...` in this process."""

    def say(*arguments: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["simulacra", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Said(end.value.code or 0, *capsys.readouterr())

    return say


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a window. While it is open no test of its module may use asyncio."""
    found = shutil.which("chromium")
    if not found:
        pytest.skip("no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A page of its own; `errors` is what it complained of, `asked` what it fetched."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.errors, page.asked = [], []
    page.set_default_timeout(60_000)
    page.on("console", lambda said: said.type == "error" and page.errors.append(said.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


@pytest.fixture(scope="session")
def launcher() -> Iterator["subprocess.Popen[str]"]:
    """The process from which others are forked."""
    command = [sys.executable, str(Path(__file__).with_name("launcher.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("ready")
        yield process
        process.stdin.close()


@pytest.fixture
def launch(launcher: "subprocess.Popen[str]", tmp_path: Path) -> Callable[..., Child]:
    """Start `simulacra ARGUMENTS...` in a process of its own;
    see launcher.py for what `limit` and `dies` do."""

    def start(*arguments: object, limit: int | None = None, dies: int | None = None) -> Child:
        return Child(launcher, tmp_path, [str(word) for word in arguments], limit, dies)

    return start
