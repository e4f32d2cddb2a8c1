"""``python -m tools.fuzz.calls --calls 20000``: every public function with wrong types, shapes, sizes.

Stage: tests. In: a seed, and the public names. Out: calls whose exception is none that PyTorch's users know (an
assertion of ours, a compiler's text, an AttributeError from inside), that end the process, or that take longer than ten
seconds.
Next: nothing: this is the end of ``tools/fuzz``."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np

import minigrad
from minigrad.errors import CompileError, LaunchError, UnsupportedDType, VerifyError

ROOMS = ("", "Tensor", "nn.functional", "nn", "nn.utils", "nn.init", "linalg", "fft", "special", "sparse", "masked",
         "signal.windows", "func", "autograd", "autograd.functional", "distributions", "optim", "optim.lr_scheduler",
         "utils.data")
"""Where public names are looked up, below ``minigrad``."""

LEFT_OUT = {
    "save": "writes files", "load": "reads files", "from_file": "maps a file", "tofile": "writes files",
    "set_default_device": "changes all later calls", "set_default_dtype": "changes all later calls",
    "set_num_threads": "changes all later calls", "set_printoptions": "changes all later calls",
    "set_default_tensor_type": "changes all later calls", "set_grad_enabled": "changes all later calls",
    "set_num_interop_threads": "changes all later calls", "use_deterministic_algorithms": "changes all later calls",
    "set_warn_always": "changes all later calls", "set_flush_denormal": "changes all later calls",
    "set_float32_matmul_precision": "changes all later calls", "set_anomaly_enabled": "changes all later calls",
    "set_detect_anomaly": "changes all later calls", "set_multithreading_enabled": "changes all later calls",
    "set_deterministic_debug_mode": "changes all later calls",
    "TransformerEncoder": "makes as many layers as it is told", "TransformerDecoder": "as TransformerEncoder",
    "register_privateuse1_backend": "changes all later calls", "register_device": "changes all later calls",
}
"""Names that are not called, and why."""

USUAL = ("t.ones(2, 3)", "t.ones(3)", "t.tensor(2.0)", "t.ones(3, 3)", "t.ones(2, 3, 4)", "1", "0", "-1", "2", "(2, 3)",
         "0.5", "t.tensor([0, 1, 1])", "t.tensor([True, False, True])", "t.float32", "None", "True", "[0, 1]", "'sum'",
         "(lambda *x: x[0] * 2 if x else None)", "[t.ones(2, 3), t.ones(2, 3)]", "t.ones(2, 3, requires_grad=True)",
         "t.nn.Linear(3, 2)", "t.ones(1, 3, 8, 8)", "t.tensor([1+2j, 0j])")
ODD = ("None", "'abc'", "b'x'", "1.5", "nan", "inf", "-inf", "1j", "-5", "10**5", "2**31", "2**63", "-2**63", "2**70",
       "10**400", "()", "[]", "{}", "{'a': 1}", "(None,)", "('a', 'b')", "(2, -3)", "(2**40,)", "(2**40, 2**40)",
       "[[1, 2], [3]]", "[1, [2, 3]]", "object()", "set()", "slice(None)", "...", "range(3)", "iter([1])", "int",
       "lambda: 1", "t.int64", "t.strided", "t.Size([2])", "t.Generator()", "t.Tensor", "t.nn", "True", "Exception()",
       "np.ones((2, 3))", "np.array('a')", "np.float32(nan)", "np.int64(-1)", "np.array([None, 1])",
       "np.ones((2, 3), np.float16)[::-1]", "np.array(['2020-01-01'], 'M8[D]')", "t.ones(0)", "t.ones(0, 3)",
       "t.ones(2, 0, 3)", "t.ones(1, 1, 1, 1, 1, 1, 1, 1, 1)", "t.ones(5)", "t.ones(4, 7)", "t.tensor([-1, 99, 2**62])",
       "t.tensor([nan, inf, -inf])", "t.ones(2, 3).half()", "t.ones(2, 3).double()", "t.ones(2, 3).int()",
       "t.ones(2, 3, dtype=t.uint8)", "t.ones(2, 3, dtype=t.complex64)", "t.ones(2, 3).to_sparse()",
       "t.ones(3, 1).expand(3, 4)", "t.ones(2, 3, device='meta')", "t.ones(2, 3, device='NUMPY')",
       "t.tensor(-1)", "t.tensor(2**62)", "t.ones(2, 3).t()", "t.nn.Parameter(t.ones(2, 3))", "'cuda'", "'meta'",
       "'no such'", "''", "[t.ones(2), t.ones(3)]", "[t.ones(2), None]", "(t.ones(2), 1)", "float('-0.0')")
_TENSORS = tuple(o for o in ODD if o.startswith(("t.ones", "t.tensor")))
SECONDS = 10
IN_PYTHON = ("t.nn", "t.from_dlpack", "t.distributions", "t.optim", "t.utils", "t.func", "t.autograd", "t.masked",
             "t.sparse")
"""Rooms whose functions are written in Python in PyTorch, too: there an AttributeError of a wrong argument is no fault,
unless it shows names of ours, and nor is an AssertionError or KeyError."""
KNOWN_ERRORS = (TypeError, ValueError, RuntimeError, IndexError, OverflowError, MemoryError, ZeroDivisionError,
                BufferError)
OURS = (CompileError, LaunchError, VerifyError, RecursionError)
"""Kinds of RuntimeError that a call must not come to: they speak of our own code."""


def public() -> dict[str, Any]:
    """Every public callable by the text that names it, ``t`` being minigrad; bound methods have ``Tensor`` before."""
    found: dict[str, Any] = {}
    for room in ROOMS:
        owner: Any = minigrad
        for part in room.split(".") if room else ():
            owner = getattr(owner, part)
        for name in sorted(dir(owner)):
            if name.startswith("_") or name in LEFT_OUT or name not in getattr(owner, "__all__", (name,)):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = getattr(owner, name, None)
            if callable(value) and not (inspect.isclass(value) and issubclass(value, BaseException)):
                found[f"t.{room}.{name}".replace("..", ".")] = value
    return found


def draw(rng: Random, name: str, function: Any) -> str:
    """A call of the function, as text: of its arguments one or two are odd, the others such as it may expect."""
    try:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "_"]
    except (TypeError, ValueError):
        parameters = []
    given: list[str] = []
    odd = rng.choice((0.15, 0.4, 0.8))
    for parameter in parameters:
        text = rng.choice(ODD if rng.random() < odd else USUAL)
        if name.startswith("t.Tensor.") and parameter.name == "self":
            given.append(rng.choice(USUAL[:5] if rng.random() < 0.7 else _TENSORS))
        elif parameter.kind is parameter.VAR_POSITIONAL and any("=" in g for g in given):
            continue
        elif parameter.kind is parameter.VAR_POSITIONAL:
            given += [rng.choice(ODD if rng.random() < odd else USUAL) for _ in range(rng.randint(0, 3))]
        elif parameter.kind is parameter.VAR_KEYWORD:
            continue
        elif parameter.kind is parameter.KEYWORD_ONLY or any("=" in g for g in given):
            if rng.random() < 0.3 or parameter.default is parameter.empty:
                given.append(f"{parameter.name}={text}")
        elif parameter.default is parameter.empty or rng.random() < 0.3:
            given.append(text)
        elif rng.random() < 0.3:
            given.append(f"{parameter.name}={text}")
    if rng.random() < 0.05:
        given.append("no_such_keyword=1")
    return f"{name}({', '.join(given)})"


def needed(value: Any, depth: int = 0) -> None:
    """Ask for the numbers of all Tensors in a result, so that errors that come late come now."""
    if isinstance(value, minigrad.Tensor):
        if value.device.type != "meta" and value.numel() < 10**6:
            repr(value)
    elif isinstance(value, minigrad.nn.Module):
        repr(value)
    elif isinstance(value, (list, tuple)) and depth < 3:
        for item in value[:10]:
            needed(item, depth + 1)


def fault(error: BaseException, call: str = "") -> str:
    """What is wrong with an exception; nothing if it is one that callers expect."""
    if isinstance(error, UnsupportedDType):
        return ""
    if call.startswith(IN_PYTHON) and (isinstance(error, AssertionError | KeyError) or (
            isinstance(error, AttributeError) and not re.search("'_(?!forward_pre_hooks)|descriptor", str(error)))):
        return ""
    if isinstance(error, OURS) or not isinstance(error, KNOWN_ERRORS):
        inner = traceback.extract_tb(error.__traceback__)[-1:]
        where = "".join([f" [{Path(step.filename).name}:{step.lineno}]" for step in inner])
        return f"{type(error).__name__}: {error}".partition("\n")[0][:160] + where
    return ""


def attempt(call: str) -> tuple[str, str]:
    """Run a call. What came of it (a result, or the exception's type), and what is wrong with that."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {SECONDS} seconds")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with np.errstate(all="ignore"):
            scope = {"t": minigrad, "np": np, "nan": float("nan"), "inf": float("inf")}
            needed(eval(call, scope))  # the call is our own text
    except Exception as error:
        return type(error).__name__, fault(error, call)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "a result", ""


def calls(seed: int, count: int, pattern: str = "") -> Iterator[str]:
    """The calls of a seed: all names in turn."""
    functions = {name: f for name, f in public().items() if pattern in name}
    for number in range(count):
        name = list(functions)[number % len(functions)]
        yield draw(Random(f"{seed} {number}"), name, functions[name])


def work(options: argparse.Namespace) -> int:
    """Run the calls in this process, and write each to the file ``current`` before it starts."""
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    current = os.open(options.current, os.O_WRONLY | os.O_CREAT)
    counts: Counter[str] = Counter()
    faults = 0
    warnings.simplefilter("ignore")
    for number, call in enumerate(calls(options.seed, options.calls, options.only)):
        if number < options.skip:
            continue
        os.ftruncate(current, 0)
        os.pwrite(current, f"{number} {call}".encode(), 0)
        outcome, problem = attempt(call)
        counts[outcome] += 1
        if problem:
            faults += 1
            print(f"{call}\n    {problem}", flush=True)
    print(", ".join(f"{kind} {count}" for kind, count in counts.most_common()) + f"; {faults} faults", flush=True)
    return 1 if faults else 0


def main() -> int:
    """Run the calls in a process of their own; where it ends or hangs, say on which call, and go on after that."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.calls", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--current", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.current:
        return work(options)
    skip, failed = options.skip, False
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "call"
        while True:
            current.write_text("")
            child = subprocess.run([sys.executable, "-m", "tools.fuzz.calls", "--seed", str(options.seed), "--calls",
                                    str(options.calls), "--only", options.only, "--skip", str(skip), "--current",
                                    str(current)], cwd=Path.cwd(), check=False)
            if child.returncode in (0, 1):
                return 1 if failed or child.returncode else 0
            number, _, call = current.read_text().partition(" ")
            print(f"{call}\n    the process ended with {child.returncode}", flush=True)
            skip, failed = int(number) + 1, True


if __name__ == "__main__":
    sys.exit(main())
