"""A new renderer: kernels as Python functions. A device of its own runs them, so that they can be checked. It is slow,
and needs no compiler: a loop nest becomes a text that you can step through with a debugger."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad
from minigrad.dtype import ALL
from minigrad.kernel.compute import apply
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Const,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import values
from minigrad.ops import Op
from minigrad.runtime.device import CompiledKernel, Device
from minigrad.runtime.launches import argument
from minigrad.symbolic import Sym
from minigrad.target import Target

SIGNS = {Op.ADD: "+", Op.SUB: "-", Op.MUL: "*"}
TYPES = {found.name: found for found in ALL}


def index(e: Sym) -> str:
    """An index expression as Python; it prints itself with the signs of C, and rounds down as Python does."""
    return str(e).replace("/", "//").replace("&&", "and")


def expression(root: Value) -> str:
    """A value as Python. Operands come first in ``values``, so no recursion is needed."""
    text: dict[int, str] = {}
    for v in values([root]):
        if isinstance(v, Const):
            text[id(v)] = f"{v.dtype.name}({v.value})"
        elif isinstance(v, Load):
            read = f"{v.array.name}[{index(v.index)}]"
            text[id(v)] = read if v.guard is None else f"({read} if {index(v.guard)} else {v.dtype.name}(0))"
        elif isinstance(v, Index):
            text[id(v)] = f"{v.dtype.name}({index(v.index)})"
        elif isinstance(v, Apply) and v.op in SIGNS and v.dtype.is_float:
            text[id(v)] = f"({f' {SIGNS[v.op]} '.join(text[id(s)] for s in v.srcs)})"
        elif isinstance(v, Apply):
            text[id(v)] = f"do({', '.join([repr(v.op), repr(v.dtype.name), *[text[id(s)] for s in v.srcs]])})"
        else:  # Local, Scalar
            text[id(v)] = v.name
    return text[id(root)]


def do(op: str, kind: str, *operands: Any) -> Any:
    """What an op without a sign in Python gives for numbers, as one of the type ``kind``."""
    result = apply(op, [np.atleast_1d(x) for x in operands], TYPES[kind])
    return result if np.ndim(operands[0]) else result[0]


def lines(statement: Statement) -> list[str]:
    """A statement as lines of Python."""
    match statement:
        case For(var, start, stop, step, kind, body):
            first, last = ("begin", "end") if kind == "parallel" else (index(start), index(stop))
            return [f"for {var} in range({first}, {last}, {step}):  # {kind}", *indented(body)]
        case If(condition, then, otherwise):
            rest = ["else:", *indented(otherwise)] if otherwise else []
            return [f"if {expression(condition)}:", *indented(then), *rest]
        case Let(name, value):
            return [f"{name} = {expression(value)}"]
        case LetIndex(var, value):
            return [f"{var} = int({expression(value)})"]
        case Store(array, at, value, guard):
            store = f"{array.name}[{index(at)}] = {expression(value)}"
            return [store] if guard is None else [f"if {index(guard)}:", f"    {store}"]
        case Alloc(array, init):
            first = "0" if init is None else expression(init)
            return [f"{array.name} = np.full({array.size}, {first}, {array.dtype.name})"]
        case Fold(name, array, op):
            return [f"{name} = {array.name}", f"while len({name}) > 1:",
                    f"    {name} = do('{op}', '{array.dtype.name}', *np.split({name}, 2))", f"{name} = {name}[0]"]
    raise NotImplementedError(f"no Python for {type(statement).__name__}")


def indented(body: Sequence[Statement]) -> list[str]:
    """A block of statements, one level further in."""
    return ["    " + line for statement in body for line in lines(statement)] or ["    pass"]


def render(kernel: Kernel) -> str:
    """The kernel as a Python function."""
    names = [p.name for p in (*kernel.arrays, *kernel.scalars)]
    return "\n".join([f"def {kernel.name}({', '.join([*names, 'begin', 'end'])}):", *indented([kernel.loop])])


class PythonDevice(Device):
    """Kernels run by the Python interpreter, on memory of this process."""

    name = "PYTHON"
    target = Target("python", vector_bytes=1, vector_registers=8)  # without vectors: every loop is plain
    language = "Python"

    def source(self, kernels: Sequence[Kernel]) -> str:
        """The text of some kernels."""
        return "\n\n\n".join(map(render, kernels))

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Python's own compiler."""
        namespace = {"np": np, "do": do, "inf": float("inf"), "nan": float("nan"),
                     **{name: found.numpy.type for name, found in TYPES.items()}}
        exec(compile(text, "<kernels>", "exec"), namespace)
        return [CompiledKernel(name, source=text, owner=namespace[name]) for name in names]

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        """Give the function arrays that lie at these addresses, and run all iterations."""
        kernel = program.kernel
        arrays = []
        for array, address in zip(kernel.arrays, addresses, strict=True):
            raw = (ctypes.c_char * (array.size * array.dtype.size)).from_address(address)
            arrays.append(np.frombuffer(raw, array.dtype.numpy))
        numbers = [argument(s.dtype, n) for s, n in zip(kernel.scalars, scalars, strict=True)]
        with np.errstate(all="ignore"):
            program.owner(*arrays, *numbers, 0, iterations)


def main() -> None:
    minigrad.register_device("PYTHON", PythonDevice, "Python functions")
    x = minigrad.rand(4, 6)
    with minigrad.inspect(device="PYTHON") as seen:
        here = ((x.to("PYTHON") * 2 + 1).relu().sum(1)).tolist()
    print(seen.kernels[-1].source)
    there = (x * 2 + 1).relu().sum(1).tolist()
    print(here)
    assert np.allclose(here, there)


if __name__ == "__main__":
    main()
