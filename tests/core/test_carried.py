"""Run folders carried between machines: a copy can go on at every moment just as the original."""

import json

import pytest

from simulacra.core import carried, run
from simulacra.core.carried import Bundle, changed, put


def trained(folder, step, *, keep=2):
    """What a training to this step leaves: a row a step, a checkpoint every second one."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(f'{{"step": {k}}}\n' for k in range(1, step + 1)))
    (folder / "lock").touch()
    for k in range(2, step + 1, 2):
        (folder / "checkpoints" / f"{k:08d}.pt").write_bytes(b"weights" * k)
    for path in run.checkpoints(folder)[:-keep]:
        path.unlink()


def goes_on(folder):
    """Whether the log reaches the newest checkpoint."""
    files = run.checkpoints(folder)
    rows = run.read_rows(folder / "log.jsonl")
    return not files or [row["step"] for row in rows][: int(files[-1].stem)] == list(
        range(1, int(files[-1].stem) + 1)
    )


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_a_copy_follows_and_sends_nothing_twice(tmp_path):
    here, there, seen = tmp_path / "here", tmp_path / "there", {}
    trained(here, 5)
    put(changed(here, seen), there)
    assert names(there) == names(here) and changed(here, seen) is None
    trained(here, 9)
    bundle = changed(here, seen)
    assert sorted(bundle.files) == [
        "checkpoints/00000006.pt", "checkpoints/00000008.pt", "log.jsonl",
    ]  # fmt: skip
    put(bundle, there)
    assert names(there) == names(here), "pruned ones are gone there too"
    assert "lock" not in bundle.files


def test_a_kill_between_any_two_files_leaves_what_can_go_on(tmp_path, monkeypatch):
    """At each of the files of a bundle the process that puts it down is killed."""
    here, write = tmp_path / "here", carried.write_bytes

    class Killed(Exception):
        pass

    for count in range(1, 6):
        there, seen = tmp_path / f"there{count}", {}
        trained(here, 4)
        put(changed(here, seen), there)
        trained(here, 8)
        (here / "done").write_text("{}")
        bundle, written = changed(here, seen), []

        def killed(path, content, count=count, written=written):
            if len(written) == count:
                raise Killed
            written.append(path.name)
            write(path, content)

        monkeypatch.setattr(carried, "write_bytes", killed)
        try:
            put(bundle, there)
        except Killed:
            assert not (there / "done").exists(), "it is written last"
        else:
            assert (there / "done").exists() and count >= len(bundle.files)
        monkeypatch.setattr(carried, "write_bytes", write)
        assert goes_on(there) and run.checkpoints(there)
        (here / "done").unlink()
        for path in run.checkpoints(here):
            path.unlink()


def test_a_run_that_went_back_goes_back_there_too(tmp_path):
    """The checkpoint that was dropped must not outlive the note of the rollback."""
    here, there, seen = tmp_path / "here", tmp_path / "there", {}
    trained(here, 6)
    put(changed(here, seen), there)
    (here / "checkpoints" / "00000006.pt").unlink()
    run.append_rows(here / "rollbacks.jsonl", [{"at": 6, "to": 4, "why": "collapsed"}])
    put(changed(here, seen), there)
    assert [path.stem for path in run.checkpoints(there)] == ["00000004"]
    assert json.loads((there / "rollbacks.jsonl").read_text())["to"] == 4


def test_an_older_checkpoint_goes_only_for_a_newer_one(tmp_path):
    """A bundle that names a checkpoint which was lost on its way removes nothing."""
    trained(tmp_path, 4)
    put(Bundle({"log.jsonl": b""}, ["checkpoints/00000008.pt"]), tmp_path)
    assert [path.stem for path in run.checkpoints(tmp_path)] == ["00000002", "00000004"]


def test_a_folder_that_does_not_stand_still_is_looked_at_later(tmp_path, monkeypatch):
    """A checkpoint that comes while the log is read: the two would not fit together."""
    trained(tmp_path, 4)
    marks, looks = carried._marks, []

    def moving(folder):
        looks.append(None)
        return marks(folder) | {"checkpoints/new.pt": (len(looks), 0)}

    monkeypatch.setattr(carried, "_marks", moving)
    seen = {}
    assert changed(tmp_path, seen) is None and seen == {}
    assert len(looks) == 2 * carried.TRIES


@pytest.mark.parametrize("name", [".log.jsonl.abc.partial", "lock"])
def test_what_is_half_written_or_held_stays(tmp_path, name):
    trained(tmp_path, 2)
    (tmp_path / name).write_text("half")
    assert name not in changed(tmp_path, {}).files
