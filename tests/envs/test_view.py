"""What an eye sees is a part of what it is:
where it meets recordings, codes, a memory, an agent or the world, both agree."""

import json
from pathlib import Path

import coded
import msgspec
import numpy as np
import pytest
import torch
from envs.test_episodes import made as drive_of
from PIL import Image
from tasks.test_driving import codes, made, noise, picture  # noqa: F401

from simulacra.core import packed
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.data.codes import Codes, Options
from simulacra.envs import episodes
from simulacra.envs.carracing.view import WORLD, of_frames, of_pictures
from simulacra.envs.episodes import Spec, Store
from simulacra.envs.view import View, same
from simulacra.metrics.world import world_report
from simulacra.models.world import artefacts, seeing
from simulacra.models.world.agent import agent_of
from simulacra.tasks.export import export
from simulacra.tasks.worlds import collect as collecting
from simulacra.tasks.worlds._film import Screen
from simulacra.tasks.worlds.drive import drive
from simulacra.tasks.worlds.encode import Stored, encode
from simulacra.tasks.worlds.score import Course, score

Z = 3
DIFFERENT = r"view.hud = (true|false) \(the bar of score and speed\), .* has (true|false); allowed"


def recordings(folder: Path, hud: bool, size: int = 64) -> Path:
    """A store of six drives of noise."""
    spec = Spec(
        seed=3,
        simulator="envpool",
        size=size,
        hud=hud,
        steps=50,
        lead=0,
        mixture={"idle": 1.0},
        versions={"envpool": "1.2.5"},
    )
    with episodes.filling(folder, spec):
        for number in range(6):
            frames = np.stack([picture(100 * number + t, size) for t in range(20)])
            episodes.write(folder, drive_of(number, 20, hud=hud)._replace(frames=frames))
    return folder


def barred(folder: Path, bar: bool, size: int = 64) -> Path:
    """A folder of pictures that look like frames, with the bar or without."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    for number in range(12):
        pixels = np.full((size, size, 3), (102, 204, 102), np.uint8)
        pixels[:, size // 3 : size // 2] = 105
        if bar:
            pixels[size * 84 // 96 :] = 0
            pixels[-4:-1, size // 4 : size // 4 + 3] = 255
        pixels[:8, :8] = dice.integers(0, 256, (8, 8, 3))
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def an_eye(home: Path, name: str, data: str, path: Path) -> Path:
    """A run of an eye on some data."""
    text = f'model = "vae"\nbatch = 4\n[data]\nname = "{data}"\npath = "{path}"\n'
    text += f"[hyper]\nwidth = 2\nz_size = {Z}"
    return made(home, text, name)


def older(run: Path) -> Path:
    """The run as it was before views were recorded."""
    (run / "view.json").unlink()
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Stores `plain` and `bar`, their eyes `eye` and `bar_eye`, codes of both,
    and a memory each."""
    folder = tmp_path_factory.mktemp("view")
    for hud, prefix in (False, ""), (True, "bar_"):
        recordings(folder / f"{prefix}store", hud)
        an_eye(folder, f"{prefix}eye", "racing", folder / f"{prefix}store")
        encode(
            reopen(folder / f"{prefix}eye", None),
            Stored(Store(folder / f"{prefix}store")),
            folder / f"{prefix}codes",
        )
        hyper = (
            "[hyper]\nunits = 5\nmixtures = 2\nweight_reward = 1.0\nweight_end = 1.0\ncontext = 3"
        )
        made(
            folder,
            f'model = "world_memory"\nbatch = 4\n{codes(folder / f"{prefix}codes")}\n{hyper}',
            f"{prefix}memory",
        )
    return folder


def controller(home: Path, name: str, prefix: str, *hyper: str) -> Path:
    """A run of a controller, in dreams unless something else is said."""
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    lines = [
        "[hyper]",
        "population = 4",
        "steps = 4",
        f'memory = "{home / f"{prefix}memory"}"',
        *hyper,
    ]
    return made(
        home,
        f'model = "world_controller"\nbatch = 2\n{codes(home / f"{prefix}codes")}\n'
        + "\n".join(lines),
        name,
    )


# Views


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"hud": True}, "hud"),
        ({"size": 32}, "size"),
        ({"channels": 1}, "channels"),
        ({"crop": (96, 96)}, "crop"),
        ({"rate": 25}, "rate"),
        ({"range": (0.0, 1.0)}, "range"),
    ],
)
def test_whatever_changes_what_is_seen_is_compared(change, name):
    other = msgspec.structs.replace(WORLD, **change)
    with pytest.raises(
        Mistake, match=rf"^eye has view.{name} = .*, frames has .*; allowed: one view"
    ) as caught:
        same(WORLD, "eye", other, "frames")
    assert "\n" not in str(caught.value)
    unknown = msgspec.structs.replace(other, **{name: None})
    same(WORLD, "eye", unknown, "frames")
    same(WORLD, "eye", None, "frames")


