"""Stage: conformance. In: nothing. Out: ``Case``, one small program that every device must compute as the reference
does, and ``Program``, what building it on a device gives.
Next: ``sources.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minigrad.dtype import DType, accumulator
from minigrad.graph.lazy import LazyBuffer


@dataclass
class Program:
    """``outputs`` are what the device computes; the reference computes ``expected``, by default the same nodes.

    How far they may be apart is ``ulps`` units in the last place of the expected value, plus ``scale_ulps`` units in
    the last place of ``scales``: graphs of the magnitude that was rounded on the way (for a sum, the sum of absolute
    values). With both 0 the two are equal to the bit, except that one NaN is as good as another, and that with
    ``signed_zero`` False 0 is as good as -0.
    """

    outputs: Sequence[LazyBuffer]
    expected: Sequence[LazyBuffer] | None = None
    scales: Sequence[LazyBuffer] | None = None
    ulps: float = 0.0
    scale_ulps: float = 0.0
    signed_zero: bool = True


@dataclass(frozen=True)
class Case:
    """``build(device)`` makes the program anew, the same each time. ``raises``: realising it must raise this, and
    change nothing. ``alone``: it is not to be computed in one plan with other cases. ``since``: the version of the
    suite that has it first."""

    family: str
    name: str
    dtype: DType
    build: Callable[[str], Program] = field(repr=False)
    raises: type[Exception] | None = None
    alone: bool = False
    since: int = 1

    def __str__(self) -> str:
        return f"{self.family}/{self.name}/{self.dtype.name}"


def difference(got: np.ndarray, want: np.ndarray, dtype: DType, program: Program, scale: np.ndarray | None) -> str:
    """What is wrong with ``got``, in words; empty if nothing is.

    >>> from minigrad.dtype import float32
    >>> difference(np.float32([1, 2]), np.float32([1, 3]), float32, Program([]), None)
    'element (1,) is 2.0, expected 3.0 (1 of 2 differ)'
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"shape {got.shape} {got.dtype}, expected {want.shape} {want.dtype}"
    wrong = ~_close(got, want, dtype, program, scale)
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    bound = f" within {program.ulps:g} ulp" if program.ulps else ""
    return f"element {at} is {got[at]!s}, expected {want[at]!s}{bound} ({int(wrong.sum())} of {want.size} differ)"


def _close(got: np.ndarray, want: np.ndarray, dtype: DType, program: Program, scale: np.ndarray | None) -> np.ndarray:
    if dtype.is_complex:
        return _close(got.real, want.real, dtype.part, program, scale) & _close(
            got.imag, want.imag, dtype.part, program, scale)
    if not dtype.is_float:
        return np.asarray(got == want)
    a, b = got.astype(np.float64), want.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if program.ulps or program.scale_ulps:
        with np.errstate(all="ignore"):
            bound = program.ulps * unit(dtype) * np.maximum(np.abs(b), smallest_normal(dtype))
            if scale is not None:
                bound = bound + program.scale_ulps * unit(accumulator(dtype)) * np.abs(scale.astype(np.float64))
            # a bound that is itself infinite says nothing about finite values, nor does a value that overflowed
            return np.asarray(same | (np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= bound)))
    if program.signed_zero:
        same &= (a != 0) | (np.signbit(a) == np.signbit(b))
    return np.asarray(same)


def unit(dtype: DType) -> float:
    """The distance from 1 to the next larger number."""
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}[dtype.name]


def smallest_normal(dtype: DType) -> float:
    """The smallest positive number of a float dtype with its full precision: below it numbers are subnormal."""
    return {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype.name, 2.0**-126)
