"""Resuming is exact: however a run is broken, its end is that of an unbroken one, bit for bit."""

import io
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from tiny import assert_same, needed, of_model

from simulacra.core import config, run
from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.metrics.health import health

USUAL = "steps=60", "save_every=20", "log_every=5"
DENSE = "steps=50", "save_every=5", "log_every=1"
SHORT = "steps=15", "save_every=5", "log_every=1", "keep=9"


def interrupt_at(when):
    """A tick that presses Ctrl-C at a step."""
    return lambda step, row: os.kill(os.getpid(), signal.SIGINT) if step == when else None


@pytest.fixture(scope="session")
def unbroken(model_name, tmp_path_factory):
    """A run of 60 steps in one go."""
    folder = tmp_path_factory.mktemp(model_name) / "unbroken"
    needed(of_model(model_name), f"model {model_name}").train(folder, *USUAL)
    return folder


def test_newest_checkpoint_lost(tiny, unbroken, tmp_path):
    outcome = tiny.train(tmp_path / "run", *USUAL, tick=interrupt_at(37))
    assert (outcome.step, outcome.done) == (37, False)
    newest = run.checkpoints(tmp_path / "run")[-1]
    assert newest.name == "00000037.pt" and not (tmp_path / "run" / "done").exists()
    newest.unlink()
    steps = []
    outcome = tiny.train(tmp_path / "run", *USUAL, tick=lambda step, row: steps.append(step))
    assert steps == list(range(21, 61)) and outcome.done and not outcome.already
    assert_same(unbroken, tmp_path / "run")


def test_killed_between_saving_and_removing(tiny, unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    (tmp_path / "run" / "done").unlink()
    oldest = run.checkpoints(tmp_path / "run")[0]
    shutil.copy(oldest, oldest.with_name("00000001.pt"))
    tiny.train(tmp_path / "run", *USUAL)
    assert_same(unbroken, tmp_path / "run")


def test_what_is_done_is_not_started_again(tiny, unbroken, tmp_path):
    """No start is recorded, so that cards name the commit that trained; no file changes."""
    shutil.copytree(unbroken, tmp_path / "run")
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in (tmp_path / "run").rglob("*")
        if path.is_file()
    }
    assert tiny.train(tmp_path / "run", *USUAL).already and len(run.starts(tmp_path / "run")) == 1
    changed = {
        path.name
        for path, (when, what) in before.items()
        if (path.stat().st_mtime_ns, path.read_bytes()) != (when, what)
    }
    assert changed <= {"lock"}


def test_how_often_one_looks_changes_nothing(tiny, unbroken, tmp_path):
    tiny.train(tmp_path / "run", "steps=60", "save_every=60", "log_every=7", tensorboard=True)
    assert (tmp_path / "run" / "done").read_text() == (unbroken / "done").read_text()


def test_longer(tiny, tmp_path):
    """A run extended from where it ended is the run that was made that long."""
    cadence = "save_every=15", "log_every=4"
    tiny.train(tmp_path / "long", "steps=40", *cadence)
    tiny.train(tmp_path / "run", "steps=27", *cadence)
    with pytest.raises(Mistake, match="steps is 27 there, 40 asked"):
        tiny.train(tmp_path / "run", "steps=40", *cadence)
    with pytest.raises(Mistake, match="seed is 0 there, 1 asked"):
        tiny.train(tmp_path / "run", "steps=40", "seed=1", *cadence, extend=True)
    assert (tmp_path / "run" / "done").exists()
    marked, done = [], tmp_path / "run" / "done"
    tiny.train(
        tmp_path / "run",
        "steps=40",
        *cadence,
        extend=True,
        tick=lambda k, row: marked.append(done.exists()),
    )
    assert len(marked) == 13 and not any(marked), "a run that goes on is not done"
    assert_same(tmp_path / "long", tmp_path / "run")
    with pytest.raises(Mistake, match="steps is 40 there, 27 asked"):
        tiny.train(tmp_path / "run", "steps=27", *cadence, extend=True)


def test_every_step_of_every_seed_has_noise_of_its_own(tmp_path):
    found = {run.Run(tmp_path, {"seed": seed}).seed_of(k) for seed in range(20) for k in range(50)}
    assert len(found) == 1000


