"""A VQ-VAE as somebody writes one who has never seen the house: one file, nn.Module, own optimizer,
own schedule, torch's own average. Two codebooks: moved by a running mean of what chose them, or by
the gradient. After van den Oord et al., "Neural discrete representation learning"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass
class Hyper:
    codebook: Literal["mean", "gradient"] = "mean"
    codes: int = 16
    size: int = 8
    commitment: float = 0.25
    decay: float = 0.95
    rate: float = 2e-3
    warmup: int = 4


class Quantizer(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.hp = hp
        codes = torch.randn(hp.codes, hp.size)
        if hp.codebook == "gradient":
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)
            self.register_buffer("counts", torch.ones(hp.codes))
            self.register_buffer("sums", codes.clone())

    def forward(self, z):  # (B, size, H, W)
        flat = z.movedim(1, -1).reshape(-1, self.hp.size)
        index = torch.cdist(flat, self.codes).argmin(1)
        chosen = self.codes[index].view(len(z), *z.shape[2:], self.hp.size).movedim(-1, 1)
        loss = self.hp.commitment * F.mse_loss(z, chosen.detach())
        if self.hp.codebook == "gradient":
            loss = loss + F.mse_loss(chosen, z.detach())
        elif self.training:
            self.update(flat.detach(), index)
        usage = F.one_hot(index, self.hp.codes).float().mean(0)
        perplexity = torch.exp(-(usage * (usage + 1e-10).log()).sum())
        return z + (chosen - z).detach(), loss, perplexity, usage

    @torch.no_grad()
    def update(self, flat, index):
        hot = F.one_hot(index, self.hp.codes).to(flat)
        self.counts.mul_(self.hp.decay).add_(hot.sum(0), alpha=1 - self.hp.decay)
        self.sums.mul_(self.hp.decay).add_(hot.T @ flat, alpha=1 - self.hp.decay)
        dead = self.counts < 1e-2
        if dead.any():  # a code that nobody chooses begins anew as what an encoder said
            fresh = flat[torch.randint(len(flat), (int(dead.sum()),))]
            self.sums[dead], self.counts[dead] = fresh, 1.0
        self.codes.copy_(self.sums / self.counts[:, None])


class Net(nn.Module):
    def __init__(self, channels, hp):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(channels, 16, 4, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, hp.size, 4, 2, 1),
        )
        self.vq = Quantizer(hp)
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(hp.size, 16, 4, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, x):
        z, loss, perplexity, usage = self.vq(self.enc(x))
        return self.dec(z), loss, perplexity, usage


class VQVAE(nn.Module):
    def __init__(self, hyper, like):
        super().__init__()
        self.hp = hyper
        self.net = Net(like["image"].shape[1], hyper)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=hyper.rate, weight_decay=1e-4)
        self.sched = torch.optim.lr_scheduler.LambdaLR(
            self.opt, lambda k: min(1.0, (k + 1) / hyper.warmup)
        )
        average = get_ema_multi_avg_fn(0.9)
        self.ema = AveragedModel(self.net, multi_avg_fn=average, use_buffers=True)
        self.register_buffer("usage", torch.ones(hyper.codes) / hyper.codes)
        self.best = float("inf")

    def step(self, batch, k):
        self.train()
        x = batch["image"]
        out, vq_loss, perplexity, usage = self.net(x)
        recon = F.mse_loss(out, x)
        loss = recon + vq_loss
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        rate = self.sched.get_last_lr()[0]
        self.opt.step()
        self.sched.step()
        self.ema.update_parameters(self.net)
        self.usage = 0.9 * self.usage + 0.1 * usage.detach()
        self.best = min(self.best, recon.item())
        return {
            "loss": loss,
            "recon": recon.item(),
            "perplexity": perplexity,
            "norm": norm,
            "rate": rate,
            "best": self.best,
        }

    @torch.no_grad()
    def sample(self, batch):
        self.eval()
        net, x = self.ema.module, batch["image"]
        H, W = x.shape[2] // 4, x.shape[3] // 4
        index = torch.multinomial(self.usage, len(x) * H * W, replacement=True)
        z = net.vq.codes[index].view(len(x), H, W, -1).movedim(-1, 1)
        return {"samples": net.dec(z), "reconstructed": net(x)[0]}

    @torch.no_grad()
    def measure(self, held_out, samples):
        self.eval()
        out, _, perplexity, _ = self.ema.module(held_out["image"])
        return {"perplexity": perplexity, "mse": F.mse_loss(out, held_out["image"]).item()}


Model = VQVAE
