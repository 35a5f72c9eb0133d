"""The command that installs what is missing, as it works where this copy of Simulacra is. The
package is on no index: `pip install 'simulacra[worlds]'` would fetch a stranger's."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

HOME = Path(__file__).parents[2]  # of a checkout: the folder with pyproject.toml


def install(extra: str) -> str:
    """The command that installs an extra: in a checkout the checkout with it, from a wheel the
    packages that it stands for."""
    if _is_checkout(HOME):
        return _pip("--editable", f"{HOME}[{extra}]")
    return install_packages(*_packages(extra))


def install_packages(*names: str) -> str:
    """The command that installs packages of an index, each with the versions that are allowed."""
    return _pip(*names)


def _pip(*words: str) -> str:
    command = [sys.executable, "-m", "pip", "install", *words]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


def _is_checkout(folder: Path) -> bool:
    """Whether a folder has Simulacra's own pyproject.toml."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(project.get("project", {}).get("name") == "simulacra")


def _packages(extra: str) -> list[str]:
    """What a wheel's metadata say that an extra needs, with versions."""
    wanted = re.compile(rf"""extra\s*==\s*['"]{re.escape(extra)}['"]""")
    found = (line.partition(";") for line in metadata.requires("simulacra") or ())
    return [name.strip() for name, _, mark in found if wanted.search(mark)]
