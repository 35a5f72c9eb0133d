"""Sweeps over many machines: the same bits and the same table as on one, also where a machine dies
and where none sees the others' disks."""

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from tiny import Tiny, assert_same

from simulacra.core import config, errand, run
from simulacra.core.errand import Answer, Order
from simulacra.studies import sheet, sweep
from simulacra.studies.slurm import Asked, SlurmCrew, _parsed
from simulacra.studies.table import table

HOME = Path(config.__file__).parents[2]
STEPS = "steps=12", "save_every=4", "log_every=4"
TEXT = """
name = "Two runs"
base = "ebgan_digits"
preset = "tiny"
seeds = [0, 1]
measure = "measure --samples 20 --repeats 1"
[set]
steps = 12
save_every = 4
log_every = 4
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The runs of the sheet, trained without any of this."""
    place = tmp_path_factory.mktemp("alone")
    for seed in 0, 1:
        Tiny("ebgan_digits").train(place / f"seed={seed}", *STEPS, f"seed={seed}")
    return place


def order(folder, seed=0, **changes):
    """What is asked of a machine that does not see the folder."""
    checked = Tiny("ebgan_digits").config(*STEPS, f"seed={seed}")
    apart = ["train", "CONFIG", "--run", "FOLDER", "--no-tensorboard"]
    asked = Order(
        "one", [], apart, msgspec.json.encode(config.plain(checked)), str(folder), "/",
        ("/nowhere", ""), {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}, errand.versions(),
    )  # fmt: skip
    return asked._replace(**changes)


def test_a_machine_is_sent_a_folder_only_where_it_does_not_see_it(tmp_path, monkeypatch):
    """No process is started here: which words, where, is what is asked."""
    said = []
    monkeypatch.setattr(errand, "_watched", lambda *words: said.append(words) or Answer(0, b""))
    assert errand.carry_out(order(tmp_path), None, False).code == errand.UNSEEN and not said
    errand.carry_out(order(tmp_path), None, None)
    words, _, _, _, folder, _ = said.pop()
    assert folder.name == tmp_path.name and folder != tmp_path
    assert words == ["train", str(folder.parent / "config.json"), "--run", str(folder),
                     "--no-tensorboard"]  # fmt: skip
    (tmp_path / "token").write_text("seen")
    near = order(tmp_path, token=(str(tmp_path / "token"), "seen"), words=["train", "x"])
    errand.carry_out(near, None, False)
    assert said.pop()[0] == ["train", "x"], "it works where the folder is"
    near = near._replace(token=(str(tmp_path / "token"), "of another day"))
    assert errand.carry_out(near, None, False).code == errand.UNSEEN


def test_a_machine_with_other_versions_is_refused(tmp_path):
    other = order(tmp_path, versions={"torch": "1.0", "python": errand.versions()["python"]})
    answer = errand.carry_out(other, None, None)
    assert answer.code == errand.OTHER
    assert b"wanted: torch 1.0" in answer.said and b"has torch 2" in answer.said


def test_a_run_elsewhere_is_asked_for_as_here(tmp_path):
    """In the same words but for its config and its folder, so that it writes events too."""
    from simulacra.studies.many import RayCrew

    (tmp_path / "asked.toml").write_text(TEXT)
    (one, _), said = sweep.jobs(sheet.read(tmp_path / "asked.toml"), tmp_path / "out"), []
    run_ = lambda words, apart, *more: said.append(apart) or 0  # noqa: E731
    crew = RayCrew(SimpleNamespace(threads=1, nodes={}, run=run_), [one])
    log = tmp_path / f"{one.folder.name}.txt"
    assert crew.run(one.train, log) == crew.run(one.measure, log) == 0
    assert said[0] == ["train", "CONFIG", "--run", "FOLDER"]
    assert said[1] == [{str(one.folder): "FOLDER"}.get(word, word) for word in one.measure]


def test_a_run_that_is_asked_to_end_saves_and_goes_on_elsewhere(tmp_path, alone):
    """Two machines, one after the other: the second one goes on with what the first one told."""
    folder, told = tmp_path / "seed=0", []

    def ask(bundle):
        if bundle:
            errand.carried.put(bundle, folder)
            told.append(bundle)
        return bool(run.checkpoints(folder)), "desk"

    first = errand.carry_out(order(folder), ask, None)
    errand.carried.put(first.left, folder)
    assert first.code == 130 and not (folder / "done").exists() and told
    second = errand.carry_out(
        order(folder), lambda bundle: (False, "desk"), errand.carried.changed(folder, {})
    )
    assert second.code == 0, second.said
    errand.carried.put(second.left, folder)
    assert_same(folder, alone / "seed=0")
    assert len(run.starts(folder)) == 2


