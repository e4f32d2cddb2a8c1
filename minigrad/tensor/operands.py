"""Stage: front. In: operands of different shapes, dtypes and devices. Out: LazyBuffers that fit, or PyTorch's error.
Next: ``arguments.py``."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.dtype import DType, accumulator, bfloat16, float16, float64, int32, int64, promote, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.body import refusal
from minigrad.tensor.function import Function
from minigrad.tensor.promotion import combined, number, number_dtype, type_name, with_number
from minigrad.tensor.size import shown_device

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

NUMBERS = (int, float, np.generic, numbers.Number)


BOOL_SUBTRACTION = ("Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
                    "mask, use the `~` or `logical_not()` operator instead.")
BOOL_NEGATION = ("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
                 "use the `~` or `logical_not()` operator instead.")
"""PyTorch's words, also where the formula of a gradient subtracts or negates what the user gave."""


def is_number(value: Any) -> bool:
    """Whether ``value`` is a Python or NumPy number."""
    return isinstance(value, NUMBERS)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all shapes stretch to: sizes of 1 repeat, missing leading sizes count as 1.

    Raises ``RuntimeError`` in PyTorch's words.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    result = tuple(shapes[0])
    for shape in shapes[1:]:
        if shape != result:
            result = _broadcast_two(result, tuple(shape))
    return result


def _broadcast_two(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    dims = max(len(a), len(b))
    long_a, long_b = (1,) * (dims - len(a)) + a, (1,) * (dims - len(b)) + b
    result = []
    for dim, (m, n) in reversed(list(enumerate(zip(long_a, long_b, strict=True)))):
        if m != n and m != 1 and n != 1:
            raise RuntimeError(f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton "
                               f"dimension {dim}")
        result.append(n if m == 1 else m)
    return tuple(reversed(result))


def converted(lazy: LazyBuffer, dtype: DType) -> LazyBuffer:
    """The value in this type. Floats that an integer type does not hold become what x86 processors, and so PyTorch,
    make of them: NaN and what is out of range the lowest int32 or int64; types of 8 and 16 bits take the low bits of an
    int32, so that -1.0 is 255 in uint8, and uint8 those of an int64; unsigned ones of 32 and 64 bits those of the
    signed, from which half of the range is taken first where it is too large."""
    if lazy.dtype.kind == "c" and dtype.kind in "iuf":
        lazy = lazy.real()
    if lazy.dtype.kind != "f" or not dtype.is_int:
        return lazy.cast(dtype)
    if dtype.size < 4:
        return _signed(lazy, int64 if dtype is uint8 and lazy.dtype is float64 else int32).cast(dtype)
    signed = int32 if dtype.size == 4 else int64
    if dtype is signed:
        return _signed(lazy, signed)
    wide = lazy.cast(float64) if dtype.size == 4 else lazy.cast(accumulator(lazy.dtype))
    half = wide.like(2.0 ** (dtype.bits - 1))
    above = _signed(wide.binary(Op.SUB, half), signed)
    above = above.binary(Op.XOR, above.like(signed.min))
    return half.binary(Op.LT, wide).binary(Op.OR, half.binary(Op.EQ, wide)).where(above, _signed(wide, signed)).cast(
        dtype)


def _signed(lazy: LazyBuffer, dtype: DType) -> LazyBuffer:
    """Floats as int32 or int64. CAST saturates and makes 0 of NaN."""
    limit = 2.0 ** (dtype.bits - 1)
    if lazy.dtype.max < limit:  # float16 holds no such number, but infinity
        limit = float("inf")
    return lazy.binary(Op.LT, lazy.like(limit)).where(lazy.cast(dtype), lazy.cast(dtype).like(dtype.min))


def fit(lazy: LazyBuffer, dtype: DType, shape: tuple[int, ...]) -> LazyBuffer:
    """The value in this type, repeated to this shape."""
    if lazy.dtype is not dtype:
        lazy = converted(lazy, dtype)
    return lazy if lazy.shape == shape else lazy.expand(shape)


def on_one_device(values: Sequence[LazyBuffer]) -> Sequence[LazyBuffer]:
    """The operands of an elementwise op on one device: 0-d ones of the CPU move to where the others are, all else that
    differs raises ``RuntimeError``."""
    devices = [v.device for v in values]
    if devices.count(devices[0]) == len(devices):
        return values
    device = next(d for d in devices if d != "CPU")
    for v in values:
        if v.device != device and (v.shape or v.device != "CPU"):
            _different(device, v.device)
    return [v.copy_to(device) for v in values]


def one_device(lazies: Sequence[LazyBuffer]) -> None:
    """``RuntimeError`` unless all values, 0-d ones too, are on one device."""
    first = lazies[0].device
    for v in lazies:
        if v.device != first:
            _different(first, v.device)


def _different(first: str, second: str) -> NoReturn:
    raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                       f"{shown_device(first)} and {shown_device(second)}!")


