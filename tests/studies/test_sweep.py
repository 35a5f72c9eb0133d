"""Sweeps and their tables: every run once, broken ones go on, others' runs are left alone,
and verdicts follow."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulacra.core import config, run
from simulacra.core.errors import Mistake
from simulacra.studies import sheet
from simulacra.studies import sweep as verb
from simulacra.studies.table import table

HOME = Path(config.__file__).parents[2]
TEXT = """
name = "Does the margin matter?"
base = "ebgan_digits"
preset = "tiny"
seeds = [0, 1]
measure = "measure --samples 20 --repeats 1"
[set]
steps = 4
save_every = 2
[grid]
"hyper.margin" = [0.5, 0.6]
[[claim]]
says = "A higher margin covers more"
metric = "coverage"
compare = [{ "hyper.margin" = 0.6 }, { "hyper.margin" = 0.5 }]
expect = "first is higher"
"""


class Quick(verb.Crew):
    """Writes in place of a process what it would have written.
    `value` says what is measured of a run."""

    def __init__(self, value=lambda margin, seed: margin + seed, fails=lambda words: 0):
        super().__init__()
        self.value, self.fails, self.said = value, fails, []

    def run(self, words, log):
        """As a run's two commands: a run of its config, and one metric."""
        self.said.append(words)
        log.write_text("error: it was tried before\nerror: it broke\n3 steps by another\n")
        if code := self.fails(words):
            return code
        if words[0] == "train":
            folder = Path(words[words.index("--run") + 1])
            changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            checked = config.resolve(words[1], words[words.index("--preset") + 1], changes)
            folder.mkdir(exist_ok=True)
            run.write_text(folder / "config.json", json.dumps(config.plain(checked)))
            run.write_text(folder / "done", "{}")
        else:
            found = run.config_of(Path(words[1]))
            value = self.value(found["hyper"]["margin"], found["seed"])
            row = {
                "metric": "coverage",
                "value": value,
                "step": found["steps"],
                "n_fake": 20,
                "commit": "abc",
            }
            run.append_rows(Path(words[1]) / "metrics.jsonl", [row])
        return 0


def asked(tmp_path, text=TEXT):
    path = tmp_path / "asked.toml"
    path.write_text(text)
    return sheet.read(path)


def swept(tmp_path, crew, text=TEXT, **how):
    found = asked(tmp_path, text)
    verb.sweep(found, text.encode(), tmp_path / "runs", crew=crew, **how)
    return found


def test_a_sweep_from_the_command_line_is_its_runs_trained_and_measured(simulacra, tmp_path):
    """Real processes: the same bits as `train` alone makes, a table,
    and a second time nothing is left to do."""
    (tmp_path / "asked.toml").write_text(TEXT)
    out = tmp_path / "runs"
    text = simulacra("sweep", tmp_path / "asked.toml", "-o", out).success()
    assert "4 runs, 4 to do" in text and "4 of 4" in text and "undecided" in text
    alone = tmp_path / "alone"
    words = [
        "--preset",
        "tiny",
        "--set",
        "steps=4",
        "--set",
        "save_every=2",
        "--set",
        "hyper.margin=0.6",
        "--set",
        "seed=1",
    ]
    simulacra("train", "ebgan_digits", "--run", alone, *words).success()
    assert (alone / "done").read_text() == (out / "margin=0.6,seed=1" / "done").read_text()
    rows = run.read_rows(out / "sweep.jsonl")
    assert len(rows) == 8 and {row["run"] for row in rows} == {
        f"margin={m},seed={s}" for m in (0.5, 0.6) for s in (0, 1)
    }
    assert "4 runs, 0 to do" in simulacra("sweep", tmp_path / "asked.toml", "-o", out).success()
    assert len(run.read_rows(out / "sweep.jsonl")) == 8
    told = json.loads(simulacra("table", tmp_path / "asked.toml", "-o", out, "--json").success())
    assert told == json.loads((out / "table.json").read_text()) and told["claims"][0]["n"] == 2
    assert "mnist_cnn" in told["protocol"] and "n_fake 20" in (out / "table.md").read_text()


def test_a_killed_sweep_goes_on_and_nothing_is_done_twice(tmp_path):
    found, crew = asked(tmp_path), Quick()
    order = [
        (job.cell.values["hyper.margin"], job.seed) for job in verb.jobs(found, tmp_path / "runs")
    ]
    assert order == [(0.5, 0), (0.6, 0), (0.5, 1), (0.6, 1)], (
        "every cell has one seed before any has two"
    )
    broken = Quick(fails=lambda words: -9 if "seed=1" in str(words) else 0)
    with pytest.raises(
        Mistake, match=r"2 of 4 runs failed: margin = 0\.5, seed 1: error: it broke \(see .*\.txt\)"
    ):
        swept(tmp_path, broken, at_once=1)
    swept(tmp_path, crew, at_once=1)
    assert [words[0] for words in crew.said] == ["train", "measure"] * 2 and all(
        "seed=1" in str(words) for words in crew.said
    )
    again = Quick()
    swept(tmp_path, again)
    assert not again.said


def test_a_run_that_fails_by_whatever_mistake_does_not_keep_others_from_theirs(tmp_path):
    def refuse(words):
        if "margin=0.5,seed=0" in str(words):
            raise Mistake("the disk is full")
        return 0

    crew = Quick(fails=refuse)
    with pytest.raises(
        Mistake, match=r"1 of 4 runs failed: margin = 0\.5, seed 0: the disk is full$"
    ):
        swept(tmp_path, crew)
    assert len(crew.said) == 1 + 3 * 2


