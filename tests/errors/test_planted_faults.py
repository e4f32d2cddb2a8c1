"""Stage: tests of errors. In: three programs, and fifty faults that are put into them, one at a time. Out: each error
names the line that is wrong: the last line of the program in the traceback, or the text says which.
Next: ``tests/docs/test_docs.py``."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad.errors import CompileError, LaunchError, OutOfMemoryError
from minigrad.runtime import device as registry
from minigrad.runtime.cpu import CpuDevice

MLP = """
import minigrad as torch
from minigrad import nn, optim
F = nn.functional
torch.manual_seed(0)
x = torch.randn(12, 6)  #: data
y = torch.arange(12) % 3  #: labels
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))  #: model
optimizer = optim.SGD(model.parameters(), lr=0.1)  #: optimizer
def forward(x):
    hidden = model(x)  #: forward
    return hidden * 2  #: scale
for step in range(24):
    optimizer.zero_grad()
    loss = F.cross_entropy(forward(x), y)  #: loss
    pass  #: before
    loss.backward()  #: backward
    optimizer.step()  #: step
    pass  #: after
print(loss.item())  #: print
"""

GPT = """
import minigrad as torch
from minigrad import nn
F = nn.functional
torch.manual_seed(0)
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)  #: layers
        self.norm = nn.LayerNorm(16)
    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)  #: chunk
        scores = q @ k.transpose(-2, -1)  #: scores
        mask = torch.tril(torch.ones(8, 8)) == 0  #: mask
        scores = scores.masked_fill(mask, float("-inf"))  #: fill
        return x + self.out(scores.softmax(-1) @ v)  #: sum
words, places, block = nn.Embedding(11, 16), nn.Embedding(8, 16), Block()
parameters = [*words.parameters(), *places.parameters(), *block.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=1e-3)
text = torch.randint(0, 11, (4, 9))
for step in range(24):
    inputs, targets = text[:, :-1], text[:, 1:]  #: split
    h = words(inputs) + places(torch.arange(8))  #: embed
    logits = block(h) @ words.weight.T  #: logits
    loss = F.cross_entropy(logits.reshape(-1, 11), targets.reshape(-1))  #: loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  #: backward
    nn.utils.clip_grad_norm_(parameters, 1.0)  #: clip
    optimizer.step()
    pass  #: after
"""

CNN = """
import minigrad as torch
from minigrad import nn
from minigrad.utils.data import DataLoader, TensorDataset, Dataset
F = nn.functional
torch.manual_seed(0)
images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 4  #: data
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)  #: conv
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(64, 4)  #: head
    def forward(self, x):
        x = F.max_pool2d(self.norm(self.conv(x)).relu(), 2)  #: pool
        return self.head(x.flatten(1))  #: flatten
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(images, labels), batch_size=8, shuffle=True)  #: loader
@torch.jit
def train(x, y):
    loss = F.cross_entropy(net(x), y)  #: loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
for epoch in range(6):
    for x, y in loader:
        train(x, y)  #: train
    pass  #: after
