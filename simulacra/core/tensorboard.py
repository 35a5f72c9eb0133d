"""TensorBoard's view of a log, written row by row. TensorBoard's own writer keeps a thread, in
which a full disk ends in a traceback that nobody can catch."""

import os
import time
from pathlib import Path
from typing import Any


class Events:
    """An open event file. Rows that older files of the folder hold after step `k` are void,
    as the log was rewound."""

    def __init__(self, folder: Path, k: int):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        self.event = Event
        name = f"events.out.tfevents.{time.time_ns() // 1000}.{os.getpid()}"
        self.file = (folder / name).open("wb")
        self.writer = RecordWriter(self.file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        begun = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=k + 1, session_log=begun))

    def add(self, k: int, scalars: dict[str, float]) -> None:
        """Write a row of the log."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(self.event(wall_time=time.time(), step=k, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        self.writer.write(event.SerializeToString())
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
