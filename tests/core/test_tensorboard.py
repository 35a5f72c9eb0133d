"""What TensorBoard is told, read back by TensorBoard: scalars, pictures, the config, and what the
tab HParams compares."""

import json
from pathlib import Path

import pytest
from PIL import Image
from studies.test_sweep import TEXT, Quick, swept
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util
from tiny import needed, of_model

from simulacra.core import run, tensorboard


def read(folder: Path) -> EventAccumulator:
    """All that is in the event files of a folder."""
    found = EventAccumulator(str(folder / "events"))
    found.Reload()
    return found


def told(found: EventAccumulator, name: str) -> HParamsPluginData:
    """A record for the tab HParams."""
    content = found.SummaryMetadata(f"_hparams_/{name}").plugin_data.content
    return HParamsPluginData.FromString(content)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run with checkpoints at 2 and 4."""
    folder = tmp_path_factory.mktemp("board") / "run"
    few = "steps=4", "save_every=2", "log_every=1"
    needed(of_model("ebgan"), "ebgan").train(folder, *few, tensorboard=True)
    return folder


def test_pictures_are_those_of_the_run(trained):
    found = read(trained)
    shown = found.Images("samples")
    assert [one.step for one in shown] == [2, 4] and "curves" not in found.Tags()["images"]
    for one in shown:
        path = trained / "pictures" / f"{one.step:08d}" / "samples.png"
        assert one.encoded_image_string == path.read_bytes()
        with Image.open(path) as picture:
            assert (one.width, one.height) == picture.size
    assert [one.step for one in found.Scalars("loss_D")] == [1, 2, 3, 4]


def test_the_config_is_text_and_hyperparameters(trained):
    found, config = read(trained), run.config_of(trained)
    assert found.SummaryMetadata("config").plugin_data.plugin_name == "text"
    (text,) = tensor_util.make_ndarray(found.Tensors("config")[0].tensor_proto)
    assert json.loads(text) == config
    begun = told(found, "session_start_info").session_start_info
    assert begun.hparams["hyper.margin"].number_value == config["hyper"]["margin"]
    assert begun.hparams["model"].string_value == "ebgan" and begun.group_name
    assert "seed" not in begun.hparams, "seeds are what a group is averaged over"
    other = tensorboard.hparams(config | {"seed": 9})
    assert other == tensorboard.hparams(config)
    assert told(found, "session_end_info").session_end_info.end_time_secs > 0


def test_what_was_measured_at_the_end_stands_beside(trained, tmp_path):
    """And only then: TensorBoard would take the newer file for all there is of a run that
    trains."""
    row = {"metric": "coverage", "value": 0.5, "step": 4}
    run.add_results(trained, [row, {"metric": "kid", "value": None, "step": 4}])
    found = read(trained)
    (one,) = found.Scalars("measured/coverage")
    assert (one.step, one.value) == (4, 0.5) and "measured/kid" not in found.Tags()["scalars"]
    assert [one.step for one in found.Scalars("loss_D")] == [1, 2, 3, 4], "nothing is void"
    (tmp_path / "events").mkdir()
    run.add_results(tmp_path, [row])
    assert not list((tmp_path / "events").iterdir())
    run.add_results(tmp_path / "none", [row])
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["metrics.jsonl"]


def test_rows_of_a_step_that_was_lost_are_void(tmp_path):
    """A folder that an older version wrote, too: scalars alone."""
    events = tensorboard.Events(tmp_path / "events", 0)
    for k in range(1, 6):
        events.add(k, {"loss": float(k)})
    events.close()
    later = tensorboard.Events(tmp_path / "events", 3, {"seed": 1, "hyper": {"rates": [1, 2]}})
    later.add(4, {"loss": 40.0})
    later.close()
    found = read(tmp_path)
    assert [(one.step, one.value) for one in found.Scalars("loss")] == [
        *((k, float(k)) for k in (1, 2, 3)),
        (4, 40.0),
    ]
    begun = told(found, "session_start_info").session_start_info
    assert begun.hparams["hyper.rates"].string_value == "[1, 2]"


def test_a_sweep_says_what_is_compared_by_what(tmp_path):
    crew = Quick()
    swept(tmp_path, crew)
    assert all("--no-tensorboard" not in words for words in crew.said)
    for _ in range(2):
        asked = told(read(tmp_path / "runs"), "experiment").experiment
        assert [one.name for one in asked.hparam_infos] == ["hyper.margin"]
        assert [one.name.tag for one in asked.metric_infos] == ["measured/coverage"]
        swept(tmp_path, Quick(), TEXT)
    assert len(list((tmp_path / "runs" / "events").iterdir())) == 1
