"""docs/python.md, executed from its first line to its last."""

import re
import runpy
from pathlib import Path

import pytest

from simulacra import api
from simulacra.core import config

PAGE = Path(config.__file__).parents[2] / "docs" / "python.md"


@pytest.mark.skipif(not PAGE.exists() or not api.list_zoo(), reason="another place without the zoo")
def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) >= 4
    (tmp_path / "page.py").write_text("\n".join(blocks))
    found = runpy.run_path(str(tmp_path / "page.py"))
    assert found["codes"].shape == (8, 64) and found["digits"].shape == (64, 1, 28, 28)
    assert "frechet" in capsys.readouterr().out
