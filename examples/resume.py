"""Training that is stopped in the middle and goes on as if nothing had happened, in plain PyTorch.

    python -m minigrad.torch examples/resume.py

PyTorch runs the same file: python examples/resume.py. It trains a classifier three ways: without a stop; in a process
that ends itself in the middle, as a power cut would; and in another process that goes on from the checkpoint. The last
weights must be the same bits. The checkpoint holds the model, the optimizer, the scheduler, the state of the random
numbers, and which samples of the epoch are still to come.

    --checkpoint file.pt --stop-at 37     one run alone, which ends itself after step 37
    --checkpoint file.pt                  one run alone, which goes on from there
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

EVERY = 10  # steps from one checkpoint to the next


class ResumableSampler(Sampler):
    """A random order for each epoch, which can be taken up in the middle."""

    def __init__(self, length, seed):
        self.length, self.seed, self.epoch, self.begin = length, seed, 0, 0

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        yield from order[self.begin:]

    def __len__(self):
        return self.length - self.begin

    def state_dict(self):
        return {"seed": self.seed, "epoch": self.epoch, "begin": self.begin}

    def load_state_dict(self, state):
        self.seed, self.epoch, self.begin = state["seed"], state["epoch"], state["begin"]


def make_data(seed, count=512):
    """Points on three spirals, with the number of the spiral."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (count,), generator=generator)
    radius = torch.rand(count, generator=generator)
    angle = 4 * radius + 2.0944 * label + 0.15 * torch.randn(count, generator=generator)
    return TensorDataset(torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1), label)


def train(options, checkpoint, stop_at=None):
    """Train, from the checkpoint if there is one; the model."""
    torch.manual_seed(options.seed)
    data = make_data(options.seed)
    model = nn.Sequential(nn.Linear(2, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1),
                          nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.steps)
    sampler = ResumableSampler(len(data), options.seed)
    loss_function = nn.CrossEntropyLoss()
    step = 0

    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint)
        step = state["step"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        sampler.load_state_dict(state["sampler"])
        torch.set_rng_state(state["rng"])
        print(f"goes on after step {step}")

    while step < options.steps:
        rng = torch.get_rng_state()  # a DataLoader draws a number when it begins: the resumed epoch must not draw twice
        loader = DataLoader(data, batch_size=options.batch, sampler=sampler, drop_last=True)
        batches = iter(loader)
        if sampler.begin > 0:
            torch.set_rng_state(rng)
        for x, y in batches:
            optimizer.zero_grad()
            loss = loss_function(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            sampler.begin += len(x)
            if step % 20 == 0 or step == options.steps:
                print(f"step {step:3}  loss {loss.item():.4f}  rate {scheduler.get_last_lr()[0]:.6f}")
            if checkpoint is not None and step % EVERY == 0:
                torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                            "scheduler": scheduler.state_dict(), "sampler": sampler.state_dict(),
                            "rng": torch.get_rng_state()}, checkpoint)
            if step == stop_at:
                print(f"ends itself after step {step}", flush=True)
                os._exit(9)
            if step == options.steps:
                break
        else:
            sampler.epoch, sampler.begin = sampler.epoch + 1, 0
    return model


def run_alone(options, checkpoint, *arguments):
    """This program again, in a process of its own; its exit status."""
    this = sys.orig_argv[1:len(sys.orig_argv) - len(sys.argv) + 1]  # from what follows "python" to this file's name
    command = [sys.executable, *this, "--checkpoint", str(checkpoint), "--steps", str(options.steps),
               "--batch", str(options.batch), "--seed", str(options.seed), *arguments]
    return subprocess.run(command, check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-at", type=int)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()

    if options.checkpoint is not None:
        model = train(options, options.checkpoint, options.stop_at)
        torch.save(model.state_dict(), options.checkpoint.with_suffix(".final"))
        return

    print("straight:")
    straight = train(options, None).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "run.pt"
        stop_at = options.stop_at if options.stop_at is not None else options.steps // 2 + 3
        print("stopped in the middle:", flush=True)
        assert run_alone(options, checkpoint, "--stop-at", str(stop_at)) == 9
        print("and again:", flush=True)
        assert run_alone(options, checkpoint) == 0
        resumed = torch.load(checkpoint.with_suffix(".final"))
    assert list(straight) == list(resumed)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight), "the runs came to different weights"
    print(f"the same bits: {sum(value.numel() for value in straight.values()):,} numbers")


if __name__ == "__main__":
    main()
