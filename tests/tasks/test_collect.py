"""Collecting: an episode follows from its number,
a killed collection goes on, nothing is doubled."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from simulacra.core.errors import Mistake
from simulacra.envs import episodes
from simulacra.envs.carracing.racing import Pool
from simulacra.envs.episodes import Store
from simulacra.tasks.worlds import collect as verb
from simulacra.tasks.worlds.collect import collect, plan, record

for package in "gymnasium", "Box2D", "envpool":
    pytest.importorskip(package, reason=f"CarRacing needs {package}, of the extra worlds")

SHORT = {"steps": 25, "seed": 5, "mixture": {"scripted": 1, "brownian": 1}}


def digests(folder) -> dict[str, str]:
    """A hash of each episode's bytes."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "episodes").iterdir())
    }


def spec(**changes) -> episodes.Spec:
    """What `collect` makes of its arguments."""
    asked = {
        "seed": 5,
        "mixture": {"scripted": 1.0},
        "simulator": "envpool",
        "steps": 25,
        "lead": 0,
        "size": 64,
        "hud": False,
    }
    return verb.checked(**(asked | changes))


def test_what_is_collected(tmp_path):
    heard = []
    found = collect(tmp_path, 6, **SHORT, notify=lambda what, share: heard.append(share))
    kept = Store(tmp_path)
    assert len(kept) == 6 and [one.facts.number for one in kept.entries] == list(range(6))
    assert len({one.facts.track for one in kept.entries}) == 6 and heard[0] == 0 and heard[-1] == 1
    for episode in kept:
        assert (
            episode.frames.shape == (25, 3, 64, 64)
            and len(episode.rewards) == 25
            and not episode.ends.any()
        )
        assert episode.frames.std() > 10 and not np.array_equal(
            episode.frames[0], episode.frames[-1]
        )
        assert episode.rewards[0] == pytest.approx(
            2000 / round(2000 / (episode.rewards[0] + 0.1)) - 0.1, abs=1e-3
        )
    assert found["episodes"] == 6 and found["frames"] == 150 and 0.9 < found["on_road"] <= 1
    assert (
        sum(found["speed"].values()) == pytest.approx(1, abs=1e-3)
        and sum(found["drivers"].values()) == 6
    )
    assert found["lateral"]["50%"] <= found["lateral"]["90%"] <= found["lateral"]["99%"] < 10
    assert set(found["returns"]) <= {"scripted", "brownian"} and found["terminated"] == 0


def test_an_episode_follows_from_its_number(tmp_path):
    """Not from how many are driven at once, nor from when."""
    collect(tmp_path / "one", 5, **SHORT, at_once=1)
    collect(tmp_path / "two", 2, **SHORT, at_once=4)
    collect(tmp_path / "two", 5, **SHORT, at_once=4)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    collect(tmp_path / "other", 1, **(SHORT | {"seed": 6}))
    assert (
        digests(tmp_path / "other")["00000000.safetensors"]
        not in digests(tmp_path / "one").values()
    )
    (tmp_path / "one/episodes/00000002.safetensors").unlink()
    before = (tmp_path / "one/episodes/00000003.safetensors").stat().st_mtime_ns
    collect(tmp_path / "one", 5, **SHORT)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert (tmp_path / "one/episodes/00000003.safetensors").stat().st_mtime_ns == before, (
        "what is there is not made again"
    )


CODE = """
from pathlib import Path
import sys
from simulacra.tasks.worlds.collect import collect
collect(Path(sys.argv[1]), 400, seed=5, mixture={"scripted": 1, "brownian": 1}, steps=25, at_once=1)
"""


def test_episodes_may_be_driven_anywhere_in_any_order(tmp_path):
    """As on many machines: each list of numbers by itself, the last one first, from a copy of all
    that it needs."""

    def elsewhere(work, items):
        def asked(item):
            return pickle.loads(pickle.dumps(partial(work, item)))()

        return [asked(item) for item in reversed(list(items))][::-1]

    short = SHORT | {"steps": 8, "at_once": 1}
    collect(tmp_path / "here", 3, **short)
    collect(tmp_path / "there", 3, **short, over=elsewhere)
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_a_killed_collection_goes_on(tmp_path):
    """Killed at any moment: every file that is there is whole,
    and what follows is as if nothing had happened."""
    home = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", CODE, str(home)]) as process:
        deadline = time.monotonic() + 300
        while len(list(home.glob("episodes/0*.safetensors"))) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    there = len(Store(home))
    assert 3 <= there < 400
    collect(home, there + 2, **SHORT)
    collect(tmp_path / "straight", there + 2, **SHORT)
    assert digests(home) == digests(tmp_path / "straight")


def test_truths_belong_to_the_frames(tmp_path):
    """The undrawn game beside envpool: what was paid until frame t is its share of the tiles at
    frame t, and two frames of a car that stands on the road's middle look alike whatever drew
    them."""
    (episode,) = record(spec(steps=300), [plan(spec(steps=300), 0)])
    share = episode.truths[:, 5]
    paid = np.concatenate([[0], (episode.rewards + 0.1).cumsum()[:-1] / 1000])
    assert share[-1] > 0.1
    assert np.abs(paid - share)[1:].max() < 0.01
    assert 10 < episode.truths[60:, 3].mean() < 100


