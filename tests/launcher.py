"""A process that has imported everything and forks a child for each command line: each is a process
of its own, which can be killed, and which starts in a moment.

It reads one order a line, {"arguments": [...], "pipes": [out, err], "limit": BYTES or null, "dies":
N or null}, and answers with the child's number and, when it has ended, its wait status. A child
with a limit cannot write files larger than that. A child that dies kills itself just before the
N-th time that it opens, renames, makes or removes something in its run folder.
"""

import contextlib
import io
import itertools
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = {"open", "os.rename", "os.remove", "os.mkdir"}


def die_at(count: int, folder: str) -> None:
    """Have this process kill itself at the count-th of its changes to the folder."""
    left = itertools.count(count - 1, -1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and str(arguments[0]).startswith(folder) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def child(order: dict[str, Any], main: Callable[[], None]) -> None:
    """Become the command line."""
    for descriptor, pipe in enumerate(order["pipes"], start=1):
        os.dup2(os.open(pipe, os.O_WRONLY), descriptor)
    if order["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], resource.RLIM_INFINITY))
    if order["dies"] is not None:
        die_at(order["dies"], order["arguments"][order["arguments"].index("--run") + 1])
    # also where the tests run in the background of a script, which has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["simulacra", *order["arguments"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Fork a child for each order, one at a time."""
    import tensorboard.compat.proto.event_pb2
    import tensorboard.summary.writer.record_writer
    import torch._dynamo
    from PIL import Image
    from tiny import scribble

    import simulacra.tasks.train
    from simulacra import cli
    from simulacra.core import config
    from simulacra.io import paint

    paint.curves = scribble
    torch.set_num_threads(1)
    Image.init()
    for model_name in config.models():
        config.model(model_name)
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        sys.argv = ["simulacra", "list"]
        cli.main()  # for all that it imports
    print("ready", tensorboard.__version__, simulacra.__version__, flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line), cli.main)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    serve()
