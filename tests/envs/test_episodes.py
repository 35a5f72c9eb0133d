"""A store of episodes: whole files or none,
read in parts, refused by name when they are damaged."""

import fcntl
import json
import re

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save

from simulacra.core.errors import Mistake
from simulacra.envs import episodes
from simulacra.envs.episodes import Episode, Facts, Spec, Store

SPEC = Spec(
    seed=3,
    simulator="envpool",
    size=16,
    hud=False,
    steps=50,
    lead=0,
    mixture={"idle": 1.0},
    versions={"envpool": "1.2.5"},
)


def made(number: int, length: int = 20, ended: bool = True, **changes) -> Episode:
    """An episode of random bytes that follow from its number."""
    stream = np.random.default_rng(number)
    facts = Facts(
        number=number,
        track=100 + number,
        simulator="envpool",
        policy="idle",
        hud=False,
        start=0,
        terminated=ended,
        lap_finished=False,
    )
    return Episode(
        frames=stream.integers(0, 256, (length, 3, 16, 16), np.uint8),
        actions=stream.uniform(-1, 1, (length, 3)).astype(np.float32),
        rewards=stream.normal(size=length).astype(np.float32),
        ends=np.arange(length) == (length - 1 if ended else -1),
        truths=stream.normal(size=(length, 6)).astype(np.float32),
        facts=msgspec.structs.replace(facts, **changes),
    )


@pytest.fixture
def full(tmp_path):
    """A store of three episodes of 20, 7 and 33 steps."""
    with episodes.filling(tmp_path / "full", SPEC):
        for number, length in enumerate((20, 7, 33)):
            episodes.write(tmp_path / "full", made(number, length))
    return tmp_path / "full"


def refusal(folder) -> str:
    """What the Mistake says."""
    with pytest.raises(Mistake) as caught:
        Store(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read(full):
    kept = Store(full)
    assert (
        len(kept) == 3 and [one.length for one in kept.entries] == [20, 7, 33] and kept.spec == SPEC
    )
    for number, (episode, length) in enumerate(zip(kept, (20, 7, 33), strict=True)):
        wanted = made(number, length)
        assert episode.facts == wanted.facts and isinstance(episode.frames, np.memmap)
        for name in episodes.KINDS:
            one, two = getattr(episode, name), getattr(wanted, name)
            assert one.dtype == two.dtype and np.array_equal(one, two), name
            assert np.array_equal(kept.read(number, name, 2, 4), two[2:6])
            assert kept.read(number, name, length, 0).shape == two[:0].shape


def test_the_files_are_plain_safetensors(full):
    """Whoever has the library can read them; the same episode gives the same bytes."""
    arrays = load_file(episodes.place(full, 2))
    assert np.array_equal(arrays["frames"], made(2, 33).frames)
    before = episodes.place(full, 2).read_bytes()
    episodes.write(full, made(2, 33))
    assert episodes.place(full, 2).read_bytes() == before


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, 21), (19, 2), (5, -1)])
def test_rows_that_are_not_there(full, start, count):
    with pytest.raises(Mistake, match=r"rows .* of .*00000000.safetensors; allowed: 0 to 20"):
        Store(full).read(0, "frames", start, count)


@pytest.mark.parametrize("cut", [0, 5, 100, 3000, -1])
def test_a_truncated_file_is_named(full, cut):
    path = episodes.place(full, 1)
    path.write_bytes(path.read_bytes()[:cut])
    assert str(path) in refusal(full) and "collect it again" in refusal(full)


def test_a_file_that_grew_or_is_another_thing(full):
    path = episodes.place(full, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    assert f"{path} has {len(whole) + 1:,} bytes; needed: {len(whole):,}" in refusal(full)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 500)
    assert f"{path} is no recorded episode" in refusal(full)
    path.write_bytes(episodes.place(full, 0).read_bytes())
    assert f"{path} holds episode 0; allowed: its own number, 1" in refusal(full)
    path.rename(path.with_name("drive.safetensors"))
    assert "drive.safetensors is no recorded episode; allowed names" in refusal(full)


def harmed(path, places, seed: int = 0) -> None:
    """Overwrite bytes of a file with others."""
    data = bytearray(path.read_bytes())
    dice = np.random.default_rng(seed)
    for place in places:
        data[place] ^= int(dice.integers(1, 256))
    path.write_bytes(data)


