"""Commands in the documents: those of the README run as pasted, all others are held to the command
line that there is.

A block that is not run has a comment before it, <!-- not run: why -->; it still has to parse.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from simulacra import cli
from simulacra.core import config

HOME = Path(config.__file__).parents[2]
BLOCK = re.compile(r"(?:<!-- not run: ([^>]*?) -->\n+)?^```(\w*)\n(.*?)^```$", re.M | re.S)
RUN = ["README.md", "docs/tutorials/model.md"]  # the pages whose blocks are run
GUIDES = sorted((HOME / "docs").glob("*.md"))
TUTORIALS = sorted((HOME / "docs" / "tutorials").glob("*.md"))
PAGES = [page.relative_to(HOME).as_posix() for page in [HOME / "README.md", *GUIDES, *TUTORIALS]]
LONG = {
    "adding_a_model",
    "own_models_and_data",
    "reading_a_run",
    "glossary",
    "faq",
    "python",
    "notes_retested",
}  # no guides to a system

pytestmark = pytest.mark.skipif(
    not (HOME / "README.md").exists(), reason="another place without the documents"
)


class Block(NamedTuple):
    """A block of code of a page."""

    skipped: str  # why it is not run; empty where it is
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """Its lines as words; comments are left out."""
        lines = [shlex.split(line, comments=True) for line in self.text.splitlines()]
        return [line for line in lines if line]


def blocks(page: str) -> list[Block]:
    """Those of a page, in its order."""
    return [Block(*found) for found in BLOCK.findall((HOME / page).read_text())]


@pytest.fixture
def checkout(tmp_path):
    """What `make setup` leaves, its environment being the present one."""
    for name in "simulacra", "configs", "experiments", "zoo", "docs":
        (tmp_path / name).symlink_to(HOME / name)
    bin = tmp_path / ".venv" / "bin"
    bin.mkdir(parents=True)
    (bin / "activate").write_text(f"export PATH={shlex.quote(str(bin))}:$PATH\n")
    python = f"PYTHONPATH={shlex.quote(str(HOME))} exec {shlex.quote(sys.executable)}"
    for name, words in ("python", ""), ("simulacra", "-m simulacra "):
        (bin / name).write_text(f'#!/bin/bash\n{python} {words}"$@"\n')
        (bin / name).chmod(0o755)
    return tmp_path


def paste(text: str, place: Path) -> str:
    """What a fresh shell prints; any command that fails ends the test."""
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "LANG") if name in os.environ}
    around = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(place)} | kept
    said = subprocess.run(
        ["bash", "-e", "-c", text], cwd=place, env=around, capture_output=True, text=True
    )
    assert said.returncode == 0, f"{text}\n{said.stdout[-2000:]}\n{said.stderr[-2000:]}"
    return said.stdout


@pytest.mark.parametrize("page", RUN)
def test_blocks_run_as_pasted(page, checkout):
    """Each shell block in a shell of its own; files that a page shows are saved where it says."""
    ran = 0
    if page == "README.md":  # what `make demo` leaves besides, in small
        demo = "train ebgan_digits --preset tiny --run runs/demo"
        paste(f".venv/bin/simulacra {demo} --set steps=10 --set save_every=10", checkout)
    for block in blocks(page):
        named = re.match(r"# (try/\S+)\n", block.text)
        if block.language == "sh" and not block.skipped:
            activate = "" if page == "README.md" else ". .venv/bin/activate\n"  # said once there
            paste(activate + block.text, checkout)
            ran += 1
        elif named:
            (checkout / named[1]).parent.mkdir(exist_ok=True)
            (checkout / named[1]).write_text(block.text)
        elif block.language == "python" and page == "README.md":
            (checkout / "three.py").write_text(block.text)
            paste(".venv/bin/python three.py", checkout)
            ran += 1
    assert ran >= 2
    made = {"README.md": "digits.png", "docs/tutorials/model.md": "squeezed.png"}
    assert (checkout / "try" / made[page]).stat().st_size > 500


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_parse(page):
    """Verbs and options exist, values have the right type, configs and keys are there."""
    for block in blocks(page):
        for words in block.commands if block.language == "sh" else []:
            for command in " ".join(map(shlex.quote, words)).split(" '&&' "):
                parses(shlex.split(command), page)


def parses(words: list[str], page: str) -> None:
    """One command line."""
    name, *rest = words
    if name.removeprefix(".venv/bin/") == "simulacra":
        command, path = get_command(cli.app), name
        while hasattr(command, "commands"):
            path = f"{path} {rest[0]}"
            assert rest[0] in command.commands, f"{page}: {path}"
            command, rest = command.commands[rest[0]], rest[1:]
        there = str(HOME / "zoo" / "vae_faces")  # in place of runs that are not there
        game = "cartpole"  # in place of a game of one's own
        given = [
            game
            if before == "--game" and one.endswith(".py")
            else there
            if re.fullmatch(r"(runs|try)/[\w/]+|RUN", one) and not before.startswith("-")
            else one
            for before, one in zip(["", *rest], rest, strict=False)
        ]
        context = command.make_context(path, given)  # refuses what it does not know
        if path.endswith(" train"):
            keys_exist(context.params)
    elif name == "make":
        targets = re.findall(r"^([\w./]+):", (HOME / "Makefile").read_text(), re.M)
        assert set(rest) <= set(targets), words
    elif name == ".venv/bin/pip":
        known = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
        extras = re.fullmatch(r"\.\[([\w,]+)\]", rest[-1])
        assert rest[:-1] == ["install", "--constraint", "constraints.txt", "--editable"]
        assert extras and set(extras[1].split(",")) <= set(known["optional-dependencies"])
    elif "python" in name:
        scripts = [one for one in rest if one.endswith(".py") and not one.startswith("try/")]
        assert all((HOME / one).exists() for one in scripts), words
    else:
        known = {"git", "cd", ".", "pip", "pytest", "ruff", "mypy", "torchrun", "ray"}
        known |= {"OMP_NUM_THREADS=1"}
        assert name in known, f"{page}: {words}"


def keys_exist(given: dict[str, Any]) -> None:
    """A config that comes with the package takes what --set says."""
    if given["source"] in config.configs():
        plain = [one for one in given["change"] or () if not one.startswith("init_from=")]
        config.resolve(str(given["source"]), given["preset"], plain, lambda line: None)


@pytest.mark.parametrize("page", [one for one in PAGES if Path(one).stem not in LONG])
def test_a_guide_is_short_and_plain(page):
    """At most 80 lines (a tutorial 140, the README 200), no more than three numbers in a sentence
    of prose."""
    text = (HOME / page).read_text()
    most = 200 if page == "README.md" else 140 if "tutorials" in page else 80
    assert text.count("\n") <= most, f"{page}: {text.count(chr(10))} lines; allowed: {most}"
    prose = re.sub(r"```.*?^```$|^\|.*?$|<!--.*?-->|^#.*?$", "", text, flags=re.S | re.M)
    prose = re.sub(r"`[^`]*`|!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|arXiv [\d.]+", " ", prose)
    for sentence in re.split(r"(?<=[.:;?!])\s+|\n\n|\n- |\n\d\. ", prose):
        numbers = re.findall(r"(?<![\w.])-?\d[\d,.]*\d|(?<![\w.])\d\b", sentence)
        assert len(numbers) <= 3, f"{page}: {numbers} in {' '.join(sentence.split())!r}"


def test_no_page_installs_a_stranger():
    """The package is on no index, so that `pip install` of its name would fetch somebody else's."""
    pages = [HOME / "README.md", *(HOME / "docs").rglob("*.md"), *(HOME / "zoo").rglob("*.md")]
    for page in pages:
        assert not re.search(r"pip install '?\"?simulacra\b(?!-)", page.read_text()), page.name
        assert "'simulacra[" not in page.read_text(), page.name


@pytest.mark.parametrize("page", [page.name for page in GUIDES])
def test_settings_of_a_guide_exist(page):
    """Every `hyper.NAME` is a hyperparameter of some model."""
    known = {
        field for name in config.models() for field in config.model(name).Hyper.__struct_fields__
    }
    named = re.findall(r"`hyper\.(\w+)", (HOME / "docs" / page).read_text())
    assert set(named) - {"begin"} <= known, set(named) - known  # begin: the older name of init_from


@pytest.mark.parametrize("page", [*PAGES, "zoo/README.md"])
def test_links_lead_somewhere(page):
    """Files that a page names are there; the site's own build looks at anchors too."""
    text = re.sub(r"```.*?^```$", "", (HOME / page).read_text(), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert "://" in link or (HOME / page).parent.joinpath(link).exists(), f"{page}: {link}"
