"""Whose commit a number names: that of this project's own repository, or none."""

import importlib.util
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from simulacra.core import provenance

HOME = Path(provenance.__file__).parents[2]
PROJECT = '[project]\nname = "simulacra"\n'


def git(folder: Path, *words: str) -> str:
    """What git says in a folder, whoever the person is."""
    person = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", "-C", str(folder), *person, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def checkout(folder: Path, project: str = PROJECT) -> Path:
    """A repository with a package as ours; the package's folder."""
    package = folder / "simulacra"
    package.mkdir(parents=True)
    (package / "core").mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(provenance.__file__, package / "core")
    (folder / "pyproject.toml").write_text(project)
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return package


def installed(site: Path) -> Path:
    """The package as pip would put it there."""
    package = site / "simulacra"
    package.mkdir(parents=True)
    (package / "core").mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(provenance.__file__, package / "core")
    return package


def test_a_checkout_names_its_commit_and_whether_it_was_changed(tmp_path):
    package = checkout(tmp_path)
    head = git(tmp_path, "rev-parse", "--short=10", "HEAD")
    assert provenance.commit(package) == head
    (tmp_path / "notes.txt").write_text("beside the package")
    assert provenance.commit(package) == head
    (package / "__init__.py").write_text("1")
    assert provenance.commit(package) == head + "+"


@pytest.mark.parametrize("place", ["site", ".venv/lib/python3.11/site-packages", "."])
@pytest.mark.parametrize("project", [PROJECT, '[project]\nname = "thesis"\n'])
def test_installed_inside_another_repository(tmp_path, place, project):
    """Whatever that is called, and whether its .gitignore names the place or not."""
    (tmp_path / "pyproject.toml").write_text(project)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "theirs")
    assert provenance.commit(installed(tmp_path / place)) is None


@pytest.mark.parametrize("place", ["vendor", "."])
def test_a_copy_that_another_project_keeps(tmp_path, place):
    """Tracked, but their commits are not ours."""
    installed(tmp_path / place)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "thesis"\n')
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "theirs")
    assert provenance.commit(tmp_path / place / "simulacra") is None


def test_a_submodule_is_a_repository_of_its_own(tmp_path):
    checkout(tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    git(tmp_path / "theirs", "init")
    git(
        tmp_path / "theirs",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        str(tmp_path / "ours"),
        "lib",
    )
    git(tmp_path / "theirs", "commit", "-m", "theirs")
    head = git(tmp_path / "ours", "rev-parse", "--short=10", "HEAD")
    assert provenance.commit(tmp_path / "theirs" / "lib" / "simulacra") == head


def test_a_hook_of_another_repository_changes_nothing(tmp_path, monkeypatch):
    package = checkout(tmp_path / "ours")
    checkout(tmp_path / "theirs")
    (tmp_path / "theirs" / "simulacra" / "__init__.py").write_text("changed")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "theirs"))
    found = provenance.commit(package)
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    assert found == git(tmp_path / "ours", "rev-parse", "--short=10", "HEAD")


def test_no_git_and_no_repository(tmp_path, monkeypatch):
    assert provenance.commit(installed(tmp_path)) is None
    package = checkout(tmp_path / "ours")
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(package) is None


def test_a_build_knows_what_it_was_built_from(tmp_path):
    package = installed(tmp_path)
    (package / provenance.BUILT).write_text("abcdef0123+\n")
    assert provenance.commit(package) == "abcdef0123+"


@pytest.fixture
def hook(monkeypatch):
    """The class of the build hook, where there is no hatchling."""
    names = [
        "hatchling",
        "hatchling.builders",
        "hatchling.builders.hooks",
        "hatchling.builders.hooks.plugin",
    ]
    for name in [*names, "hatchling.builders.hooks.plugin.interface"]:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["hatchling.builders.hooks.plugin.interface"].BuildHookInterface = object
    spec = importlib.util.spec_from_file_location("hatch_build", HOME / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Commit


def test_what_a_build_adds(hook, tmp_path):
    """A wheel and a source archive carry the commit;
    what is built from that archive, outside any repository, too."""
    checkout(tmp_path)
    head = git(tmp_path, "rev-parse", "--short=10", "HEAD")
    build, data = hook(), {"force_include": {}}
    build.root = str(tmp_path)
    build.initialize("standard", data)
    ((path, place),) = data["force_include"].items()
    assert place == f"simulacra/{provenance.BUILT}" and Path(path).read_text() == head + "\n"
    archive = installed(tmp_path / "archive")
    shutil.copy(path, archive / provenance.BUILT)
    build.finalize("standard", data, "")
    assert not Path(path).exists(), "nothing is left behind"
    again, data = hook(), {"force_include": {}}
    again.root = str(tmp_path / "archive")
    again.initialize("standard", data)
    assert data["force_include"] == {} and provenance.commit(archive) == head, (
        "the archive's own stays"
    )


def test_an_editable_installation_asks_each_time(hook, tmp_path):
    checkout(tmp_path)
    build, data = hook(), {"force_include": {}}
    build.root = str(tmp_path)
    build.initialize("editable", data)
    assert data["force_include"] == {}