def test_nothing_is_recorded_after_an_end(tmp_path, monkeypatch):
    """W7: full gas straight on leaves the field; other programs went on through the grass."""

    class Straight:
        def act(self, game):
            return np.array([0, 0.3, 0], np.float32)

    monkeypatch.setitem(verb.POLICIES, "idle", lambda seed: Straight())
    collect(tmp_path, 2, 0, {"idle": 1}, steps=1000)
    for i, episode in enumerate(Store(tmp_path)):
        assert 150 < len(episode.frames) < 450 and episode.rewards[-1] == -100, i
        assert np.flatnonzero(episode.ends).tolist() == [len(episode.ends) - 1]
        assert episode.facts.terminated and not episode.facts.lap_finished


def test_a_lead_begins_all_over_the_track():
    """Recording begins where the steady driver has come to, at most `lead` steps on."""
    wide = spec(steps=10, lead=250)
    plans = [plan(wide, number) for number in range(6)]
    assert len({one.lead for one in plans}) > 3 and max(one.lead for one in plans) <= 250
    for one, episode in zip(plans, record(wide, plans), strict=True):
        assert len(episode.frames) == 10 and episode.facts.start == one.lead
        if one.lead > 150:
            assert (
                episode.truths[0, 4] > 10
                and abs(episode.truths[0, 0]) < 6.7
                and episode.truths[0, 3] > 20
            )


def test_a_game_that_ends_in_its_lead_is_recorded_from_its_start(monkeypatch):
    wide = spec(steps=10, lead=200)
    one = plan(wide, 0)._replace(lead=200)
    limits = iter([50, 1000])
    made = Pool.__init__

    def short(self, kind, seeds, **options):
        made(self, kind, seeds, **(options | {"limit": next(limits)}))

    monkeypatch.setattr(Pool, "__init__", short)
    (episode,) = record(wide, [one])
    assert episode.facts.start == 0 and len(episode.frames) == 10


def test_both_simulators_record_one_drive():
    """Equal truths; the rewards agree; only the pictures differ a little."""
    one, two = (
        record(spec(simulator=kind), [plan(spec(), 1)])[0] for kind in ("envpool", "gymnasium")
    )
    assert np.array_equal(one.truths, two.truths) and np.array_equal(one.actions, two.actions)
    assert one.rewards.sum() == pytest.approx(two.rewards.sum(), abs=0.05)
    assert 0 < np.abs(one.frames.astype(float) - two.frames).mean() < 8


def test_shares_of_the_mixture():
    some = spec(mixture={"brownian": 1.0, "scripted": 3.0, "idle": 0.0})
    names = [plan(some, number).policy for number in range(400)]
    assert "idle" not in names and 70 < names.count("brownian") < 130
    assert names == [
        plan(spec(mixture={"scripted": 3.0, "idle": 0.0, "brownian": 1.0}), i).policy
        for i in range(400)
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"episodes": 0}, "episodes = 0"),
        (
            {"mixture": {"drunk": 1}},
            "unknown policy 'drunk'; there is: idle, brownian, random, scripted",
        ),
        (
            {"mixture": {"idle": 0}},
            "mixture = {'idle': 0}; allowed: shares of 0 or more, one of them above 0",
        ),
        ({"mixture": {"idle": float("nan")}}, "allowed: shares"),
        ({"mixture": {"idle": -1, "brownian": 3}}, "allowed: shares"),
        ({"mixture": {}}, "allowed: shares"),
        ({"simulator": "dosbox"}, "unknown simulator 'dosbox'"),
        ({"steps": 1001}, "steps = 1001; allowed: 1 to 1000"),
        ({"lead": 1000}, "lead = 1000; allowed: 0 to 999"),
        ({"seed": -1}, "seed = -1; allowed"),
        ({"at_once": 0}, "allowed: 1 or more"),
    ],
)
def test_refusals(tmp_path, changes, told):
    with pytest.raises(Mistake) as caught:
        collect(tmp_path / "new", **({"episodes": 2} | changes))
    assert told in str(caught.value) and not (tmp_path / "new").exists()


def test_other_arguments_are_refused_with_their_names(tmp_path):
    collect(tmp_path, 1, **SHORT)
    with pytest.raises(Mistake, match=r"holds other episodes: steps is 25 there, 26 asked"):
        collect(tmp_path, 2, **(SHORT | {"steps": 26}))


def test_the_command_line_collects(tmp_path, simulacra):
    home = tmp_path / "racing"
    words = (
        "collect",
        "racing",
        "--episodes",
        2,
        "--steps",
        5,
        "--driver",
        "scripted=3",
        "--driver",
        "idle",
    )
    said = simulacra(*words, "-o", home)
    assert said.code == 0 and "on_road" in said.out and len(Store(home)) == 2
    said = simulacra(*words, "-o", home, "--json")
    assert json.loads(said.out)["frames"] == 10
    assert simulacra("data", "show", "racing", "--data", tmp_path).code == 0
    for wrong, told in (
        (("--episodes", 0), "episodes = 0"),
        (("--episodes", 2, "--driver", "idle=x"), "driver = idle=x; allowed: a name and its share"),
        (("--episodes", 2, "--steps", 6), "steps is 5 there, 6 asked"),
    ):
        said = simulacra(
            "collect",
            "racing",
            "-o",
            home,
            "--steps",
            5,
            "--driver",
            "scripted=3",
            "--driver",
            "idle",
            *wrong,
        )
        assert said.code == 2 and told in said.err, told
    assert simulacra("collect", "doom", "-o", home, "--episodes", 1).code == 2


def test_learnt_drives_need_an_agent_and_no_others_have_one(tmp_path):
    for name in "learnt", "agent":
        with pytest.raises(
            Mistake, match=rf"drivers {name}; allowed: learnt or agent with an agent"
        ):
            collect(tmp_path / "store", 1, mixture={name: 1.0})
    assert not (tmp_path / "store").exists()
