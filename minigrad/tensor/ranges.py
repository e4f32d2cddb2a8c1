"""Stage: front. In: where numbers start and end. Out: evenly spaced numbers as a Tensor, an expression of coordinates
that takes no memory until something needs it.
Next: ``run_time.py``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType, accumulator, float64, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import FUNCTIONS, function
from minigrad.tensor.function import Function
from minigrad.tensor.operands import converted
from minigrad.tensor.promotion import get_default_dtype, number, stored, type_name
from minigrad.tensor.size import resolve

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _plain(*values: Any) -> list[Any]:
    return [v.item() if isinstance(v, AnyTensor | np.generic) else v for v in values]


class Exact:
    """A number as an argument of a Function: 0.0 and -0.0 are two."""

    __slots__ = ("_text", "value")

    def __init__(self, value: Any) -> None:
        self.value, self._text = value, repr(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exact) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def _refuse(name: str, dtype: DType, kinds: str) -> None:
    if dtype.kind in kinds:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")


def _length(start: Any, end: Any, step: Any, dtype: DType) -> int:
    """How many numbers ``arange`` makes. Of int64 start, end and step are cut to integers first; of other types, also
    of integers, the length follows from them as they were given."""
    if dtype is int64:
        return -((start - end) // step)
    return math.ceil((float(end) - float(start)) / float(step))


@function("arange")
def arange(start: Any = None, end: Any = None, step: Any = 1, *, dtype: DType | None = None, device: Any = None,
           requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
    """start, start + step, … below ``end``; one argument is the end. int64 if all are integers.

    Of an integer ``dtype`` start and step are cut to integers first, so that arange(0.9, 5.9, 1.5, dtype=int64) counts
    from 0 in steps of 1; integers that do not fit the dtype wrap. ``RuntimeError`` for a step of 0 or with the wrong
    sign, and for bounds that are not finite; ``ValueError`` if the step is cut to 0.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.arange.html

    >>> arange(4), arange(1, 2, 0.5)
    (tensor([0, 1, 2, 3]), tensor([1.0000, 1.5000]))
    """
    if start is None or end is None:
        start, end = 0, end if start is None else start
    if end is None:
        raise TypeError("arange() missing a required argument: 'end'")
    start, end, step = [number(v, float64) if isinstance(v, complex) else v for v in _plain(start, end, step)]
    dtype = dtype or (int64 if all(isinstance(v, int) for v in (start, end, step)) else get_default_dtype())
    _refuse("arange", dtype, "bc")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (step > 0) != (end >= start) and end != start:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is int64:
        start, end, step = [number(v, int64) for v in (start, end, step)]
        if step == 0:
            raise ValueError("step must be nonzero")
    count = max(0, _length(start, end, step, dtype))
    kind = float if dtype.kind == "f" else lambda v: number(v, int64)
    result = _ARANGE((), (count, Exact(kind(start)), Exact(kind(step)), dtype, resolve(device)))
    return result.requires_grad_() if requires_grad else result


def _arange(count: int, start: Exact, step: Exact, dtype: DType, device: str) -> LazyBuffer:
    index = LazyBuffer.index((count,), 0, device)
    if dtype.kind == "f":
        wide = index.cast(float64)
        return wide.binary(Op.MUL, wide.like(step.value)).binary(Op.ADD, wide.like(start.value)).cast(dtype)
    values = index if step.value == 1 else index.binary(Op.MUL, index.like(step.value))
    return (values if start.value == 0 else values.binary(Op.ADD, values.like(start.value))).cast(dtype)


_ARANGE = Function("arange", _arange, "ArangeBackward0")


@function("range")
def range_(start: Any, end: Any = None, step: Any = 1, **options: Any) -> Tensor:
    """As ``arange`` with the end included, in the default floating type."""
    if end is None:
        start, end = 0, start
    start, end, step = _plain(start, end, step)
    dtype = options.setdefault("dtype", get_default_dtype())
    _refuse("range", dtype or get_default_dtype(), "bc")
    n = math.floor((end - start) / step) + 1
    if dtype is not None and dtype.is_int:
        start, step = int(start), int(step)
        return arange(start, start + n * step, step, **options)
    return arange(start, start + (n - 0.5) * step, step, **options)


def _check_steps(name: str, start: Any, end: Any, steps: Any) -> None:
    wrong = [f"{which} with {v.ndim} dimension(s)" for which, v in (("start", start), ("end", end))
             if isinstance(v, AnyTensor) and v.ndim]
    if wrong:
        raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors, but got {' and '.join(wrong)}.")
    if isinstance(steps, bool) or not hasattr(type(steps), "__index__"):
        given = ", ".join(type(v).__name__ for v in (start, end, steps))
        raise TypeError(f"{name}() received an invalid combination of arguments - got ({given}), but expected "
                        "(Number start, Number end, int steps)")


def _spaced(start: Any, end: Any, steps: int, base: float | None, dtype: DType, kind_of: DType, device: Any) -> Tensor:
    """The numbers of ``linspace``, computed in ``kind_of``, as ``dtype``; or ``base`` to their powers."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = [float(stored(v, dtype.part if dtype.kind == "c" else dtype)) for v in _plain(start, end)]
    power = None if base is None else Exact(float(base))
    return _LINSPACE((), (steps, Exact(start), Exact(end), power, dtype, kind_of, resolve(device)))


