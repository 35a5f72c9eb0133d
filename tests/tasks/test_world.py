"""All stages in one go: each is there, made of the one before,
and left alone when the same command is given again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from simulacra.core import config, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.envs.carracing.tracks import SELECTION
from simulacra.envs.episodes import Spec, filling
from simulacra.metrics.world.returns import Row, Score, read_csv
from simulacra.models.world import artefacts
from simulacra.tasks.worlds import _ledger
from simulacra.tasks.worlds.world import (
    EXTENTS,
    Site,
    Stopped,
    arm,
    changes,
    chosen,
    controller,
    dream,
    eye,
    memory,
    planned,
    refined,
    searches,
    until,
    validate,
    world,
)

for package in ("cma", "envpool", "gymnasium"):
    pytest.importorskip(package, reason="the extra `worlds` is not installed")

SHORT = {stage: ["steps=4", "save_every=4"] for stage in ("eye", "memory")} | {
    stage: ["steps=2", "save_every=2", "hyper.population=4"]
    for stage in ("dream", "controller", "refined")
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Site, list[str]]:
    """A site where all stages are done, and what it told of."""
    heard: list[str] = []
    out = tmp_path_factory.mktemp("world")
    site = Site(out, "vae", "tiny", notify=lambda stage, share: heard.append(stage), changes=SHORT)
    world(site)
    return site, list(dict.fromkeys(heard))


def test_every_stage_is_made_of_the_one_before(built):
    site, heard = built
    told = [
        "score of refined of vae",
        "selection of controller of vae",
        "selection of refined of vae",
    ]
    assert heard[:2] == ["drives: racing", "drives: distracted"] and heard[-3:] == told
    eye = artefacts.eye_of(reopen(site.path("eye"), None)).hash
    for turn in 0, 1:
        model = reopen(site.path("memory", turn), None).model
        assert bytes(model.M.eye.tolist()).hex() == eye
    begun, last = (
        (checked := reopen(site.path("controller"), None).config).init_from,
        checked.hyper,
    )
    assert (last.memory, last.world) == (str(site.path("memory", 1)), "envpool")
    tables = {
        site.folder / f"dream_1{seed}": read_csv(site.folder / f"selection_dream_1{seed}.csv")
        for seed in ("", "_seed1")
    }
    assert begun == str(max(tables, key=lambda path: tables[path].summary().mean))
    assert all(
        [row.track for row in table.rows] == list(SELECTION[:2]) for table in tables.values()
    )
    refined = reopen(site.path("refined"), None).config
    assert (refined.hyper.memory, refined.init_from, refined.hyper.world) == (
        last.memory,
        str(site.path("controller")),
        "envpool",
    )
    assert len(list(site.path("codes").iterdir())) == EXTENTS["tiny"].episodes["distracted"]
    assert len(list(site.path("codes", 1).glob("learnt_1_*"))) == EXTENTS["tiny"].learnt
    assert (
        len(site.path("score").with_suffix(".csv").read_text().splitlines())
        == 1 + EXTENTS["tiny"].tracks
    )
    rows = run.read_rows(site.path("refined") / "metrics.jsonl")
    assert {row["eye"] for row in rows} == {eye}
    for tracks in "official", "selection":
        assert [row["metric"] for row in rows if row["tracks"] == tracks] == [
            "return",
            "lap_finished",
            "progress",
        ]


def test_what_each_stage_took_and_was_worth_is_written_down(built):
    site, _ = built
    heads, _, *lines = (site.folder / "stages.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    names = [row[0] for row in rows]
    assert "2 selection tracks, envpool" in heads and names[-1] == "all of these"
    assert names[:5] == ["racing", "distracted", "vae/eye", "vae/codes", "vae/memory"]
    begun = str(Path(reopen(site.path("controller"), None).config.init_from).relative_to(site.out))
    assert (
        names[-5:-1] == [begun, "vae/controller", "vae/refined", "scores"]
        and names.count(begun) == 1
    )
    at = dict(zip(names, rows, strict=True))
    drove = {
        name: read_csv(site.folder / f"selection_{Path(name).name}.csv") for name in names[-5:-2]
    }
    means = {name: score.summary().mean for name, score in drove.items()}
    assert all(at[name][2].startswith(f"{round(mean)} [") for name, mean in means.items())
    gained = means["vae/refined"] - means["vae/controller"]
    assert not at[begun][3] and at["vae/refined"][3].startswith(f"{round(gained)} [")
    assert float(at["scores"][1]) > 0 and not any(row[2] for row in rows[:-5])
    (spent,) = [
        row["seconds"]
        for row in run.read_rows(site.out / "stages.jsonl")
        if row["stage"] == "racing"
    ]
    assert at["racing"][1] == f"{spent / 60:.1f}"


def test_a_ledger_adds_what_sittings_took(tmp_path, monkeypatch):
    ledger, place, ticks = (
        tmp_path / "stages.jsonl",
        tmp_path / "codes",
        iter([0.0, 30.0, 100.0, 190.0, 200.0]),
    )
    monkeypatch.setattr(_ledger.time, "monotonic", lambda: next(ticks))
    with pytest.raises(KeyboardInterrupt), _ledger.timed(ledger, "codes", place):
        place.mkdir()
        raise KeyboardInterrupt
    with _ledger.timed(ledger, "codes", place):
        (place / "0").touch()
    with _ledger.timed(ledger, "codes", place):
        pass  # all was done
    assert [row["seconds"] for row in run.read_rows(ledger)] == [30.0, 90.0]
    assert _ledger.minutes(ledger, "codes", place) == 2.0
    assert _ledger.minutes(ledger, "eye", tmp_path / "eye") is None
    (tmp_path / "clock.jsonl").write_text(
        '{"step": 1, "seconds": 60}\n{"step": 2, "seconds": 90}\n'
    )
    assert _ledger.minutes(ledger, "codes", tmp_path) == 1.5  # a run has a clock of its own


def test_a_gain_is_paired_by_track():
    one, other = (
        Score(tuple(Row(i, value, 1000, 0.0, 0.5) for i, value in enumerate(values)))
        for values in ([1, 5], [4, 8])
    )
    told = _ledger.table(
        [_ledger.Stage("a", None, one), _ledger.Stage("b", 2.0, other, one)], "2 tracks"
    ).splitlines()
    assert told[0] == "| stage | minutes | score on 2 tracks | gain, track by track |"
    assert told[2].startswith("| a |  | 3 [-22, 28] |  |")
    assert (
        told[3] == "| b | 2.0 | 6 [-19, 31] | 3 [3, 3] |"
        and told[4] == "| all of these | 2.0 | | |"
    )


def test_what_is_done_is_left_alone(built):
    site, _ = built
    files = [path for path in site.out.rglob("*") if path.suffix in (".pt", ".safetensors", ".csv")]
    before = {path: path.stat().st_mtime_ns for path in files}
    ledger = (site.out / "stages.jsonl").read_bytes()
    again = world(site)
    assert (site.out / "stages.jsonl").read_bytes() == ledger
    assert (
        before == {path: path.stat().st_mtime_ns for path in files}
        and len(again.rows) == EXTENTS["tiny"].tracks
    )


def test_an_arm_has_controllers_of_several_seeds(built):
    site, _ = built
    found = arm(site, 2)
    assert (
        len(found.scores) == 2
        and found.memory is not None
        and found.memory.folder == site.path("memory")
    )
    assert run.config_of(site.folder / "dream_seed1")["seed"] == 1
    assert {path.name for path in site.folder.glob("score_*.csv")} == {
        "score_dream.csv",
        "score_dream_seed1.csv",
    }


def test_a_stopped_training_stops_the_rest(built, monkeypatch, tmp_path):
    site, _ = built
    monkeypatch.setattr(
        "simulacra.tasks.worlds.world.train",
        lambda *_, **__: type("Outcome", (), {"done": False, "step": 3, "status": 143}),
    )
    with pytest.raises(Stopped, match="stage eye at step 3; the same command goes on"):
        world(site)


@pytest.mark.parametrize("preset", EXTENTS)
def test_each_preset_asks_for_a_memory_that_can_be_dreamt_in(preset, monkeypatch, tmp_path):
    """The paper's preset of memories has no heads,
    as published, yet this command dreams in them."""
    asked, begun = {}, {}

    def note(checked, folder, *_, **__):
        asked[folder.name], begun[folder.name] = checked.hyper, checked.init_from
        return type("Outcome", (), {"done": True})

    def by_name(site, run, course):
        return Score((Row(0, 100.0 if run.name.endswith("_seed1") else 50.0, 1000, 0.0, 0.5),))

    monkeypatch.setattr("simulacra.tasks.worlds.world.train", note)
    monkeypatch.setattr("simulacra.tasks.worlds.world.scored", by_name)
    site = Site(tmp_path, "vae", preset)
    for turn in 0, 1:
        memory(site, turn)
        dream(site, turn)
    controller(site, chosen(site))
    assert all(
        asked[name].weight_reward and asked[name].weight_end for name in ("memory", "memory_1")
    )
    assert (
        begun["memory_1"] == str(site.path("memory"))
        and asked["memory_1"].mixture == asked["memory"].mixture
    )
    assert all(asked[name].world == "dream" and not begun[name] for name in ("dream", "dream_1"))
    refined(site)
    assert asked["controller"].world == asked["refined"].world == "envpool"
    assert begun["refined"] == str(site.path("controller"))
    assert {asked[name].arm for name in ("dream", "dream_1")} == {
        "full" if preset == "paper" else "z_only"
    }
    assert asked["controller"].arm == asked["refined"].arm == "full"
    assert begun["controller"] == str(site.path("dream", EXTENTS[preset].rounds)) + "_seed1" * (
        preset != "paper"
    )


@pytest.mark.parametrize("preset", EXTENTS)
def test_a_vaegan_goes_on_from_the_vae_of_the_same_frames(preset, monkeypatch, tmp_path):
    """But for the paper's, whose nets are others.
    Changes of hyperparameters are the VAE-GAN's alone."""
    asked = {}

    def note(checked, folder, *_, **__):
        asked[folder] = checked
        return type("Outcome", (), {"done": True})

    monkeypatch.setattr("simulacra.tasks.worlds.world.train", note)
    site = Site(tmp_path, "vaegan", preset, changes={"eye": ["seed=3", "hyper.gate=0.25"]})
    eye(site)
    first, last = asked.get(tmp_path / "vae" / "eye"), asked[site.path("eye")]
    assert (last.model, last.seed, last.hyper.gate) == ("vaegan", 3, 0.25) and (first is None) == (
        preset == "paper"
    )
    assert last.init_from == ("" if preset == "paper" else str(tmp_path / "vae" / "eye"))
    if first:
        assert (first.model, first.seed, first.hyper.z_size) == ("vae", 3, last.hyper.z_size)
    assert (last.hyper.shares == (1.0, 1.0, 0.0)) == (preset == "laptop")


