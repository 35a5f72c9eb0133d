"""What experiments/equal_minutes.py says of configs by one or two seeds."""

import json
from pathlib import Path

import equal_minutes


def made(folder: Path, value: float) -> Path:
    """A run folder with one number."""
    folder.mkdir()
    (folder / "config.json").write_text('{"steps": 5}')
    row = {"metric": "coverage", "value": value}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_two_seeds_decide_nothing_between_configs(tmp_path):
    runs = {
        name: [made(tmp_path / f"{name}_{seed}", seed / 10) for seed in range(3)]
        for name in ("one", "other")
    }
    said = "Which of them is better is undecided: 2 seeds; 3 are the least that decide."
    two = {name: folders[:2] for name, folders in runs.items()}
    text = equal_minutes.table(two, ["coverage"])
    assert "| one | 5 | 0, 0.1 |" in text and text.endswith(said)
    assert "undecided" not in equal_minutes.table(runs, ["coverage"])
    assert "undecided" not in equal_minutes.table({"one": two["one"]}, ["coverage"])
