"""Other programs' boards hear of a training through callbacks alone: the lines of docs/boards.md,
run beside small stand-ins with the same calls."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from tiny import scribble

import simulacra
from simulacra.core import config
from simulacra.core.errors import Mistake
from simulacra.io import paint

HOME = Path(config.__file__).parents[2]


class Board(ModuleType):
    """What wandb and trackio have in common: init, log, finish, Image; wandb's run logs too."""

    def __init__(self, name: str):
        super().__init__(name)
        self.said: list[tuple] = []
        self.summary: dict[str, float] = {}
        self.config = SimpleNamespace(update=lambda values: self.said.append(("config", values)))

    def init(self, *, project: str, name: str | None = None, config: dict | None = None) -> "Board":
        self.said.append(("init", project))
        return self

    def log(self, data: dict, step: int | None = None) -> None:
        self.said.append(("log", step, data))

    def finish(self) -> None:
        self.said.append(("finish",))

    @staticmethod
    def Image(value: str, caption: str | None = None) -> str:
        assert Path(value).suffix == ".png" and Path(value).is_file()
        return f"picture {Path(value).stem}"


def blocks() -> dict[str, str]:
    """The lines of the document, by the board that they import."""
    text = (HOME / "docs" / "boards.md").read_text()
    found = re.findall(r"```python\n(.*?)```", text, re.S)
    return {
        name: one for one in found for name in ("wandb", "trackio") if f"import {name}\n" in one
    }


@pytest.mark.skipif(not (HOME / "docs").is_dir(), reason="another place without the documents")
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_board_hears_of_rows_pictures_metrics_and_the_end(name, tmp_path, monkeypatch):
    board = Board(name)
    monkeypatch.setitem(sys.modules, name, board)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paint, "curves", scribble)
    code = blocks()[name]
    assert len([line for line in code.splitlines() if line]) <= 10
    short = code.replace('preset="tiny"', 'preset="tiny", set={"steps": 4, "save_every": 2}')
    short = short.replace("run.measure()", "run.measure(20, 1, extractor='pixels')")
    assert short.count('"steps": 4') == 1
    exec(compile(short, f"{name} of docs/boards.md", "exec"), {})
    kinds = [one[0] for one in board.said]
    assert kinds[0] == "init" and kinds[-1] == "finish" and kinds.count("finish") == 1
    logged = [one for one in board.said if one[0] == "log"]
    rows = {step: data for _, step, data in logged if "loss_D" in data}
    assert 4 in rows
    pictures = [(step, data) for _, step, data in logged if "samples" in data]
    assert [step for step, _ in pictures] == [2, 4]
    assert pictures[0][1]["samples"] == "picture samples"
    steps = [step for _, step, _ in logged if step is not None]
    assert steps == sorted(steps), "boards take no step that is earlier"
    values = board.summary | {key: value for *_, data in logged for key, value in data.items()}
    assert 0 <= values["coverage"] <= 1


def test_what_is_no_list_of_functions_is_refused_before_anything_is_trained(tmp_path):
    for wrong in (print, [1], ["print"]):
        with pytest.raises(Mistake, match="on_pictures: allowed: a list of functions"):
            simulacra.train("ebgan_digits", run=tmp_path / "run", on_pictures=wrong)
    assert not (tmp_path / "run").exists()
