"""Only files and folders named after a step are checkpoints and pictures of a step."""

import shutil

import pytest
from tiny import assert_same

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen

COPIES = (
    "00000007 (copy).pt",
    "00000020 (1).pt",
    "00000020-Kopie.pt",
    "00000020.pt.pt",
    "0000020.pt",
    "9.pt",
    "٠٠٠٠٠٠٩٩.pt",
)


pytestmark = pytest.mark.parametrize("model_name", ["ebgan"], scope="session")  # what holds for all


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_checkpoint_is_none(own, copied):
    there = run.checkpoints(own)
    shutil.copy(there[0], there[0].with_name(copied))
    (own / "checkpoints" / "00000099.pt").mkdir()
    assert run.checkpoints(own) == there
    assert reopen(own, None).step == 20


def test_a_run_goes_on_beside_copies(tiny, trained, own):
    newest = run.checkpoints(own)[-1]
    for name in COPIES:
        shutil.copy(newest, newest.with_name(name))
    newest.unlink()
    (own / "done").unlink()
    tiny.train(own, "steps=20", "save_every=10", "log_every=5")
    assert all((own / "checkpoints" / name).exists() for name in COPIES), (
        "what is another's is not removed"
    )
    for name in COPIES:
        (own / "checkpoints" / name).unlink()
    assert_same(trained, own)


def test_a_checkpoint_under_another_step(own):
    shutil.copy(run.checkpoints(own)[-1], own / "checkpoints" / "00000090.pt")
    with pytest.raises(
        Mistake, match=r"00000090\.pt holds step 20, not what its name says; remove it"
    ):
        reopen(own, None)


def test_copied_pictures_are_none(simulacra, own, tmp_path):
    for name in "00000020 (copy)", "20", "00000020-old":
        shutil.copytree(own / "pictures" / "00000020", own / "pictures" / name)
    assert "2 steps, 10 to 20" in simulacra("evolve", own, "-o", tmp_path / "way.png").success()
    simulacra("notebook", own, "-o", tmp_path / "book").success()
    pages = "".join(path.read_text() for path in (tmp_path / "book").glob("run-*.html"))
    assert "copy" not in pages and "-old" not in pages
