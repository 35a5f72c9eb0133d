"""World Models of a game that `simulacra new game` wrote, from nothing to a score; what is recorded
there, by players and by other people; and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from unittest import mock

import av
import numpy as np
import pytest
import torch
from tiny import equal, scribble

from simulacra.core import config, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.data.codes import Codes
from simulacra.data.codes import Options as CodesOptions
from simulacra.data.episodes import Episodes, Options
from simulacra.envs import game as games
from simulacra.envs.episodes import Store, number_of
from simulacra.envs.game import Game, find
from simulacra.envs.view import UNSET, View, same
from simulacra.io import paint
from simulacra.models.world import artefacts
from simulacra.models.world.agent import agent_of
from simulacra.models.world.dreaming import squashed
from simulacra.tasks.new import GAME, new
from simulacra.tasks.worlds.encode import Stored, encode
from simulacra.tasks.worlds.game_world import EXTENTS, GameSite, changes, game_world, judged
from simulacra.tasks.worlds.received import receive
from simulacra.tasks.worlds.record import record

for package in ("cma", "gymnasium"):
    pytest.importorskip(package, reason="the extra `worlds` is not installed")

SHORT = {"record": ["episodes=4", "learnt=2", "steps=12"]}
SHORT |= {stage: ["steps=2", "save_every=2", "log_every=2"] for stage in ("eye", "memory")}
SHORT |= {
    stage: ["steps=1", "save_every=1", "log_every=1", "hyper.population=4", "hyper.steps=6"]
    for stage in ("dream", "controller")
}


@pytest.fixture(scope="module")
def catch(tmp_path_factory) -> Game:
    """A game of one's own."""
    (path,) = new("catch", tmp_path_factory.mktemp("mine"), GAME)
    found = find(str(path))
    yield found
    games.LOADED.pop("catch", None)


@pytest.fixture(scope="module")
def built(catch, tmp_path_factory) -> tuple[GameSite, dict]:
    """All stages done, and the score."""
    site = GameSite(tmp_path_factory.mktemp("own"), catch, "vae", "tiny", changes=SHORT)
    with mock.patch.object(paint, "curves", scribble):
        return site, game_world(site)


def test_every_stage_is_made_of_the_one_before(built):
    site, found = built
    assert found["n"] == EXTENTS["tiny"].judged and found["solved"] is None
    assert (found["game"], found["solved_from"]) == ("catch", 2.5)
    eyes = [artefacts.eye_of(reopen(site.path("eye", turn), None)).hash for turn in (0, 1)]
    for turn, eye in enumerate(eyes):
        memory = reopen(site.path("memory", turn), None).model
        assert bytes(memory.M.eye.tolist()).hex() == eye
        assert {
            one.eye
            for one in Codes(
                CodesOptions(path=str(site.path("codes", turn)), pad=True), None
            ).episodes
        } == {eye}
    assert len(list(site.path("codes", 1).glob("*.safetensors"))) == 6
    assert (
        Store(site.path("learnt", 1)).spec.agent
        == agent_of(reopen(site.path("dream"), None), site.path("eye")).hash
    )
    last = reopen(site.path("controller"), None).config
    assert (last.hyper.world, last.hyper.squash) == ("gymnasium", "argmax")
    assert last.init_from == str(site.path("dream", 1)) and judged(site) == site.path("controller")
    rows = run.read_rows(site.folder / "stages.jsonl")
    assert {row["stage"] for row in rows} >= {"episodes", "eye_1", "codes", "controller"}


def test_a_memory_says_what_can_be_done_in_its_world(built):
    """Which whoever lets a person play it reads."""
    site, _ = built
    for stage in "eye", "memory", "dream", "controller":
        told = json.loads((site.path(stage) / "view.json").read_text())
        assert told["game"] == "catch"
        assert told["actions"] == {
            "kind": "discrete",
            "size": 3,
            "names": ["left", "none", "right"],
            "low": [],
            "high": [],
            "keys": {"left": "ArrowLeft", "none": "ArrowDown", "right": "ArrowRight"},
            "repeat": 1,
        }


def test_what_can_be_done_is_known_of_every_world(built, catch):
    assert artefacts.actions_of(catch.view()) == catch.does()
    racing = artefacts.actions_of(artefacts.WORLD)
    assert racing.names == ("steer", "gas", "brake") and racing.low == (-1, 0, 0)
    assert {key.split()[0] for key in racing.keys} == set(racing.names)
    assert artefacts.actions_of(View(size=64)) is artefacts.actions_of(None) is None


