"""Stage: conformance. In: nothing. Out: cases that train a small network through the public front: everything at once.
Next: ``check.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import minigrad
from minigrad import nn, optim
from minigrad.conformance.case import Case, Program, unit
from minigrad.conformance.sources import leaf
from minigrad.dtype import float32, float64
from minigrad.graph.lazy import LazyBuffer

front: Any = minigrad  # to a type checker, names like ``minigrad.tensor`` are the rooms, not the functions
STEPS = 800
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.5),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.02),
}


def training() -> Iterator[Case]:
    """XOR by a 2-8-1 network, with each optimizer."""
    for name in OPTIMIZERS:
        yield Case("training", f"xor-{name}", float32, partial(_xor, name), alone=True)


def _xor(name: str, device: str) -> Program:
    """What the trained network says of the four inputs: within 0.1 of the truth."""
    with front.config(DEVICE=device):
        front.manual_seed(0)
        inputs = front.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        targets = front.tensor([[0.0], [1.0], [1.0], [0.0]])
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = OPTIMIZERS[name](model.parameters())
        for _ in range(STEPS):
            optimizer.zero_grad()
            nn.MSELoss()(model(inputs), targets).backward()
            optimizer.step()
        with front.no_grad():
            said = np.array(model(inputs).tolist(), np.float32)
        truth = np.array(targets.tolist(), np.float32)
    one = LazyBuffer.const(1.0, float64, said.shape, device)
    return Program([leaf(said, float32, device)], [leaf(truth, float32, device)], [one], 0.0, 0.1 / unit(float32))
