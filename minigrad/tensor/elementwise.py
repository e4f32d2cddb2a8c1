"""Stage: front. In: Tensors and numbers. Out: arithmetic on them, recorded; the operators + - * / // % ** -x and
abs(). Integers become floats where the mathematics needs it; bool + bool is "or", bool * bool is "and".
Next: ``functions.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.autograd.keeps import OWN
from minigrad.autograd.node import kind
from minigrad.dtype import accumulator, bool_
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.arguments import like, no_overload
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.body import ByType, ForComplex
from minigrad.tensor.definition import as_twin, augmented, both, in_place
from minigrad.tensor.function import Function, refusing, tensor_function, with_tensors
from minigrad.tensor.operands import (
    BOOL_NEGATION,
    BOOL_SUBTRACTION,
    broadcast_shapes,
    checked,
    fit,
    in_parts,
    is_number,
    not_for,
    of_parts,
    on_one_device,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.operators import (
    Binary,
    Division,
    Quotient,
    Remainder,
    Subtraction,
    Wide,
    as_operand,
    is_one,
    plus_product,
    with_alpha,
    with_number_first,
)
from minigrad.tensor.promotion import c_name, number, stored
from minigrad.tensor.quotients import floored, fmod, remainder, truncated

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


_ADD = Binary(Op.ADD, "AddBackward0")
_SUB = Subtraction(Op.SUB, "SubBackward0", reflected="RsubBackward1")
_RSUB = Subtraction(Op.SUB, "RsubBackward0", formula=lambda x, y: y.binary(Op.SUB, x), name="rsub")
_MUL = Wide(Op.MUL, "MulBackward0")
_DIV = Division(Op.DIV, "DivBackward0", reflected="MulBackward0")
# PyTorch multiplies by the reciprocal, which reads its own result
_DIV.from_number.node = _DIV.from_complex.node = kind("MulBackward0", keeps=((OWN,),))
_FLOOR_DIVIDE = Quotient(Op.FLOORDIV, "NotImplemented", formula=floored, name="floor_divide")
_FLOORDIV = Quotient(Op.FLOORDIV, "DivBackward2", formula=floored)
_TRUNCDIV = Quotient("TRUNCDIV", "DivBackward2", formula=truncated)
_REMAINDER = Remainder(Op.MOD, "RemainderBackward1", "RemainderBackward0", "NotImplemented", formula=remainder,
                       name="remainder")
_FMOD = Remainder("FMOD", "FmodBackward1", "FmodBackward0", formula=fmod)


# --- powers


def _abs_in_place(plain: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The in-place twin of ``abs``: not of complex numbers, whose absolute values are real."""
    changed = in_place(plain)

    @like(plain)
    def of_reals(self: Tensor) -> Tensor:
        if self.dtype.kind == "c":
            raise RuntimeError("In-place abs is not supported for complex tensors.")
        return changed(self)

    return as_twin(of_reals, plain)


