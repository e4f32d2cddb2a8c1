"""Stage: front. In: a Tensor and bounds. Out: its elements, those beyond a bound replaced, and NaN and infinities by
numbers, recorded.
Next: ``activations.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, complex128, float64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.body import ByType, refusal
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.function import Function, refusing
from minigrad.tensor.operands import MixedFunction, all_fitted, broadcast_shapes, fitted_gradient, not_for, result_dtype
from minigrad.tensor.promotion import number, rounded, stored

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _clamp(x: LazyBuffer, low: LazyBuffer | None, high: LazyBuffer | None) -> LazyBuffer:
    """A bound that is NaN counts as passed."""
    out = x
    if low is not None:
        out = _passed(out.binary(Op.LT, low), low).where(low, out)
    return out if high is None else _passed(high.binary(Op.LT, out), high).where(high, out)


def _passed(condition: LazyBuffer, bound: LazyBuffer) -> LazyBuffer:
    if bound.dtype.kind != "f":
        return condition
    return condition.binary(Op.OR, bound.binary(Op.EQ, bound).unary(Op.NOT))


def _clamp_gradient(g: LazyBuffer, x: LazyBuffer, low: LazyBuffer | None,
                    high: LazyBuffer | None) -> tuple[LazyBuffer | None, ...]:
    """g to x where it is within the bounds, which NaN is not; to a bound where it is passed."""
    zero, inside = g.like(0.0), x.binary(Op.EQ, x)
    to_low = to_high = None
    if low is not None:
        passed = x.binary(Op.LT, low)
        inside = inside.binary(Op.AND, _not_below(x, low))
        if high is not None:
            passed = passed.binary(Op.AND, low.binary(Op.LT, high))
        to_low = passed.where(g, zero)
    if high is not None:
        passed = high.binary(Op.LT, x)
        inside = inside.binary(Op.AND, _not_below(high, x))
        if low is not None:
            passed = passed.binary(Op.OR, high.binary(Op.LT, low))
        to_high = passed.where(g, zero)
    return inside.where(g, zero), to_low, to_high


def _not_below(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """a >= b, false if one is NaN."""
    return b.binary(Op.LT, a).binary(Op.OR, a.binary(Op.EQ, b))


_CLAMP, _CLAMP_TENSOR = [MixedFunction("clamp", all_fitted(_clamp), f"ClampBackward{i}", fitted_gradient(
    _clamp_gradient)) for i in (1, 0)]


def _clamp_by(x: Tensor, low: Any, high: Any) -> MixedFunction:
    """The Function for these bounds. PyTorch's formulas of the gradients by x and by ``low`` write into a comparison of
    these two, that by ``high`` into one of x with it, and fail if the result's shape is larger."""
    shape, least, most = [v._shape() if isinstance(v, AnyTensor) else () for v in (x, low, high)]
    if low is None or high is None or shape == least == most:
        return _CLAMP_TENSOR
    whole = broadcast_shapes(shape, least, most)
    refusals = []
    for position, bound in ((1, least), (2, most), (0, least)):
        compared = broadcast_shapes(shape, bound)
        if compared != whole:
            refusals.append((position, f"output with shape {list(compared)} doesn't match the broadcast shape "
                                       f"{list(whole)}"))
    return refusing(_CLAMP_TENSOR, tuple(refusals)) if refusals else _CLAMP_TENSOR


def _as_numbers(x: Tensor, *bounds: Any) -> list[Any]:
    """Bounds of which some are numbers: a Tensor beside them counts as one, if it has no dimensions and no gradient."""
    if any([isinstance(v, AnyTensor) and (v.ndim or v.requires_grad) for v in bounds]):
        low, high = ["Tensor" if isinstance(v, AnyTensor) else type(v).__name__ for v in bounds]
        raise TypeError(f"clamp() received an invalid combination of arguments - got (Tensor, {low}, {high}), but "
                        "expected one of: (Tensor input, Tensor min = None, Tensor max = None), (Tensor input, Number "
                        "min = None, Number max = None)")
    bounds = tuple([v.item() if isinstance(v, AnyTensor) and v.dtype.kind == "c" else v for v in bounds])
    kinds = {"b": True, "i": 1, "u": 1, "f": 1.0}
    dtype = _common(x, *[kinds[v.dtype.kind] if isinstance(v, AnyTensor) else v for v in bounds])
    return [v.to(dtype) if isinstance(v, AnyTensor) else _stored(v, dtype) if isinstance(v, complex) else v
            for v in bounds]


