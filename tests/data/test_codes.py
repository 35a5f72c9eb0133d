"""Codes: what is read is what was encoded, sequences know no other episode,
what is damaged or strange is refused by name."""

from pathlib import Path
from types import SimpleNamespace

import coded
import msgspec
import numpy as np
import pytest
import torch
from envs.test_episodes import harmed
from envs.test_episodes import made as drive_of
from safetensors.torch import load_file, save_file

from simulacra.core import answers, data_sets
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.data.codes import Codes, Options
from simulacra.envs import episodes
from simulacra.envs.carracing.view import of_frames
from simulacra.envs.episodes import Spec, Store
from simulacra.models.world.acting import pictures
from simulacra.models.world.artefacts import eye_of, hash_of
from simulacra.models.world.seeing import Known
from simulacra.tasks.worlds.encode import Recorded, Stored, encode


def codes(path: Path, **options: object) -> Codes:
    """The codes of a folder."""
    found = data_sets.load(Options(path=str(path), **options), None)
    assert isinstance(found, Codes)
    return found


def refusal(call) -> str:
    """What the Mistake says, one line."""
    with pytest.raises(Mistake) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    return coded.folder(tmp_path / "codes")


# Reading


def test_sequences_are_pieces_of_episodes(folder):
    found = codes(folder, length=7)
    batch = found.take("train", found.size("train"))
    whole = [
        {name: value.float() for name, value in coded.episode(number, 40).items()}
        for number in range(6)
    ]
    for row in range(len(batch["mean"])):
        places = [
            (e, t)
            for e, one in enumerate(whole)
            for t in range(34)
            if torch.equal(one["mean"][t : t + 7], batch["mean"][row])
        ]
        assert len(places) == 1
        e, t = places[0]
        for name, value in whole[e].items():
            assert torch.equal(batch[name][row], value[t : t + 7]), name
    shapes = {name: tuple(value.shape[1:]) for name, value in batch.items()}
    assert shapes == {
        "mean": (7, 4),
        "log_variance": (7, 4),
        "action": (7, 3),
        "reward": (7,),
        "done": (7,),
        "eye": (16,),
    }
    assert bytes(batch["eye"][0].tolist()).hex() == coded.EYE


def test_every_frame_is_shown_and_every_end(folder):
    found = codes(folder, length=7, stride=7)
    train, rest = (found.take(split, found.size(split)) for split in ("train", "held_out"))
    assert len(train["mean"]) + len(rest["mean"]) == 6 * 6, "starts 0, 7, 14, 21, 28 and 33"
    assert int(train["done"].sum() + rest["done"].sum()) == 6
    values = torch.cat([train["mean"].flatten(0, 1), rest["mean"].flatten(0, 1)]).unique(dim=0)
    assert len(values) == 240
    first = codes(folder, length=7, start="first")
    assert first.size("train") + first.size("held_out") == 6
    heads = [coded.episode(number, 40)["mean"][:7].float() for number in range(6)]
    assert all(
        any(torch.equal(one, head) for head in heads)
        for one in first.take("train", first.size("train"))["mean"]
    )


def test_splits_share_no_episode_and_adding_one_moves_no_other(folder):
    def held(found):
        return {found.episodes[place.episode].path.name for place in found.places["held_out"]}

    found = codes(folder, length=7, held_out=0.4)
    assert held(found) and not held(found) & {
        found.episodes[place.episode].path.name for place in found.places["train"]
    }
    save_file(coded.episode(6, 40), folder / "00006.safetensors", {"eye": coded.EYE})
    assert held(codes(folder, length=7, held_out=0.4)) - {"00006.safetensors"} <= held(found)


def test_drawing_is_a_pure_function_of_the_step(folder):
    there = [codes(folder, length=7).draw(k, 5, 3) for k in range(8)]
    found = codes(folder, length=7)
    for k in reversed(range(8)):
        batch = found.draw(k, 5, 3)
        assert all(torch.equal(batch[name], there[k][name]) for name in batch)
    steps = found.size("train") // 5
    shown = torch.cat([found.draw(k, 5, 3)["mean"] for k in range(steps)]).flatten(1)
    assert len(shown.unique(dim=0)) == len(shown) == 5 * steps