def test_what_is_done_is_left_alone(built):
    site, found = built
    files = {path: path.stat().st_mtime_ns for path in site.out.rglob("*.safetensors")}
    again = game_world(site)
    assert again["mean"] == found["mean"] and len(files) > 10
    assert files == {path: path.stat().st_mtime_ns for path in site.out.rglob("*.safetensors")}


def test_agents_are_scored_and_filmed_by_the_command_line(built, simulacra, tmp_path, monkeypatch):
    site, found = built
    place = site.path("controller")
    text = simulacra("score", place, "--tracks", "2", "-o", tmp_path / "a.csv").success()
    assert f"mean {found['mean']:,.1f}" in text and "laps" not in text
    assert "solved (a mean of 2.5 over 100 episodes): not known" in " ".join(text.split())
    film = simulacra("drive", place, "-o", tmp_path / "a.gif", "--steps", "4", "--every", "2")
    assert "cut at 4 of at most 50 steps" in film.success()
    assert (
        "allowed: 1 to 50"
        in simulacra("drive", place, "-o", tmp_path / "a.gif", "--steps", "51").refusal()
    )
    simulacra("dream", place, "-o", tmp_path / "b.gif", "--steps", "4", "--count", "1").success()
    monkeypatch.setattr(games, "LOADED", {})
    told = simulacra("score", place, "--tracks", "2").refusal()
    assert "game = 'catch'" in told and "--game FILE" in told


def test_recordings_of_another_game_are_refused_as_eyes_are(built, catch, tmp_path):
    site, _ = built
    other = replace(catch, name="other")
    record(tmp_path / "store", other, 2, steps=6)
    seen = Stored(Store(tmp_path / "store"))
    with pytest.raises(Mistake, match=r"of game catch, .* of game other; allowed: one game"):
        encode(reopen(site.path("eye"), None), seen, tmp_path / "codes")
    agent = agent_of(reopen(site.path("controller"), None))
    with pytest.raises(Mistake, match=r"this agent's eye is of game catch, .* of game other"):
        record(tmp_path / "more", other, 2, mixture={"agent": 1.0}, agent=agent)
    with pytest.raises(Mistake, match=r"game racing, .* game catch"):
        same(Store(site.path("episodes")).view, "a", catch.view(), "b") or same(
            artefacts.WORLD, "the eye", catch.view(), "b"
        )
    slow = replace(catch, repeat=2)
    with pytest.raises(Mistake, match=r"3 choices, each for 1 step, .* each for 2 steps"):
        same(Store(site.path("episodes")).view, "the store", slow.view(), "the game")


@pytest.mark.parametrize(
    ("stage", "change", "says"),
    [
        (
            "dream",
            "hyper.squash=paper",
            "stage dream: .*actions of 2 numbers; squash = paper is for",
        ),
        ("memory", "hyper.weight_reward=0", "weight_reward|reward"),
        ("record", "episodes=1", "record.episodes = 1; allowed: 2 to 100,000"),
        ("record", "colour=1", "colour"),
    ],
)
def test_stages_that_do_not_fit_are_refused_before_anything_begins(
    stage, change, says, catch, tmp_path
):
    if change == "hyper.squash=paper":
        tanh = replace(catch, make=lambda: Still(catch.environment()), names=(), keys={})
        site = GameSite(tmp_path, tanh, "vae", "tiny", changes={stage: [change]})
    else:
        site = GameSite(tmp_path, catch, "vae", "tiny", changes={stage: [change]})
    with pytest.raises(Mistake, match=says):
        game_world(site)
    assert not list(tmp_path.iterdir())


class Still:
    """An environment with two numbers for actions."""

    metadata: ClassVar[dict] = {}

    def __init__(self, inner):
        import gymnasium

        self.action_space, self.inner = gymnasium.spaces.Box(-1, 1, (2,)), inner

    def close(self):
        self.inner.close()


def test_only_these_stages_are_changed():
    with pytest.raises(Mistake, match="refined"):
        changes(["refined.steps=3"])
    assert changes(["eye.steps=3", "record.rounds=0"]) == {
        "eye": ["steps=3"],
        "record": ["rounds=0"],
    }


