"""What a newcomer meets: short lists, grouped help, near names,
commands that work where they are shown."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command

from simulacra import cli, envs
from simulacra.cli import clips, experiments
from simulacra.cli.grouped import PANELS
from simulacra.core import config, data_sets, errors, extras, progress, run, source, zoo
from simulacra.core.progress import Progress, Stages
from simulacra.studies import sheet

HOME = Path(config.__file__).parents[2]
ZOO = pytest.mark.skipif(not zoo.names(), reason="another place without the zoo")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working directory, and no data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    return tmp_path


# Lists and help


def test_the_list_fits_a_small_terminal(simulacra, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = simulacra("list").success().splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 80
    for name in config.models():
        (line,) = [line for line in lines if line.split()[0] == name]
        assert line.split(maxsplit=1)[1] == source.sentence(config.model_files()[name])
    words = set(re.findall(r"[\w/]+", "\n".join(lines)))
    named = (*data_sets.names(), *envs.WORLDS, *zoo.names(), *sheet.sheets())
    assert not {*named} - words
    assert lines[-1].endswith("simulacra list --configs")


def test_the_list_for_machines(simulacra):
    found = json.loads(simulacra("list", "--json").success())
    assert list(found["models"]) == config.models() and list(found["data"]) == data_sets.names()
    assert found["zoo"] == zoo.names() and list(found["worlds"]) == list(envs.WORLDS)
    assert found["experiments"] == sheet.headlines()


def test_the_table_of_configs(simulacra):
    rows = json.loads(simulacra("list", "--configs", "--json").success())
    assert [row["config"] for row in rows] == config.configs()
    assert {row["model"] for row in rows} <= {*config.models()} and all(
        row["says"] == config.headline(row["config"]) for row in rows
    )
    text = simulacra("list", "--configs").success()
    assert all(name in text for name in (*config.configs(), *sheet.sheets()))


def test_a_sentence_ends_where_it_does(tmp_path):
    path = tmp_path / "one.py"
    path.write_text('"""VAE: a "good" one,\nv1.5 of it. More.\n\nAnd more.\n"""\nimport os\n')
    assert source.sentence(path) == 'a "good" one, v1.5 of it'
    path.write_text("# a comment\n'''Title of far more letters than that: alone.'''\n")
    assert source.sentence(path) == "Title of far more letters than that: alone"


def test_help_is_grouped_and_whole(simulacra, monkeypatch):
    """Each verb once, under its heading, in a line that is not cut."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TERMINAL_WIDTH", raising=False)
    text = simulacra("--help").success()
    titles = re.findall(r"^(\w[\w ]*):$", text, re.M)
    assert titles == ["Options", *PANELS] and "..." not in text.partition("Train and look")[2]
    program = get_command(cli.app)
    for name in program.list_commands(None):
        assert len(re.findall(rf"^  {name} ", text, re.M)) == 1
    groups = {one.rpartition(":")[0]: one for one in PANELS}
    assert groups and text.index("  train ") < text.index("Pictures:") < text.index("  predict ")
    assert text.index("Clips:") < text.index("  decompose ") < text.index("Worlds:")
    assert text.index("  drive ") < text.index("Experiments:") < text.index("  sweep ")


# Near names


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian", "x"], "No such command 'trian' (did you mean train?)"),
        (["data", "shwo"], "No such command 'shwo' (did you mean show?)"),
        (["train", "ebgan_digit"], "'ebgan_digit' (did you mean ebgan_digits"),
        (["train", "ebgan_digits", "--set", "model=ebgann"], "'ebgann' (did you mean ebgan?)"),
        (["train", "ebgan_digits", "--set", "data.name=minst"], "(did you mean mnist"),
        (["train", "ebgan_digits", "--set", "hyper.margni=1"], "(did you mean hyper.margin"),
        (["train", "ebgan_digits", "--set", "margin=1"], "margin (did you mean hyper.margin?)"),
        (["train", "ebgan_digits", "--set", "pad=1"], "pad (did you mean data.pad?)"),
        (["train", "ebgan_digits", "--set", "stpes=1"], "stpes (did you mean steps?)"),
        (["train", "ebgan_digits", "--set", "hyper=1"], "hyper = 1: expected keys; there is: hype"),
        (["train", "ebgan_digits", "--set", "steps"], "found 'steps'; such as hyper.margin=20"),
        (["data", "show", "digts"], "'digts' (did you mean digits"),
        (
            ["data", "show", "digits", "--set", "pd=3"],
            "(did you mean data.pad?); there is: data.p",
        ),
        (["sweep", "world_lukc"], "(did you mean world_luck?)"),
        (["sample", "zoo/vae_face", "-o", "x.png"], "vae_face (did you mean zoo/vae_faces?)"),
        (["collect", "racin", "-o", "x", "--episodes", "1"], "'racin' (did you mean racing?)"),
    ],
)
def test_near_names_are_named(words, says, simulacra, empty):
    if "zoo/" in says and not zoo.names():
        pytest.skip("another place without the zoo")
    assert says in simulacra(*words).refusal()