def test_short_episodes_are_left_out_and_told_of(folder):
    save_file(coded.episode(7, 5), folder / "00007.safetensors", {"eye": coded.EYE})
    found = codes(folder, length=40)
    assert found.size("train") + found.size("held_out") == 6
    told = found.describe()
    assert (
        "1 episodes too short" in told["sequences"]
        and told["eye"] == coded.EYE
        and "245 in all" in told["folder"]
    )
    assert "the longest has 40" in refusal(lambda: codes(folder, length=41))


# Refusing


def test_strange_folders(folder, tmp_path):
    gone = tmp_path / "nowhere"
    assert (
        refusal(lambda: codes(gone))
        == f"data.path: {gone} is not there; simulacra encode RUN STORE -o {gone} makes it"
    )
    (tmp_path / "empty").mkdir()
    assert "holds 0 encoded episodes" in refusal(lambda: codes(tmp_path / "empty"))
    assert "no data folder" in refusal(lambda: data_sets.load(Options(path="codes"), None))
    assert codes(folder, eye=coded.EYE, length=5).size("train")
    told = refusal(lambda: codes(folder, eye=coded.OTHER))
    assert coded.EYE in told and coded.OTHER in told
    save_file(coded.episode(9, 40), folder / "00009.safetensors", {"eye": coded.OTHER})
    told = refusal(lambda: codes(folder))
    assert coded.EYE in told and coded.OTHER in told and "00009" in told


@pytest.mark.parametrize("share", [0, 5, 200, -40])
def test_truncated_files_are_named(folder, share):
    path = folder / "00003.safetensors"
    path.write_bytes(path.read_bytes()[:share])
    assert "00003.safetensors" in refusal(lambda: codes(folder))


def test_wrong_contents_are_named(folder):
    path = folder / "00003.safetensors"
    good = load_file(path)
    wrong = [
        {name: value for name, value in good.items() if name != "done"},
        good | {"reward": good["reward"][:-1]},
        good | {"mean": good["mean"].float()},
        good | {"mean": good["mean"][0]},
        {name: value[:0] for name, value in good.items()},
        good | {"more": good["reward"].clone()},
        good | {"action": torch.tensor(1.0)},
        {},
    ]
    for contents in wrong:
        save_file(
            {name: value.contiguous() for name, value in contents.items()}, path, {"eye": coded.EYE}
        )
        assert "00003.safetensors holds" in refusal(lambda: codes(folder))
    for eye in ({}, {"eye": "abc"}):
        save_file(good, path, eye)
        assert "names the eye" in refusal(lambda: codes(folder))
    save_file(coded.episode(3, 40, 5), path, {"eye": coded.EYE})
    assert "(5, 3)" in refusal(lambda: codes(folder))


def test_what_is_no_number_is_found_when_it_is_drawn(folder):
    for path in folder.glob("*.safetensors"):
        one = load_file(path)
        one["reward"][20] = torch.nan
        save_file(one, path, {"eye": coded.EYE})
    found = codes(folder, length=40)
    assert "reward is not finite" in refusal(lambda: found.take("train", 1))


# Encoding


class Film:
    """Recorded episodes that note which are read."""

    def __init__(self, lengths: list[int], seed: int = 0):
        dice = np.random.default_rng(seed)
        self.names, self.read = [f"{number:05d}" for number in range(len(lengths))], []
        self.all = {
            name: Recorded(
                dice.integers(0, 256, (n, 3, 8, 8), np.uint8),
                dice.random((n, 3)),
                dice.random(n),
                np.arange(n) == n - 1,
            )
            for name, n in zip(self.names, lengths, strict=True)
        }

    def episode(self, name: str) -> Recorded:
        self.read.append(name)
        return self.all[name]


def opened(tmp_path: Path, model: object) -> Opened:
    """A run of an eye."""
    folder = tmp_path / "eye"
    folder.mkdir(exist_ok=True)
    (folder / "shapes.json").write_text('{"image": [[3, 64, 64], "float32"]}')
    return Opened(folder, SimpleNamespace(model="vae"), model, 7, None, torch.device("cpu"))


def test_what_is_encoded_is_read_back(tmp_path):
    film, eye, told = Film([300, 40, 41]), coded.Colours(), []
    done = encode(opened(tmp_path, eye), film, tmp_path / "out", notify=lambda *at: told.append(at))
    assert (done.written, done.already, done.frames) == (3, 0, 381) and told == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert done.eye == hash_of(opened(tmp_path, eye)) and len(done.eye) == 32
    found = codes(tmp_path / "out", length=40, start="first")
    rows = found.take("train", found.size("train"))
    wanted = {
        n: eye.encode(pictures(film.all[n].frames[:40]))[0].half().float() for n in film.names
    }
    for row in range(len(rows["mean"])):
        (name,) = [n for n, mean in wanted.items() if torch.equal(mean, rows["mean"][row])]
        assert torch.allclose(
            rows["action"][row], torch.from_numpy(film.all[name].actions[:40]).float()
        )
        assert torch.allclose(
            rows["reward"][row], torch.from_numpy(film.all[name].rewards[:40]).float()
        )
    assert found.describe()["eye"] == done.eye


