"""Stage: tests. In: calls of all public functions with arguments of wrong types, shapes, sizes. Out: none gives an
exception of another kind than PyTorch's users know. ``python -m tools.fuzz.calls`` tries more.
Next: ``test_messages.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

import minigrad
from minigrad.errors import CompileError
from tools.fuzz.calls import attempt, draw, fault, public

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("call", [
    "t.ones(3).index_select(0, [1])", "t.ones(3).xlogy_(None)", "t.ones(3).clip_(max=t.Tensor)",
    "t.linalg.inv('a')", "t.special.softmax(2, 0)", "t.sparse.mm('a', 2)", "t.mm(object(), t.ones(2, 2).to_sparse())",
    "t.nn.functional.relu_(0)", "t.mul(t.nn.Linear(2, 2), 2)", "t.ones(3).mean(dtype=2**70)",
    "t.ones(3).bernoulli_(generator=int)", "t.as_tensor(1, dtype=(2,))", "t.promote_types(1, t.int8)",
    "t.ones(3).to_sparse(layout=[])", "t.block_diag(1.5)", "t.realize(1)", "t.ones(3).set_((2,))",
    "t.autograd.grad(t.int64, t.ones(2))", "t.is_floating_point(t.ones(2), out=t.ones(2))",
    "t.ones(3).int().bitwise_or(None)", "t.ones(3).int().bitwise_and_('a')", "t.ones(2).reshape(t.ones(3))",
    "t.ones(3).cumsum_(0, dtype=1.5)", "t.poisson(np.array([None, 1]))", "t.autograd.backward(None)",
    "t.ones(2, 3).to_sparse().is_same_size(None)", "t.ones(3).clamp_min([0, 1])", "t.ones(3).fill_(None)",
    "t.ones(3).int().xlogy(None)"])
def test_wrong_types_are_type_errors(call):
    assert attempt(call) == ("TypeError", "")


def test_the_words_name_function_and_argument():
    x = minigrad.ones(2, 3)
    for wrong, words in (
            (lambda: x.index_select(0, [1]), "index_select(): argument 'index' (position 2) must be Tensor, not list"),
            (lambda: minigrad.index_select(x, 0, [1]),
             "index_select(): argument 'index' (position 3) must be Tensor, not list"),
            (lambda: x.gather(0, index=1), "gather(): argument 'index' must be Tensor, not int"),
            (lambda: x.norm(dtype=3), "norm(): argument 'dtype' must be torch.dtype, not int"),
            (lambda: minigrad.broadcast_tensors(x, 0.5),
             "broadcast_tensors() received an invalid combination of arguments - got (Tensor, float)")):
        with pytest.raises(TypeError, match=re.escape(words)):
            wrong()


def test_an_error_that_no_argument_is_to_blame_for_stays():
    class Odd:
        def __torch_function__(self, *given: object) -> object:
            return self.missing  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="missing"):
        minigrad.add(minigrad.ones(2), Odd())


def test_what_counts_as_a_fault():
    assert fault(AssertionError("x")) and fault(AttributeError("x")) and fault(CompileError("x"))
    assert not fault(TypeError("x")) and not fault(NotImplementedError("x")) and not fault(IndexError("x"))
    assert fault(AttributeError("'int' object has no attribute '_view'"), "t.nn.functional.relu(1)")
    assert not fault(AttributeError("'int' object has no attribute 'shape'"), "t.nn.functional.relu(1)")
    names = public()
    assert len(names) > 1500
    assert draw(Random(1), "t.gather", names["t.gather"]).startswith("t.gather(")


@pytest.mark.parametrize("calls", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_drawn_calls(calls):
    ran = subprocess.run([sys.executable, "-m", "tools.fuzz.calls", "--calls", str(calls), "--seed", str(calls)],
                         cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


TOO_MUCH = "minigrad.zeros(1 << 30, 1 << 30).add(1).numpy()"


@pytest.mark.parametrize(("mistake", "kinds"), [
    ("minigrad.linalg.inv(minigrad.zeros(2, 2))", "minigrad.linalg.LinAlgError, RuntimeError, np.linalg.LinAlgError"),
    (TOO_MUCH, "minigrad.OutOfMemoryError, minigrad.cuda.OutOfMemoryError, RuntimeError, MemoryError"),
    ("minigrad.ones(2)[3]", "IndexError"),
    ("minigrad.ones(2).sum(4)", "IndexError"),
    ("minigrad.ones(2).numpy(3)", "TypeError"),
    ("minigrad.ones(2).reshape(3)", "RuntimeError"),
])
def test_errors_are_caught_by_the_types_of_pytorch_and_numpy(mistake: str, kinds: str) -> None:
    names = {"minigrad": minigrad, "np": np}
    for kind in eval(f"({kinds},)", names):
        with pytest.raises(kind):
            eval(mistake, names)


def test_a_program_of_pytorch_catches_its_own_types() -> None:
    program = ("import torch\ntry: torch.zeros(1 << 30, 1 << 30).add(1).numpy()\n"
               "except (torch.AcceleratorError, torch.cuda.OutOfMemoryError) as error: print(type(error).__name__)\n"
               "assert torch.cuda.OutOfMemoryError is torch.OutOfMemoryError")
    done = subprocess.run([sys.executable, "-m", "minigrad.torch", "-c", program], capture_output=True, text=True)
    assert done.stdout == "OutOfMemoryError\n", done.stderr
