"""What continuous integration does with skipped tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import listed

TESTS = Path(__file__).parents[1]
ONE = """import pytest

def test_right(): pass

@pytest.mark.skipif(True, reason={!r})
def test_one(): pass
"""


def outcome(folder: Path, reason: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What pytest says, in a folder beside ours,
    of one test that passes and one that is skipped for this reason."""
    (folder / "test_one.py").write_text(ONE.format(reason))
    (folder / "conftest.py").write_text("from tests_of_the_house import *\n")
    (folder / "tests_of_the_house.py").symlink_to(TESTS / "conftest.py")
    (folder / "skips.toml").symlink_to(TESTS / "skips.toml")
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    kept = {
        name: value for name, value in os.environ.items() if name not in ("CI", "SIMULACRA_DATA")
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = kept | {"PYTHONPATH": paths} | environment
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("reason", "status"), [("no chromium", 1), ("no gradient moves this model", 0)]
)
def test_a_skip_that_is_not_listed_fails_continuous_integration_alone(tmp_path, reason, status):
    said = outcome(tmp_path, reason, CI="true")
    assert said.returncode == status and ("not listed" in said.stdout) == bool(status), (
        said.stdout + said.stderr
    )


def test_elsewhere_it_is_only_named(tmp_path):
    said = outcome(tmp_path, "no chromium")
    assert said.returncode == 0 and "test_one: no chromium" in said.stdout


def test_real_data_may_be_missing_only_where_nobody_names_them():
    reason = "SIMULACRA_DATA names no folder with davis"
    assert listed(reason, None) and not listed(reason, "data")


def test_slow_tests_are_there():
    """What `make fast` leaves out is named as it is, so that a new name is not slow for ever."""
    home = Path(__file__).parents[2]
    for name in json.loads((home / "tests" / "slow.json").read_text("utf-8")):
        file, _, test = name.partition("::")
        assert f"def {test.rpartition('::')[2]}(" in (home / file).read_text("utf-8"), name
