"""What a build adds to the package: the commit that it was built from, in simulacra/_commit.txt."""

import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Commit(BuildHookInterface):
    """Writes it into wheels and source archives; an editable installation asks git each time."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file. A source archive brings its own, which stays."""
        package = Path(self.root) / "simulacra"
        spec = spec_from_file_location("provenance", package / "core" / "provenance.py")
        provenance = module_from_spec(spec)
        spec.loader.exec_module(provenance)
        if version == "editable" or (package / provenance.BUILT).exists():
            return
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / provenance.BUILT
        path.write_text(f"{provenance.commit(package) or ''}\n")
        build_data["force_include"][str(path)] = f"simulacra/{provenance.BUILT}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary file."""
        if hasattr(self, "folder"):
            self.folder.cleanup()