def test_the_bar_is_seen_in_pictures(tmp_path):
    """Of folders, which nobody describes; frames of the game itself."""
    for bar in False, True:
        files = sorted(barred(tmp_path / str(bar), bar).iterdir())
        x = (
            torch.stack(
                [
                    torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1)
                    for file in files
                ]
            )
            / 127.5
            - 1
        )
        assert of_pictures(x).hud is bar
    assert of_pictures(torch.full((4, 3, 64, 64), -1.0)).hud is False, "all black is no bar"
    racing = pytest.importorskip("simulacra.envs.carracing.racing")
    pytest.importorskip("envpool", reason="the extra `worlds` is not installed")
    for bar in False, True:
        with racing.Pool("envpool", [5, 6], hud=bar) as pool:
            pool.reset()
            frames = [pool.step(np.full((2, 3), 0.3)).frames for _ in range(60)]
        assert of_pictures(torch.from_numpy(np.concatenate(frames)).float() / 127.5 - 1).hud is bar


# Records


def test_every_part_records_what_it_sees(home):
    for hud, prefix in (False, ""), (True, "bar_"):
        view = of_frames(64, hud)
        assert Store(home / f"{prefix}store").view == view
        assert Codes(Options(path=str(home / f"{prefix}codes"), length=8), None).view == view
        dreamer = controller(home, f"{prefix}dreamer_recorded", prefix, 'world = "dream"')
        for run in home / f"{prefix}eye", home / f"{prefix}memory", dreamer:
            assert seeing.recorded(run) == view
            assert json.loads((run / "view.json").read_text())["hud"] is hud


def test_a_packed_run_keeps_its_view(home, tmp_path):
    export(reopen(home / "bar_eye", None), tmp_path / "packed")
    assert seeing.of_run(reopen(tmp_path / "packed", None)) == (of_frames(64, True), ())
    folder = Path(__file__).parents[2] / "zoo"
    for place in "racing", "racing/eye", "dreamer", "dreamer/eye", "vaegan_racing":
        known = seeing.of_run(reopen(folder / place, None))
        assert known.view.hud is False and not known.notes, place


def test_older_eyes_are_asked_what_they_were_trained_on(home, tmp_path):
    """Their store; pictures, which show the bar or not;
    where nothing is left, what is assumed is said."""
    eye = older(an_eye(tmp_path, "old", "racing", home / "bar_store"))
    assert seeing.of_run(reopen(eye, None)) == (of_frames(64, True), ())
    for bar in False, True:
        path = barred(tmp_path / f"pictures_{bar}", bar)
        eye = older(an_eye(tmp_path, f"of_{bar}", "folder", path))
        assert seeing.of_run(reopen(eye, None)).view.hud is bar
    path.rename(tmp_path / "gone")
    found = seeing.of_run(reopen(eye, None))
    assert (
        found.view.hud is False
        and "does not say whether" in found.notes[0]
        and "assumed" in found.notes[0]
    )


# Meetings