def test_encoding_goes_on_where_it_was_stopped(tmp_path):
    def stop(done, of):
        if done == 2:
            raise KeyboardInterrupt

    out, eye = tmp_path / "out", opened(tmp_path, coded.Colours())
    with pytest.raises(KeyboardInterrupt):
        encode(eye, Film([10, 11, 12]), out, notify=stop)
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert len(times) == 2
    film = Film([10, 11, 12])
    done = encode(eye, film, out)
    assert (done.written, done.already, film.read) == (1, 2, ["00002"])
    assert {path: path.stat().st_mtime_ns for path in times} == times and len(
        list(out.iterdir())
    ) == 3
    assert encode(eye, film, out).written == 0


def test_a_store_is_encoded(tmp_path):
    film = Film([10, 12])
    drives = [
        SimpleNamespace(frames=a, actions=b, rewards=c, ends=d) for a, b, c, d in film.all.values()
    ]
    entries = [
        SimpleNamespace(path=Path(f"{name}.safetensors")) for name in ("00000003", "00000007")
    ]
    store = SimpleNamespace(entries=entries, episode=lambda i: drives[i])
    assert encode(opened(tmp_path, coded.Colours()), Stored(store), tmp_path / "out").frames == 22
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["00000003", "00000007"]
    found = load_file(tmp_path / "out" / "00000007.safetensors")
    assert found["done"].tolist() == [0] * 11 + [1] and torch.allclose(
        found["reward"].double(), torch.from_numpy(film.all["00001"][2])
    )


def test_an_eye_needs_no_size_and_no_spread(tmp_path):
    """As an auto-encoder without a variance has it."""
    eye, film = coded.Colours(), Film([10])
    plain = SimpleNamespace(encode=lambda x: eye.encode(x)[0], decode=eye.decode)
    assert eye_of(opened(tmp_path, plain)).eye.z_size == 3
    encode(opened(tmp_path, plain), film, tmp_path / "out")
    found = load_file(tmp_path / "out" / "00000.safetensors")
    wanted = eye.encode(pictures(film.all["00000"].frames))[0]
    assert torch.equal(found["mean"], wanted.half())
    assert (found["log_variance"] == answers.CERTAIN).all()


def test_a_folder_takes_one_eye(tmp_path):
    out, one, two = (
        tmp_path / "out",
        opened(tmp_path, coded.Colours()),
        opened(tmp_path, coded.Colours(2.0)),
    )
    encode(one, Film([10, 11]), out)
    told = refusal(lambda: encode(two, Film([10, 11]), out))
    assert hash_of(one) in told and hash_of(two) in told


def test_encode_refuses(tmp_path):
    out, eye = tmp_path / "out", opened(tmp_path, coded.Colours())
    assert "0 episodes" in refusal(lambda: encode(eye, Film([]), out))
    assert "no codes" in refusal(lambda: encode(opened(tmp_path, object()), Film([3]), out))
    film = Film([10])
    film.all["00000"] = film.all["00000"]._replace(rewards=np.zeros(9))
    assert "10 frames, 10 actions, 9 rewards" in refusal(lambda: encode(eye, film, out))
    assert "finite" in refusal(
        lambda: encode(opened(tmp_path, coded.Colours(float("nan"))), Film([10]), out)
    )
    assert "float16" in refusal(
        lambda: encode(opened(tmp_path, coded.Colours(1e9)), Film([10]), out)
    )
    assert not list(out.iterdir())


# Whose codes


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


def recorded(path: Path, numbers=(0, 1, 2), shift: int = 0, **changes) -> Stored:
    """A store of drives of random bytes, by number; `shift` gives other ones."""
    with episodes.filling(path, msgspec.structs.replace(SPEC, **changes)):
        for number in numbers:
            drive = drive_of(number + shift, 20)
            episodes.write(
                path, drive._replace(facts=msgspec.structs.replace(drive.facts, number=number))
            )
    return Stored(Store(path))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def seer(tmp_path, monkeypatch) -> Opened:
    """A run of an eye that sees what these stores show."""
    monkeypatch.setattr(
        "simulacra.models.world.seeing.of_run", lambda opened: Known(of_frames(16, False))
    )
    return opened(tmp_path, coded.Colours())


