"""TensorBoard's view of a run, written row by row: scalars and pictures, the config as text and as
hyperparameters, and what was measured at the end. TensorBoard's own writer keeps a thread, in which
a full disk ends in a traceback that nobody can catch.

The tab HParams compares runs by their configs: the runs of one config with several seeds are one
group, whose metrics it averages.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from simulacra.core.tables import called

FOLDER = "events"  # in a run folder, and in that of a sweep
SHOWN = ".png", ".gif"  # kinds of pictures that TensorBoard shows
MEASURED = "measured/"  # begins the tags of what was measured


class Events:
    """An open event file. Rows that older files of the folder hold after step `k` are void,
    as the log was rewound."""

    def __init__(self, folder: Path, k: int, config: Mapping[str, Any] | None = None):
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
        if config is not None:
            self._begin(config)

    def add(self, k: int, scalars: Mapping[str, float]) -> None:
        """Write a row of the log."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._say(k, [Summary.Value(tag=tag, simple_value=x) for tag, x in scalars.items()])

    def pictures(self, k: int, paths: Iterable[Path]) -> None:
        """Write the pictures of a step, as their files are; curves, which are there as scalars, and
        films are left out."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = []
        for path in paths:
            if path.suffix in SHOWN and path.stem != "curves":
                with Image.open(path, formats=["PNG", "GIF", "JPEG"]) as picture:
                    width, height = picture.size
                shown = Summary.Image(
                    width=width, height=height, encoded_image_string=path.read_bytes()
                )
                values.append(Summary.Value(tag=path.stem, image=shown))
        self._say(k, values)

    def end(self) -> None:
        """Note that the run has come to its end."""
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

        done = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
        )
        self._hparams("session_end_info", session_end_info=done)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _begin(self, config: Mapping[str, Any]) -> None:
        """The config as text, and its values as hyperparameters."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

        lines = json.dumps(config, indent=2).splitlines()
        text = TensorProto(
            dtype=DT_STRING,
            string_val=["\n".join(f"    {line}" for line in lines).encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._say(0, [Summary.Value(tag="config", tensor=text, metadata=kind)])
        values = hparams(config)
        group = blake2b(json.dumps(values).encode(), digest_size=8).hexdigest()
        begun = SessionStartInfo(group_name=group, start_time_secs=time.time())
        for key, value in values.items():
            if isinstance(value, bool):
                begun.hparams[key].bool_value = value
            elif isinstance(value, (int, float)):
                begun.hparams[key].number_value = value
            else:
                begun.hparams[key].string_value = value
        self._hparams("session_start_info", session_start_info=begun)

    def _hparams(self, name: str, **told: Any) -> None:
        """Write a record for the tab HParams."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2

        data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **told)
        plugin = SummaryMetadata.PluginData(
            plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
        )
        kind = SummaryMetadata(plugin_data=plugin)
        tag = f"_hparams_/{name}"
        self._say(0, [Summary.Value(tag=tag, metadata=kind, tensor=metadata.NULL_TENSOR)])

    def _say(self, k: int, values: Sequence[Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        if values:
            self._write(self.event(wall_time=time.time(), step=k, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        self.writer.write(event.SerializeToString())
        self.file.flush()


def hparams(config: Mapping[str, Any], under: str = "") -> dict[str, bool | int | float | str]:
    """The values of a run's config by the dotted keys that people write, all but the seed; lists
    are words."""
    found: dict[str, bool | int | float | str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= hparams(value, f"{under}{key}.")
        elif under or key != "seed":
            plain = isinstance(value, (bool, int, float, str))
            name = {"name": "config"}.get(key, called(key)) if not under else f"{under}{key}"
            found[name] = value if plain else json.dumps(value)
    return found


def measured(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add what was measured of a finished run to its events, if it has any. While a run still
    trains nothing is added, since TensorBoard would take the newer file for all there is."""
    values: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.get("value") is not None and row.get("step") is not None:
            values.setdefault(row["step"], {})[MEASURED + row["metric"]] = row["value"]
    if not values or not (folder / FOLDER).is_dir() or not (folder / "done").exists():
        return
    events = Events(folder / FOLDER, max(values))
    try:
        for step, scalars in sorted(values.items()):
            events.add(step, scalars)
    finally:
        events.close()


def compared(folder: Path, varied: Iterable[str], metrics: Iterable[str]) -> None:
    """Tell the tab HParams of a folder of runs in which of their hyperparameters they differ, and
    by which metrics they are compared; it shows no others. What was said before is replaced."""
    from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName

    for older in (folder / FOLDER).glob("events.out.tfevents.*"):
        older.unlink()
    keys = [HParamInfo(name=called(key)) for key in varied]
    columns = [
        MetricInfo(name=MetricName(tag=MEASURED + name), display_name=name) for name in metrics
    ]
    folder.mkdir(parents=True, exist_ok=True)
    events = Events(folder / FOLDER, 0)
    try:
        found = Experiment(hparam_infos=keys, metric_infos=columns, time_created_secs=time.time())
        events._hparams("experiment", experiment=found)
    finally:
        events.close()
