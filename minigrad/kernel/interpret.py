"""Stage: tests run kernels with it. In: a kernel and NumPy arrays. Out: the arrays, changed in place: what every
renderer's text must compute, bit by bit (NaNs are all alike). It is slow and checks every access.
Next: ``compute.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minigrad.kernel.compute import scalar_value
from minigrad.kernel.ir import Kernel
from minigrad.kernel.machine import Machine, Memory
from minigrad.kernel.workgroup import Workgroup
from minigrad.symbolic import evaluate


def interpret(kernel: Kernel, arrays: Mapping[str, np.ndarray] | Sequence[np.ndarray],
              scalars: Sequence[int | float] = (), begin: int = 0, end: int | None = None) -> None:
    """Run iterations ``begin`` to ``end`` (default: all) of the kernel on ``arrays``, by name or in order. In the GPU
    form iterations are workgroups, one after another.

    ``IndexError`` for an access outside an array (or a run-time index outside its promised range),
    ``ValueError`` for arrays that don't fit the kernel or a read of memory that was never set, ``RaceError`` where
    threads touch an element that another one writes with no barrier between, where workgroups do, and where threads
    of a workgroup part at a barrier.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Apply, Array, Const, For, Load, Store
    >>> from minigrad.symbolic import num, var
    >>> i, a = var("i", 0, 3), Array("a", float32, 4, written=True)
    >>> body = (Store(a, i, Apply("MUL", (Load(a, i), Const(2.0, float32)), float32)),)
    >>> memory = np.arange(4, dtype="float32")
    >>> interpret(Kernel("double", (a,), (), For(i, num(0), num(4), 1, "parallel", body)), [memory])
    >>> memory.tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    given = [arrays[a.name] for a in kernel.arrays] if isinstance(arrays, Mapping) else list(arrays)
    if len(given) != len(kernel.arrays) or len(scalars) != len(kernel.scalars):
        raise ValueError(f"kernel {kernel.name} takes {len(kernel.arrays)} arrays and {len(kernel.scalars)} scalars, "
                         f"got {len(given)} and {len(scalars)}")
    machine = Workgroup(kernel) if kernel.workgroup else Machine(kernel)
    for array, memory in zip(kernel.arrays, given):
        if memory.dtype != array.dtype.numpy or memory.size < array.size or not memory.flags.c_contiguous:
            raise ValueError(f"kernel {kernel.name}: array {array.name} should be {array.size} contiguous "
                             f"{array.dtype.name}, got {memory.dtype} {memory.shape}")
        machine.memory[id(array)] = Memory(array, memory.reshape(-1), None)
    for scalar, number in zip(kernel.scalars, scalars):
        machine.scalars[scalar.position] = scalar_value(scalar, number)
        if scalar.dtype.is_int:
            machine.indices[scalar.name] = int(number)
    loop = kernel.loop
    for at in range(begin, evaluate(loop.stop, machine.indices) if end is None else end):
        machine.iteration(at)
