"""What opening, sampling and measuring a run of faces imports: nothing of the simulated worlds.
Each in a fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.core import config

HOME = Path(config.__file__).parents[2]
WORLDS = ("simulacra.envs", "simulacra.models.world", "gymnasium", "envpool", "Box2D", "cma")
CASES = {
    "open and sample": "m = simulacra.load(sys.argv[1]); m.can; m.sample(2); m.encode(m.sample(1))",
    "measure": "import simulacra.tasks.measure, simulacra.tasks.measure_samples, "
    "simulacra.metrics.images.report",
    "train": "import simulacra.tasks.train",
    "reconstruct": "import simulacra.models.vae.vaegan, simulacra.tasks.reconstruct",
    "a run of digits": "simulacra.train('gan_digits', preset='tiny', set={'steps': 2, "
    "'save_every': 2}, run=sys.argv[2]).measure(samples=8, repeats=1, extractor='pixels')",
}
SAY = "\nimport json; print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize("case", CASES)
def test_faces_import_no_world(case: str, tmp_path: Path) -> None:
    zoo = config.asset("zoo") / "vae_faces"
    if not zoo.is_dir():
        pytest.skip("the zoo is not there")
    env = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    code = f"import sys, simulacra\n{CASES[case]}{SAY}"
    words = [sys.executable, "-W", "ignore", "-c", code, str(zoo), str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "torch" in found
    bad = [n for n in found if any(n == one or n.startswith(f"{one}.") for one in WORLDS)]
    assert not bad