def test_a_node_dies_and_the_bits_are_those_of_one_machine(tmp_path, alone, monkeypatch):
    """A Ray cluster of two nodes, neither of which sees the sweep's folder."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    from ray.cluster_utils import Cluster as Machines

    from simulacra.core.cluster import Cluster
    from simulacra.studies.many import RayCrew

    class Apart(Cluster):
        def _attempt(self, order):
            return super()._attempt(order._replace(token=("/nowhere", "")))

    (tmp_path / "asked.toml").write_text(TEXT)
    asked, out = sheet.read(tmp_path / "asked.toml"), tmp_path / "runs"
    store, said = {"object_store_memory": 80 * 2**20}, []
    machines = Machines(True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    try:
        nodes = [machines.add_node(num_cpus=1, **store) for _ in range(2)]
        with Apart(machines.address, out, notify=said.append) as cluster:
            assert cluster.slots() == 2
            crew = RayCrew(cluster, sweep.jobs(asked, out))
            at_work = threading.Thread(
                target=sweep.sweep, args=(asked, TEXT.encode(), out), kwargs={"crew": crew}
            )
            at_work.start()
            until = time.monotonic() + 200
            while not any(out.glob("*/checkpoints/*.pt")) and time.monotonic() < until:
                time.sleep(0.2)
            machines.remove_node(nodes[0], allow_graceful=False)
            machines.add_node(num_cpus=1, **store)
            at_work.join(400)
            assert list(cluster.map(abs, range(-9, 0))) == list(range(9, 0, -1)), "in their order"
            with pytest.raises(sweep.Mistake, match="unknown sheet"):
                list(cluster.map(sheet.find, ["no_such"]))
    finally:
        machines.shutdown()
    assert [line for line in said if "its node was lost" in line], "one of them was at work there"
    for seed in 0, 1:
        assert_same(out / f"seed={seed}", alone / f"seed={seed}")
    told = table(asked, out)
    assert not told["missing"] and not list(out.glob(".seen*"))


def test_an_element_of_an_array_job_that_is_preempted_goes_on(tmp_path, alone):
    """submitit's own way to run elements on this machine: SIGTERM saves, and it is started anew."""
    submitit = pytest.importorskip("submitit")
    text = TEXT.replace("[0, 1]", "[1]")
    (tmp_path / "asked.toml").write_text(text)
    asked, out = sheet.read(tmp_path / "asked.toml"), tmp_path / "runs"
    executor = submitit.LocalExecutor(out / "slurm")
    executor.update_parameters(timeout_min=10)
    shared, said = Asked(asked, out, None, "cpu", None, 1), []
    crew = SlurmCrew(shared, executor, said.append)
    at_work = threading.Thread(
        target=sweep.sweep, args=(asked, text.encode(), out), kwargs={"crew": crew}
    )
    at_work.start()
    until = time.monotonic() + 200
    while not any(out.glob("*/checkpoints/*.pt")) and time.monotonic() < until:
        time.sleep(0.1)
    (element,) = crew.elements.values()
    element._process.terminate()
    at_work.join(400)
    assert_same(out / "seed=1", alone / "seed=1")
    assert len(run.starts(out / "seed=1")) == 2, "it was stopped, and went on"
    assert not table(asked, out)["missing"] and said[0].startswith("1 runs are elements of job ")


def test_settings_of_slurm_are_checked():
    pytest.importorskip("submitit")
    assert _parsed(["partition=gpu,time=60", "mem_gb=8"]) == {
        "slurm_partition": "gpu", "slurm_time": 60, "mem_gb": 8,
    }  # fmt: skip
    for wrong in "partition", "time=1:00:00":
        with pytest.raises(sweep.Mistake, match="--slurm-set"):
            _parsed([wrong])


def test_what_is_missing_is_told_in_a_line(simulacra, tmp_path, monkeypatch):
    (tmp_path / "asked.toml").write_text(TEXT)
    words = "sweep", tmp_path / "asked.toml", "-o", tmp_path / "runs"
    assert "allowed: one of them" in simulacra(*words, "--ray", "auto", "--slurm").refusal()
    assert "--gpus: allowed with" in simulacra(*words, "--gpus", "1").refusal()
    assert "--slurm-set: allowed" in simulacra(*words, "--slurm-set", "time=1").refusal()
    for name, flag in ("ray", ["--ray", "auto"]), ("submitit", ["--slurm"]):
        monkeypatch.setitem(sys.modules, name, None)
        said = simulacra(*words, *flag).refusal()
        assert "install it: " in said and "[cluster]" in said
    assert not (tmp_path / "runs").exists()


def test_the_board_says_what_runs_where(tmp_path):
    from rich.console import Console

    from simulacra.cli.board import Board

    (tmp_path / "asked.toml").write_text(TEXT)
    asked = sheet.read(tmp_path / "asked.toml")
    todo = sweep.jobs(asked, tmp_path)
    console = Console(width=100, height=20, record=True, force_terminal=False)
    board = Board(console, todo)
    board.shows({"seed=1": "node7"}, {"seed=1": "train"}, lambda job, what: None)
    todo[1].folder.mkdir()
    (todo[1].folder / "log.jsonl").write_text(
        json.dumps({"step": 8, "loss_D": 0.25}) + "\n" + '{"step": 12, "lo'
    )
    board.notify(todo[0], "done")
    board.tell("seed=1: its node was lost (X); it goes on from step 4")
    console.print(board)
    text = " ".join(console.export_text().split())
    assert "1 of 2 runs done, 1 at work on 1 machines, 1 times a machine was lost" in text
    assert "node7 │ trains │ 8 of 12 │ 0.25" in text and "goes on from step 4" in text