def test_there_are_only_these_stages_and_eyes(tmp_path):
    with pytest.raises(Mistake, match="memories"):
        changes(["memories.steps=3"])
    assert changes(["eye.steps=3", "eye.batch=2", "dream.steps=1"]) == {
        "eye": ["steps=3", "batch=2"],
        "dream": ["steps=1"],
    }
    with pytest.raises(Mistake, match="eye"):
        world(Site(tmp_path, "glass"))
    for stage, wrong in (
        ("refined", "hyper.noise=-1"),
        ("eye", "hyper.colour=1"),
        ("memory", "experiment=brief"),
    ):
        for build in world, lambda site: arm(site, 1):
            with pytest.raises(Mistake, match=wrong.split("=")[0].rpartition(".")[2]):
                build(Site(tmp_path, "vae", changes={stage: [wrong]}))
    assert not list(Path(tmp_path).iterdir())


def driven_by(site: Site, turn: int, weights: str) -> None:
    """The drives of a round, as an agent of these weights made them."""
    spec = Spec(
        seed=11,
        simulator="envpool",
        size=64,
        hud=False,
        steps=9,
        lead=0,
        mixture={"agent": 1.0},
        agent=weights,
        versions={},
    )
    with filling(site.folder / f"learnt_{turn}", spec):
        pass