def test_an_agent_of_dreams_alone_is_judged_by_its_dream(catch, tmp_path):
    site = GameSite(tmp_path, replace(catch, dream_only=True), "vae", "tiny")
    assert judged(site).name == "dream_1"
    with pytest.raises(Mistake, match=r"controller.steps=3: agents of catch are trained in dreams"):
        game_world(replace(site, changes={"controller": ["steps=3"]}))


def test_recordings_follow_from_their_seed_and_say_what_broke(catch, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    found = record(one, catch, 3, 5, steps=9)
    record(two, catch, 2, 5, steps=9, at_once=1)
    record(two, catch, 3, 5, steps=9)
    for path in one.glob("episodes/*"):
        assert path.read_bytes() == (two / "episodes" / path.name).read_bytes()
        assert number_of(path) < 3
    assert found["game"] == "catch" and found["frames"] == 27 and found["broken"] == 0

    def make():
        made = catch.environment()
        inner, count = made.step, iter(range(100))

        def step(action):
            if next(count) == 4:
                raise OSError("the floor fell out")
            return inner(action)

        made.step = step
        return made

    told = record(tmp_path / "broken", replace(catch, make=make), 2, steps=9)
    full = Store(tmp_path / "broken")
    assert told["broken"] == 2 and [entry.length for entry in full.entries] == [5, 5]
    assert full.entries[0].facts.fault == "OSError: the floor fell out"
    assert not full.read(0, "ends").any(), "no end that the game has"
    assert Store(one).entries[0].facts.fault is UNSET
    with pytest.raises(Mistake, match="players agent; allowed: agent or learnt with an agent"):
        record(tmp_path / "x", catch, 2, mixture={"agent": 1})
    with pytest.raises(Mistake, match="steps = 51; allowed: 1 to 50"):
        record(tmp_path / "x", catch, 2, steps=51)


def test_a_search_goes_on_when_games_break(built, catch):
    """Its log says how many did."""
    site, _ = built
    opened = reopen(site.path("controller"), None)
    model, batch = opened.model, opened.examples(1)
    made = catch.environment
    count = iter(range(1000))

    def fails():
        environment = made()
        if next(count) % 3 == 0:
            environment.step = mock.Mock(side_effect=RuntimeError("lost"))
        return environment

    broken = replace(catch, make=fails)
    object.__setattr__(broken, "view", catch.view)
    eye, _ = model.open()
    from simulacra.envs.plays import Plays

    model.opened = eye, lambda seeds: Plays(broken, seeds)
    told = model.step(batch, 0)
    assert told["faults"] > 0 and torch.isfinite(told["loss"])


def test_several_stores_are_one_data_set(catch, tmp_path):
    record(tmp_path / "a", catch, 3, 1, steps=6)
    record(tmp_path / "b", catch, 4, 2, steps=6)
    data = Episodes(Options(path=str(tmp_path / "a"), more=(str(tmp_path / "b"),)), None)
    assert data.size("train") + data.size("held_out") == 7 * 6
    assert data.draw(0, 5, 0)["image"].shape == (5, 3, 64, 64)
    assert data.view == catch.view() and "game catch" in data.describe()["drives"]
    record(tmp_path / "c", replace(catch, name="other"), 2, 2, steps=6)
    with pytest.raises(Mistake, match=r"of game catch, .* of game other"):
        Episodes(Options(path=str(tmp_path / "a"), more=(str(tmp_path / "c"),)), None)


def test_episodes_that_are_too_short_are_filled_up_and_not_learnt(built):
    site, _ = built
    short = CodesOptions(path=str(site.path("codes")), length=20, pad=True)
    batch = Codes(short, None).draw(0, 3, 0)
    assert batch["mean"].shape[:2] == (3, 20) and batch["there"].sum(1).tolist() == [12] * 3
    assert torch.equal(batch["mean"][:, 11], batch["mean"][:, 19]), "its last step is repeated"
    model = reopen(site.path("memory"), None).model
    z, M = batch["mean"], model.average.module
    told = model.losses(M, z, batch)
    z[:, 12:] = 5.0
    assert equal(told, model.losses(M, z, batch))
    plain = {name: value[:, :12] for name, value in batch.items() if name not in ("eye", "there")}
    for name, value in model.losses(M, z[:, :12], plain).items():
        assert torch.allclose(value, told[name], atol=1e-5), name
    with pytest.raises(Mistake, match="no episode of split 'train' is that long"):
        Codes(CodesOptions(path=str(site.path("codes")), length=20), None)


def test_choices_are_one_for_the_largest_number():
    x = torch.tensor([[0.1, 3.0, -1.0], [2.0, 2.0, -5.0]])
    assert squashed("argmax", x).tolist() == [[0, 1, 0], [1, 0, 0]]


def film(path: Path, count: int) -> Path:
    """A film of so many frames, 32 x 48."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for t in range(count):
            picture = np.full((32, 48, 3), 20 * t, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_films_with_tables_become_a_store(catch, simulacra, tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in "a", "b":
        film(folder / f"{name}.mp4", 4)
    (folder / "a.csv").write_text("action,reward\nleft,0\n1,0\nright,1\nnone,0.5\n")
    (folder / "b.csv").write_text("action,reward,end\n0,0,0\n1,0,0\n2,1,0\n2,-3,1\n")
    simulacra("collect", "catch", "--from", folder, "-o", tmp_path / "store").success()
    store = Store(tmp_path / "store")
    assert store.view == catch.view() and len(store) == 2
    assert store.read(0, "actions").argmax(1).tolist() == [0, 1, 2, 1]
    assert store.read(1, "rewards").tolist() == [0, 0, 1, -3]
    assert store.read(1, "ends").tolist() == [False] * 3 + [True]
    assert np.allclose(store.read(0, "frames").mean((1, 2, 3)), [0, 20, 40, 60], atol=3)

    wrong = {
        "action,reward\nup,0\n": "a.csv, line 2: action = 'up'; allowed: left, none, right",
        "action,reward\nleft,0\nleft,a lot\n": "a.csv, line 3: reward = 'a lot'; allowed: finite",
        "action,reward\nleft,0\n3,0\n": "a.csv, line 3: action = '3'; allowed: left, none, right",
        "action\nleft\n": "a.csv, line 1: no column 'reward'; needed: action, reward",
        "action,reward\nleft\n": "a.csv, line 2: 1 cells; allowed: 2",
        "action,reward,end\nleft,0,1\nleft,0,0\n": "a.csv, line 2: the game ends",
        "action,reward\nleft,0\n": "a.csv has 1 rows, a.mp4 4 frames; allowed: a row a frame",
    }
    for text, words in wrong.items():
        (folder / "a.csv").write_text(text)
        with pytest.raises(Mistake, match=words.replace("'", ".").replace("(", ".")):
            receive(tmp_path / "new", catch, folder)
        assert not list(tmp_path.glob("new/episodes/*"))
    (folder / "a.csv").unlink()
    with pytest.raises(Mistake, match=r"film .*/a has no table beside it; needed: a.csv"):
        receive(tmp_path / "new", catch, folder)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(Mistake, match=r"holds no recordings; allowed: NAME.mp4 with NAME.csv"):
        receive(tmp_path / "new", catch, folder)


def test_hdf5_as_minari_writes_it_becomes_a_store(catch, tmp_path):
    h5py = pytest.importorskip("h5py", reason="the package h5py is not installed")
    folder = tmp_path / "theirs"
    folder.mkdir()
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for name, T in ("episode_0", 3), ("episode_1", 5):
            group = file.create_group(name)
            group["observations"] = np.full((T + 1, 32, 48, 3), 90, np.uint8)
            group["actions"] = np.arange(T) % 3
            group["rewards"] = np.arange(T, dtype=float)
            group["terminations"] = np.arange(T) == T - 1
    found = receive(tmp_path / "store", catch, folder)
    store = Store(tmp_path / "store")
    assert found["ended_by_the_game"] == 2 and [one.length for one in store.entries] == [3, 5]
    assert store.read(1, "actions").argmax(1).tolist() == [0, 1, 2, 0, 1]
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        file["episode_1/actions"][2] = 7
    with pytest.raises(Mistake, match=r"main_data.hdf5, episode_1: actions .* 0 to 7; allow"):
        receive(tmp_path / "again", catch, folder)


def test_configs_of_games_take_the_models_that_they_name():
    for name, model in (
        ("vae", "vae"),
        ("memory", "world_memory"),
        ("controller", "world_controller"),
    ):
        assert config.resolve(f"{name}_game", "laptop", []).model == model


def test_the_preset_for_tests_dreams_of_the_shortest_plays() -> None:
    """What it is told before a dream, and one step more: six plays of CartPole may have no six."""
    checked = config.resolve("controller_game", "tiny")
    assert checked.data.length == checked.hyper.context + 1
