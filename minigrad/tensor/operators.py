"""Stage: front. In: a Tensor, and a second Tensor or a number. Out: the ops of two operands as Functions, in which both
are brought to one dtype, shape and device: sums, products, quotients, remainders.
Next: ``elementwise.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigrad.autograd.keeps import KEEPS, OWN, Keeps
from minigrad.dtype import DType, accumulator, bool_, float32
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.arguments import like
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.changes import is_filled
from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.elements import known
from minigrad.tensor.function import Function, refusing
from minigrad.tensor.operands import (
    BOOL_SUBTRACTION,
    broadcast_shapes,
    fit,
    in_parts,
    is_number,
    of_parts,
    on_one_device,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.promotion import combined, floating, get_default_dtype, number, stored, type_name, with_number

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# What an arithmetic op is on bools, where it has a meaning.
_ON_BOOLS = {Op.ADD: Op.OR, Op.MUL: Op.AND, Op.MAXIMUM: Op.OR, Op.MINIMUM: Op.AND}


def fitted(a: LazyBuffer, b: LazyBuffer, with_number: bool) -> tuple[LazyBuffer, LazyBuffer]:
    """Two operands of one dtype and shape. A number has the dtype of the result already."""
    a, b = on_one_device((a, b))
    if with_number:
        return a.cast(b.dtype), b.expand(a.shape)
    dtype = combined(a.dtype, len(a.shape), b.dtype, len(b.shape))
    shape = a.shape if a.shape == b.shape else broadcast_shapes(a.shape, b.shape)
    return fit(a, dtype, shape), fit(b, dtype, shape)


def as_operand(dtype: DType, value: Any) -> tuple[Any, DType]:
    """A number beside a Tensor of this dtype, with the dtype of the result."""
    if type(value) is float and dtype.kind == "f":
        return value, dtype
    result = with_number(dtype, value)
    return number(value, result), result


def _is_half(dtype: DType) -> bool:
    return dtype.size == 2 and dtype.kind == "f"


def _beside_number(node: str) -> Keeps | str:
    """What the first operand's gradient reads, where the second is a number: PyTorch keeps that in a Tensor."""
    rows = KEEPS.get(node, ())
    return (tuple([OWN if p == 1 else p for p in rows[0]]),) if rows else "by name"


def _of_second(node: str) -> Keeps | str:
    """What the second operand's gradient reads, where the first is a number and the second comes first."""
    rows = KEEPS.get(node, ())
    if len(rows) < 2:
        return "by name"
    return (tuple([OWN if p == 0 else 0 if p == 1 else p for p in rows[1]]),)