@pytest.mark.parametrize("age", ["new", "old"])
@pytest.mark.parametrize(("eye", "there"), [("eye", "bar_store"), ("bar_eye", "store")])
def test_an_eye_encodes_what_it_sees(home, tmp_path, eye, there, age):
    seen = home / eye
    if age == "old":
        seen = older(an_eye(tmp_path, "old", "racing", home / eye.replace("eye", "store")))
    with pytest.raises(Mistake, match=DIFFERENT):
        encode(reopen(seen, None), Stored(Store(home / there)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_eye_of_a_folder_encodes_what_it_sees(home, tmp_path):
    eye = an_eye(tmp_path, "eye", "folder", barred(tmp_path / "pictures", True))
    with pytest.raises(Mistake, match=DIFFERENT):
        encode(reopen(eye, None), Stored(Store(home / "store")), tmp_path / "out")
    encode(reopen(eye, None), Stored(Store(home / "bar_store")), tmp_path / "out")
    small = recordings(tmp_path / "small", False, 32)
    with pytest.raises(Mistake, match=r"view.size = 64, .* has 32"):
        encode(reopen(home / "eye", None), Stored(Store(small)), tmp_path / "other")


def test_codes_of_one_folder_show_one_thing(home, tmp_path):
    for prefix in "", "bar_":
        for path in (home / f"{prefix}codes").iterdir():
            (tmp_path / f"{prefix}{path.name}").write_bytes(path.read_bytes())
    with pytest.raises(Mistake, match=DIFFERENT):
        Codes(Options(path=str(tmp_path), length=8), None)


def test_a_memory_does_not_go_on_with_other_codes(home, tmp_path):
    """Nor is it measured on them."""
    memory = reopen(home / "memory", None)
    source = Codes(Options(path=str(home / "bar_codes"), length=8), None)
    with pytest.raises(Mistake, match=DIFFERENT):
        world_report.of_memory(memory, source, 5, 0)
    coded.folder(tmp_path / "codes", Z=Z, eye=coded.OTHER)
    with pytest.raises(Mistake, match="of eye"):
        world_report.of_memory(
            memory, Codes(Options(path=str(tmp_path / "codes"), length=8), None), 5, 0
        )


def test_an_eye_is_measured_on_what_it_sees(home):
    source = reopen(home / "bar_eye", None).data()
    with pytest.raises(Mistake, match=DIFFERENT):
        world_report.of_eye(reopen(home / "eye", None), source, 10, 0)


def test_a_run_does_not_go_on_with_other_frames(home, tmp_path):
    """The store was collected anew, with the bar."""
    recordings(tmp_path / "store", False)
    run = an_eye(tmp_path, "eye", "racing", tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "was")
    recordings(tmp_path / "store", True)
    assert seeing.recorded(run) == of_frames(64, False)
    with pytest.raises(Mistake):
        an_eye(tmp_path, "eye", "racing", tmp_path / "store")


@pytest.mark.parametrize("hud", [False, True])
def test_an_agent_is_recorded_with_what_it_sees(home, tmp_path, monkeypatch, hud):
    prefix = "bar_" * hud
    run = controller(
        home, f"recorder_{hud}", prefix, 'world = "dream"', f'eye = "{home / f"{prefix}eye"}"'
    )
    agent = agent_of(reopen(run, None))
    assert agent.view == of_frames(64, hud)
    spec = msgspec.structs.replace(Store(home / "store").spec, hud=not hud)
    monkeypatch.setattr(collecting, "checked", lambda *_: spec)
    with pytest.raises(Mistake, match=DIFFERENT):
        collecting.collect(tmp_path / "out", 2, mixture={"agent": 1.0}, hud=not hud, agent=agent)
    assert not (tmp_path / "out").exists()


def worlds(monkeypatch) -> list[dict]:
    """What is asked of worlds of noise, which are shown in place of CarRacing."""
    from tasks.test_driving import Noise

    asked: list[dict] = []

    def factory(name, threads=1):
        def of(some, **how):
            asked.append(how)
            return Noise(some)

        return of

    monkeypatch.setattr(artefacts, "factory", factory)
    monkeypatch.setattr("simulacra.tasks.worlds.score.version", lambda name: "0")
    return asked


@pytest.mark.parametrize("hud", [False, True])
def test_the_world_is_shown_as_the_eye_saw_it(home, tmp_path, monkeypatch, hud):
    """In scores, films and searches; that it has the bar is said."""
    asked, prefix = worlds(monkeypatch), "bar_" * hud
    eye = f'eye = "{home / f"{prefix}eye"}"'
    dreamer = reopen(controller(home, f"shown_{hud}", prefix, 'world = "dream"', eye), None)
    found = score(dreamer, Course("envpool", 2), tmp_path / "score.csv")
    assert any("with the bar" in note for note in found.get("notes", [])) is hud
    trip = drive(dreamer, tmp_path / "drive.gif", track=3, steps=3, screen=Screen())
    assert any("with the bar" in note for note in trip.notes) is hud
    run = controller(home, f"driven_{hud}", prefix, 'world = "envpool"', eye)
    assert len(asked) >= 4 and all(how == ({"hud": True} if hud else {}) for how in asked)
    assert seeing.recorded(run) == of_frames(64, hud)
    agent_of(reopen(run, None))
    if hud:  # an older search drove without the bar, whatever its eye had seen
        older(run)
        with pytest.raises(Mistake, match=DIFFERENT):
            agent_of(reopen(run, None))
    else:
        assert agent_of(reopen(older(run), None)).view == WORLD


def test_an_agent_does_not_see_with_an_eye_that_sees_other_frames(home):
    """Told by the view, before hashes are compared."""
    dreamer = controller(home, "swapped", "", 'world = "dream"', f'eye = "{home / "eye"}"')
    with pytest.raises(Mistake, match=DIFFERENT):
        agent_of(reopen(dreamer, None), home / "bar_eye")


def test_an_eye_whose_pictures_no_world_shows_is_refused_before_a_search(home, tmp_path):
    recordings(tmp_path / "small", False, 32)
    small = an_eye(tmp_path, "small_eye", "racing", tmp_path / "small")
    with pytest.raises(Mistake, match=r"view.size = 32, the world has 64"):
        artefacts.eye_at(str(small))


def test_a_damaged_record_is_one_line(home, tmp_path):
    eye = an_eye(tmp_path, "eye", "racing", home / "store")
    (eye / "view.json").write_text('{"hud": "perhaps"}')
    with pytest.raises(Mistake, match="cannot read the view of"):
        seeing.of_run(reopen(eye, None))
    assert packed.is_packed(eye) is False and View() == View()