def _common(x: Tensor, *bounds: Any) -> DType:
    """The type of the result if bounds are numbers. Floats keep theirs, also beside complex numbers: of these the
    imaginary part must be 0."""
    return x.dtype if x.dtype.kind == "f" else result_dtype((x, *bounds))


def _stored(bound: Any, dtype: DType) -> Any:
    return stored(stored(bound, float64) if isinstance(bound, complex) and dtype.kind == "f" else bound, dtype)


def _real(bound: Any) -> Any:
    """The one bound of clamp_min() or clamp_max(), which PyTorch refuses if it is a complex number."""
    if isinstance(bound, complex):
        raise refusal("clamp", complex128)
    return bound


def _without_nan(x: LazyBuffer, *instead: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind == "c":
        return _without_nan(x.real(), *instead).with_imag(_without_nan(x.imag(), *instead))
    nan, high, low = [v.expand(x.shape) for v in instead]
    known = x.binary(Op.EQ, x.like(-math.inf)).where(low, x.binary(Op.EQ, x.like(math.inf)).where(high, x))
    return x.binary(Op.EQ, x).where(known, nan)


def _without_nan_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                          grads: Sequence[LazyBuffer | None]) -> list[LazyBuffer | None]:
    """g times 1 where x is finite, and 0 elsewhere, where a g that is not finite gives NaN, as in PyTorch."""
    g, x = grads[0], inputs[0]
    if g is None:
        return [None] * len(inputs)
    known = x.unary(Op.ABS).binary(Op.LT, x.like(math.inf)).cast(x.dtype)
    return [g.binary(Op.MUL, known), None, None, None]


_NAN_TO_NUM = Function("nan_to_num", _without_nan, "NanToNumBackward0", ByType(
    lambda dtype: None if dtype.kind == "c" else _without_nan_gradient))


class Bounds:
    """Elements held between bounds."""

    __slots__ = ()

    @both("clamp", "clip")
    def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
        """Elements below ``min`` become min, those above ``max`` max; the bounds are numbers or None, or Tensors or
        None; ``TypeError`` for one of each, unless the Tensor has no dimensions and no gradient.

        >>> import minigrad
        >>> minigrad.tensor([-2.0, 0.5, 2.0]).clamp(-1, 1)
        tensor([-1.0000,  0.5000,  1.0000])
        """
        if min is None and max is None:
            raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
        kinds = {isinstance(v, AnyTensor) for v in (min, max) if v is not None}
        if len(kinds) > 1:
            min, max = _as_numbers(self, min, max)
        if isinstance(min, AnyTensor) or isinstance(max, AnyTensor):
            if min is not None and max is not None:
                not_for("b", result_dtype((self, min, max)), "clamp_cpu")
            return _clamp_by(self, min, max).mixed((self, min, max), absent=True)
        dtype = _common(self, min, max)
        if dtype.kind == "c":
            raise refusal("clamp", dtype)
        not_for("b", dtype, f"clamp_{'min_' if max is None else 'max_' if min is None else ''}scalar_cpu")
        return _CLAMP.mixed((self, *[None if v is None else _stored(v, dtype) for v in (min, max)]), dtype, True)

    clip = clamp
    clamp_ = in_place(clamp)
    clip_ = clamp_

    @both("clamp_min")
    def clamp_min(self: Tensor, min: Any) -> Tensor:
        """Elements below ``min`` become min."""
        return self.clamp(min=_real(min))

    clamp_min_ = in_place(clamp_min)

    @both("clamp_max")
    def clamp_max(self: Tensor, max: Any) -> Tensor:
        """Elements above ``max`` become max."""
        return self.clamp(max=_real(max))

    clamp_max_ = in_place(clamp_max)

    @both("nan_to_num", real=True)
    def nan_to_num(self: Tensor, nan: float | None = None, posinf: float | None = None,
                   neginf: float | None = None) -> Tensor:
        """NaN and the infinities replaced; by default by 0 and the largest and lowest numbers of the dtype."""
        if self.dtype.kind not in "fc":
            return self.clone()
        real = self.dtype.part or self.dtype
        given = [default if given is None else rounded(given, real) for given, default in
                 ((nan, 0.0), (posinf, real.max), (neginf, real.min))]
        return _NAN_TO_NUM((self,), (), [(number(v, real), real) for v in given])

    nan_to_num_ = in_place(nan_to_num)