def test_a_run_that_is_older_than_a_key_goes_on(tiny, unbroken, tmp_path):
    """Its config has not the key, whose default changes nothing. Another value of it is another
    run, and a key that there is no more is named."""
    tiny.train(tmp_path / "run", *USUAL, tick=interrupt_at(37))
    place = tmp_path / "run" / "config.json"
    now = json.loads(place.read_text())
    place.write_text(json.dumps({key: value for key, value in now.items() if key != "rollback"}))
    with pytest.raises(Mistake, match="rollback is 0 there, 2 asked"):
        tiny.train(tmp_path / "run", *USUAL, "rollback=2")
    place.write_text(json.dumps(now | {"momentum": 1}))
    with pytest.raises(Mistake, match="momentum is 1 there, absent asked"):
        tiny.train(tmp_path / "run", *USUAL)
    place.write_text(json.dumps({key: value for key, value in now.items() if key != "rollback"}))
    tiny.train(tmp_path / "run", *USUAL)
    assert json.loads(place.read_text()) == now
    assert_same(unbroken, tmp_path / "run")


def test_another_seed_is_another_run(tiny, unbroken, tmp_path):
    tiny.train(tmp_path / "run", "seed=1", *USUAL)
    first, other = (
        json.loads((folder / "log.jsonl").read_text().splitlines()[0])
        for folder in (unbroken, tmp_path / "run")
    )
    assert first.keys() == other.keys() and first != other


# Killed


def rows(folder: Path) -> int:
    """How many whole rows the log has."""
    path = folder / "log.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(child, folder: Path, count: int) -> None:
    """Wait until the log has that many rows, or the child has ended."""
    while rows(folder) < count and child.alive():
        time.sleep(0.001)


def assert_whole(folder: Path) -> None:
    """Every checkpoint can be read to its last tensor."""
    for path in run.checkpoints(folder):
        saved = torch.load(path, weights_only=True)
        assert saved["step"] == int(path.stem) and run.digest(saved["parts"])


def test_killed_at_random_moments(tiny, model_name, launch, tmp_path):
    """Every kill comes a few rows, and then a moment, after the process took over, so that it lands
    in training, logging, saving or painting. A fast model on a fast machine may be done before the
    last of them."""
    tiny.train(tmp_path / "unbroken", *DENSE)
    dice, broken, kills = random.Random(model_name), tmp_path / "broken", 0
    while kills < 3 and not (broken / "done").exists():
        begun = run.checkpoints(broken)[-1:]
        child = launch(*tiny.arguments(broken, *DENSE))
        wait_for(child, broken, (int(begun[0].stem) if begun else 0) + dice.randrange(7))
        time.sleep(dice.choice([0, dice.uniform(0, 0.02), dice.uniform(0, 0.3)]))
        child.signal(signal.SIGKILL)
        said = child.wait()
        assert said.code == -signal.SIGKILL or (broken / "done").exists()
        assert said.err == ""
        assert_whole(broken)
        kills += 1
    assert kills >= 2
    assert f"{broken} is done: 50 steps" in launch(*tiny.arguments(broken, *DENSE)).wait().success()
    assert_same(tmp_path / "unbroken", broken)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop(tiny, unbroken, launch, tmp_path, number, status):
    folder = tmp_path / "run"
    child = launch(*tiny.arguments(folder, *USUAL))
    wait_for(child, folder, 2)
    child.signal(number)
    said = child.wait()
    step = int(run.checkpoints(folder)[-1].stem)
    assert said.code == status and 10 <= step < 60
    assert said.err == f"stopped and saved at step {step}; the same command goes on from there\n"
    launch(*tiny.arguments(folder, *USUAL)).wait().success()
    assert_same(unbroken, folder)
    if number == signal.SIGINT:
        said = launch(*tiny.arguments(folder, *USUAL)).wait()
        assert "60 steps (nothing was left to do)" in said.success()
        assert_same(unbroken, folder)


def test_killed_at_every_change_of_the_folder(launch, tmp_path):
    """From an empty folder to the first checkpoint and its pictures,
    before each file is opened, renamed or removed."""
    tiny = needed(of_model(config.models()[0]), "the first model")
    settings = "steps=4", "save_every=2", "log_every=1"
    tiny.train(tmp_path / "unbroken", *settings, tensorboard=True)
    broken, count, code = tmp_path / "broken", 0, None
    while code != 0:
        count += 1
        said = launch(*tiny.arguments(broken, *settings), dies=count).wait()
        code = said.code
        assert (code, said.err) in ((-signal.SIGKILL, ""), (0, ""))
        assert_whole(broken)
    assert count > 20
    assert_same(tmp_path / "unbroken", broken)
    there, here = (
        {path.relative_to(folder) for path in folder.rglob("*.p*")}
        for folder in (tmp_path / "unbroken", broken)
    )
    assert there == {path for path in here if ".part" not in path.name}


