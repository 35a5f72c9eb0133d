"""A wheel, unpacked into an empty folder, is enough: no file of the checkout is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
README = """
import simulacra

model = simulacra.load("zoo/vae_faces")
again = model.reconstruct(model.sample(8, seed=0))
assert again.shape == (8, 3, 64, 64), again.shape
print(simulacra.__file__)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what a wheel of this checkout does."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", str(HOME), "--no-deps", "--wheel-dir", str(place)]
    subprocess.run(built, check=True, capture_output=True, text=True)
    (wheel,) = place.glob("simulacra-*.whl")
    here = place / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(here), str(wheel)], check=True)
    return here


def said(unpacked: Path, place: Path, *words: str) -> str:
    """What Python says in an empty folder, with the wheel's package before all others."""
    environment = os.environ | {"PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    environment.pop("SIMULACRA_DATA", None)
    how = {"capture_output": True, "text": True, "cwd": place, "env": environment}
    done = subprocess.run([sys.executable, *words], check=False, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_three_lines_of_the_readme_work(unpacked: Path, tmp_path: Path) -> None:
    assert str(unpacked) in said(unpacked, tmp_path, "-c", README)


def test_the_command_line_works(unpacked: Path, tmp_path: Path) -> None:
    """Configs, sheets, weights and templates are there."""
    listed = said(unpacked, tmp_path, "-m", "simulacra", "list")
    assert "zoo/vae_faces" in listed and "ebgan_pull_away" in listed
    sampled = "sample", "zoo/vae_faces", "-n", "4", "-o", "four.png"
    said(unpacked, tmp_path, "-m", "simulacra", *sampled)
    assert (tmp_path / "four.png").exists()
    said(unpacked, tmp_path, "-m", "simulacra", "new", "model", "mine")
    short = "--preset", "tiny", "--set", "steps=4", "--no-tensorboard"
    said(unpacked, tmp_path, "-m", "simulacra", "train", "mine.toml", *short)
    assert (tmp_path / "runs" / "mine" / "done").exists()