def test_codes_of_another_store_are_not_kept(tmp_path, seer):
    """Though its episodes have the same names: nothing is written."""
    out = tmp_path / "out"
    encode(seer, recorded(tmp_path / "one"), out)
    before = bytes_of(out)
    other = recorded(tmp_path / "two", numbers=(0, 1, 2, 3), shift=50, seed=4)
    told = refusal(lambda: encode(seer, other, out))
    assert (
        "00000000.safetensors is of an episode of store" in told
        and "choose another folder with -o" in told
    )
    assert Store(tmp_path / "one").id in told and Store(tmp_path / "two").id in told
    assert bytes_of(out) == before
    done = encode(seer, Stored(Store(tmp_path / "two"), "two_"), out)
    assert done.notes == (f"3 other episodes' codes stay in {out}",)
    stores = {one.path.stem: one.store for one in codes(out, length=8).episodes}
    assert (stores["two_00000003"], stores["00000000"]) == (
        Store(tmp_path / "two").id,
        Store(tmp_path / "one").id,
    )


def test_codes_of_a_copy_of_the_store_are_kept(tmp_path, seer):
    """Which is the same store, wherever it is."""
    encode(seer, recorded(tmp_path / "one"), tmp_path / "out")
    assert encode(seer, recorded(tmp_path / "two"), tmp_path / "out")[:2] == (0, 3)


def test_an_episode_that_was_recorded_anew_is_encoded_anew(tmp_path, seer):
    out = tmp_path / "out"
    encode(seer, recorded(tmp_path / "store"), out)
    before = bytes_of(out)
    again = drive_of(1, 20)
    frames = again.frames.copy()
    frames[3, 0] = 255 - frames[3, 0]  # the same drive, seen otherwise
    episodes.write(tmp_path / "store", again._replace(frames=frames))
    done = encode(seer, Stored(Store(tmp_path / "store")), out)
    assert (done.written, done.already) == (
        1,
        2,
    ) and "1 of these episodes were recorded anew" in done.notes[0]
    after = bytes_of(out)
    assert [name for name in before if before[name] != after[name]] == ["00000001.safetensors"]
    found = load_file(out / "00000001.safetensors")
    assert torch.equal(found["mean"], coded.Colours().encode(pictures(frames))[0].half())
    assert encode(seer, Stored(Store(tmp_path / "store")), out).written == 0


def test_damaged_recordings_are_not_encoded(tmp_path, seer):
    source = recorded(tmp_path / "store")
    harmed(
        episodes.place(tmp_path / "store", 2), [source.store.entries[2].places["frames"][0] + 4000]
    )
    told = refusal(lambda: encode(seer, Stored(Store(tmp_path / "store")), tmp_path / "out"))
    assert "is damaged: frames of step" in told


def test_older_codes_are_kept_if_they_are_of_these_recordings(tmp_path, seer):
    """Which their actions, rewards and ends tell."""
    out, source = tmp_path / "out", recorded(tmp_path / "one")
    encode(seer, source, out)
    for path in out.iterdir():
        save_file(load_file(path), path, {"eye": eye_of(seer).hash})
    done = encode(seer, source, out)
    assert done.already == 3 and "3 codes are older than identities of recordings" in done.notes[0]
    other = recorded(tmp_path / "two", shift=50, seed=4)
    assert "is of another episode than that of this name" in refusal(
        lambda: encode(seer, other, out)
    )


def test_damaged_codes_are_refused(tmp_path, seer):
    """When they are read, in part or whole, and when an encoding goes on."""
    out, source = tmp_path / "out", recorded(tmp_path / "store")
    encode(seer, source, out)
    path = out / "00000001.safetensors"
    harmed(path, [path.stat().st_size - 5])
    says = "00000001.safetensors is damaged: its contents are not those that were encoded"
    assert says in refusal(
        lambda: [codes(out, length=8).take(split, 2) for split in ("train", "held_out")]
    )
    assert says in refusal(
        lambda: [codes(out, length=8).whole(split, 9) for split in ("train", "held_out")]
    )
    assert says in refusal(lambda: encode(seer, source, out))
