"""Stage: beside the house. In: a wrapper for the step (none, or ``minigrad.jit``). Out: five training loops without an
end, which can be stopped at any step and go on from a checkpoint: three of ``examples/``, and two whose batches differ
in size and shape. Next: ``soak.py``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import minigrad
from minigrad import nn, optim
from minigrad.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).resolve().parent.parent
Step = Callable[..., Any]
Wrap = Callable[[Step], Step]


class Loop:
    """Epoch after epoch of ``batches``, each of them a ``step``; what the steps give comes one by one. ``parts`` are
    what learns: each has a ``state_dict``. All random numbers come from the default generator and from Python's."""

    def __init__(self, parts: dict[str, Any], batches: Callable[[], Iterator[Any]], step: Step) -> None:
        self.parts, self.batches, self.step = parts, batches, step
        self.seen = 0  # batches of this epoch
        self.before = numbers()  # where the generators were when it began
        self.steps = self._run()

    def __iter__(self) -> Loop:
        return self

    def __next__(self) -> Any:
        return next(self.steps)

    def _run(self) -> Iterator[Any]:
        while True:
            now, self.before = numbers(), self.before if self.seen else numbers()
            set_numbers(self.before)
            batches = self.batches()
            for _ in islice(batches, self.seen):
                pass
            if self.seen:
                set_numbers(now)
            for batch in batches:
                self.seen += 1
                yield self.step(batch)
            self.seen = 0

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {"parts": {name: part.state_dict() for name, part in self.parts.items()}, "numbers": numbers(),
                "before": self.before, "seen": self.seen}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from there: the next step is the one that came next. Only before the first step."""
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.before, self.seen = state["before"], state["seen"]
        set_numbers(state["numbers"])

    def digest(self) -> str:
        """A number for all bits of the state."""
        digest = hashlib.sha256()
        for leaf in leaves(self.state()):
            digest.update(leaf)
        return digest.hexdigest()


def leaves(value: Any) -> Iterator[bytes]:
    """The bits of all that is in dicts, lists and tuples."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield repr(key).encode()
            yield from leaves(inside)
    elif isinstance(value, (list, tuple)):
        yield repr(len(value)).encode()
        for inside in value:
            yield from leaves(inside)
    elif isinstance(value, minigrad.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().numpy().tobytes()
    else:
        yield repr(value).encode()


def numbers() -> dict[str, Any]:
    """Where the two generators are."""
    return {"minigrad": minigrad.get_rng_state(), "python": random.getstate()}


def set_numbers(state: dict[str, Any]) -> None:
    """Put them back."""
    minigrad.set_rng_state(state["minigrad"])
    version, drawn, gauss = state["python"]
    random.setstate((version, tuple(drawn), gauss))


class Weights:
    """Parameters that are in no module."""

    def __init__(self, parameters: list[Any]) -> None:
        self.parameters = parameters

    def state_dict(self) -> dict[str, Any]:
        """Their values."""
        return {str(i): p.detach() for i, p in enumerate(self.parameters)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take these values."""
        with minigrad.no_grad():
            for i, p in enumerate(self.parameters):
                p.copy_(state[str(i)])


def example(name: str) -> ModuleType:
    """A program of ``examples/``, loaded anew: with its own model, seeded as when it is run."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def xor(wrap: Wrap) -> Loop:
    """Nobody looks at the loss."""
    program = example("xor")
    step = wrap(program.step)
    return Loop({"model": program.model, "optimizer": program.optimizer}, lambda: iter(range(100)), lambda _: step())


def mlp_digits(wrap: Wrap) -> Loop:
    """Batches of two sizes; the loss is read at each step."""
    program = example("mlp_digits")
    step = wrap(program.step)
    return Loop({"model": program.model, "optimizer": program.optimizer}, program.batches,
                lambda batch: step(batch).item())


def micrograd(wrap: Wrap, batch: int = 4) -> Loop:
    """A network of single numbers; random batches. Under jit the labels are tensors, or each combination of them would
    be a program of its own."""
    program = example("micrograd")
    random.seed(1337)
    points, labels = program.make_moons(n_samples=100, noise=0.1, random_state=1)
    number = minigrad.tensor if wrap is minigrad.jit else float
    data = [(x, y, number(2.0 * label - 1)) for (x, y), label in zip(points.tolist(), labels)]
    model, rate, step = program.MLP(2, 16, 16, 1), number(0.1), wrap(program.step)

    def one(chosen: list[Any]) -> float:
        inputs = [(minigrad.tensor(x), minigrad.tensor(y)) for x, y, _ in chosen]
        loss, scores = step(model, inputs, [label for _, _, label in chosen], rate)
        _ = [score.item() for score in scores]
        return loss.item()

    return Loop({"model": Weights(model.parameters())}, lambda: (random.sample(data, batch) for _ in range(25)), one)


def pictures(wrap: Wrap) -> Loop:
    """A convolution network with batch norm and dropout. A DataLoader shuffles; batches are of 1 to 4 pictures of 6 to
    8 points a side; the learning rate follows a scheduler."""
    minigrad.manual_seed(0)
    random.seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2),
                          nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)
    data = TensorDataset(minigrad.rand(40, 1, 8, 8), minigrad.randint(0, 4, (40,)))
    loader = DataLoader(data, batch_size=4, shuffle=True)

    def batches() -> Iterator[Any]:
        for x, y in loader:
            count, side = random.randint(1, 4), random.randint(6, 8)
            yield x[:count, :, :side, :side].clone(), y[:count].clone()

    @wrap
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def one(batch: Any) -> float:
        loss = step(*batch).item()
        scheduler.step()
        return loss

    return Loop({"model": model, "optimizer": optimizer, "scheduler": scheduler}, batches, one)


def sentences(wrap: Wrap) -> Loop:
    """A recurrent network with dropout over 1 to 3 rows of 2 to 6 letters, with Adam and clipped gradients. The loss is
    read at each tenth step."""
    minigrad.manual_seed(1)
    random.seed(1)
    table, cell = nn.Embedding(12, 8), nn.GRU(8, 10, batch_first=True)
    model = nn.ModuleDict({"table": table, "cell": cell, "drop": nn.Dropout(0.1), "out": nn.Linear(10, 12)})
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    taken = 0

    def batches() -> Iterator[Any]:
        for _ in range(50):
            rows, length = random.randint(1, 3), random.randint(2, 6)
            begins = minigrad.randint(0, 12, (rows, 1))
            yield (begins + minigrad.arange(length + 1) ** 2) % 12

    @wrap
    def step(letters: Any) -> Any:
        optimizer.zero_grad()
        hidden, _ = cell(table(letters[:, :-1]))
        scores = model["out"](model["drop"](hidden))
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), letters[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    def one(letters: Any) -> Any:
        nonlocal taken
        taken += 1
        loss = step(letters)
        return loss.item() if taken % 10 == 0 else loss

    return Loop({"model": model, "optimizer": optimizer}, batches, one)


PROGRAMS: dict[str, Callable[[Wrap], Loop]] = {
    "xor": xor, "mlp_digits": mlp_digits, "micrograd": micrograd, "pictures": pictures, "sentences": sentences}
WRAPS: dict[str, Wrap] = {"plain": lambda step: step, "jit": minigrad.jit}


def save(loop: Loop, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint."""
    minigrad.save(loop.state(), path)


def resumed(name: str, mode: str, path: str | os.PathLike[str]) -> Loop:
    """The loop, as it was when the checkpoint was written."""
    loop = PROGRAMS[name](WRAPS[mode])
    loop.load(minigrad.load(path))
    return loop