def test_what_is_near_nothing_is_only_listed():
    assert errors.meant("nonsense", ["train", "sample"]) == ""
    assert errors.meant("Train", ["train", "trail"]) == " (did you mean train?)"


# Values and paths


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["series", "--set", "data.columns=a,b"], """data.columns='["a", "b"]'"""),
        (["series", "--set", "data.columns=3"], "data.columns='[3]'"),
    ],
)
def test_how_a_list_is_written(words, says, simulacra, empty):
    """As it is said it can be typed."""
    said = simulacra("data", "show", *words).refusal()
    assert f"expected a list, such as {says}" in said
    (change,) = shlex.split(says)
    assert "expected a list" not in simulacra("data", "show", "series", "--set", change).refusal()


def test_a_data_path_that_is_nowhere(simulacra, empty):
    (empty / "data").mkdir()
    for name, path in ("ebgan_folder", "photos"), ("rgan_series", "a.csv"):
        words = "train", name, "--set", f"data.path={path}"
        said = simulacra(*words).refusal()
        assert f"data.path is '{path}', which is not there (looked for {empty / path})" in said
        assert "name one with --data or SIMULACRA_DATA" in said
        said = simulacra(*words, "--data", empty / "data").refusal()
        assert f"{empty / 'data' / path} is not there" in said


def test_a_data_path_that_a_config_means_elsewhere(simulacra, empty):
    (empty / "photos").mkdir()
    (empty / "mine.toml").write_text('base = "ebgan_folder"\n[data]\npath = "photos"\n')
    said = simulacra("train", "mine.toml").refusal()
    assert "is in the working directory, but a config means the data folder" in said


def test_options_of_data_are_lines(simulacra):
    text = simulacra("data", "show", "digits", "--set", "data.pad=2").success()
    assert re.match(r"data set +digits\n  data\.pad = 2\n", text) and "{" not in text


# The zoo


@ZOO
def test_a_run_of_the_zoo_from_an_empty_folder(simulacra, empty):
    """Any verb that asks for a run takes its name, and nothing is written where it is."""
    before = sorted(path.stat().st_mtime_ns for path in zoo.FOLDER.rglob("*"))
    simulacra("sample", "zoo/vae_faces", "-n", 4, "-o", "x.png").success()
    assert (empty / "x.png").exists()
    assert (
        "is a packed run, which is only looked at" in simulacra("train", "zoo/vae_faces").refusal()
    )
    assert before == sorted(path.stat().st_mtime_ns for path in zoo.FOLDER.rglob("*"))


@ZOO
def test_a_folder_of_one_s_own_comes_first(empty):
    assert zoo.place_of("zoo/vae_faces") == zoo.FOLDER / "vae_faces"
    (empty / "zoo" / "vae_faces").mkdir(parents=True)
    assert zoo.place_of("zoo/vae_faces") == zoo.FOLDER / "vae_faces", "an empty one is no run"
    (empty / "zoo" / "vae_faces" / "config.json").write_text("{}")
    assert zoo.place_of("zoo/vae_faces") == Path("zoo/vae_faces")
    assert zoo.place_of("~/x") == Path.home() / "x"


@ZOO
def test_results_of_the_zoo_go_elsewhere(empty):
    from simulacra.core.load import reopen
    from simulacra.tasks import paint

    class Held:
        def size(self, split):
            return 4

        def take(self, split, n):
            return run.like_of(zoo.FOLDER / "vae_faces", n)

    opened = reopen(Path("zoo/vae_faces"), None)
    place, said = zoo.results(opened.folder)
    assert place == Path("runs/zoo/vae_faces") and "results go into runs/zoo/vae_faces" in said[0]
    assert zoo.results(empty / "mine") == (empty / "mine", [])
    made = paint.paint(opened, Held())
    assert made and all(place in path.parents for path in made)
    run.add_results(place, [{"metric": "a", "value": 1}])
    import simulacra

    assert simulacra.load("zoo/vae_faces").metrics == [{"metric": "a", "value": 1}]
    assert not (zoo.FOLDER / "vae_faces" / "metrics.jsonl").exists()