state = net.state_dict()  #: state
net.load_state_dict(state)  #: load
"""


@dataclass(frozen=True)
class Fault:
    """The line with this label becomes ``text``; then the program raises ``kind``, with words that ``match``. ``at``:
    the label of the line that is to be named, where it is another."""

    program: str
    label: str
    text: str
    kind: type[Exception]
    match: str
    at: str = ""


FAULTS = {
    # shapes
    "data of another width": Fault(MLP, "data", "x = torch.randn(12, 5)", RuntimeError, "mat1 and mat2", "forward"),
    "a layer of another width": Fault(MLP, "model", "model = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 3))",
                                      RuntimeError, "mat1 and mat2", "forward"),
    "labels of another length": Fault(MLP, "labels", "y = torch.arange(11) % 3", ValueError, "batch_size", "loss"),
    "a wrong factor": Fault(MLP, "scale", "return hidden * torch.ones(4)", RuntimeError, "must match the size"),
    "a wrong transpose": Fault(GPT, "scores", "scores = q @ k", RuntimeError, "Expected size for first two dim"),
    "a mask of another size": Fault(GPT, "mask", "mask = torch.tril(torch.ones(7, 7)) == 0", RuntimeError,
                                    "must match the size", "fill"),
    "two parts, not three": Fault(GPT, "chunk", "q, k, v = self.qkv(x).chunk(2, -1)", ValueError, "not enough values"),
    "a residual of another width": Fault(GPT, "sum", "return x[:, :, :8] + self.out(scores.softmax(-1) @ v)",
                                         RuntimeError,
                                         "must match the size"),
    "a view that does not fit": Fault(GPT, "logits", "logits = block(h).view(5, -1)", RuntimeError,
                                      "invalid for input"),
    "channels": Fault(CNN, "conv", "self.conv = nn.Conv2d(3, 4, 3, padding=1)", RuntimeError, "to have 3 channels",
                      "pool"),
    "a head of another width": Fault(CNN, "head", "self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(60, 4)",
                                     RuntimeError, "mat1 and mat2", "flatten"),
    "a norm of another width": Fault(CNN, "head", "self.norm, self.head = nn.BatchNorm2d(5), nn.Linear(64, 4)",
                                     RuntimeError, "running_mean", "pool"),
    "labels without a batch": Fault(CNN, "loss", "loss = F.cross_entropy(net(x), y[:3])", ValueError, "batch_size"),
    "in a later step": Fault(MLP, "after", "x = x[:, :5] if step == 20 else x", RuntimeError, "mat1 and mat2",
                             "forward"),
    # indices
    "a label too large": Fault(MLP, "labels", "y = torch.arange(12)", IndexError, "out of range|out of bounds", "loss"),
    "a label too large, late": Fault(MLP, "after", "y = y + (step == 20) * 3", IndexError, "out of", "loss"),
    "a word too large": Fault(GPT, "split", "inputs, targets = text[:, :-1] + 11, text[:, 1:]", IndexError,
                              "out of range",
                              "embed"),
    "a word too large, late": Fault(GPT, "split", "inputs, targets = text[:, :-1] + 11 * (step == 20), text[:, 1:]",
                                    IndexError, "out of range", "embed"),
    "a place too far": Fault(GPT, "embed", "h = words(inputs) + places(torch.arange(8) + 1)", IndexError,
                             "out of range"),
    "a dimension too many": Fault(GPT, "split", "inputs, targets = text[:, :-1, 0], text[:, 1:]", IndexError,
                                  "too many indices"),
    "an item too far": Fault(MLP, "print", "print(x[12])", IndexError, "out of bounds"),
    "a dim that is not there": Fault(GPT, "sum", "return x + self.out(scores.softmax(3) @ v)", IndexError,
                                     "Dimension out of range"),
    "a gather too far": Fault(MLP, "before", "model(x).gather(1, y[:, None] + 1).tolist()", IndexError, "out of range"),
    "an index computed under jit": Fault(CNN, "loss", "loss = net(x)[torch.arange(8), y + 1].sum()", IndexError,
                                         "out of range"),
    # dtypes
    "whole numbers into a layer": Fault(MLP, "data", "x = torch.ones(12, 6, dtype=torch.int64)", RuntimeError,
                                        "same dtype", "forward"),
    "double into a layer": Fault(MLP, "data", "x = torch.randn(12, 6, dtype=torch.float64)", RuntimeError, "same dtype",
                                 "forward"),
    "labels as floats": Fault(MLP, "labels", "y = torch.zeros(12)", RuntimeError, "Long or Byte", "loss"),
    "floats as words": Fault(GPT, "split", "inputs, targets = text[:, :-1].float(), text[:, 1:]", RuntimeError,
                             "Expected tensor for argument", "embed"),
    "gradient of whole numbers": Fault(MLP, "before", "torch.ones(3, dtype=torch.int64).requires_grad_()", RuntimeError,
                                       "only Tensors of floating point"),
    "a mask of floats": Fault(GPT, "fill", "scores = scores.masked_fill(mask.float(), 0.0)", RuntimeError, "bool"),
    # devices
    "a device that is not here": Fault(MLP, "data", "x = torch.randn(12, 6).to('nowhere')", RuntimeError, "nowhere"),
    "two devices": Fault(MLP, "data", "x = torch.randn(12, 6, device='numpy')", RuntimeError, "same device", "forward"),
    "a device that cannot compile": Fault(MLP, "before", "(torch.ones(6, device='broken') * 3).tolist()", CompileError,
                                          "broken compiler"),
    "a device that cannot run": Fault(MLP, "before", "(torch.ones(6, device='stuck') * 3).tolist()", LaunchError,
                                      "no power"),
    # memory
    "too much memory": Fault(MLP, "before", "torch.ones(1 << 20, 1 << 30).contiguous().realize()", OutOfMemoryError,
                             "tried to allocate"),
    "too much memory for the weights": Fault(MLP, "model", "model = nn.Linear(6, 1 << 50)", OutOfMemoryError,
                                             "can't allocate memory"),
    # NaN
    "a root of 0": Fault(MLP, "scale", "return (hidden * 0).sqrt() * 0 + hidden", RuntimeError, "returned nan"),
    "a logarithm of 0": Fault(GPT, "fill", "scores = torch.where(mask, (scores * 0).log(), scores)", RuntimeError,
                              "returned nan"),
    "a root of 0, late": Fault(MLP, "scale", "return (hidden * (step != 20)).abs().sqrt()", RuntimeError,
                               "returned nan"),
    "a root of 0 under jit": Fault(CNN, "loss", "loss = (F.cross_entropy(net(x), y) * 0).sqrt()", RuntimeError,
                                   "returned nan"),
    # what is replayed, or is a program of jit, by then
    "another shape under jit": Fault(CNN, "train", "train(x[:, :, :6 if epoch == 4 else 8], y)", RuntimeError,
                                     "mat1 and mat2", "flatten"),
    "a label too large under jit": Fault(CNN, "train", "train(x, y + (epoch == 4))", IndexError, "out of", "loss"),
    "double, late": Fault(MLP, "after", "x = x.double() if step == 20 else x", RuntimeError, "same dtype", "forward"),
    "double under jit": Fault(CNN, "train", "train(x.double() if epoch == 4 else x, y)", RuntimeError, "same",
                              "pool"),
    "another device, late": Fault(MLP, "after", "x = x.to('numpy') if step == 20 else x", RuntimeError, "same device",
                                  "forward"),
    "a device that cannot compile the gradient": Fault(
        MLP, "before", "w = torch.ones(6, requires_grad=True); w.to('broken').exp().sum().backward()", CompileError,
        "broken compiler"),
    "too much memory, late": Fault(MLP, "before", "(hidden := loss + torch.zeros(1 << 30 * (step == 20), 1 << 10))."
                                   "exp_().realize()", OutOfMemoryError, "no room|allocate"),
    "a device that stops": Fault(MLP, "data", "torch.set_default_device('loose'); x = torch.randn(12, 6)", LaunchError,
                                 "the cable came off", "loss"),
    "a device that stops under jit": Fault(CNN, "data", "torch.set_default_device('loose'); images, labels = "
                                           "torch.rand(16, 1, 8, 8), torch.arange(16) % 4", LaunchError,
                                           "the cable came off", "loss"),
    # the tape
    "backward twice": Fault(MLP, "before", "loss.backward()", RuntimeError, "a second time", "backward"),
    "changed in place": Fault(MLP, "scale", "model.r = hidden.exp(); model.r.mul_(2); return model.r", RuntimeError,
                              "modified by an inplace"),
    "no gradient": Fault(MLP, "loss", "loss = F.cross_entropy(forward(x), y).detach()", RuntimeError,
                         "does not require grad", "backward"),
    "a loss that is no number": Fault(MLP, "loss", "loss = F.cross_entropy(forward(x), y, reduction='none')",
                                      RuntimeError,
                                      "scalar outputs", "backward"),
    "a leaf changed in place": Fault(MLP, "after", "model[0].weight.add_(1)", RuntimeError, "leaf Variable"),
    "numpy of what needs a gradient": Fault(MLP, "print", "print(loss.numpy())", RuntimeError, "detach"),
    # calls
    "a name that is not there": Fault(MLP, "scale", "return hidden.scale(2)", AttributeError, "scale"),
    "a wrong argument": Fault(GPT, "fill", "scores = scores.masked_fill(mask, 'x')", TypeError,
                              "must be a number, not str"),
    "an optimizer of nothing": Fault(MLP, "optimizer", "optimizer = optim.SGD([], lr=0.1)", ValueError,
                                     "empty parameter"),
    "a rate below 0": Fault(MLP, "optimizer", "optimizer = optim.SGD(model.parameters(), lr=-1)", ValueError,
                            "Invalid learning rate"),
    "another state": Fault(CNN, "state", "state = {}", RuntimeError, "Missing key", "load"),
    "a data set that raises": Fault(CNN, "loader", "loader = list(DataLoader([1, 2, None], batch_size=3))",
                                    RuntimeError,
                                    "Could not infer dtype"),
    "a batch size of 0": Fault(CNN, "loader", "loader = DataLoader(TensorDataset(images), batch_size=0)", ValueError,
                               "batch_size"),
}


class Broken(CpuDevice):
    name = "BROKEN"

    def compile(self, kernels: Any) -> Any:
        raise ValueError("broken compiler")


class Stuck(CpuDevice):
    name = "STUCK"

    def native(self, steps: Any, slots: int, scalars: str = "") -> Any:
        raise LaunchError("no power")


class Loose(CpuDevice):
    """Refuses the tenth launch of kernels that compute a loss."""

    name = "LOOSE"
    losses = 0

    def native(self, steps: Any, slots: int, scalars: str = "") -> Any:
        return Launcher(self, super().native(steps, slots, scalars), [step.program.name for step in steps])


@dataclass
class Launcher:
    """What may be refused at any time, unlike a ``NativeProgram``."""

    device: Loose
    native: Any
    names: list[str]

    def run(self, *given: Any) -> None:
        for name in self.names:
            self.device.losses += "cross_entropy" in name
            if self.device.losses == 10:
                raise LaunchError(f"device LOOSE cannot launch kernel {name}: the cable came off")
        self.native.run(*given)


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kind in (Broken, Stuck, Loose):
        monkeypatch.setitem(registry._registry, kind.name, registry._Entry(kind, ""))
    yield
    minigrad.set_default_device(None)
    for kind in (Broken, Stuck, Loose):
        registry._devices.pop(kind.name, None)
    registry._names.clear()


def planted(fault: Fault) -> tuple[str, int]:
    """The program with the fault, and the number of the line that is wrong."""
    lines = fault.program.splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith(f"#: {fault.label}"))
    indent = re.match(" *", lines[at])
    assert indent is not None
    wrong = next(i for i, line in enumerate(lines) if line.endswith(f"#: {fault.at or fault.label}"))
    lines[at] = indent[0] + fault.text
    return "\n".join(lines), wrong + 1


@pytest.mark.parametrize("name", FAULTS)
def test_the_error_names_the_line(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    text, wrong = planted(fault)
    path = tmp_path / "program.py"
    path.write_text(text)
    with pytest.raises(fault.kind, match=fault.match) as raised, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with minigrad.autograd.set_detect_anomaly("nan" in fault.match or "inplace" in fault.match):
            exec(compile(text, str(path), "exec"), {"__name__": "program"})
    error = raised.value
    named = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    said = [int(n) for words in (str(error), *[str(w.message) for w in warned])
            for n in re.findall(rf'{re.escape(str(path))}", line (\d+)', words)]
    assert wrong in (named[-1], *said), (
        f"line {wrong} is wrong: {text.splitlines()[wrong - 1]}\n"
        + "".join(traceback.format_exception(error)) + "".join(str(w.message) for w in warned))


TWO_LINES = """
import minigrad as torch
F = torch.nn.functional
x = torch.rand(10, 4).requires_grad_()
for step in range(40):
    i = torch.tensor([1, 2]) + torch.tensor(20 * (step == at))
    if step % 2:
        y = {call}  #: odd
    else:
        y = {call}  #: even
    {then}
