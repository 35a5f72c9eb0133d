"""Sweeps over many machines: each run of a sheet is a task of a Ray cluster (core/cluster.py)."""

from pathlib import Path

import msgspec

from simulacra.core import config
from simulacra.core.cluster import Cluster
from simulacra.studies.sweep import Crew, Job


class RayCrew(Crew):
    """Runs commands on whatever machine of a cluster has room; everything else is as with
    processes of this machine."""

    def __init__(self, cluster: Cluster, todo: list[Job]) -> None:
        super().__init__(threads=cluster.threads)
        self.cluster, self.nodes = cluster, cluster.nodes
        self.jobs = {job.folder.name: job for job in todo}

    def run(self, words: list[str], log: Path) -> int:
        """The exit status of `simulacra WORDS` on some machine; what it says is added to a file."""
        job = self.jobs[log.name.removesuffix(".txt")]
        if words[0] == "train":
            device = words[words.index("--device") :] if "--device" in words else []
            apart = ["train", "CONFIG", "--run", "FOLDER", *device]
        else:
            apart = ["FOLDER" if word == str(job.folder) else word for word in words]
        raw = msgspec.json.encode(config.plain(job.config))
        self.doing[job.folder.name] = words[0]
        return self.cluster.run(words, apart, raw, job.folder, log)

    def stop(self) -> None:
        """Ask all to save and end; nobody begins anew."""
        self.stopped = True
        self.cluster.stop()