@ZOO
def test_a_new_run_begins_with_one_of_the_zoo(empty):
    from simulacra.core import warm_start

    checked = config.resolve("vae_faces", "tiny", ["init_from=zoo/vae_faces"])
    with pytest.raises(errors.Mistake) as refused:
        warm_start.begin(checked, object(), empty, None)
    assert "no run folder" not in str(refused.value)


# What to install


def test_in_a_checkout_it_is_the_checkout(monkeypatch):
    words = shlex.split(extras.install("worlds"))
    assert words == [sys.executable, "-m", "pip", "install", "--editable", f"{HOME}[worlds]"]
    assert (
        "[worlds]" in (HOME / "pyproject.toml").read_text()
        or "worlds = [" in (HOME / "pyproject.toml").read_text()
    )


def test_from_a_wheel_it_is_the_packages(monkeypatch, tmp_path):
    """A stranger's package of our name is never asked for."""
    told = [
        "torch>=2.6",
        'gymnasium[box2d]==1.4.0; extra == "worlds"',
        "cma>=4.0 ; extra=='worlds'",
        "pytest; extra == 'dev'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: told if name == "simulacra" else [])
    monkeypatch.setattr(extras, "HOME", tmp_path)
    words = shlex.split(extras.install("worlds"))
    pip = [sys.executable, "-m", "pip", "install"]
    assert words == [*pip, "gymnasium[box2d]==1.4.0", "cma>=4.0"]
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert shlex.split(extras.install("worlds")) == words, "somebody else's project around it"


def test_no_message_names_the_index():
    """What is shown can be pasted."""
    found = [
        path.relative_to(HOME)
        for path in (HOME / "simulacra").rglob("*.py")
        if path.name != "extras.py" and re.search(r"pip install|'simulacra\[", path.read_text())
    ]
    assert not found


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    from simulacra.envs.carracing.game import needed
    from simulacra.models.world.evolution import Search

    monkeypatch.setitem(sys.modules, "cma", None)
    monkeypatch.setitem(sys.modules, "envpool", None)
    for act in (lambda: needed("envpool")), (lambda: Search(None, 1.0, 4)):
        with pytest.raises(errors.Mistake, match="install it with: ") as refused:
            act()
        assert str(refused.value).endswith(extras.install("worlds"))


# What is said while it works


def test_a_line_of_progress_says_what_is_known(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("simulacra.core.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=200)
    with Progress(console, 100, 8, "title") as told:
        told.tick(100, {"loss_D": 1.5})
        told.saved(Path("00000100.pt"))
        told.tick(100, {})
        now[0] += 10
        told.begun = (0.0, 50)
        told.saved(Path("00000060.pt"))
        told.losses = ""
        told.saved(Path("00000060.pt"))
    assert console.file.getvalue().splitlines() == [
        "title: 100/100 loss_D 1.5",
        "title: 60/100 8 examples/s, 0.7 min left, loss_D 1.5",
        "title: 60/100 8 examples/s, 0.7 min left",
    ]


def test_a_long_stage_says_how_far_it_is(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("simulacra.core.progress.time.monotonic", lambda: now[0])
    for quiet in False, True:
        console = Console(file=io.StringIO(), width=200)
        with Stages(console, quiet=quiet) as stages:
            for share in 0.0, 0.1, 0.2, 0.3, 1.0:
                stages.update("object", share)
                now[0] += 0.6 * progress.PAUSE
            stages.update("background", 0.5)
        said = console.file.getvalue().splitlines()
        assert said == ([] if quiet else ["object ...", "object: 20%", "background ..."])


def test_what_is_left_of_a_sweep(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("simulacra.cli.experiments.time.monotonic", lambda: now[0])
    report = experiments._counted(5, 2)
    for minutes in 10, 10, 20, 20, 30:
        now[0] = 60.0 * minutes
        report("a run", "measured")
    assert capsys.readouterr().out.splitlines() == [
        "1 of 5: a run: measured; about 20 min left",
        "2 of 5: a run: measured; about 20 min left",
        "3 of 5: a run: measured; about 10 min left",
        "4 of 5: a run: measured; about 10 min left",
        "5 of 5: a run: measured",
    ]


def test_layers_are_told_of_in_words():
    found = {
        "frames": 20,
        "width": 64,
        "height": 48,
        "fps": 24.0,
        "composite_psnr_mean": 38.24,
        "composite_psnr_least": 30.0,
        "object_share_first": 0.125,
        "object_share_last": 0.0,
        "frames_without_object": 3,
        "background_seen_elsewhere": None,
        "matte_soft_share": 0.02,
    }
    said = clips._in_words(found)
    assert said[0] == "20 frames of 64x48, 24 a second"
    assert said[1].endswith("12.5% of the first frame and 0.0% of the last")
    assert said[2] == "the object hides no background" and "_" not in "".join(said)
    assert "38.2 dB, 30.0 dB" in said[-1], "what says nothing of the masks comes last"
    assert (
        "75% of the background" in clips._in_words(found | {"background_seen_elsewhere": 0.75})[2]
    )


# Systems other than Linux


HIDDEN = """
import os, platform, signal, subprocess, sys  # Python's own, which on other systems is another
for name in "fcntl", "resource", "pwd", "grp", "termios":
    sys.modules[name] = None
for name in "fork", "sysconf", "sched_getaffinity", "pread", "geteuid", "getuid":
    if hasattr(os, name):
        delattr(os, name)
for name in "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL":
    delattr(signal, name)
"""


def hidden(code: str, *words: object, cwd: Path) -> subprocess.CompletedProcess:
    """Code in a fresh process that lacks what other systems lack."""
    env = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HIDDEN + code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd)


def test_help_needs_nothing_of_linux(tmp_path):
    found = hidden("import simulacra; from simulacra.__main__ import main; main()", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (2, "")
    assert "\nTrain and look:\n" in found.stdout, "which is what no words ask for, too"


def test_training_is_refused_where_no_file_can_be_held(tmp_path):
    """In a line that says what is missing."""
    words = "train", "ebgan_digits", "--preset", "tiny", "--run", "run", "--set", "steps=2"
    code = "from simulacra.__main__ import main; main()"
    found = hidden(code, *words, cwd=tmp_path)
    assert found.returncode == 2 and "neither fcntl nor msvcrt" in found.stderr
    assert found.stderr.count("\n") == 1


def test_training_with_the_locks_of_windows(tmp_path):
    """Whose module is imitated: the second of two who ask for the same byte is refused."""
    fake = """
import types
held = []
def locking(number, mode, count):
    if held: raise OSError(13, "Permission denied")
    held.append((number, mode, count))
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
from simulacra.__main__ import main
try: main()
except SystemExit as end: assert not end.code, end.code
assert len(held) == 1 and held[0][1:] == (2, 1)
from pathlib import Path
from simulacra.core import run
from simulacra.core.errors import Mistake
try:
    with run.locked(Path("run")): pass
except Mistake as mistake: print(mistake)
"""
    words = "train", "ebgan_digits", "--preset", "tiny", "--run", "run", "--set", "steps=2"
    found = hidden(fake, *words, "--no-tensorboard", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "another process is training in run"
    assert (tmp_path / "run" / "done").exists()


def test_free_memory_where_systems_say_it_otherwise(monkeypatch, tmp_path):
    from simulacra.core import memory

    pages = {"SC_AVPHYS_PAGES": 10, "SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}

    def sysconf(name):
        if name not in pages:
            raise ValueError("unrecognized configuration name")
        return pages[name]

    monkeypatch.setattr(os, "sysconf", sysconf)
    there = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "MEMINFO", there)
    there.write_text("MemFree: 9 kB\nMemAvailable:   70 kB\nCached: 61 kB\n")
    assert memory.free() == 70 * 1024, "what caches files can be had"
    there.unlink()
    assert memory.free() == 10 * 4096
    del pages["SC_AVPHYS_PAGES"]  # as on macOS
    assert memory.free() == 50 * 4096
    pages.clear()
    assert memory.free() is None
    monkeypatch.delattr(os, "sysconf")  # as on Windows
    assert memory.free() is None
    monkeypatch.setattr(sys, "platform", "win32")
    assert memory.free() is None, "no ctypes.windll here"
