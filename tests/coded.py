"""Codes for tests: a small linear world whose laws are known,
written as `simulacra encode` writes them, and eyes to match."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

EYE = "00112233445566778899aabbccddeeff"
OTHER = "ff" * 16


def episode(number: int, frames: int, Z: int = 4, ends: bool = True) -> dict[str, Tensor]:
    """z' = 0.9 z + 0.5 a_0 + 0.1 noise in every number, reward a_0 - a_1, the last frame an end."""
    dice = torch.Generator().manual_seed(number)
    action = torch.rand(frames, 3, generator=dice) * 2 - 1
    z = torch.randn(frames, Z, generator=dice)
    for t in range(1, frames):
        z[t] = 0.9 * z[t - 1] + 0.5 * action[t - 1, 0] + 0.1 * z[t]
    done = torch.zeros(frames, dtype=torch.uint8)
    done[-1] = ends
    reward = action[:, 0] - action[:, 1]
    return {
        "mean": z.half(),
        "log_variance": torch.full_like(z, -6).half(),
        "action": action,
        "reward": reward,
        "done": done,
    }


def folder(path: Path, episodes: int = 6, frames: int = 40, Z: int = 4, eye: str = EYE) -> Path:
    """The path of a folder of encoded episodes."""
    path.mkdir(parents=True, exist_ok=True)
    for number in range(episodes):
        save_file(episode(number, frames, Z), path / f"{number:05d}.safetensors", {"eye": eye})
    return path


def batch(B: int = 4, T: int = 12, Z: int = 4, eye: str = EYE) -> dict[str, Tensor]:
    """Sequences as the data set `codes` draws them."""
    rows = [episode(number, T, Z) for number in range(B)]
    hashes = torch.tensor(list(bytes.fromhex(eye)), dtype=torch.uint8).expand(B, -1).clone()
    return {name: torch.stack([row[name] for row in rows]).float() for name in rows[0]} | {
        "eye": hashes
    }


class Colours:
    """An eye that sees the mean of each channel:
    codes of 3 numbers, whose variance is as good as none."""

    z_size = 3

    def __init__(self, gain: float = 1.0):
        self.net = nn.Linear(1, 1, bias=False).requires_grad_(False)
        self.net.weight.fill_(gain)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, 3)."""
        mean = x.mean((2, 3)) * self.net.weight[0]
        return mean, torch.full_like(mean, -20)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (B, 3, 8, 8) of one colour."""
        return z[:, :3, None, None].expand(-1, -1, 8, 8)


class Step(tuple):
    """What the official wrapper's steps look like."""

    def __new__(cls, *parts):
        return super().__new__(cls, parts)

    lap_finished = property(lambda self: self[3])
    progress = property(lambda self: self[4])