@pytest.mark.parametrize("name", episodes.KINDS)
@pytest.mark.parametrize("whole", [False, True])
def test_flipped_numbers_are_refused(full, name, whole):
    """Of any array, by whoever reads those rows, and by nobody else; of frames, one pixel."""
    first, shape = Store(full).entries[2].places[name]
    width = (
        int(np.prod(shape[1:], dtype=int)) * np.dtype(episodes.BYTES[episodes.KINDS[name]]).itemsize
    )
    harmed(episodes.place(full, 2), [first + 11 * width])
    kept = Store(full)
    says = rf"00000002.safetensors is damaged: {name} of step 11 are not what was recorded; remove"
    with pytest.raises(Mistake, match=says) as told:
        if whole:
            kept.episode(2)
        else:
            kept.read(2, name, 9, 5)
    assert "\n" not in str(told.value)
    assert kept.read(2, name, 12).shape[0] == 21 and kept.episode(1).facts.number == 1


def test_a_thousand_overwritten_bytes_anywhere_are_refused(full):
    """Behind the header, in the checksums, and in the header itself."""
    path, there = episodes.place(full, 2), episodes.place(full, 2).read_bytes()
    header = 8 + int.from_bytes(there[:8], "little")
    for trial in range(30):
        path.write_bytes(there)
        start = np.random.default_rng(trial).integers(
            0 if trial % 3 == 0 else header, len(there) - 1000
        )
        harmed(path, range(start, start + 1000), trial)
        with pytest.raises(Mistake):
            Store(full).episode(2)
    path.write_bytes(there)
    harmed(path, [Store(full).entries[2].places["sums"][0] + 3])
    with pytest.raises(Mistake, match="facts or checksums are not those that were written"):
        Store(full).read(2, "rewards")
    track = there.index(b"102", there.index(b"track"))
    path.write_bytes(there[:track] + b"107" + there[track + 3 :])
    with pytest.raises(Mistake, match="facts or checksums are not those that were written"):
        Store(full).episode(2)


def old_file(folder, episode: Episode) -> None:
    """Write an episode as before there were checksums."""
    arrays = {name: getattr(episode, name) for name in episodes.KINDS}
    facts = {"facts": msgspec.json.encode(episode.facts).decode()}
    episodes.place(folder, episode.facts.number).write_bytes(save(arrays, facts))


def test_episodes_older_than_checksums_are_read_and_known_by_their_contents(full):
    new = Store(full)
    wanted = [new.identity(i) for i in range(3)]
    for number, length in enumerate((20, 7, 33)):
        old_file(full, made(number, length))
    old = Store(full)
    assert [one.identity for one in old.entries] == [""] * 3 and [
        old.identity(i) for i in range(3)
    ] == wanted
    assert len(set(wanted)) == 3 and np.array_equal(old.episode(2).frames, made(2, 33).frames)
    harmed(episodes.place(full, 2), [episodes.place(full, 2).stat().st_size - 1])
    assert Store(full).identity(2) != wanted[2]


def test_a_store_has_an_identity(full):
    """That follows from what its episodes follow from;
    a store that is older than that has the same."""
    mine = Store(full).id
    assert len(mine) == 32 and json.loads((full / "store.json").read_text())[
        "id"
    ] == mine == episodes.identity(SPEC)
    for change in (
        {"seed": 4},
        {"hud": True},
        {"agent": "ab"},
        {"mixture": {"idle": 0.5}},
        {"lead": 1},
    ):
        assert episodes.identity(msgspec.structs.replace(SPEC, **change)) != mine
    spec = json.loads((full / "store.json").read_text())
    (full / "store.json").write_text(
        json.dumps({key: value for key, value in spec.items() if key != "id"})
    )
    assert Store(full).id == mine
    (full / "store.json").write_text(json.dumps(spec | {"seed": 9}))
    assert "store.json is not what was written: its id is" in refusal(full)


def test_an_episode_that_shows_what_its_store_does_not_is_refused(full):
    episodes.write(full, made(1, 7, hud=True))
    assert "00000001.safetensors has hud = True, its store False" in refusal(full)