"""


@pytest.mark.parametrize("at", [31, 32])
@pytest.mark.parametrize(("call", "then"), [
    ("x[i]", "y.exp().tolist()"), ("x.gather(1, i[:, None])", "y.sum().backward()"),
    ("F.embedding(i, x)", "y.sum().backward()"), ("F.cross_entropy(x[:2], i)", "y.backward()"),
    ("x.detach().index_fill(0, i, 1.0)", "y.tolist()")])
def test_of_two_lines_with_equal_calls_the_right_one_is_named(at: int, call: str, then: str, tmp_path: Path) -> None:
    text = TWO_LINES.format(call=call, then=then)
    path = tmp_path / "program.py"
    with pytest.raises(IndexError) as raised:
        exec(compile(text, str(path), "exec"), {"__name__": "program", "at": at})
    right = next(i for i, line in enumerate(text.splitlines(), 1) if line.endswith("#: odd" if at % 2 else "#: even"))
    assert re.findall(rf'{re.escape(str(path))}", line (\d+)', str(raised.value)) == [str(right)]


@pytest.mark.parametrize("program", [MLP, GPT, CNN])
def test_the_programs_run(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(program, "program.py", "exec"), {"__name__": "program"})


def test_there_are_fifty() -> None:
    assert len(FAULTS) >= 50
