"""Which commit of Simulacra's own repository this code is.
It imports nothing of the package, so that a build can ask too."""

import os
import subprocess
import tomllib
from pathlib import Path

# in the package: what a wheel or a source archive was built from; a checkout has none
BUILT = "_commit.txt"


def commit(package: Path = Path(__file__).parent.parent) -> str | None:
    """The git commit of the folder's files, with "+" if they were changed since; None where nothing
    is known, as in some other project's repository, whose commits say nothing of files that lie in
    it."""
    built = package / BUILT
    if built.is_file():
        return built.read_text("utf-8").strip() or None
    if not _is_ours(package):
        return None
    name = _git(package, "rev-parse", "--short=10", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", ".")
    return None if not name or changed is None else name + ("+" if changed else "")


def _is_ours(package: Path) -> bool:
    """Whether the package is tracked, right below the top of a repository
    that tracks a project of this name there."""
    top, project = package.parent, package.parent / "pyproject.toml"
    if _git(package, "rev-parse", "--show-prefix") != f"{package.name}/":
        return False
    files = (
        str(Path(package.name, "__init__.py")),
        str(Path(package.name, *Path(__file__).parts[-2:])),
        project.name,
    )
    if _git(top, "ls-files", "--error-unmatch", "--", *files) is None:
        return False
    try:
        return (
            tomllib.loads(project.read_text("utf-8")).get("project", {}).get("name") == "simulacra"
        )
    except (OSError, ValueError):
        return False


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None if it fails or is not there. A hook's GIT_DIR and the like, which name
    another repository, are kept from it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        said = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            encoding="utf-8",
            timeout=10,
            env=env,
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return said.stdout.strip() if said.returncode == 0 else None
