"""Stage: front. In: Tensors. Out: complex numbers made of parts, and their parts: real, imag, conj, angle, polar. The
parts are views: they alias the complex numbers, and in-place ops on either show in both.
Next: ``complex_formulas.py``.

PyTorch marks ``x.conj()`` and computes it when it is read. Here every op is computed when it is read, so nothing is
marked: ``is_conj()`` is False, and a conjugate doesn't alias what it was made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer
from minigrad.lazily import importing
from minigrad.ops import Op
from minigrad.tensor.aliases import make_view
from minigrad.tensor.body import ByType, ForComplex
from minigrad.tensor.definition import both, function, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.functions import SGN
from minigrad.tensor.layout import offset_of, strides_of
from minigrad.tensor.operands import broadcast_shapes, fit, on_one_device, require_tensor
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import floating, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


@cache
def complex_formulas() -> ModuleType:
    """The formulas for complex operands. Programs without complex numbers do not load them."""
    with importing():
        from minigrad.tensor import complex_formulas

    return complex_formulas


ForComplex.formulas = complex_formulas


# --- made of parts


def _complex(real: LazyBuffer, imag: LazyBuffer) -> LazyBuffer:
    real, imag = on_one_device((real, imag))
    shape = broadcast_shapes(real.shape, imag.shape)
    return fit(real, real.dtype, shape).with_imag(fit(imag, imag.dtype, shape))


def _polar(size: LazyBuffer, angle: LazyBuffer) -> LazyBuffer:
    size, angle = on_one_device((size, angle))
    shape = broadcast_shapes(size.shape, angle.shape)
    size, angle = fit(size, size.dtype, shape), fit(angle, angle.dtype, shape)
    return size.binary(Op.MUL, angle.unary(Op.COS)).with_imag(size.binary(Op.MUL, angle.unary(Op.SIN)))


def _polar_gradient(inputs: Any, outputs: Any, grads: Any) -> list[LazyBuffer | None]:
    """Of the size Re(conj(g)·out/|out|), of the angle Re(conj(g)·i·out), as in PyTorch: a negative size counts as one
    of the opposite direction."""
    g, out = grads[0], outputs[0]
    if g is None:
        return [None, None]
    unit = complex_formulas().direction(out)

    def along(z: LazyBuffer, w: LazyBuffer) -> LazyBuffer:
        return z.real().binary(Op.MUL, w.real()).binary(Op.ADD, z.imag().binary(Op.MUL, w.imag()))

    turned = out.imag().unary(Op.NEG).with_imag(out.real())
    return [_summed_to(along(g, direction), x.shape) for x, direction in zip(inputs, (unit, turned), strict=True)]


def _summed_to(x: LazyBuffer, shape: tuple[int, ...]) -> LazyBuffer:
    """x, summed over the axes along which ``shape`` was repeated."""
    added = len(x.shape) - len(shape)
    axes = [i for i, s in enumerate(x.shape) if i < added or (s != 1 and shape[i - added] == 1)]
    return x.reduce(Op.SUM, axes).reshape(shape)


_COMPLEX = Function("complex", _complex, "ComplexBackward0")
_POLAR = Function("polar", _polar, "PolarBackward0", _polar_gradient)


def _check_parts(name: str, a: Tensor, b: Tensor, arguments: tuple[str, str]) -> None:
    """``RuntimeError`` unless both are of one floating type."""
    for position, (value, argument) in enumerate(zip((a, b), arguments, strict=True), 1):
        require_tensor(value, name, argument, position)
    if a.dtype.name not in _PART_TYPES or b.dtype.name not in _PART_TYPES:
        raise RuntimeError("Expected both inputs to be Half, Float or Double tensors but got "
                           f"{type_name(a.dtype)} and {type_name(b.dtype)}")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"Expected object of scalar type {type_name(a.dtype)} but got scalar type "
                           f"{type_name(b.dtype)} for second argument")


_PART_TYPES = ("float16", "float32", "float64")


@function("complex")
def complex_(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """real + imag·i, of two tensors of one type, float32 or float64, broadcast. ``NotImplementedError`` for float16.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.complex.html

    >>> import minigrad
    >>> minigrad.complex(minigrad.tensor([1.0, 2.0]), minigrad.tensor([3.0, 4.0]))
    tensor([1.+3.j, 2.+4.j])
    """
    _check_parts("complex", real, imag, ("real", "imag"))
    real.dtype.complex.to_real()  # refuses complex32
    return into(out, _COMPLEX((real, imag)), "complex")


@function("polar")
def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """abs·(cos(angle) + i·sin(angle)), of two tensors of one type, float32 or float64, broadcast.
    ``NotImplementedError`` for float16.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.polar.html

    >>> import minigrad
    >>> minigrad.polar(minigrad.tensor([1.0, 2.0]), minigrad.tensor([0.0, 0.0]))
    tensor([1.+0.j, 2.+0.j])
    """
    _check_parts("polar", abs, angle, ("abs", "angle"))
    if abs.dtype.size == 2:
        raise NotImplementedError("\"polar_cpu\" not implemented for 'Half'")
    return into(out, _POLAR((abs, angle)), "polar")


# --- views as parts


def _part(self: Tensor, which: int) -> Tensor:
    """A view of the real (0) or imaginary (1) parts."""
    strides = tuple([2 * step for step in strides_of(self)])
    op, node = ((Op.REAL, "RealBackward0"), (Op.IMAG, "ImagBackward0"))[which]
    return make_view(self, ((op, None),), self._shape(), strides, 2 * offset_of(self) + which, node, self.dtype.part)


@function("view_as_real")
def view_as_real(input: Tensor) -> Tensor:
    """Complex numbers as real ones, a view with a last dimension of 2. ``RuntimeError`` for other types.

    >>> import minigrad
    >>> minigrad.view_as_real(minigrad.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    if input.dtype.kind != "c":
        raise RuntimeError("view_as_real is only supported for complex tensors")
    strides = (*[2 * step for step in strides_of(input)], 1)
    return make_view(input, (("AS_REAL", None),), (*input._shape(), 2), strides, 2 * offset_of(input),
                     "ViewAsRealBackward0", input.dtype.part)


@function("view_as_complex")
def view_as_complex(input: Tensor) -> Tensor:
    """Pairs of real numbers, the last dimension of 2, as complex numbers; a view. ``RuntimeError`` for other types,
    sizes and strides.

    >>> import minigrad
    >>> minigrad.view_as_complex(minigrad.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    if input.dtype.kind != "f" or input.dtype.name == "bfloat16":
        raise RuntimeError("view_as_complex is only supported for half, float and double tensors, but got a tensor of "
                           f"scalar type: {type_name(input.dtype)}")
    shape, strides, offset = input._shape(), strides_of(input), offset_of(input)
    if not shape:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any([n != 1 and step % 2 for n, step in zip(shape[:-1], strides[:-1], strict=True)]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    return make_view(input, (("AS_COMPLEX", None),), shape[:-1], tuple([step // 2 for step in strides[:-1]]),
                     offset // 2, "ViewAsComplexBackward0", input.dtype.complex)


@function("real")
def real(input: Tensor) -> Tensor:
    """The real parts of complex numbers, a view; of others the tensor itself."""
    require_tensor(input, "real", "input", 1)
    return input.real


@function("imag")
def imag(input: Tensor) -> Tensor:
    """The imaginary parts of complex numbers, a view. ``RuntimeError`` for others."""
    require_tensor(input, "imag", "input", 1)
    return input.imag


# --- of each number


def _given(gradient: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient where there is one of the output, else none."""

    def found(inputs: Any, outputs: Any, grads: Any) -> Any:
        return [None] * len(inputs) if grads[0] is None else gradient(inputs, outputs, grads)

    return found


_CONJ = Function("conj", LazyBuffer.conj, "ConjBackward0",
                 _given(lambda inputs, outputs, grads: (grads[0].conj(),)))


def _angle(x: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind == "c":
        return complex_formulas().angle(x)
    kind = x.cast(floating(x.dtype))
    zero = kind.like(0.0)
    turned = kind.binary(Op.LT, zero).where(kind.like(math.pi), zero)
    return kind.binary(Op.EQ, kind).where(turned, kind)


def _angle_gradient(inputs: Any, outputs: Any, grads: Any) -> tuple[LazyBuffer]:
    """g·i·z/|z|², and 0 at 0."""
    return (complex_formulas().turned_by(grads[0], inputs[0]),)


def _of_complex(gradient: Any) -> ByType:
    """A gradient for complex operands; that of others follows from what is computed."""
    return ByType(lambda dtype: _given(gradient) if dtype.kind == "c" else None)


_ANGLE = Function("angle", _angle, "AngleBackward0", _of_complex(_angle_gradient))


def _direction(z: LazyBuffer) -> LazyBuffer:
    return complex_formulas().direction(z)


def _direction_gradient(inputs: Any, outputs: Any, grads: Any) -> tuple[LazyBuffer]:
    """What is left of g/|z| without its component along z; 0 at 0."""
    return (complex_formulas().across(grads[0], inputs[0], outputs[0]),)


_SGN = Function("sgn", _direction, "SgnBackward0", _given(_direction_gradient))


def _is_real(x: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind != "c":
        return x.cast(bool_).like(True)
    imag = x.imag()
    return imag.binary(Op.EQ, imag.like(0.0))


_IS_REAL = Function("isreal", _is_real, "NotDifferentiable")


class ComplexNumbers:
    """The parts of complex numbers, their conjugates and angles. Real tensors have them, too."""

    __slots__ = ()

    @property
    def real(self: Tensor) -> Tensor:
        """The real parts of complex numbers, a view; of others self."""
        return _part(self, 0) if self.dtype.kind == "c" else self

    @real.setter
    def real(self: Tensor, value: Any) -> None:
        self.real.copy_(value) if hasattr(value, "dtype") else self.real.fill_(value)

    @property
    def imag(self: Tensor) -> Any:
        """The imaginary parts of complex numbers, a view. ``RuntimeError`` for others."""
        if self.dtype.kind != "c":
            raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
        return _part(self, 1)

    @imag.setter
    def imag(self: Tensor, value: Any) -> None:
        self.imag.copy_(value) if hasattr(value, "dtype") else self.imag.fill_(value)

    # --- conjugates

    @both("conj")
    def conj(self: Tensor) -> Tensor:
        """The complex conjugates; of real numbers self.

        >>> import minigrad
        >>> minigrad.tensor([1 + 2j]).conj()
        tensor([1.-2.j])
        """
        return _CONJ((self,)) if self.dtype.kind == "c" else self

    @both("conj_physical")
    def conj_physical(self: Tensor) -> Tensor:
        """``conj``, which is one of values and not a mark here."""
        return self.conj()

    conj_physical_ = in_place(conj_physical)

    @both("resolve_conj")
    def resolve_conj(self: Tensor) -> Tensor:
        """self: conjugates are not marked, see above."""
        return self

    @both("resolve_neg")
    def resolve_neg(self: Tensor) -> Tensor:
        """self: negatives are not marked."""
        return self

    @both("is_conj")
    def is_conj(self: Tensor) -> bool:
        """False: conjugates are not marked."""
        return False

    @both("is_neg")
    def is_neg(self: Tensor) -> bool:
        """False: negatives are not marked."""
        return False

    def _conj(self: Tensor) -> Tensor:
        """The complex conjugates."""
        return self.conj()

    def _neg_view(self: Tensor) -> Tensor:
        """-self."""
        return -self

    # --- of each number

    @both("angle")
    def angle(self: Tensor) -> Tensor:
        """The angle of complex numbers with the positive real axis, in (-π, π]; of real numbers π below 0, else 0.

        >>> import minigrad
        >>> minigrad.tensor([1j, -1 + 0j]).angle()
        tensor([1.5708, 3.1416])
        """
        return _ANGLE((self,))

    @both("sgn")
    def sgn(self: Tensor) -> Tensor:
        """z/|z| of complex numbers, 0 at 0; of real numbers ``sign``."""
        return (_SGN if self.dtype.kind == "c" else SGN)((self,))

    sgn_ = in_place(sgn)

    @both("isreal")
    def isreal(self: Tensor) -> Tensor:
        """Whether the imaginary part is 0."""
        return _IS_REAL((self,))