@pytest.fixture
def first(tmp_path, monkeypatch):
    """The first model's tiny config, and a run of it of fifteen steps; nothing is painted."""
    monkeypatch.setattr("simulacra.tasks.train.paint", lambda opened, source: [])
    tiny = needed(of_model(config.models()[0]), "the first model")
    tiny.train(tmp_path / "plain", *SHORT)
    return tiny, tmp_path / "plain"


def test_a_checkpoint_gets_its_name_when_it_is_whole(first, tmp_path, monkeypatch):
    """Killed in the middle of writing, all that is left is a file of another name,
    which the next start removes."""
    tiny, plain = first
    broken, save = tmp_path / "broken", torch.save

    def cut_short(content, file):
        if isinstance(file, io.BytesIO):  # what asks whether the model can be stored
            return save(content, file)
        save(content, buffer := io.BytesIO())
        file.write(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        file.flush()
        shutil.copytree(tmp_path / "run", broken)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(torch, "save", cut_short)
        tiny.train(tmp_path / "run", *SHORT)
    assert [path.suffix for path in (broken / "checkpoints").iterdir()] == [".partial"]
    tiny.train(broken, *SHORT)
    assert_same(plain, broken)
    assert len(list((broken / "checkpoints").iterdir())) == 3


# Rolled back


@pytest.fixture
def collapsing(first, tmp_path, monkeypatch):
    """The same, where whatever has the plain run's row of step 10 is called collapsed;
    and a run that rolled back once."""
    tiny, plain = first
    bad = run.read_rows(plain / "log.jsonl")[9]
    monkeypatch.setattr(
        health,
        "healthy",
        lambda rows, settings, step=99: bad not in [r for r in rows if r["step"] <= step],
    )
    assert tiny.train(tmp_path / "rolled", *SHORT, "rollback=1").done
    return tiny, tmp_path / "rolled"


class Killed(BaseException):
    """Stands for a kill."""


def killer(count: int, condition=lambda *arguments: True):
    """A function that kills at its count-th call for which the condition holds."""
    left = [count]

    def call(*arguments):
        left[0] -= condition(*arguments)
        if left[0] == 0:
            left[0] -= 1
            raise Killed

    return call


def test_roll_back(first, collapsing, tmp_path):
    assert run.read_rows(tmp_path / "rolled" / "rollbacks.jsonl") == [
        {"at": 10, "to": 5, "why": "collapsed"}
    ]
    plain, rolled = (run.read_rows(tmp_path / name / "log.jsonl") for name in ("plain", "rolled"))
    assert len(rolled) == 15 and plain[:5] == rolled[:5]
    assert not any(one == two for one, two in zip(plain[5:], rolled[5:], strict=True)), (
        "the same noise again"
    )


def test_roll_back_broken(collapsing, tmp_path, monkeypatch):
    """Killed around the rollback, or set back to before it by lost checkpoints,
    a run ends as if nothing had happened."""
    tiny, rolled = collapsing
    settings = *SHORT, "rollback=1"
    note = run.append_rows
    before, after = killer(1), killer(1)
    at_10 = lambda path: path.stem == "00000010"  # noqa: E731
    moments = {
        "saved": {"saved": killer(1, at_10)},
        "before the note": {"note": lambda *rows: (before(), note(*rows))},
        "after the note": {"note": lambda *rows: (note(*rows), after())},
        "in the new attempt": {"tick": killer(2, lambda step, row: step == 8)},
        "at the new checkpoint": {"saved": killer(2, at_10)},
    }
    for name, how in moments.items():
        folder = tmp_path / name
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(run, "append_rows", how.pop("note", note))
            tiny.train(folder, *settings, **how)
        assert tiny.train(folder, *settings).done
        assert_same(rolled, folder)
        assert (folder / "rollbacks.jsonl").read_bytes() == (
            rolled / "rollbacks.jsonl"
        ).read_bytes()
    for count in 1, 2, 3:
        for path in run.checkpoints(folder)[-count:]:
            path.unlink()
        steps = []
        assert tiny.train(
            folder, *settings, tick=lambda step, row, steps=steps: steps.append(step)
        ).done
        assert steps[0] == 16 - 5 * count
        assert_same(rolled, folder)


def test_roll_back_no_further(first, tmp_path, monkeypatch):
    tiny, _ = first
    monkeypatch.setattr(
        health, "healthy", lambda rows, settings, step=99: min(step, rows[-1]["step"]) < 10
    )
    with pytest.raises(
        Mistake, match="step 10: collapsed again after 1 rollbacks; step 5 is the last healthy one"
    ):
        tiny.train(tmp_path / "run", *SHORT, "rollback=1")
    assert len(run.read_rows(tmp_path / "run" / "rollbacks.jsonl")) == 1
    monkeypatch.setattr(health, "healthy", lambda rows, settings, step=99: False)
    with pytest.raises(
        Mistake,
        match=r"step 5: collapsed; no healthy checkpoint is kept to roll back to \(keep = 9\)",
    ):
        tiny.train(tmp_path / "other", *SHORT, "rollback=3")


def spoiled(monkeypatch, model_name: str, at: int, spoil) -> None:
    """Have the model's step at k do something wrong, unless it was rolled back."""
    Model, seed = config.model(model_name).Model, fold(0, "step", at)
    step = Model.step

    def wrong(self, batch, k):
        usual = torch.initial_seed() == seed
        scalars = step(self, batch, k)
        return spoil(self, dict(scalars)) if k == at and usual else scalars

    monkeypatch.setattr(Model, "step", wrong)


def nan_loss(model, scalars):
    name = list(scalars)[-1]
    return scalars | {name: scalars[name] * float("nan")}


def infinite_weight(model, scalars):
    module = next(
        part
        for part in vars(model).values()
        if isinstance(part, torch.nn.Module) and list(part.parameters())
    )
    with torch.no_grad():
        next(module.parameters()).view(-1)[-1] = float("inf")
    return scalars


@pytest.mark.parametrize(
    ("at", "spoil", "says"),
    [
        (12, nan_loss, r"training stopped: \w+ is nan at step 13"),
        (9, infinite_weight, r"training stopped: weight \w+\.\S+ is not finite at step 10"),
    ],
)
def test_not_finite(first, tmp_path, monkeypatch, at, spoil, says):
    tiny, plain = first
    last = tmp_path / "run" / "checkpoints" / f"{at // 5 * 5:08d}.pt"
    with monkeypatch.context() as patch:
        spoiled(patch, config.models()[0], at, spoil)
        with pytest.raises(Mistake, match=says) as caught:
            tiny.train(tmp_path / "run", *SHORT)
        assert str(caught.value).endswith(f"; the last good checkpoint is {last}")
        assert run.checkpoints(tmp_path / "run")[-1] == last
        assert tiny.train(tmp_path / "rolled", *SHORT, "rollback=1").done
        assert run.read_rows(tmp_path / "rolled" / "rollbacks.jsonl")[0]["to"] == int(last.stem)
    tiny.train(tmp_path / "run", *SHORT)
    assert_same(plain, tmp_path / "run")


# Damaged


class Evil:
    """What executes code when an unsafe program unpickles it."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refusal(path: Path, content: bytes) -> str:
    """What the Mistake says that a checkpoint with this content leads to."""
    path.write_bytes(content)
    with pytest.raises(Mistake) as caught:
        run.load(path, object())
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_loading_never_executes_code(own, tmp_path, simulacra):
    path, mark = run.checkpoints(own)[-1], tmp_path / "executed"
    buffer = io.BytesIO()
    torch.save({"format": run.FORMAT, "step": 20, "parts": {"G": Evil(mark)}}, buffer)
    for content in pickle.dumps(Evil(mark)), buffer.getvalue():
        assert "checkpoint" in refusal(path, content)
        assert simulacra("sample", own, "-o", tmp_path / "out.npz").refusal()
        (own / "done").unlink(missing_ok=True)
        assert simulacra("train", own).refusal()
    assert not mark.exists() and not (tmp_path / "out.npz").exists()
    pickle.loads(pickle.dumps(Evil(mark)))  # the trap works
    assert mark.exists()


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    """Over the whole file; torch.load alone takes flipped weights for weights."""
    parts = {
        "net": torch.nn.Linear(30, 20).state_dict(),
        "opt": {"state": {0: {"step": torch.tensor(3.0)}}},
    }
    buffer = io.BytesIO()
    torch.save({"format": run.FORMAT, "step": 3, "parts": parts}, buffer)
    content, dice = buffer.getvalue(), random.Random(0)
    harmless = 0
    for place in dice.sample(range(len(content)), 400):
        spoiled_content = bytearray(content)
        spoiled_content[place] ^= 1 << dice.randrange(8)
        path = tmp_path / "00000003.pt"
        path.write_bytes(spoiled_content)
        try:
            saved = run.contents(path)
        except Mistake:
            continue
        harmless += 1
        assert saved["step"] == 3 and run.digest(saved["parts"]) == run.digest(parts)
    assert harmless < 200


def test_damaged_checkpoints(own, tmp_path):
    path = run.checkpoints(own)[-1]
    good = path.read_bytes()
    for content in (
        b"",
        good[:1],
        good[: len(good) // 2],
        good[:-1],
        b"\0" * 1000,
        b"PK\3\4" + good[4:9],
    ):
        text = refusal(path, content)
        assert (
            text.startswith("damaged checkpoint")
            and "remove it to go on from an older checkpoint; " in text
        )
        assert f"{path.parent} holds 2" in text


def test_foreign_checkpoints(own, tmp_path):
    path = run.checkpoints(own)[-1]
    buffer = io.BytesIO()
    for content in (
        {"weight": torch.zeros(2)},
        {"format": 99, "step": 1, "parts": {}},
        {"format": run.FORMAT},
        [1],
        3,
    ):
        buffer.seek(0), buffer.truncate()
        torch.save(content, buffer)
        assert "is no checkpoint of this program" in refusal(path, buffer.getvalue())
    buffer.seek(0), buffer.truncate()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    assert "damaged checkpoint" in refusal(path, buffer.getvalue())


def test_a_lost_checkpoint_is_told_how_to_go_on_without(tiny, trained, own, launch):
    """The advice works: with the damaged file removed, the run ends as it would have."""
    path = run.checkpoints(own)[-1]
    path.write_bytes(path.read_bytes()[:-100])
    (own / "done").unlink()
    command = ["train", own / "config.json"]
    assert "remove it to go on" in launch(*command).wait().refusal()
    path.unlink()
    launch(*command).wait().success()
    assert_same(trained, own)


# Full disk


@pytest.mark.parametrize("limit", [0, 200, 3000, 10000, 30000, 60000])
def test_full_disk(first, launch, tmp_path, limit):
    """Whatever cannot be written, a line says so, the last checkpoint survives,
    and the run goes on once there is model."""
    tiny, plain = first
    folder = tmp_path / "run"
    tiny.train(folder, *SHORT, tick=interrupt_at(5))
    text = launch(*tiny.arguments(folder, *SHORT), limit=limit).wait().refusal()
    assert "cannot write" in text
    assert run.checkpoints(folder)[-1].name == "00000005.pt"
    assert_whole(folder)
    launch(*tiny.arguments(folder, *SHORT)).wait().success()
    assert_same(plain, folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("which", ["log", "clock", "events"])
def test_full_log(first, tmp_path, which):
    """The row that cannot be written is told of, and closing the file,
    which tries again, is not a second failure."""
    tiny, plain = first
    opened = run.Run(plain, run.config_of(plain), tensorboard=True)
    opened.resume(tiny.model()[0])
    full = Path("/dev/full").open("wb" if which == "events" else "w")  # noqa: SIM115
    if which == "events":
        opened.events.file = opened.events.writer._writer = full
    else:
        setattr(opened, f"_{which}", full)
    with pytest.raises(
        Mistake, match=r"\(No space left on device\); the last good checkpoint is .*00000015\.pt"
    ):
        opened.log(16, {"loss": 1.0})
    opened.close()


def test_rows_after_a_full_disk(tmp_path):
    """A row that a full disk cut short takes no other with it."""
    path = tmp_path / "metrics.jsonl"
    run.append_rows(path, [{"a": 1}, {"a": 2}])
    path.write_bytes(path.read_bytes()[:-4])
    run.append_rows(path, [{"a": 3}])
    run.append_rows(path, [{"a": 4}])
    assert run.read_rows(path) == [{"a": 1}, {"a": 3}, {"a": 4}]


FILLED = """
import resource, sys
from pathlib import Path
from simulacra.core import run
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 30, resource.RLIM_INFINITY))
run.append_rows(path, [{"b": number} for number in range(9)])
"""


def test_rows_for_which_there_is_no_model_are_all_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    run.append_rows(path, [{"a": 1}])
    before = path.read_bytes()
    found = subprocess.run([sys.executable, "-c", FILLED, path], capture_output=True, text=True)
    assert "Mistake: cannot write into" in found.stderr and path.read_bytes() == before
    run.append_rows(path, [{"a": 2}])
    assert run.read_rows(path) == [{"a": 1}, {"a": 2}]
