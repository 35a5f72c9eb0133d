"""Adding a model takes one file and one config:
this does literally what docs/adding_a_model.md says, in a copy."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from simulacra.core import config

HOME = Path(config.__file__).parents[2]
PAGE = HOME / "docs" / "adding_a_model.md"
TESTS = [
    "tests/contract/test_resume.py::test_newest_checkpoint_lost",
    "tests/contract/test_players.py",
    "tests/house/test_rules.py",
    "tests/core/test_config.py",
]
BLOCK = re.compile(
    r"```(?:python|toml)\n# ((?:simulacra/models|configs)/\w+\.(?:py|toml))\n(.*?)```", re.S
)

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="docs/adding_a_model.md is not there")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository in which the page was followed,
    the new model's name and the new config's."""
    place = tmp_path_factory.mktemp("copy")
    for name in "simulacra", "configs", "tests":
        shutil.copytree(HOME / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOME / "pyproject.toml", place)
    written = BLOCK.findall(PAGE.read_text())
    assert [Path(name).suffix for name, _ in written] == [".py", ".toml"], (
        "one model and one config"
    )
    for name, text in written:
        assert not (place / name).exists(), f"{name} is there already"
        (place / name).write_text(text)
    return place, *(Path(name).stem for name, _ in written)


SAY = """
import json, sys
from simulacra import cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["simulacra", *words]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, words
"""


def said(place: Path, *words: object) -> str:
    """What Python prints in the copy, where it must succeed."""
    env = os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=place, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_new_model_works(copy):
    """All verbs, one after another."""
    place, model_name, name = copy
    commands = f"""list --configs
    train {name} --preset tiny --set steps=20 --run run
    sample run -n 4 -o sheet.png
    paint run
    measure run --samples 30 --repeats 2 --extractor pixels --json"""
    text = said(place, "-c", SAY, json.dumps([line.split() for line in commands.splitlines()]))
    assert re.search(rf"{name} +{model_name} ", text)
    for line in (
        "run is done: 20 steps",
        "4 samples in sheet.png",
        "run/pictures/00000020/samples.png",
    ):
        assert line in text
    assert Image.open(place / "sheet.png").width > 50
    assert {row["step"] for row in json.loads(text.splitlines()[-1])} == {20}


def test_the_tests_find_the_new_model(copy):
    """Exact resume, players, rules, configs: all run for it without being told."""
    place, model_name, name = copy
    files = [place / test for test in TESTS]
    wanted = f"[{model_name} or [{name} or {model_name}- or {name}-"
    text = said(place, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", wanted)
    passed = int(re.search(r"(\d+) passed", text)[1])
    assert passed > 20, text