@pytest.fixture
def dreamt(monkeypatch):
    """Make what a finished search leaves, by its agent's name."""
    agents: dict[Path, str] = {}
    monkeypatch.setattr("simulacra.tasks.worlds._watched.agent_at", agents.__getitem__)

    def make(site: Site, turn: int, weights: str) -> None:
        place = site.path("dream", turn)
        place.mkdir(parents=True, exist_ok=True)
        (place / "done").touch()
        agents[place] = weights

    return make


def test_seeds_keep_their_rounds_apart(tmp_path, dreamt):
    """All that follows from an agent: what it drove, codes and memories of that.
    What comes before is shared."""
    zero, one = Site(tmp_path, "vae", "tiny", 0), Site(tmp_path, "vae", "tiny", 1)
    for stage in "eye", "codes", "memory":
        assert zero.path(stage) == one.path(stage)
    for stage in "learnt", "codes", "memory", "dream":
        assert (
            zero.path(stage, 1).name == f"{stage}_1"
            and one.path(stage, 1).name == f"{stage}_1_seed1"
        )
    dreamt(zero, 0, "aa")
    dreamt(one, 0, "bb")
    driven_by(zero, 1, "aa")
    assert (zero.path("learnt", 1).name, one.path("memory", 1).name) == (
        "learnt_1",
        "memory_1_seed1",
    )
    sites = searches(one)
    assert [path.name for path in sites] == ["dream_1_seed2", "dream_1_seed3"], (
        "several searches, in one memory"
    )
    assert {mine.path("memory", 1) for mine in sites.values()} == {one.path("memory", 1)}