class Binary:
    """An op of two operands: a Function for two Tensors and, where PyTorch names it differently, one for a Tensor and a
    number. ``formula`` takes the place of the op of that name."""

    wide = False
    """Whether the number, or the 0-d Tensor, that a half Tensor meets stays in float32, as in PyTorch's kernels: 1e5
    is no half, but what 0.1 times it gives is one. Otherwise it is rounded first."""

    def __init__(self, op: str, node: str, with_number: str = "", reflected: str = "", *,
                 formula: Callable[[LazyBuffer, LazyBuffer], LazyBuffer] | None = None, name: str = "") -> None:
        name = name or op.lower()
        self.op, self.formula = op, formula
        self.tensors = Function(name, self._of_tensors, node)
        beside = _beside_number(with_number or node)
        self.number = Function(name, self._with_number, with_number or node, keeps=beside)
        keeps = _of_second(reflected or node)
        self.from_number = Function(name, self._from_number, reflected or node, keeps=keeps)
        # a complex number is two operands, its parts
        self.complex = Function(name, lambda a, x, y: self._with_number(a, x.with_imag(y)), with_number or node,
                                keeps=beside)
        self.from_complex = Function(name, lambda a, x, y: self._from_number(a, x.with_imag(y)), reflected or node,
                                     keeps=keeps)

    def _of_tensors(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        if (self.wide and _is_half(a.dtype) and a.shape and not b.shape and b.dtype is not a.dtype
                and b.dtype.kind != "c"):
            a, b = on_one_device((a, b))
            return self._with_number(a, b.cast(float32))
        return self.compute(*fitted(a, b, False))

    def _with_number(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        made = self.compute(*fitted(a, b, True))
        return made.cast(a.dtype) if _is_half(a.dtype) and made.dtype is float32 else made

    def _from_number(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        return self.compute(*fitted(a, b, True)[::-1])

    def compute(self, x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
        """The op, or what it is on bools."""
        if self.formula is not None:
            return self.formula(x, y)
        return x.binary(_ON_BOOLS.get(self.op, self.op) if x.dtype is bool_ else self.op, y)

    def of(self, a: Tensor, b: Any) -> Any:
        """``a op b`` for a Tensor a and a Tensor or number b; NotImplemented for anything else."""
        if isinstance(b, AnyTensor):
            return self.tensors.first((a, b))
        if not is_number(b):
            return NotImplemented
        operand = as_operand(a.dtype, b)
        if operand[1].kind == "c":
            return self.complex.first((a,), (), in_parts(*operand))
        if self.wide and _is_half(operand[1]):
            operand = operand[0], float32
        return self.number.first((a,), (), (operand,))

    def reflected(self, b: Any, a: Tensor) -> Any:
        """``b op a`` for a number b, or a Tensor."""
        if isinstance(b, AnyTensor):
            return self.of(b, require_tensor(a, self.tensors.body.name, "self", 1))
        if not is_number(b):
            return NotImplemented
        operand = as_operand(a.dtype, b)
        if operand[1].kind == "c":
            return self.from_complex((a,), (), in_parts(*operand))
        return self.from_number((a,), (), (operand,))


class Wide(Binary):
    """As ``Binary``, and numbers that meet a half Tensor stay in float32."""

    wide = True


class Subtraction(Binary):
    """As ``Binary``, but not of bools."""

    def _of_tensors(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        check_subtraction(a.dtype, b.dtype)
        return super()._of_tensors(a, b)

    def of(self, a: Tensor, b: Any) -> Any:
        if not isinstance(b, AnyTensor) and is_number(b):
            check_subtraction(a.dtype, bool_ if isinstance(b, bool) else None)
        return super().of(a, b)

    def reflected(self, b: Any, a: Tensor) -> Any:
        if is_number(b):
            check_subtraction(a.dtype, bool_ if isinstance(b, bool) else None)
        return super().reflected(b, a)


def check_subtraction(a: DType, b: DType | None) -> None:
    """``RuntimeError`` where a bool is subtracted, or something from a bool; b is None for other numbers."""
    if a is b is bool_:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead.")
    if bool_ in (a, b):
        raise RuntimeError(BOOL_SUBTRACTION)


class Division(Wide):
    """As ``Wide``, but integers become floats, each by itself."""

    def _of_tensors(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        if a.dtype.kind not in "fc" and b.dtype.kind not in "fc":
            a, b = [v.cast(floating(v.dtype)) for v in (a, b)]
        return super()._of_tensors(a, b)

    def compute(self, x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
        dtype = floating(x.dtype)
        return x.cast(dtype).binary(self.op, y.cast(dtype))

    def _from_number(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        """A number divided by a Tensor is its product with the reciprocal, which is rounded before, as in PyTorch."""
        x = a.cast(b.dtype if b.dtype.kind == "c" else floating(a.dtype))
        inverse = x.like(1.0).binary(Op.DIV, x).cast(accumulator(x.dtype))
        return inverse.binary(Op.MUL, b.expand(x.shape)).cast(x.dtype)

    def of(self, a: Tensor, b: Any) -> Any:
        if not isinstance(b, AnyTensor) and a.dtype.kind not in "fc" and is_number(b) and not isinstance(b, complex):
            dtype = floating(a.dtype)
            return self.number((a,), (), ((number(b, dtype), dtype),))
        return super().of(a, b)

    def reflected(self, b: Any, a: Tensor) -> Any:
        if isinstance(b, AnyTensor):
            return self.of(b, require_tensor(a, self.tensors.body.name, "self", 1))
        if not is_number(b):
            return NotImplemented
        dtype = with_number(floating(a.dtype), b)
        if dtype.kind == "c":
            return super().reflected(b, a)
        return self.from_number((a,), (), ((number(b, dtype), float32 if _is_half(dtype) else dtype),))


_KERNELS = {"FLOORDIV": "div_floor_cpu", "TRUNCDIV": "div_trunc_cpu", "MOD": "remainder_cpu", "FMOD": "fmod_cpu"}
"""What PyTorch calls them in its message."""


class Quotient(Wide):
    """A quotient without its fraction: bools have none, and an integer divided by 0 is an error where that is known."""

    def compute(self, x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
        if x.dtype is bool_:
            raise NotImplementedError(f"\"{_KERNELS[self.op]}\" not implemented for 'Bool'")
        return super().compute(x, y)

    def of(self, a: Tensor, b: Any) -> Any:
        _check_divisor(a, b)
        return super().of(a, b)

    def reflected(self, b: Any, a: Tensor) -> Any:
        _check_divisor(b, a)
        return super().reflected(b, a)


class Remainder(Quotient):
    """As ``Quotient``, but numbers are rounded to a half type."""

    wide = False


def _check_divisor(a: Any, b: Any) -> None:
    """``RuntimeError`` for an integer that is divided by a 0 which is known now. Where the divisor is computed later,
    such a quotient or remainder is 0. Nothing is divided if one of the operands has no elements."""
    if isinstance(a, AnyTensor) and 0 in a._shape():
        return
    if isinstance(b, AnyTensor):
        first = a.dtype.kind if isinstance(a, AnyTensor) else "i" if isinstance(a, int) else "f"
        if first in "fc" or b.dtype.kind in "fc" or first == b.dtype.kind == "b":
            return
        array = known(b, True)
        if (array is not None and not array.all()) or (
                is_filled(b) and (whole := b._whole()).op == Op.CONST and whole.arg == 0 and 0 not in b._shape()):
            raise RuntimeError("ZeroDivisionError")
    elif is_number(b) and b == 0 and not isinstance(b, float) and a.dtype.kind in "iub":
        raise RuntimeError("ZeroDivisionError")


def fitting(value: Any, dtype: DType) -> Any:
    """A number or 0-d Tensor that is to be stored. ``RuntimeError`` for a complex one with an imaginary part, which is
    looked at, and for one that is known now and does not fit; one that is computed later is converted."""
    if not isinstance(value, AnyTensor) or value.dtype is dtype or dtype.kind in "bc":
        return value
    if value.dtype.kind == "c":
        return value.item()
    array = known(value, True)
    if array is not None:
        stored(array.item(), dtype)
    return value


# --- with a factor


def _scaled(op: str) -> Callable[..., LazyBuffer]:
    """``a op alpha * b``, which halves round once."""

    def compute(a: LazyBuffer, b: LazyBuffer, *alpha: LazyBuffer) -> LazyBuffer:
        a, b = fitted(a, b, False)
        factor = of_parts(alpha).copy_to(a.device).expand(a.shape)
        if a.dtype is bool_:
            return a.binary(Op.OR, b.binary(Op.AND, factor))
        wide = accumulator(a.dtype)
        scaled = b.cast(wide).binary(Op.MUL, factor.cast(wide))
        return a.cast(wide).binary(op, scaled).cast(a.dtype)

    return compute


_SCALED = {Op.ADD: Function("add", _scaled(Op.ADD), "AddBackward0"),
           Op.SUB: Function("sub", _scaled(Op.SUB), "SubBackward0"),
           "RSUB": Function("rsub", lambda a, b, *alpha: _scaled(Op.SUB)(b, a, *alpha), "RsubBackward0"),
           "RSUB of a number": Function("rsub", lambda a, b, *alpha: _scaled(Op.SUB)(b, a, *alpha), "RsubBackward1")}


def is_one(alpha: Any) -> bool:
    """Whether a factor is the integer 1, as by default."""
    return type(alpha) is int and alpha == 1


def with_alpha(op: str, a: Tensor, b: Any, alpha: Any) -> Any:
    """``a op alpha * b`` for a Tensor a and a Tensor or number b, in the type of both, or ``b - alpha * a``;
    NotImplemented for other b."""
    if not isinstance(b, AnyTensor) and not is_number(b):
        return NotImplemented
    if op == "RSUB" and not isinstance(b, AnyTensor):
        op = "RSUB of a number"
    if op != Op.ADD:
        check_subtraction(a.dtype, b.dtype if isinstance(b, AnyTensor) else bool_ if isinstance(b, bool) else None)
    if not isinstance(b, AnyTensor):
        b = as_tensor(b, a)
    if isinstance(alpha, AnyTensor):
        alpha = alpha.item()
    dtype = result_dtype((a, b))
    if isinstance(alpha, bool) and dtype is not bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float | complex) and dtype.kind not in "fc":
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if isinstance(alpha, complex) and dtype.kind != "c":
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")
    return _SCALED[op]((a, b), (), in_parts(stored(alpha, dtype), dtype))


def as_tensor(value: Any, beside: Tensor) -> Tensor:
    """A number as a 0-d Tensor of the type that it has beside a Tensor."""
    dtype = with_number(beside.dtype, value)
    return make(LazyBuffer.const(number(value, dtype), dtype, (), beside._pending().device))


def _plus_product(op: str) -> Callable[..., LazyBuffer]:
    """``a + (value * b) op c``, which halves round once."""

    def compute(*given: Any) -> LazyBuffer:
        *operands, dtype = given
        a, b, c, *value = on_one_device(operands)
        shape = broadcast_shapes(a.shape, b.shape, c.shape)
        wide = accumulator(dtype)
        a, b, c = [fit(fit(v, dtype, shape), wide, shape) for v in (a, b, c)]
        product = of_parts(value).expand(shape).binary(Op.MUL, b).binary(op, c)
        return a.binary(Op.ADD, product).cast(dtype)

    return compute


_PLUS_PRODUCT = {Op.MUL: Function("addcmul", _plus_product(Op.MUL), "AddcmulBackward0"),
                 Op.DIV: Function("addcdiv", _plus_product(Op.DIV), "AddcdivBackward0")}


def plus_product(op: str, a: Tensor, b: Tensor, c: Tensor, value: Any) -> Tensor:
    """``a + (value * b) op c`` in the type of the three Tensors; the number must fit it."""
    dtype = result_dtype((a, b, c))
    if dtype is bool_:
        raise NotImplementedError(f"\"addcmul_cpu_out\" not implemented for '{type_name(dtype)}'")
    if isinstance(value, AnyTensor):
        value = value.item()
    wide = accumulator(dtype)
    function = _PLUS_PRODUCT[op]
    if op == Op.DIV and c.dtype.kind not in "fc":  # PyTorch's formula writes value / c into a Tensor of c's type
        function = refusing(function, ((1, f"result type {type_name(get_default_dtype())} can't be cast to the desired "
                                           f"output type {type_name(c.dtype)}"),))
    return function((a, b, c), (dtype,), in_parts(stored(value, wide), wide))


def with_number_first(name: str, operator: Callable[[Any, Any], Tensor]) -> None:
    """Let the first operand of the function be a number, too: ``minigrad.pow(2, x)``."""
    plain = FUNCTIONS[name]

    @like(plain)
    def either(input: Any, *args: Any, **kwargs: Any) -> Tensor:
        if is_number(input) and len(args) == 1 and isinstance(args[0], AnyTensor):
            return operator(input, args[0])
        return plain(input, *args, **kwargs)

    FUNCTIONS[name] = either
