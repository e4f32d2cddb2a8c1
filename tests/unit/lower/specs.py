"""Stage: tests of lower. In: nodes to store. Out: kernel specs made by hand, and the arrays after running their
kernels: by the interpreter, and as LLVM IR. Next: ``test_values.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minigrad.dtype import DType, accumulator, float32, int64
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import For, If, Index, Kernel, LetIndex, Prefetch, Statement
from minigrad.kernel.verify import verify
from minigrad.lower import Lowered, lower
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec, Stage
from minigrad.symbolic import evaluate
from minigrad.target import AVX2, AVX512, GPU, SCALAR, Target
from tests.unit.render.harness import TARGETS as RUNNABLE
from tests.unit.render.harness import compile_llvm

TARGETS = (SCALAR, AVX2, AVX512, GPU)


def buffer(shape: tuple[int, ...], dtype: DType = float32, strides: tuple[int, ...] | None = None) -> LazyBuffer:
    """A node that stands for memory."""
    return LazyBuffer.from_buffer(object(), shape, dtype, "CPU", 0, strides)


def spec_of(*stores: LazyBuffer, outer: tuple[int, ...] = (), checks: Sequence[LazyBuffer] = ()) -> KernelSpec:
    """One stage that stores ``stores``, all else computed but for buffers."""
    nodes = toposort(stores)
    memory = {n: Memory(f"in{i}", n.dtype, n.shape, strides=n.arg)
              for i, n in enumerate(n for n in nodes if n.op == Op.BUFFER)}
    memory.update({n: Memory(f"out{i}", n.dtype, n.shape, written=True) for i, n in enumerate(stores)})
    status = Memory("status", int64, (len(checks),), written=True) if checks else None
    return KernelSpec("kernel", outer, (Stage(stores, ()),), memory, tuple(n for n in nodes if n.op == Op.SCALAR),
                      status, {n: i for i, n in enumerate(checks)})


def memory_of(lowered: Lowered, spec: KernelSpec, values: Mapping[LazyBuffer, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays for a kernel: the values given, zeros for the others."""
    given = {spec.memory[n].name: np.ascontiguousarray(v).reshape(-1).copy() for n, v in values.items()}
    return {a.name: given.get(a.name, np.zeros(max(1, a.size), a.dtype.numpy)) for a in lowered.kernel.arrays}


def run(spec: KernelSpec, values: Mapping[LazyBuffer, np.ndarray], scalars: Sequence[float] = (),
        target: Target = AVX512, native: bool = False) -> dict[LazyBuffer, np.ndarray]:
    """The stored values after the kernel. Its parallel iterations run backwards: they may not depend on each other."""
    lowered = lower(spec, target)
    verify(lowered.kernel)
    memory = memory_of(lowered, spec, values)
    last = lowered.iterations - 1
    if native:
        (function,) = compile_llvm([lowered.kernel], target)
        for at in range(last, -1, -1) if last < 64 else ():
            function(list(memory.values()), scalars, at, at + 1)
        if last >= 64:
            function(list(memory.values()), scalars, 0, last + 1)
    else:
        for at in range(last, -1, -1):
            interpret(lowered.kernel, memory, scalars, at, at + 1)
    result = {n: memory[m.name][:n.size].reshape(n.shape) for n, m in spec.memory.items()
              if m.scope == "global" and m.strides is None}
    if spec.status is not None:
        result["status"] = memory[spec.status.name]  # type: ignore[index]
    return result


def check(stores: Sequence[LazyBuffer] | KernelSpec, values: Mapping[LazyBuffer, np.ndarray],
          wanted: Sequence[np.ndarray], tolerance: float = 1e-5, native: bool = False,
          scalars: Sequence[float] = (), targets: Sequence[Target] = TARGETS) -> None:
    """The stores of a kernel are ``wanted``, on every target, or those given (``native``: by LLVM, on those that this
    machine can run)."""
    spec = stores if isinstance(stores, KernelSpec) else spec_of(*stores)
    nodes = [n for s in spec.stages for n in s.stores if spec.memory[n].scope == "global"]
    for target in RUNNABLE if native else targets:
        got = run(spec, values, scalars, target, native)
        for node, want in zip(nodes, wanted, strict=True):
            want = np.asarray(want)
            assert got[node].dtype == want.dtype
            if want.dtype.kind in "biu":
                np.testing.assert_array_equal(got[node], want, err_msg=target.name)
            else:
                np.testing.assert_allclose(got[node].astype(np.float64), want.astype(np.float64), tolerance, tolerance,
                                           err_msg=target.name)


def fetched(kernel: Kernel) -> list[int]:
    """The places that a kernel fetches ahead, one after the other."""
    found: list[int] = []

    def walk(block: Sequence[Statement], at: dict[str, int]) -> None:
        for s in block:
            if isinstance(s, For):
                for i in range(evaluate(s.start, at), evaluate(s.stop, at)):
                    walk(s.body, {**at, str(s.var): i})
            elif isinstance(s, LetIndex) and isinstance(s.value, Index):
                at = {**at, str(s.var): evaluate(s.value.index, at)}
            elif isinstance(s, If) and isinstance(s.condition, Index):
                walk(s.then if evaluate(s.condition.index, at) else s.otherwise, at)
            elif isinstance(s, Prefetch):
                found.append(evaluate(s.index, at))

    walk((kernel.loop,), {})
    return found


def matmul(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """a @ b.T as the graph records it: a product with an axis for each of M, N and K, summed over K; halves in float32,
    rounded once."""
    (m, k), (n, _) = a.shape, b.shape
    wide = accumulator(a.dtype)
    x, y = a.cast(wide).reshape((m, 1, k)).expand((m, n, k)), b.cast(wide).reshape((1, n, k)).expand((m, n, k))
    return x.binary(Op.MUL, y).reduce(Op.SUM, (2,)).reshape((m, n)).cast(a.dtype)


__all__ = [
    "TARGETS",
    "KernelSpec",
    "Memory",
    "StackedSpec",
    "Stage",
    "buffer",
    "check",
    "fetched",
    "lower",
    "matmul",
    "memory_of",
    "run",
    "spec_of",
]