def test_rounds_of_an_older_run_of_another_seed_go_on(tmp_path, dreamt):
    """Which carried no seed, whoever made them."""
    zero, one = Site(tmp_path, "vae", "tiny", 0), Site(tmp_path, "vae", "tiny", 1)
    dreamt(one, 0, "bb")
    driven_by(one, 1, "bb")
    assert (
        one.path("memory", 1).name == "memory_1" and zero.path("memory", 1).name == "memory_1_seed0"
    )
    dreamt(zero, 0, "aa")
    assert zero.path("codes", 1).name == "codes_1_seed0"


@pytest.mark.parametrize(
    ("stage", "change", "says"),
    [
        ("memory", "hyper.weight_reward=0", "weight_reward|no reward head|reward"),
        ("memory", "data.length=5000", "stage memory: data.length = 5000; allowed: up to 60"),
        ("dream", "hyper.context=10", "stage dream: .*context = 10; allowed: below the 10 steps"),
        ("dream", "hyper.arm=full", None),
        ("controller", "hyper.arm=z_only", None),
        (
            "refined",
            "hyper.arm=z_only",
            "stage refined: "
            "hyper.arm = z_only cannot go on from stage controller with hyper.arm = full",
        ),
        ("eye", "data.length=3", "stage eye: data.length = 3"),
    ],
)
def test_stages_that_do_not_fit_are_refused_before_anything_begins(
    stage, change, says, monkeypatch, tmp_path
):
    begun: list[str] = []

    def begin(site):
        begun.append("racing")
        raise Stopped("far enough")

    monkeypatch.setattr("simulacra.tasks.worlds.world.recorded", begin)
    with pytest.raises(Mistake if says else Stopped, match=says):
        world(Site(tmp_path, "vae", "tiny", changes={stage: [change]}))
    assert bool(begun) == (says is None) and not list(tmp_path.iterdir())


def test_a_stage_that_was_made_otherwise_is_refused_before_anything_begins(monkeypatch, tmp_path):
    monkeypatch.setattr("simulacra.tasks.worlds.world.recorded", lambda site: pytest.fail("begun"))
    site = Site(tmp_path, "vae", "tiny")
    site.path("refined").mkdir(parents=True)
    there = config.plain(planned(site, "refined"))
    (site.path("refined") / "config.json").write_text(json.dumps(there))
    (site.path("refined") / "config.json").write_text(
        json.dumps(there | {"init_from": "a run that ended elsewhere"})
    )
    validate(site, "refined")
    with pytest.raises(
        Mistake, match=r"refined holds a run of another config: steps is .* there, 7 asked"
    ):
        world(replace(site, changes={"refined": ["steps=7"]}))


def test_a_stage_that_is_not_trained_is_not_changed():
    assert until("dream") == ("eye", "memory", "dream")
    with pytest.raises(Mistake, match="refined"):
        changes(["refined.steps=3"], until("dream"))


def test_an_older_memory_keeps_its_reward_head(tmp_path):
    """So that what goes on from it has the same; new ones learn rewards as they are."""
    site = Site(tmp_path, "vae", "laptop")
    assert planned(site, "memory").hyper.reward == "twohot"
    site.path("memory").mkdir(parents=True)
    there = config.plain(planned(site, "memory"))
    del there["hyper"]["reward"]
    (site.path("memory") / "config.json").write_text(json.dumps(there))
    assert planned(site, "memory").hyper.reward == "value"
