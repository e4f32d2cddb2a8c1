"""Stage: runtime. In: steps of a plan. Out: ``Launches``, which asks the device to launch them one after another: how a
plan runs where there is no native program.
Next: ``cc.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minigrad.dtype import DType
from minigrad.errors import LaunchError, MinigradError, OutOfMemoryError, with_source
from minigrad.runtime.locks import run_lock

if TYPE_CHECKING:
    from minigrad.runtime.device import Device
    from minigrad.runtime.native import Step


class Launches:
    """Steps that a device launches in order; the same calls as a ``NativeProgram``."""

    def __init__(self, device: Device, steps: Sequence[Step]) -> None:
        self.device, self.steps = device, tuple(steps)

    def run(self, addresses: Sequence[int], scalars: Sequence[float] = ()) -> None:
        """Launch all steps on these addresses, one a slot, and these numbers. Returns when they are queued or later."""
        with run_lock:
            for step in self.steps:
                self._launch(step, addresses, scalars)

    def run_timed(self, addresses: Sequence[int], scalars: Sequence[float] = ()) -> list[float]:
        """As ``run``, but waits for each step; the seconds that each took."""
        seconds = []
        with run_lock:
            for step in self.steps:
                seconds.append(self._launch(step, addresses, scalars, timed=True))
        return seconds

    def _launch(self, step: Step, addresses: Sequence[int], scalars: Sequence[float], timed: bool = False) -> float:
        """Launch a step; the seconds it took if it was timed. Whatever a backend raises says where."""
        if not step.iterations:
            return 0.0
        arrays = [addresses[a] if isinstance(a, int) else addresses[a[0]] + a[1] for a in step.arrays]
        numbers = [scalars[i] for i in step.scalars]
        device, program = self.device, step.program
        try:
            if timed:
                return device.launch_timed(program, arrays, numbers, step.iterations)
            device.launch(program, arrays, numbers, step.iterations)
        except OutOfMemoryError:
            raise
        except Exception as error:
            if isinstance(error, MinigradError) and program.name in str(error):
                raise
            problem = f"device {device.name} cannot launch kernel {program.name}: {type(error).__name__}: {error}"
            raise LaunchError(with_source(problem, program.source)) from error
        return 0.0


def argument(dtype: DType, number: float) -> np.generic:
    """A run-time number (an integer, or a float64) as a kernel's scalar parameter.

    >>> from minigrad.dtype import float32, int8
    >>> argument(float32, 0.1), argument(int8, 300)
    (np.float32(0.1), np.int8(44))
    """
    wide = np.float64(number) if dtype.is_float else np.uint64(number & 0xFFFFFFFFFFFFFFFF)  # type: ignore[operator]
    return wide.astype(dtype.numpy)


def blame(output: str, text: str, names: Sequence[str]) -> str:
    """The kernel that the compiler's first error is in."""
    found = re.search(r":(\d+):\d+: (?:fatal )?error", output)
    lines = text.split("\n")[:int(found.group(1))] if found else []
    for line in reversed(lines):
        for name in names:
            if re.search(rf"\bvoid\b.*\b{re.escape(name)}\s*\(", line):
                return name
    return ", ".join(names)
