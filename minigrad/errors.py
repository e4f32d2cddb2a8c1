"""Stage: everywhere. In: nothing. Out: the exceptions that have no built-in name.
PyTorch users expect ``RuntimeError``, ``IndexError``, ``TypeError`` and ``ValueError``; those are
raised as they are. Only failures inside the compiler get classes of their own.
Next: ``nn/``."""

import numpy as np


class MinigradError(RuntimeError):
    """Base class of the errors that are about minigrad itself and not about the user's tensors."""


class VerifyError(MinigradError):
    """A graph or a loop nest breaks its grammar: a bug in the pass that made it."""


class CompileError(MinigradError):
    """A device's compiler refused a kernel. The message holds the device, the kernel and its source."""


class ScheduleError(ValueError):
    """Steps that a kernel cannot be written by. The message says which step, and why."""


class UnsupportedDType(CompileError):
    """A kernel needs a dtype that its device does not have. The message says which, and for what."""


class LaunchError(MinigradError):
    """A device refused to run a kernel. The message holds the device, the kernel and its source."""


def with_source(problem: str, source: str) -> str:
    """A message about a kernel. The problem's first line comes once more behind the source: a terminal shows the end.

    >>> with_source("device X cannot compile kernel f: no brace", "void f() {").splitlines()
    ['device X cannot compile kernel f: no brace', '', 'void f() {', '', 'device X cannot compile kernel f: no brace']
    """
    problem = problem.strip()
    return f"{problem}\n\n{source.rstrip()}\n\n{problem.partition(chr(10))[0]}"


class DeviceUnavailable(MinigradError):
    """A device cannot be used on this machine. The message says what is missing."""


class LinAlgError(RuntimeError, np.linalg.LinAlgError):
    """A matrix has no inverse or no factors of the kind that was asked for. PyTorch's ``torch.linalg.LinAlgError``, and
    NumPy's."""


class IndexOutOfRange(IndexError):
    """A run has met a value of an index tensor that is out of range. ``shape``: that of the tensor that was indexed;
    ``placed``: whether the message says which line of the user's program indexed it. Like every exception, it can be
    made of a message alone: ``pickle`` and the workers of a ``DataLoader`` do that."""

    def __init__(self, message: str, shape: tuple[int, ...] = (), placed: bool = False) -> None:
        super().__init__(message)
        self.shape, self.placed = shape, placed


class OutOfMemoryError(MemoryError, RuntimeError):
    """A device has no room for a buffer: PyTorch's users catch a RuntimeError, Python's a MemoryError. ``output``: of a
    run of which nothing was computed yet, the number of the output that there was no room for; one more than the last
    stands for values on the way."""

    output: int | None = None


class ValueNeeded(MinigradError):
    """Python code asks for the value of a tensor while ``minigrad.jit`` records a function: there is none yet."""


class RaceError(MinigradError):
    """Threads that run side by side touch an element that one of them writes, or part at a barrier: a bug in the
    lowering, found by the kernel interpreter."""