def test_wrongly_shaped_recordings_are_named(full):
    """Frames of another size than the store's, or arrays of another length."""
    spec = json.loads((full / "store.json").read_text()) | {"size": 64}
    (full / "store.json").write_text(json.dumps(spec))
    told = refusal(full)
    assert re.search(
        r"00000000.safetensors: frames is \('U8', \(20, 3, 16, 16\)\); "
        r"allowed: \('U8', \(20, 3, 64, 64\)\)",
        told,
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rewards": np.zeros(19, np.float32)}, "rewards is float32 (19,); allowed: float32 (20,)"),
        ({"actions": np.zeros((20, 3))}, "actions is float64 (20, 3); allowed: float32 (20, 3)"),
        ({"frames": np.zeros((20, 16, 16, 3), np.uint8)}, "frames is uint8 (20, 16, 16, 3)"),
        ({"frames": np.zeros((0, 3, 16, 16), np.uint8)}, "one step or more"),
        ({"ends": np.arange(20) == 4}, "episode 7 goes on after its end at step 4"),
    ],
)
def test_what_is_never_written(tmp_path, changes, told):
    """W7: among others, frames after an end."""
    with pytest.raises(Mistake) as caught:
        episodes.write(tmp_path, made(7)._replace(**changes))
    assert told in str(caught.value) and not list(tmp_path.rglob("*.safetensors"))


def test_no_store(tmp_path):
    assert "is no store of episodes: it has no store.json" in refusal(tmp_path)
    with episodes.filling(tmp_path / "empty", SPEC):
        pass
    assert "holds no episodes yet" in refusal(tmp_path / "empty")
    (tmp_path / "empty" / "store.json").write_text('{"format": 1, "seed": "x"}')
    assert "cannot read" in refusal(tmp_path / "empty")
    newer = msgspec.structs.replace(SPEC, format=9)
    (tmp_path / "empty" / "store.json").write_bytes(msgspec.json.encode(newer))
    assert "has format 9; allowed: 1" in refusal(tmp_path / "empty")


def test_a_store_of_another_spec_is_not_filled(full):
    other = msgspec.structs.replace(SPEC, seed=4, versions={"envpool": "1.2.7"})
    with (
        pytest.raises(
            Mistake, match=r"seed is 3 there, 4 asked; versions.envpool is 1.2.5 there, 1.2.7 asked"
        ),
        episodes.filling(full, other),
    ):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(Mistake, match=r"holds thesis.tex and no store"),
        episodes.filling(tmp_path, SPEC),
    ):
        pass
    with pytest.raises(Mistake, match="is a file"), episodes.filling(tmp_path / "thesis.tex", SPEC):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_processes_do_not_fill_one_store(full):
    with (full / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(Mistake, match="another process is collecting"),
            episodes.filling(full, SPEC),
        ):
            pass


def test_what_a_killed_process_left_is_removed(full):
    parts = [
        full / "episodes" / f".00000003.safetensors.{ending}" for ending in ("part", "x1y2.partial")
    ]
    for part in parts:
        part.write_bytes(b"half")
    assert len(Store(full)) == 3
    with episodes.filling(full, SPEC):
        assert not any(part.exists() for part in parts)


@pytest.mark.parametrize("left", [".store.json.part", ".store.json.x1y2.partial"])
def test_a_process_killed_at_its_start_leaves_a_place_for_the_next(tmp_path, left):
    (tmp_path / left).write_text("{")
    with episodes.filling(tmp_path, SPEC):
        assert (tmp_path / "store.json").exists()


def test_a_full_disk_leaves_nothing(tmp_path):
    (tmp_path / "episodes").write_text("a file where the folder should be")
    with pytest.raises(Mistake, match="cannot write"):
        episodes.write(tmp_path, made(0))


def test_arrays_that_overlap_are_refused(full):
    """One flipped byte in an offset of the header, the last offset as it was."""
    path = episodes.place(full, 1)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    name = next(name for name in episodes.KINDS if header[name]["data_offsets"][0] > 9)
    old = str(header[name]["data_offsets"][0])
    new = str(int(old[0]) % 9 + 1) + old[1:]
    path.write_bytes(data.replace(f"[{old},".encode(), f"[{new},".encode(), 1))
    assert f"{path}: its arrays do not lie side by side" in refusal(full)
