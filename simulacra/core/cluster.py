"""Commands of this program on the machines of a Ray cluster. The only file that talks to Ray.

A command works on one folder, and is a process of its own (errand.py) on whatever node has room for
it. One whose node is lost is given to another node, and goes on there from the newest checkpoint.
Sweeps use it (studies/many.py); whatever is `simulacra VERB FOLDER`, writes only there and goes on
where it was broken may use it in the same way. Pure functions go to nodes by `map`, as episodes of
a world do (tasks/worlds/collect.py); a population's rollouts would.
"""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from simulacra.core import carried, errand, extras
from simulacra.core.errand import Answer, Desk, Order
from simulacra.core.errors import Mistake

PATIENCE = 5  # nodes that a command may lose one after the other without a new checkpoint
HELD = b"another process is"  # of a folder whose lost process does not yet know that it is lost
CANCELLED = 130


class Lost(Exception):
    """A node went away with what it did."""


class Cluster:
    """A connection to a Ray cluster, for as long as the context lasts."""

    def __init__(
        self,
        address: str,  # HOST:PORT, ray://HOST:PORT, auto, or local: one on this machine alone
        place: Path,  # the folder in which those are that commands work on
        *,
        threads: int = 1,  # of each command
        gpus: float = 0.0,  # of each command
        environment: dict[str, str] | None = None,  # of each command, on top of the node's own
        notify: Callable[[str], None] = lambda line: None,  # told of lost nodes
    ) -> None:
        self.address, self.place, self.notify = address, place.resolve(), notify
        self.threads, self.gpus = threads, gpus
        self.environment = environment or {}
        self.environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.nodes: dict[str, str] = {}  # the machine at which the command for a folder is
        self.shared, self.stopped = True, False
        self._now: dict[str, Path] = {}  # the folders of attempts that are not over
        self._references: dict[str, Any] = {}
        self._closed, self._guard = threading.Event(), threading.RLock()
        self.token = self.place / f".seen-{secrets.token_hex(4)}"

    def __enter__(self) -> "Cluster":
        self.ray = _connected(self.address)
        try:
            self._fits()
            self.desk = self._placed(self.ray.remote(Desk)).remote()
        except BaseException:
            self.ray.shutdown()
            raise
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._thread.join(10 * errand.PAUSE)
        self.token.unlink(missing_ok=True)
        self.ray.shutdown()

    def _placed(self, desk: Any) -> Any:
        """The actor on this machine, where there is a node on it."""
        how: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        with contextlib.suppress(Exception):  # a client (ray://) is on no node
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = self.ray.get_runtime_context().get_node_id()
            how["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
        return desk.options(**how)

    def _resources(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _fits(self) -> None:
        """A Mistake if no node could ever take a command."""
        if not any(map(self._holds, found := self._resources())):
            there = "; ".join(
                f"{one.get('CPU', 0):g} CPUs and {one.get('GPU', 0):g} GPUs" for one in found
            )
            raise Mistake(
                f"no node of the cluster {self.address} has {self.threads} CPUs and "
                f"{self.gpus:g} GPUs for a run; there is: {there or 'no node'}"
            )

    def _holds(self, resources: dict[str, float]) -> int:
        """How many commands fit a node of these resources at once."""
        found = resources.get("CPU", 0) // self.threads
        return int(min(found, resources.get("GPU", 0) // self.gpus) if self.gpus else found)

    def slots(self) -> int:
        """How many commands fit the cluster at once, as it is now; 1 at least."""
        return max(1, sum(map(self._holds, self._resources())))

    def told(self) -> str:
        """How large the cluster is, in words."""
        found = self._resources()
        cpus, gpus = (f"{sum(one.get(kind, 0) for one in found):g}" for kind in ("CPU", "GPU"))
        return f"{len(found)} nodes, {cpus} CPUs, {gpus} GPUs"

    def run(
        self, words: list[str], apart: list[str], config: bytes, folder: Path, log: Path
    ) -> int:
        """The exit status of `simulacra WORDS`, which works on `folder`; what it says is added to a
        file. `apart` are the words for a machine that does not see the folder: there FOLDER and
        CONFIG stand for paths, `config` being what the latter holds."""
        self.token.write_text(self.token.name)
        path = folder.resolve()
        words = [str(path) if word == str(folder) else word for word in words]
        order = Order(
            "", words, apart, config, str(path), str(Path.cwd()),
            (str(self.token), self.token.name), self.environment, errand.versions(),
        )  # fmt: skip
        lost, stood = 0, _newest(folder)
        while not self.stopped:
            try:
                answer = self._attempt(order._replace(name=f"{path.name}#{secrets.token_hex(4)}"))
                with log.open("ab") as file:
                    file.write(answer.said)
                if answer.code == 2 and lost and HELD in answer.said:
                    time.sleep(10 * errand.PAUSE)
                    raise Lost("its process still holds the folder")
                return answer.code
            except Lost as why:
                now = _newest(folder)
                lost, stood = (lost + 1 if now == stood else 1), now
                if lost > PATIENCE:
                    raise Mistake(f"{lost} nodes were lost without a new checkpoint") from None
                begins = f"goes on from step {int(now):,}" if now else "begins again"
                self.notify(f"{path.name}: its node was lost ({why}); it {begins}")
        return CANCELLED

    def _attempt(self, order: Order) -> Answer:
        """What came of one try; Lost if its node was."""
        from ray import exceptions

        folder = Path(order.folder)
        copy: Any = False
        if not self.shared:
            copy = carried.changed(folder, {}) if folder.is_dir() else None
        task = self.ray.remote(_carry_out).options(
            num_cpus=self.threads, num_gpus=self.gpus, max_retries=0, name=folder.name
        )
        try:
            with self._guard:
                self._now[order.name] = folder
                reference = task.remote(order, self.desk, copy)
                self._references[order.name] = reference
            answer: Answer = self.ray.get(reference)
        except exceptions.TaskCancelledError:
            answer = Answer(CANCELLED, b"")
        except exceptions.RayTaskError as error:
            raise Mistake(f"a node of the cluster failed: {_last_line(error)}") from None
        except exceptions.RayError as error:
            self.desk.stop.remote(order.name)  # should it live on, unseen
            raise Lost(type(error).__name__) from None
        finally:
            self._over(order.name)
        if answer.left:
            carried.put(answer.left, folder)
        if answer.code == errand.OTHER:
            raise Mistake(answer.said.decode())
        if answer.code == errand.UNSEEN:
            self.shared = False
            return self._attempt(order)
        return answer

    def _over(self, name: str) -> None:
        """All that an attempt told has been put down, and nothing more is taken from it."""
        with contextlib.suppress(Exception):  # of a desk that is lost too
            self._pull()
        with self._guard:
            folder = self._now.pop(name)
            self._references.pop(name, None)
            self.nodes.pop(folder.name, None)

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """What a pure function makes of each item, in their order, on whatever nodes have room;
        what a lost node did is done again. A Mistake of the function is one here."""
        from ray import exceptions

        how: dict[str, Any] = {"num_cpus": self.threads, "num_gpus": self.gpus}
        task = self.ray.remote(_applied).options(**how, max_retries=PATIENCE)
        work = self.ray.put(work)  # once, whatever it carries
        left, asked, slots = iter(items), deque[Any](), self.slots()
        while True:
            some = islice(left, 2 * slots - len(asked))
            asked.extend(task.remote(work, item) for item in some)
            if not asked:
                return
            try:
                yield self.ray.get(asked.popleft())
            except exceptions.RayTaskError as error:
                if isinstance(error.cause, Mistake):
                    raise Mistake(str(error.cause)) from None
                raise Mistake(f"a node of the cluster failed: {_last_line(error)}") from None
            except exceptions.RayError as error:
                raise Mistake(f"nodes were lost again and again: {_last_line(error)}") from None

    def stop(self) -> None:
        """Ask all commands to save and end; those that wait for a node never begin."""
        self.stopped = True
        self.desk.stop.remote()
        with contextlib.suppress(Exception):  # of a desk that is lost
            self._pull()
        with self._guard:
            waiting = [one for name, one in self._references.items()
                       if self._now[name].name not in self.nodes]  # fmt: skip
        for reference in waiting:
            self.ray.cancel(reference)

    def _collect(self) -> None:
        """Put down what nodes tell, until the end."""
        while not self._closed.wait(errand.PAUSE):
            with contextlib.suppress(Exception):  # the desk is being started again
                self._pull()

    def _pull(self) -> None:
        with self._guard:
            for name, node, bundle in self.ray.get(self.desk.take.remote(), timeout=60):
                if name in self._now:  # else another attempt is at work since
                    self.nodes[self._now[name].name] = node
                    if bundle:
                        carried.put(bundle, self._now[name])


def _applied(work: Callable[[Any], Any], item: Any) -> Any:
    """What a node runs of `map`: a Ray task."""
    return work(item)


def _carry_out(order: Order, desk: Any, copy: Any) -> Answer:
    """What a node runs: a Ray task."""
    import socket

    import ray

    node = socket.gethostname()
    return errand.carry_out(
        order, lambda bundle: ray.get(desk.tell.remote(order.name, node, bundle)), copy
    )


def _connected(address: str) -> Any:
    """Ray's module, connected; a Mistake if it is not installed, or nothing is at the address."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's own words about lost nodes, twenty lines each
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray
    except ImportError:
        raise Mistake(f"--ray needs Ray; install it: {extras.install('cluster')}") from None
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise Mistake(
            f"--ray {address}: no Ray cluster answers ({why[0][:120]}); allowed: HOST:PORT of one "
            "that `ray start --head` began, auto for that of this machine, local for a new one"
        ) from None
    return ray


def _newest(folder: Path) -> str:
    """The step of the newest checkpoint, as a file's name has it; empty if there is none."""
    return max((path.stem for path in (folder / "checkpoints").glob("*.pt")), default="")


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