def result_dtype(operands: Sequence[Any]) -> DType:
    """The type of Tensors and numbers combined: first that of Tensors with dimensions and that of those without, since
    the order of operands does not matter."""
    dtype = single = None
    for o in operands:
        if isinstance(o, AnyTensor):
            if o.ndim:
                dtype = o.dtype if dtype is None else promote(dtype, o.dtype)
            else:
                single = o.dtype if single is None else promote(single, o.dtype)
    if single is not None:
        dtype = single if dtype is None else combined(dtype, 1, single, 0)
    for o in operands:
        if o is not None and not isinstance(o, AnyTensor):
            dtype = number_dtype(o) if dtype is None else with_number(dtype, o)
    assert dtype is not None
    return dtype


def all_fitted(formula: Callable[..., LazyBuffer]) -> Callable[..., LazyBuffer]:
    """The formula as what a ``MixedFunction`` computes: its operands come in one dtype and shape."""

    def compute(*args: Any) -> LazyBuffer:
        *operands, dtype, order = args
        values = on_one_device(operands)
        shape = broadcast_shapes(*[v.shape for v in values])
        return formula(*[None if i is None else fit(operand_at(values, i), dtype, shape) for i in order])

    return compute


def in_parts(value: Any, dtype: DType) -> list[tuple[Any, DType]]:
    """A number of this type as operands of a Function: a complex one is two, its parts."""
    if dtype.kind != "c":
        return [(value, dtype)]
    return [(value.real, dtype.part), (value.imag, dtype.part)]


def of_parts(parts: Sequence[LazyBuffer]) -> LazyBuffer:
    """The number that ``in_parts`` gave as operands."""
    return parts[0] if len(parts) == 1 else parts[0].with_imag(parts[1])


def operand_at(values: Sequence[LazyBuffer], position: Any) -> LazyBuffer:
    """The value at a position, or the complex number whose parts are at two."""
    return of_parts([values[i] for i in position]) if isinstance(position, tuple) else values[position]


def require_tracked(x: Any, dtype: DType) -> None:
    """``RuntimeError`` if a Tensor that requires a gradient is to give a result of a dtype that can have none."""
    if mode.enabled and dtype.kind not in "fc" and x.requires_grad:
        raise RuntimeError(f"Autograd not support dtype: {type_name(dtype)}")


def require_real(result: Any, name: str) -> Any:
    """The result; ``RuntimeError`` if it requires a gradient and is complex."""
    if result.dtype.kind == "c" and mode.enabled and result.requires_grad:
        raise RuntimeError(f"{name} does not support automatic differentiation for outputs with complex dtype.")
    return result


def not_for_complex(tensor: Any, name: str) -> None:
    """PyTorch's error if a tensor is complex: ``name`` is the op, which has no formula for such."""
    if isinstance(tensor, AnyTensor) and tensor.dtype.kind == "c":
        raise refusal(name, tensor.dtype)


def not_for(kinds: str, dtype: DType, kernel: str) -> None:
    """``NotImplementedError`` in PyTorch's words if its ``kernel`` does not take a dtype of one of these kinds.

    >>> from minigrad.dtype import bool_
    >>> not_for("b", bool_, "abs_cpu")
    Traceback (most recent call last):
    NotImplementedError: "abs_cpu" not implemented for 'Bool'
    """
    if dtype.kind in kinds:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")


def not_for_halves(dtype: DType, kernel: str) -> None:
    """As ``not_for``, of float16 and bfloat16."""
    if dtype in (float16, bfloat16):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")


Slopes = Callable[..., Sequence[LazyBuffer | None]]


def fitted_gradient(gradients: Slopes, wide: Callable[[LazyBuffer], DType] | None = None, result: bool = False,
                    ) -> Callable[..., Any]:
    """The gradient of a ``MixedFunction`` of ``all_fitted`` operands: ``gradients(g, *operands)``, and last the
    ``result`` if that is read, in one shape and dtype (that of the result, or the one that ``wide`` gives for g), are
    summed to what the operands were before they were broadcast."""

    def gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                 dtype: DType, order: Sequence[int | None]) -> list[LazyBuffer | None]:
        g = grads[0]
        found: list[LazyBuffer | None] = [None] * len(inputs)
        if g is None:
            return found
        shape, inside = g.shape, dtype if wide is None else wide(g)
        operands = [None if i is None else fit(inputs[i], dtype, shape).cast(inside) for i in order]
        operands += [outputs[0].cast(inside)] if result else []
        for place, whole in zip(order, gradients(g.cast(inside), *operands), strict=True):
            if place is None or whole is None:
                continue
            given = inputs[place]
            short = (1,) * (len(shape) - len(given.shape)) + given.shape
            axes = tuple([i for i, (n, m) in enumerate(zip(short, shape, strict=True)) if n != m])
            found[place] = whole.reduce(Op.SUM, axes).reshape(given.shape).cast(given.dtype)
        return found

    return gradient