class Power(Binary):
    """As ``Binary``, with a formula for complex numbers. The gradient by the base subtracts 1 from the exponent, which
    PyTorch refuses if that is a bool."""

    def of(self, a: Tensor, b: Any) -> Any:
        if isinstance(b, AnyTensor) and b.dtype is bool_:
            return refusing(self.tensors, ((0, BOOL_SUBTRACTION),)).first((a, b))
        return super().of(a, b)

    def compute(self, x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
        not_for("b", x.dtype, "pow")
        return ForComplex.formulas().pow(x, y) if x.dtype.kind == "c" else x.binary(self.op, y)


_POW = Power(Op.POW, "PowBackward1", "PowBackward0", "PowBackward2")
_KNOWN_POWER = Function("pow", lambda x, exponent, dtype: _known_power(x.cast(dtype), exponent), "PowBackward0")
_POWER_OF_ONE = Function("pow", lambda x, dtype: x.like(1.0).cast(dtype), "PowBackward2")
"""1 to a complex power, also where that is not finite and the formula gives NaN."""
_KNOWN = frozenset((-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4))


def _known_power(x: LazyBuffer, exponent: Any) -> LazyBuffer:
    """x to an exponent for which no formula is needed, or multiplications and roots are exact."""
    if exponent == 2:
        return x.binary(Op.MUL, x)
    if exponent == 3:
        return x.binary(Op.MUL, x).binary(Op.MUL, x)
    if exponent == 1:
        return x
    if exponent == 0:
        return x.like(number_one(x))
    if exponent == 4:
        square = x.binary(Op.MUL, x)
        return square.binary(Op.MUL, square)
    if exponent == 0.5:
        return _root(x)
    divisor = x.binary(Op.MUL, x) if exponent == -2 else x if exponent == -1 else _root(x)
    return x.like(1.0).binary(Op.DIV, divisor)


def _root(x: LazyBuffer) -> LazyBuffer:
    return x.unary(Op.SQRT) if x.dtype.kind != "c" else ForComplex.formulas().sqrt(x)


def number_one(x: LazyBuffer) -> Any:
    """1 as an element of x."""
    return 1.0 if x.dtype.kind in "fc" else 1


# --- max, min

_MAXIMUM, _MINIMUM = Binary(Op.MAXIMUM, "MaximumBackward0"), Binary(Op.MINIMUM, "MinimumBackward0")


# --- of one operand

_NEG = Function("neg", lambda x: x.unary(Op.NEG), "NegBackward0")


def _abs(x: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind == "c":
        return ForComplex.formulas().magnitude(x)
    return x if x.dtype.kind in "bu" else x.unary(Op.ABS)


_ABS = Function("abs", _abs, "AbsBackward0", ByType(lambda dtype: _abs_gradient if dtype.kind == "c" else None))


def _abs_gradient(inputs: Any, outputs: Any, grads: Any) -> tuple[LazyBuffer | None]:
    """g·z/|z|, and 0 at 0."""
    return (None if grads[0] is None else ForComplex.formulas().times_direction(grads[0], inputs[0], outputs[0]),)


def _near(start: Tensor, end: Tensor, weight: Any) -> Tensor:
    return start + weight * (end - start)


def _lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    return _near(start, end, weight).where(weight.abs() < 0.5, end - (end - start) * (1 - weight))


def _lerp_by_number(*given: Any) -> LazyBuffer:
    """From ``start`` or ``end``, which is nearer, a ``share`` of the way to the other."""
    start, end, *parts, near = given
    share = of_parts(parts)
    dtype, (start, end) = start.dtype, on_one_device((start, end))
    shape = broadcast_shapes(start.shape, end.shape)
    one, other = [fit(v, share.dtype, shape) for v in ((start, end) if near else (end, start))]
    way = other.binary(Op.SUB, one).binary(Op.MUL, share.expand(shape))
    return one.binary(Op.ADD, way).cast(dtype)


def _lerp_gradient(inputs: Sequence[Tensor], outputs: Sequence[Tensor], grads: Sequence[Tensor | None],
                   ) -> list[Tensor | None]:
    """g * (1 - conj(weight)), g * conj(weight) and g * conj(end - start): the product of an infinite g and the
    difference of the ends would be infinite in both directions."""
    g, (start, end, weight) = grads[0], inputs
    if g is None:
        return [None] * 3
    share = weight.conj()
    slopes = (1 - share, share, (end - start).conj())
    return [(g * slope).sum_to_size(*t.shape).to(t.dtype) for t, slope in zip(inputs, slopes, strict=True)]


_lerp_slopes = with_tensors("lerp_backward", _lerp_gradient)


def _lerp_by_number_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                             grads: Sequence[LazyBuffer | None], near: bool) -> list[LazyBuffer | None]:
    """As ``_lerp_gradient``; no gradient flows to the number."""
    start, end, *parts = inputs
    share = of_parts(parts)
    weight = share if near else share.like(1.0).binary(Op.SUB, share)
    return [*_lerp_slopes((start, end, weight), outputs, grads)[:2], *[None] * len(parts)]


_LERP, _LERP_BY_NUMBER = tensor_function("lerp", "LerpBackward1", _lerp, _lerp_gradient), Function(
    "lerp", _lerp_by_number, "LerpBackward0", _lerp_by_number_gradient)


class Elementwise:
    """Arithmetic: the operators + - * / // % ** -x and abs(), and the methods of their names."""

    __slots__ = ()

    # --- + - *

    def __add__(self: Tensor, other: Any) -> Tensor:
        return _ADD.of(self, other)

    __radd__ = __add__
    __iadd__ = augmented(__add__)

    @both("add")
    def add(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        """self + alpha * other, broadcast.

        >>> import minigrad
        >>> minigrad.tensor([1, 2]).add(minigrad.tensor([10, 20]), alpha=2)
        tensor([21, 42])
        """
        return checked(_ADD.of(self, other) if is_one(alpha) else with_alpha(Op.ADD, self, other, alpha), "add", other)

    add_ = in_place(add)

    def __sub__(self: Tensor, other: Any) -> Tensor:
        return _SUB.of(self, other)

    __isub__ = augmented(__sub__)

    @both("sub", "subtract")
    def sub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        """self - alpha * other, broadcast. ``RuntimeError`` for two bool tensors."""
        return checked(_SUB.of(self, other) if is_one(alpha) else with_alpha(Op.SUB, self, other, alpha), "sub", other)

    subtract = sub
    sub_ = in_place(sub)
    subtract_ = sub_

    def __rsub__(self: Tensor, other: Any) -> Tensor:
        return _SUB.reflected(other, self)

    @both("rsub")
    def rsub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        """other - alpha * self, broadcast."""
        if not is_one(alpha):
            return checked(with_alpha("RSUB", self, other, alpha), "rsub", other)
        found = _RSUB.of(self, other) if isinstance(other, AnyTensor) else self.__rsub__(other)
        return checked(found, "rsub", other)

    def __mul__(self: Tensor, other: Any) -> Tensor:
        return _MUL.of(self, other)

    __rmul__ = __mul__
    __imul__ = augmented(__mul__)

    @both("mul", "multiply")
    def mul(self: Tensor, other: Any) -> Tensor:
        """self * other, broadcast."""
        return checked(_MUL.of(self, other), "mul", other)

    multiply = mul
    mul_ = in_place(mul)
    multiply_ = mul_

    # --- division

    def __truediv__(self: Tensor, other: Any) -> Tensor:
        return _DIV.of(self, other)

    __itruediv__ = augmented(__truediv__)

    def __rtruediv__(self: Tensor, other: Any) -> Tensor:
        if is_number(other) or isinstance(other, AnyTensor):
            return _DIV.reflected(other, self)
        return self.reciprocal() * other

    __div__ = __truediv__
    __idiv__ = __itruediv__
    __rdiv__ = __rtruediv__

    @both("div", "divide")
    def div(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """self / other, broadcast; integers give floats unless ``rounding_mode`` is ``"floor"`` or ``"trunc"``."""
        if rounding_mode is None:
            return checked(self.__truediv__(other), "div", other)
        if rounding_mode == "floor":
            return checked(_FLOORDIV.of(self, other), "div", other)
        if rounding_mode != "trunc":
            raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
                               f"'{rounding_mode}'")
        return checked(_TRUNCDIV.of(self, other), "div", other)

    divide = div
    div_ = in_place(div)
    divide_ = div_

    @both("true_divide", keywords={"dividend": "input", "divisor": "other"})
    def true_divide(self: Tensor, other: Any) -> Tensor:
        """``div`` without a rounding mode."""
        return self.div(other)

    true_divide_ = in_place(true_divide)

    def __floordiv__(self: Tensor, other: Any) -> Tensor:
        return _FLOOR_DIVIDE.of(self, other)

    __ifloordiv__ = augmented(__floordiv__)

    def __rfloordiv__(self: Tensor, other: Any) -> Tensor:
        return _FLOOR_DIVIDE.reflected(other, self)

    @both("floor_divide")
    def floor_divide(self: Tensor, other: Any) -> Tensor:
        """floor(self / other), broadcast; an integer divided by an integer tensor's 0 gives 0."""
        return checked(self.__floordiv__(other), "floor_divide", other)

    floor_divide_ = in_place(floor_divide)

    def __mod__(self: Tensor, other: Any) -> Tensor:
        return _REMAINDER.of(self, other)

    __imod__ = augmented(__mod__)

    def __rmod__(self: Tensor, other: Any) -> Tensor:
        return _REMAINDER.reflected(other, self)

    @both("remainder")
    def remainder(self: Tensor, other: Any) -> Tensor:
        """self - other * floor(self / other): the sign of the divisor, as Python's ``%``."""
        return checked(self.__mod__(other), "remainder", other)

    remainder_ = in_place(remainder)

    @both("fmod")
    def fmod(self: Tensor, other: Any) -> Tensor:
        """self - other * trunc(self / other): the sign of the dividend, as C's ``fmod``."""
        return checked(_FMOD.of(self, other), "fmod", other)

    fmod_ = in_place(fmod)

    # --- powers

    def __pow__(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, AnyTensor):
            return _POW.of(self, other)
        if not is_number(other):
            return NotImplemented
        self, = operands_of("pow", self)
        exponent, dtype = as_operand(self.dtype, other)
        if dtype.kind not in "fc" and other < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if dtype is self.dtype and (dtype.is_int or dtype.size == 2):
            stored(other, dtype)
        return _KNOWN_POWER((self,), (exponent, dtype)) if exponent in _KNOWN else _POW.of(self, other)

    __ipow__ = augmented(__pow__)

    def __rpow__(self: Tensor, other: Any) -> Tensor:
        if is_number(other) and other == 1 and as_operand(self.dtype, other)[1].kind == "c":
            return _POWER_OF_ONE((self,), (as_operand(self.dtype, other)[1],))
        return _POW.reflected(other, self)

    @both("pow")
    def pow(self: Tensor, exponent: Any) -> Tensor:
        """self to the power ``exponent``, broadcast. Integers to a negative integer raise ``RuntimeError``."""
        return checked(self.__pow__(exponent), "pow", exponent)

    pow_ = in_place(pow)

    # --- max, min

    @both("maximum")
    def maximum(self: Tensor, other: Any) -> Tensor:
        """The larger of each pair, broadcast; NaN if either is. Where they are equal each gets half the gradient."""
        return _MAXIMUM.of(self, require_tensor(other, "maximum", "other", 2))

    @both("minimum")
    def minimum(self: Tensor, other: Any) -> Tensor:
        """The smaller of each pair, broadcast; NaN if either is."""
        return _MINIMUM.of(self, require_tensor(other, "minimum", "other", 2))

    # --- of one operand

    @both("neg", "negative")
    def neg(self: Tensor) -> Tensor:
        """-self."""
        if self.dtype is bool_:
            raise RuntimeError(BOOL_NEGATION)
        return _NEG((self,))

    negative = neg
    __neg__ = neg
    neg_ = in_place(neg)
    negative_ = neg_

    @both("positive")
    def positive(self: Tensor) -> Tensor:
        """self."""
        if self.dtype is bool_:
            raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
        return self

    __pos__ = positive

    @both("abs", "absolute")
    def abs(self: Tensor) -> Tensor:
        """The absolute value; its slope at 0 counts as 0."""
        not_for("b", self.dtype, "abs_cpu")
        return _ABS((self,))

    absolute = abs
    __abs__ = abs
    abs_ = _abs_in_place(abs)
    absolute_ = abs_

    # --- combinations

    @both("addcmul")
    def addcmul(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        """self + value * tensor1 * tensor2, in the type of the three Tensors; the number must fit it."""
        return plus_product(Op.MUL, self, tensor1, tensor2, value)

    addcmul_ = in_place(addcmul)

    @both("addcdiv")
    def addcdiv(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        """self + value * tensor1 / tensor2, in the type of the three Tensors."""
        if tensor1.dtype.kind not in "fc" and tensor2.dtype.kind not in "fc":
            raise RuntimeError("Integer division with addcdiv is no longer supported, and in a future  release addcdiv "
                               "will perform a true division of tensor1 and tensor2. The historic addcdiv behavior can "
                               "be implemented as (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for "
                               "integer inputs and as (input + value * tensor1 / tensor2) for float inputs. The future "
                               "addcdiv behavior is just the latter implementation: (input + value * tensor1 / "
                               "tensor2), for all dtypes.")
        return plus_product(Op.DIV, self, tensor1, tensor2, value)

    addcdiv_ = in_place(addcdiv)

    @both("lerp")
    def lerp(self: Tensor, end: Tensor, weight: Any) -> Tensor:
        """self + weight * (end - self); from a weight of 1/2 on end - (1 - weight) * (end - self), which is ``end``
        at weight 1."""
        if self.dtype is not end.dtype:
            raise RuntimeError(f"expected dtype {c_name(self.dtype)} for `end` but got dtype {c_name(end.dtype)}")
        by_tensor = isinstance(weight, AnyTensor)
        if by_tensor and weight.dtype is not self.dtype and weight.ndim:
            raise RuntimeError(f"expected dtype {c_name(self.dtype)} for `weight` but got dtype "
                               f"{c_name(weight.dtype)}")
        if not by_tensor and not is_number(weight):
            raise no_overload("lerp", self, end, weight)
        not_for("biu", self.dtype, f"lerp_kernel_{'tensor' if by_tensor else 'scalar'}")
        if isinstance(weight, complex):
            weight = number(weight, self.dtype)
        if by_tensor:
            if weight.dtype is not self.dtype:
                dtype = result_dtype((self, end, weight))
                self, end, weight = self.to(dtype), end.to(dtype), weight.to(dtype)
            return _LERP((self, end, weight))
        wide, near = accumulator(self.dtype), abs(weight) < 0.5
        return _LERP_BY_NUMBER((self, end), (near,), in_parts(stored(weight if near else 1 - weight, wide), wide))

    lerp_ = in_place(lerp)


with_number_first("pow", lambda a, b: a**b)
with_number_first("remainder", lambda a, b: a % b)