def test_another_way_to_measure_measures_again_and_trains_nothing(tmp_path):
    swept(tmp_path, Quick())
    crew = Quick()
    swept(tmp_path, crew, TEXT.replace("--samples 20", "--samples 30"))
    assert [words[0] for words in crew.said if words[0] == "measure"] == ["measure"] * 4
    assert all("30" in words for words in crew.said if words[0] == "measure")


def test_runs_of_another_sheet_are_neither_used_nor_lost(tmp_path):
    swept(tmp_path, Quick())
    with pytest.raises(Mistake, match="a run that this sheet has not"):
        swept(
            tmp_path,
            Quick(),
            TEXT.replace("[0.5, 0.6]", "[0.6, 0.7]").replace("= 0.5 }", "= 0.7 }"),
        )
    longer = TEXT.replace("steps = 4", "steps = 6")
    with pytest.raises(
        Mistake, match="holds a run of another config: steps is 4 there, 6 in the sheet"
    ):
        swept(tmp_path, Quick(), longer)
    with pytest.raises(Mistake, match="holds a run of another config"):
        table(asked(tmp_path, longer), tmp_path / "runs")
    more = TEXT.replace("seeds = [0, 1]", "seeds = [0, 1, 2]")
    crew = Quick()
    swept(tmp_path, crew, more)
    assert all("seed=2" in str(words) for words in crew.said) and len(crew.said) == 4, (
        "a sheet may grow"
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)]
)
def test_a_signal_lets_trainings_save_and_the_same_command_goes_on(tmp_path, number, status):
    """Also where SIGINT is ignored, as in the background of a script."""
    text = TEXT.replace("steps = 4", "steps = 10000").replace(
        "save_every = 2", "save_every = 10000"
    )
    (tmp_path / "asked.toml").write_text(text)
    out = tmp_path / "runs"
    deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [
        *deaf,
        sys.executable,
        "-m",
        "simulacra",
        "sweep",
        str(tmp_path / "asked.toml"),
        "-o",
        str(out),
        "--at-once",
        "1",
    ]
    env = os.environ | {"PYTHONPATH": str(HOME)}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        log = out / "margin=0.5,seed=0" / "log.jsonl"
        until = time.monotonic() + 120
        while not (log.exists() and log.stat().st_size) and time.monotonic() < until:
            time.sleep(0.1)
        child.send_signal(number)
        try:
            told = child.communicate(timeout=120)[1]
        finally:
            child.kill()
    assert (child.returncode, told) == (
        status,
        "interrupted; 0 of 4 runs are done; the same command goes on\n",
    )
    assert len(run.checkpoints(out / "margin=0.5,seed=0")) == 1, "it saved"
    assert not (out / "margin=0.6,seed=0").exists(), "and nothing began after it"


def test_a_table_says_what_is_known_and_what_is_missing(tmp_path):
    """Margin 0.6 earns 0.1 more with each seed, with a little noise;
    the interval of three seeds is clear of nothing."""
    text = TEXT.replace("seeds = [0, 1]", "seeds = [0, 1, 2]")
    found = swept(
        tmp_path,
        Quick(lambda margin, seed: margin + 10 * seed + 0.001 * (seed == 1) * (margin == 0.6)),
        text,
    )
    told = table(found, tmp_path / "runs")
    assert told["claims"][0]["verdict"] == "supported" and told["claims"][0][
        "difference"
    ] == pytest.approx(0.1 + 0.001 / 3)
    assert told["rows"][0]["numbers"]["coverage"]["values"] == [0.5, 10.5, 20.5] and told[
        "commits"
    ] == ["abc"]
    book = (tmp_path / "runs" / "table.md").read_text()
    assert (
        "✓ supported" in book
        and "| margin = 0.5 | 3 | 10.5 [" in book
        and "Not measured yet" not in book
    )
    for seed in 1, 2:
        (tmp_path / "runs" / f"margin=0.6,seed={seed}" / "metrics.jsonl").unlink()
    told = table(found, tmp_path / "runs")
    assert told["claims"][0]["verdict"] == "undecided" and told["missing"] == [
        "margin = 0.6, seed 1",
        "margin = 0.6, seed 2",
    ]


def test_mistakes_are_told_in_a_line(simulacra, tmp_path):
    (tmp_path / "asked.toml").write_text(TEXT)
    assert "unknown sheet 'ebgan_pul'" in simulacra("sweep", "ebgan_pul").refusal()
    assert "no sheet" in simulacra("table", tmp_path / "none.toml").refusal()
    assert (
        "no folder"
        in simulacra("table", tmp_path / "asked.toml", "-o", tmp_path / "none").refusal()
    )
    (tmp_path / "empty").mkdir()
    assert (
        "no measured run"
        in simulacra("table", tmp_path / "asked.toml", "-o", tmp_path / "empty").refusal()
    )
    (tmp_path / "file").write_text("")
    refused = simulacra(
        "sweep", tmp_path / "asked.toml", "-o", tmp_path / "file" / "runs"
    ).refusal()
    assert "cannot write into" in refused
    text = simulacra("sweep", tmp_path / "asked.toml", "-o", tmp_path / "dry", "--dry").success()
    assert text.count("simulacra train ebgan_digits") == 4 and not (tmp_path / "dry").exists()