def _linspace(steps: int, first: Exact, last: Exact, base: Exact | None, dtype: DType, kind_of: DType,
              device: str) -> LazyBuffer:
    """Each half is counted from its own end, so that both are exact."""
    start, end = first.value, last.value
    index = LazyBuffer.index((steps,), 0, device)
    i = index.cast(kind_of)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    forward = i.binary(Op.MUL, i.like(step)).binary(Op.ADD, i.like(start))
    left = i.like(float(steps - 1)).binary(Op.SUB, i)
    backward = i.like(end).binary(Op.SUB, left.binary(Op.MUL, i.like(step)))
    first_half = index.binary(Op.LT, index.like(steps // 2 if steps > 1 else 1))
    found = first_half.where(forward, backward)
    return found.cast(dtype) if base is None else converted(found.like(base.value).binary(Op.POW, found), dtype)


_LINSPACE = Function("linspace", _linspace, "LinspaceBackward0")


@function("linspace")
def linspace(start: Any, end: Any, steps: int, *, dtype: DType | None = None, device: Any = None,
             requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
    """``steps`` numbers from start to end, both included, evenly spaced. Of an integer ``dtype`` start and end are cut
    to integers first, and each number at the end; ``RuntimeError`` if start or end does not fit the dtype.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    _check_steps("linspace", start, end, steps)
    start, end = _plain(start, end)
    if isinstance(start, complex) or isinstance(end, complex):
        parts = [linspace(v.real, w.real, steps, dtype=None if dtype is None else dtype.part, device=device)
                 for v, w in ((complex(start), complex(end)), (complex(start) / 1j, complex(end) / 1j))]
        result = FUNCTIONS["complex"](*parts)
        return result.requires_grad_() if requires_grad else result
    dtype = dtype or get_default_dtype()
    _refuse("linspace", dtype, "b")
    kind_of = accumulator(dtype.part) if dtype.kind in "fc" else float64
    result = _spaced(start, end, steps, None, dtype, kind_of, device)
    return result.requires_grad_() if requires_grad else result


@function("logspace")
def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None, device: Any = None,
             requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
    """``base`` to the power of ``linspace(start, end, steps)``. Of an integer ``dtype`` start and end are cut to
    integers first, and each power at the end.

    >>> logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    _check_steps("logspace", start, end, steps)
    if isinstance(start, complex) or isinstance(end, complex) or (dtype is not None and dtype.kind == "c"):
        result = base ** linspace(start, end, steps, dtype=dtype, device=device)
        return result.requires_grad_() if requires_grad else result
    dtype = dtype or get_default_dtype()
    _refuse("logspace", dtype, "b")
    result = _spaced(start, end, steps, base, dtype, float64, device)
    return result.requires_grad_() if requires_grad else result