class MixedFunction(Function):
    """A Function whose operands are Tensors, numbers or None, in any order, broadcast and of one dtype.

    >>> import minigrad
    >>> middle = MixedFunction("middle", all_fitted(lambda a, b: a.binary("ADD", b)), "MiddleBackward0")
    >>> middle.mixed((1.5, minigrad.tensor([1, 2])))
    tensor([2.5000, 3.5000])
    """

    __slots__ = ()

    def mixed(self, operands: Sequence[Any], dtype: DType | None = None, absent: bool = False) -> Tensor:
        """``dtype`` None promotes as PyTorch does. ``absent``: operands may be None."""
        tensors: list[Tensor] = []
        numbers: list[tuple[Any, DType]] = []
        order: list[Any] = []
        for o in operands:
            if isinstance(o, AnyTensor):
                tensors.append(o)
            elif not is_number(o) and not (absent and o is None):
                raise TypeError(f"expected Tensors and numbers, got {type(o).__name__}")
        if dtype is None:
            dtype = result_dtype(operands)
        seen = 0
        for o in operands:
            if o is None:
                order.append(None)
            elif isinstance(o, AnyTensor):
                order.append(seen)
                seen += 1
            else:
                first = len(tensors) + len(numbers)
                order.append((first, first + 1) if dtype.kind == "c" else first)
                numbers += in_parts(number(o, dtype), dtype)
        return self(tuple(tensors), (dtype, tuple(order)), tuple(numbers))


def whole_number(name: str, argument: str, value: Any, position: int | None = None) -> int:
    """The whole number that an argument of a function is, which stands at a position, or is given by name.
    ``TypeError`` for others.

    >>> whole_number("eye", "n", 2.0, 1)
    Traceback (most recent call last):
    TypeError: eye(): argument 'n' (position 1) must be int, not float
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        where = "" if position is None else f" (position {position})"
        raise TypeError(f"{name}(): argument '{argument}'{where} must be int, not {type(value).__name__}")
    return index(value)


def dim_index(dim: Any, dims: int) -> int:
    """A dimension as 0 … dims-1; ``IndexError`` in PyTorch's words. A 0-d tensor counts as having one.

    >>> dim_index(-1, 3)
    2
    """
    if not isinstance(dim, int):
        try:
            dim = index(dim)
        except TypeError:
            raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}") from None
    size = dims if dims > 0 else 1
    if not -size <= dim < size:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-size}, {size - 1}], but got {dim})")
    return dim + size if dim < 0 else dim


def dim_indices(dim: Any, dims: int) -> tuple[int, ...]:
    """Some dimensions, sorted; None and () mean all. A dimension named twice raises ``RuntimeError``, and
    any that is named of a tensor with more than 64."""
    if dim is None or dim == () or dim == []:
        return tuple(range(dims))
    if dims > 64:
        raise RuntimeError("only tensors with up to 64 dims are supported")
    if not isinstance(dim, tuple | list):
        return (dim_index(dim, dims),) if dims else _no_dims(dim)
    found = [dim_index(d, dims) for d in dim]
    for d in found:
        if found.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return tuple(sorted(found)) if dims else ()


def _no_dims(dim: Any) -> tuple[int, ...]:
    dim_index(dim, 0)
    return ()


def require_tensor(value: Any, name: str, argument: str, position: int) -> Tensor:
    """``value`` if it is a Tensor, else ``TypeError`` in PyTorch's words."""
    if not isinstance(value, AnyTensor):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
                        f"{class_name(value)}")
    return value


def class_name(value: Any) -> str:
    """The name of a value's class as the interpreter's C code knows it: with its module if it is written in C and not
    built in.

    >>> class_name([]), class_name(np.ones(1))
    ('list', 'numpy.ndarray')
    """
    kind = type(value)
    written_in_python = kind.__flags__ >> 9 & 1  # Py_TPFLAGS_HEAPTYPE
    return kind.__name__ if written_in_python or kind.__module__ == "builtins" else (
        f"{kind.__module__}.{kind.__name__}")


def checked(result: Any, name: str, other: Any) -> Tensor:
    """The result of a named op, where NotImplemented means a wrong argument."""
    if result is NotImplemented:
        raise TypeError(f"{name}(): argument 'other' (position 2) must be Tensor or Number, not "
                        f"{class_name(other)}")
    return result
