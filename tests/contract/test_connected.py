"""That what is right by itself is also called, with the right things:
from the verb or the step down."""

from pathlib import Path

import coded
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from video.test_lasting import H, T, W, passing

from simulacra.core import random
from simulacra.io import paint
from simulacra.tasks import decompose as verb
from simulacra.video.plate import clean_plate


def test_what_shows_through_leaves_is_hidden_from_the_plate() -> None:
    """A red block passes behind a grille of which every second line shows it, and which the mattes
    take for the grille's own. The plate behind it is the grille before grey, without red."""
    whole, seen, flows = passing()
    gaps = torch.zeros(H, W, dtype=torch.bool)
    gaps[::2, 40:48] = True
    red = torch.tensor([0.9, -0.9, -0.9])[:, None, None]
    ground = torch.rand(3, H, W, generator=torch.Generator().manual_seed(0)) * 0.2
    ground[:, :, 40:48] -= 0.5
    frames = torch.stack([torch.where(seen[t] | (whole[t] & gaps), red, ground) for t in range(T)])
    plate = clean_plate(frames, seen.float(), flows=flows)
    error = (plate.background - ground).abs().mean(1, keepdim=True)
    for t in 3, 4, 5, 6:  # until it comes out on the other side
        glimpsed = (whole & gaps & ~seen)[t]
        assert (
            glimpsed.sum() >= 10
            and float((red - frames[0]).abs().mean(0)[glimpsed[0]].mean()) > 0.6
        )
        assert float(error[t][glimpsed].mean()) < 0.3


def test_decomposing_keeps_what_the_background_does_not_explain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segmentation misses a red leg that the plate, seen in other frames, shows to be none of the
    ground: the matte has it, the mask has not, and neither has what the plate does not know."""
    ground = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0)) * 0.1
    frames, soft, known = (
        ground.repeat(2, 1, 1, 1),
        torch.zeros(2, 1, 24, 32),
        torch.ones(2, 1, 24, 32),
    )
    red = torch.tensor([0.9, -0.9, -0.9])[:, None, None]
    frames[:, :, 4:12, 4:12], soft[:, :, 4:12, 4:12] = red, 1.0
    frames[:, :, 14:20, 6:9] = red
    frames[:, :, 14:20, 22:26], known[:, :, 14:20, 22:26] = red, 0.0
    paint.save_pngs(frames, tmp_path / "frames")
    Image.fromarray((soft[0, 0] * 255).byte().numpy()).save(tmp_path / "mask.png")
    plate = {"background": ground.repeat(2, 1, 1, 1), "known": known}
    monkeypatch.setattr(
        verb, "segmented", lambda *_: {"soft": soft, "confidence": torch.ones(2, 1)}
    )
    monkeypatch.setattr(verb, "plated", lambda *_: plate)
    verb.decompose(tmp_path / "frames", tmp_path / "mask.png", tmp_path / "layers")
    matte, mask = (
        np.array(Image.open(sorted((tmp_path / "layers" / name).iterdir())[0]))
        for name in ("matte", "mask")
    )
    assert (matte[15:19, 7:8] > 200).all() and (mask[14:20, 6:9] == 0).all()
    assert (matte[6:10, 6:10] == 255).all() and (mask[6:10, 6:10] == 255).all()
    assert (matte[15:19, 23:25] < 30).all() and (matte[20:, :] < 30).all()


# --- worlds ---


class Blurred(coded.Colours):
    """An eye whose codes are drawn with a variance that matters."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), torch.zeros(len(x), 3)


class Reward:
    """A world that pays the first number of an action, for three steps of grey frames."""

    def __init__(self, some: list[int]):
        self.rows = len(some)

    def reset(self) -> Tensor:
        self.t = 0
        return torch.full((self.rows, 3, 8, 8), 150, dtype=torch.uint8)

    def step(self, actions):
        self.t += 1
        alive = torch.full((self.rows,), self.t < 3).numpy()
        return (
            torch.full((self.rows, 3, 8, 8), 150, dtype=torch.uint8),
            torch.as_tensor(actions)[:, 0].numpy(),
            alive,
        )


@pytest.mark.parametrize("world", ["envpool", "dream"])
def test_members_act_on_a_drawn_code_or_on_its_mean(world: str) -> None:
    """On means, other luck changes nothing: the same returns from the same frames, whatever noise;
    on samples it does. What a member earns on the mean is what its map makes of the mean."""
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    from simulacra.models.world.world_controller import Hyper, WorldController

    batch = coded.batch(3, 12, 3)
    batch["log_variance"] = torch.zeros_like(batch["log_variance"])
    weights = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    found = {}
    for act_on in "mean", "sample":
        random.reseed(0)
        hyper = Hyper(
            arm="z_only",
            world=world,
            squash="tanh",
            population=4,
            steps=3,
            act_on=act_on,
            noise=0.0,
            tau=1e-3,
        )  # type: ignore[arg-type]
        model = WorldController(hyper, batch)
        model.opened = Blurred(), Reward  # type: ignore[assignment]
        found[act_on] = [
            model.rollouts(weights, batch, [seed, seed + 1, seed + 2])[0] for seed in (5, 50)
        ]
    assert not torch.allclose(*found["sample"], atol=1e-3)
    if world == "dream":
        assert not torch.allclose(found["mean"][0], found["sample"][0], atol=1e-3)
        return
    assert torch.allclose(*found["mean"])
    z = torch.full((3,), 150 / 127.5 - 1)
    first = (weights[:, :9].view(4, 3, 3) @ z + weights[:, 9:]).tanh()[:, 0]
    assert torch.allclose(found["mean"][0].float(), 3 * first[:, None].expand(4, 3), atol=1e-4)


def test_truths_are_those_of_the_moment_of_the_frame() -> None:
    """Driving a recording's actions again on the same track, the truth before each action is the
    one recorded with it, to the last bit; after a lead, too."""
    for package in "gymnasium", "Box2D", "envpool":
        pytest.importorskip(package, reason=f"CarRacing needs {package}, of the extra worlds")
    from simulacra.tasks.worlds import collect

    spec = collect.checked(
        seed=5, mixture={"scripted": 1.0}, simulator="envpool", steps=40, lead=0, size=64, hud=False
    )
    plan = collect.plan(spec, 0)
    (episode,) = collect.record(spec, [plan._replace(lead=0)])
    ghosts, alive = collect.Ghosts([plan.track]), np.ones(1, bool)
    for action, told in zip(episode.actions, episode.truths, strict=True):
        assert told.tolist() == pytest.approx(
            np.array(ghosts.games[0].truth(), np.float32).tolist(), abs=0
        )
        ghosts.step(action[None], alive)
    assert episode.truths[5, 3] > episode.truths[0, 3] + 1, "the car drives off"
