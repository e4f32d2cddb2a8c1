"""Stage: front. In: a Tensor and a dimension. Out: softmax and its logarithm, norms, running sums and products,
recorded. The half types are computed in float32.
Next: ``layout.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad import lazily
from minigrad.dtype import DType, accumulator, bool_, int64
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.lazily import importing
from minigrad.ops import Op
from minigrad.tensor.arguments import like
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.body import ForComplex
from minigrad.tensor.definition import as_twin, both, in_place
from minigrad.tensor.function import Function, tensor_function
from minigrad.tensor.functions import double, elementary, log1p_value
from minigrad.tensor.joining import cat_values
from minigrad.tensor.operands import converted, dim_index, dim_indices, require_tensor, require_tracked
from minigrad.tensor.promotion import c_name, floating, type_name
from minigrad.tensor.reduce import squared, without

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Values = Sequence[LazyBuffer]


def _shifted(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """The values minus their maximum."""
    wide = x.cast(accumulator(x.dtype))
    return wide.binary(Op.SUB, wide.reduce(Op.MAX, axes).expand(wide.shape))


def _softmax(x: LazyBuffer, axes: tuple[int, ...], dtype: DType) -> LazyBuffer:
    exp = _shifted(converted(x, dtype), axes).unary(Op.EXP)
    return exp.binary(Op.DIV, exp.reduce(Op.SUM, axes).expand(exp.shape)).cast(dtype)


def _softmax_gradient(inputs: Values, outputs: Values, grads: Values, axes: tuple[int, ...],
                      dtype: DType) -> tuple[LazyBuffer]:
    """out * (g - sum(g * out)): of the forward pass only the result is kept."""
    wide = accumulator(dtype)
    out, g = outputs[0].cast(wide), grads[0].cast(wide)
    shared = g.binary(Op.MUL, out).reduce(Op.SUM, axes).expand(out.shape)
    return (out.binary(Op.MUL, g.binary(Op.SUB, shared)).cast(dtype).cast(inputs[0].dtype),)


def _log_softmax(x: LazyBuffer, axes: tuple[int, ...], dtype: DType) -> LazyBuffer:
    shifted = _shifted(converted(x, dtype), axes)
    total = shifted.unary(Op.EXP).reduce(Op.SUM, axes).unary(Op.LOG)
    return shifted.binary(Op.SUB, total.expand(shifted.shape)).cast(dtype)


def _log_softmax_gradient(inputs: Values, outputs: Values, grads: Values, axes: tuple[int, ...],
                          dtype: DType) -> tuple[LazyBuffer]:
    """g - exp(out) * sum(g)"""
    wide = accumulator(dtype)
    out, g = outputs[0].cast(wide), grads[0].cast(wide)
    total = g.reduce(Op.SUM, axes).expand(out.shape)
    return (g.binary(Op.SUB, out.unary(Op.EXP).binary(Op.MUL, total)).cast(dtype).cast(inputs[0].dtype),)


def _logsumexp(x: LazyBuffer, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    x = x.cast(floating(x.dtype))
    wide = x.cast(accumulator(x.dtype))
    lead = wide if x.dtype.kind != "c" else wide.real()
    finite = _finite(lead.reduce(Op.MAX, axes)).cast(wide.dtype)
    total = elementary("exp", wide.binary(Op.SUB, finite.expand(wide.shape))).reduce(Op.SUM, axes)
    return elementary("log", total).binary(Op.ADD, finite).reshape(without(x.shape, axes, keepdim)).cast(x.dtype)


def _finite(x: LazyBuffer) -> LazyBuffer:
    """0 in the place of infinities and NaN; complex numbers stay as they are."""
    if x.dtype.kind == "c":
        return x
    return x.unary(Op.ABS).binary(Op.LT, x.like(math.inf)).where(x, x.like(0.0))


def _logsumexp_gradient(inputs: Values, outputs: Values, grads: Values, axes: tuple[int, ...],
                        keepdim: bool) -> tuple[LazyBuffer]:
    """g * exp(x - out): NaN where both are the same infinity, as in PyTorch."""
    x, out, g = inputs[0], outputs[0], grads[0]
    dtype, kept = out.dtype, without(x.shape, axes, True)
    wide = accumulator(dtype)
    total = out.cast(wide).reshape(kept)
    share = elementary("exp", x.cast(dtype).cast(wide).binary(Op.SUB, total.expand(x.shape)))
    return (share.conj().binary(Op.MUL, g.cast(wide).reshape(kept).expand(x.shape)).cast(dtype).cast(x.dtype),)


_SOFTMAX = Function("softmax", _softmax, "SoftmaxBackward0", _softmax_gradient)
_LOG_SOFTMAX = Function("log_softmax", _log_softmax, "LogSoftmaxBackward0", _log_softmax_gradient)
_LOGSUMEXP = Function("logsumexp", _logsumexp, "LogsumexpBackward0", _logsumexp_gradient)


def _along(self: Tensor, dim: Any, dtype: DType | None, name: str) -> tuple[tuple[int, ...], DType]:
    """The static arguments of a softmax."""
    dtype, dims = dtype or self.dtype, len(self._shape())
    axes = dim_indices(dim_index(dim, dims), dims)
    if dtype.kind != "f":
        last = "lastdim_" if not axes or axes[0] == dims - 1 else ""
        raise NotImplementedError(f"\"{name}_{last}kernel_impl\" not implemented for '{type_name(dtype)}'")
    return axes, dtype


# --- norms


def _length(x: LazyBuffer, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    """Differentiated with slope 0 at 0, where the square root alone would give NaN. That of one number is its size,
    though its square may overflow."""
    wide = x.cast(accumulator(x.dtype))
    if x.dtype.kind == "f" and all([x.shape[axis] == 1 for axis in axes]):
        return x.unary(Op.ABS).reshape(without(x.shape, axes, keepdim))
    total = squared(wide).reduce(Op.SUM, axes)
    zero = total.like(0.0)
    nothing = total.binary(Op.EQ, zero)
    out = nothing.where(zero, nothing.where(total.like(1.0), total).unary(Op.SQRT))
    return out.reshape(without(x.shape, axes, keepdim)).cast(x.dtype.part)


def _length_gradient(inputs: Any, outputs: Any, grads: Any, axes: tuple[int, ...], keepdim: bool) -> tuple[LazyBuffer]:
    """g x / length, and 0 where that is 0: there the gradient of the gradient is 0 / 0, as in PyTorch."""
    x, wide = inputs[0], accumulator(inputs[0].dtype)
    shape = without(x.shape, axes, True)
    out, g = [v.cast(wide).reshape(shape).expand(x.shape) for v in (outputs[0], grads[0])]
    slope = out.binary(Op.EQ, out.like(0.0)).where(out.like(0.0), x.cast(wide).binary(Op.DIV, out))
    return (g.binary(Op.MUL, slope).cast(x.dtype),)


_NORM = Function("norm", _length, "LinalgVectorNormBackward0", _length_gradient)


def _norms() -> Any:
    with importing():
        from minigrad.tensor.lapack import norms

    return norms


def _euclidean(self: Tensor, dim: Any, keepdim: bool) -> Tensor:
    return _NORM((self,), (dim_indices(dim, len(self._shape())), keepdim))


# --- running


def _scanned(x: LazyBuffer, op: str, axis: int, dtype: DType) -> LazyBuffer:
    x = converted(x, dtype)
    return x.cast(accumulator(dtype)).scan(op, axis).cast(dtype) if x.shape else x.contiguous()


def _cumprod_gradient(inputs: Values, outputs: Values, grads: Values, op: str, axis: int,
                      dtype: DType) -> tuple[LazyBuffer]:
    """That of the table, but in a half type each step is rounded, as PyTorch's are: products may become infinite."""
    x, g = inputs[0], grads[0]
    if not x.shape:
        return (g.cast(x.dtype),)
    grad, products = lazily.module("minigrad.grad"), lazily.module("minigrad.grad.products")
    return (products.running_product_gradient(grad.vjp, converted(x, dtype), outputs[0], g, axis).cast(x.dtype),)


_CUMSUM = Function("cumsum", _scanned, "CumsumBackward0")
_CUMPROD = Function("cumprod", _scanned, "CumprodBackward0", _cumprod_gradient, ahead=True)


def _log_sums(x: LazyBuffer, axis: int) -> LazyBuffer:
    """The logarithms of the running sums of exp(x)."""
    dtype = floating(x.dtype)
    x = x.cast(dtype)
    if dtype.kind == "c":
        x = _with_angles(x)
    if not x.shape or x.shape[axis] < 2:
        return x.contiguous()
    return _running_logs(x.cast(double(x)), axis).cast(dtype)


def _running_logs(x: LazyBuffer, axis: int) -> LazyBuffer:
    """In blocks of the axis one element after another, for all blocks at once, then the same of the blocks' totals;
    each element is joined with the total of all blocks before. (G. Blelloch, "Prefix sums and their applications",
    1990)"""
    n = x.shape[axis]
    size = min(n, _BLOCK)
    blocks = -(-n // size)
    whole = _padded(x, axis, 0, blocks * size - n)
    front, back = x.shape[:axis], x.shape[axis + 1:]
    rows = whole.reshape((*front, blocks, size, *back))
    sums: list[LazyBuffer] = []
    for k in range(size):
        column = rows.shrink(tuple([(k, k + 1) if i == axis + 1 else (0, s) for i, s in enumerate(rows.shape)]))
        column = column.reshape((*front, blocks, *back))
        sums.append(_log_of_two(sums[-1], column).contiguous() if sums else column)
    if blocks > 1:
        before = _behind(_running_logs(sums[-1], axis), axis)
        sums = [_log_of_two(s, before) for s in sums]
    found = cat_values([s.reshape((*front, blocks, 1, *back)) for s in sums], axis + 1)
    return found.reshape(whole.shape).shrink(tuple([(0, s) for s in x.shape]))


_BLOCK = 8
"""With B an element takes (2B - 1) / (B - 1) steps, and there are log_B(n) rounds of kernels. On a Xeon with AVX-512
2,000,000 elements took as long with 4 as with 8, a row of 100 half as many kernels (``python -m timeit``)."""


def _padded(x: LazyBuffer, axis: int, front: int, back: int) -> LazyBuffer:
    return x.pad(tuple([(front, back, 0) if i == axis else (0, 0, 0) for i in range(len(x.shape))]))


def _behind(x: LazyBuffer, axis: int) -> LazyBuffer:
    """At each place what is at the place before it; -inf at the first."""
    shifted = _padded(x, axis, 1, 0).shrink(tuple([(0, s) for s in x.shape]))
    place = LazyBuffer.index(x.shape, axis, x.device)
    return place.binary(Op.EQ, place.like(0)).where(x.like(-math.inf), shifted)


def _log_of_two(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """log(exp(a) + exp(b)) = max + log(1 + exp(-|a - b|)); two equal infinities stay what they are. Of complex numbers
    the angle is that of the larger one and what it is turned by, as PyTorch's: it is not brought into a range."""
    if a.dtype.kind == "c":
        found: LazyBuffer = ForComplex.formulas().logaddexp(b, a)  # of two logarithms of 0 it is a
        return found
    equal = a.binary(Op.EQ, b)
    apart = equal.where(a.like(0.0), a.binary(Op.SUB, b)).unary(Op.ABS).unary(Op.NEG).unary(Op.EXP)
    total = a.binary(Op.MAXIMUM, b).binary(Op.ADD, log1p_value(apart))
    return equal.binary(Op.AND, a.unary(Op.ABS).binary(Op.EQ, a.like(math.inf))).where(a, total)


def _with_angles(x: LazyBuffer) -> LazyBuffer:
    """The logarithms of complex numbers, with both parts NaN if one is, and the angle 0 for the logarithm of 0."""
    real, imag = x.real(), x.imag()
    numbers = real.binary(Op.EQ, real).binary(Op.AND, imag.binary(Op.EQ, imag))
    turned = real.binary(Op.EQ, real.like(-math.inf)).where(imag.like(0.0), imag)
    return numbers.where(real.with_imag(turned), x.like(complex(math.nan, math.nan)))


def _log_sums_gradient(inputs: Values, outputs: Values, grads: Values, axis: int) -> tuple[LazyBuffer]:
    """The sum over j >= k of g[j] exp(x[k] - out[j]). Of complex numbers the exponentials are conjugates."""
    x, out, g = inputs[0], outputs[0], grads[0]
    if not (x.shape and x.size):
        return (g.cast(x.dtype),)
    if x.dtype.kind == "c":
        shares = _sums_from_the_end(elementary("log", g.conj()).binary(Op.SUB, out), axis).binary(Op.ADD, x)
        return (elementary("exp", shares).conj(),)
    return (_of("gradient", x.cast(out.dtype), out, g, axis).cast(x.dtype),)


def _of(which: str, x: LazyBuffer, out: LazyBuffer, g: LazyBuffer, axis: int) -> LazyBuffer:
    return apply(_LOG_SHARES[which].body.at([x, out, g], (axis,)), [x, out, g])[0]


def _sums_from_the_end(logs: LazyBuffer, axis: int) -> LazyBuffer:
    turned = logs.flip((axis,))
    return apply(_LOGCUMSUMEXP.body.at([turned], (axis,)), [turned])[0].flip((axis,))


def _log_shares_from_the_end(x: LazyBuffer, out: LazyBuffer, g: LazyBuffer, axis: int) -> LazyBuffer:
    """That sum, by logarithms: of the positive and of the negative g. NaN where x begins with -inf, as in PyTorch: the
    logarithm of what is left out is the lowest number, not -inf."""
    lowest = -float(g.dtype.max)

    def share(part: LazyBuffer) -> LazyBuffer:
        chosen = g.like(0.0).binary(Op.LT, part)
        logs = chosen.where(chosen.where(part, g.like(1.0)).unary(Op.LOG), g.like(lowest))
        return _sums_from_the_end(logs.binary(Op.SUB, out), axis).binary(Op.ADD, x).unary(Op.EXP)

    return share(g).binary(Op.SUB, share(g.unary(Op.NEG)))


def _log_shares_so_far(x: LazyBuffer, out: LazyBuffer, t: LazyBuffer, axis: int) -> LazyBuffer:
    """The sum over k <= j of t[k] exp(x[k] - out[j]), in the same way: how fast the logarithms change. NaN in all of a
    row in which x is NaN, as in PyTorch."""
    x = x.binary(Op.EQ, x).reduce(Op.MIN, (axis,)).expand(x.shape).where(x, x.like(math.nan))
    number = t.binary(Op.EQ, t)

    def share(part: LazyBuffer) -> LazyBuffer:
        chosen = t.like(0.0).binary(Op.LT, part)
        logs = chosen.where(chosen.where(part, t.like(1.0)).unary(Op.LOG), number.where(t.like(-math.inf), t))
        logs = logs.binary(Op.ADD, x)
        summed = apply(_LOGCUMSUMEXP.body.at([logs], (axis,)), [logs])[0]
        return summed.binary(Op.SUB, out).unary(Op.EXP)

    return share(t).binary(Op.SUB, share(t.unary(Op.NEG)))


def _log_shares_gradient(other: str) -> Callable[..., Any]:
    """Both are linear in g, and one is the transpose of the other."""
    def gradient(inputs: Values, outputs: Values, grads: Values, axis: int) -> tuple[LazyBuffer, ...]:
        (x, out, g), made, u = inputs, outputs[0], grads[0]
        back = _of(other, x, out, u, axis)
        of_x, of_out = (u, back) if other == "tangent" else (back, u)
        first, second = (made, g) if other == "tangent" else (g, made)
        return of_x.binary(Op.MUL, first), of_out.binary(Op.MUL, second).unary(Op.NEG), back

    return gradient


_LOG_SHARES = {
    "gradient": Function("logcumsumexp_gradient", _log_shares_from_the_end, "LogcumsumexpBackward0",
                         _log_shares_gradient("tangent")),
    "tangent": Function("logcumsumexp_tangent", _log_shares_so_far, "LogcumsumexpBackward0",
                        _log_shares_gradient("gradient"))}
_LOGCUMSUMEXP: Function = Function("logcumsumexp", _log_sums, "LogcumsumexpBackward0", _log_sums_gradient)


def _running(self: Tensor, dim: int, dtype: DType | None, op: str, function: Function) -> Tensor:
    axis = dim_index(dim, len(self._shape()))
    dtype = dtype or (self.dtype if self.dtype.kind in "fc" else int64)
    if dtype is bool_ and self._shape() and self.numel():
        raise NotImplementedError(f"\"{function.body.name}_out_cpu\" not implemented for 'Bool'")
    require_tracked(self, dtype)
    return function((self,), (op, axis, dtype))


def _running_in_place(plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place twin of a running sum or product: it is computed in self's dtype, that of integers too."""
    changed = in_place(plain)

    @like(plain)
    def in_own_dtype(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
        if dtype is not None and dtype is not self.dtype:
            raise RuntimeError(f"Bad in-place call: input tensor dtype {c_name(self.dtype)} and output tensor dtype "
                               f"{c_name(dtype)} should match")
        return changed(self, dim, dtype=self.dtype)

    return as_twin(in_own_dtype, plain)


_DIST = tensor_function("dist", "DistBackward0", lambda a, b, p: (a - b).norm(p))


class Exponential:
    """Softmax and its logarithm, norms, running sums and products along dimensions."""

    __slots__ = ()

    @both("softmax")
    def softmax(self: Tensor, dim: int, dtype: DType | None = None, _stacklevel: int = 3) -> Tensor:
        """exp(self) / sum(exp(self)) along ``dim``.

        >>> import minigrad
        >>> minigrad.tensor([0.0, 0.0]).softmax(0)
        tensor([0.5000, 0.5000])
        """
        self, = operands_of("softmax", self)
        return _SOFTMAX((self,), _along(self, dim, dtype, "softmax"))

    @both("log_softmax")
    def log_softmax(self: Tensor, dim: int, dtype: DType | None = None, _stacklevel: int = 3) -> Tensor:
        """log(softmax(self)) along ``dim``, without overflow."""
        self, = operands_of("log_softmax", self)
        return _LOG_SOFTMAX((self,), _along(self, dim, dtype, "log_softmax"))

    @both("logsumexp")
    def logsumexp(self: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
        """log(sum(exp(self))) over ``dim``, without overflow; -inf where all are -inf."""
        return _LOGSUMEXP((self,), (dim_indices(dim, len(self._shape())), keepdim))

    @both("softmin")
    def softmin(self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
        """softmax(-self)."""
        return (-self).softmax(dim, dtype)

    # --- norms

    @both("norm", out=4)
    def norm(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False,
             dtype: DType | None = None) -> Tensor:
        """(sum |x|^p)^(1/p) over ``dim``; ``"fro"`` is p = 2, infinities give the extrema of |x|, 0 counts nonzeros.
        ``"nuc"`` is the sum of the singular values of the matrices in two dimensions."""
        of_matrices = p == "fro" and isinstance(dim, Sequence) and len(dim) > 2  # there are none: an error
        if dtype is None and self.dtype.kind == "f" and (p is None or p in ("fro", 2)) and not of_matrices:
            return _euclidean(self, () if dim is None else dim, keepdim)
        return _norms().old_norm(self, p, dim, keepdim, dtype)

    @both("dist")
    def dist(self: Tensor, other: Tensor, p: float = 2) -> Tensor:
        """The p-norm of self - other."""
        self, other = operands_of("dist", self, require_tensor(other, "dist", "other", 2))
        return _DIST((self, other), (p,))

    # --- running

    @both("cumsum")
    def cumsum(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
        """The running sum along ``dim``.

        >>> import minigrad
        >>> minigrad.tensor([1, 2, 3]).cumsum(0)
        tensor([1, 3, 6])
        """
        return _running(operands_of("cumsum", self)[0], dim, dtype, Op.SUM, _CUMSUM)

    cumsum_ = _running_in_place(cumsum)

    @both("cumprod")
    def cumprod(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
        """The running product along ``dim``."""
        return _running(operands_of("cumprod", self)[0], dim, dtype, Op.PROD, _CUMPROD)

    cumprod_ = _running_in_place(cumprod)

    @both("logcumsumexp")
    def logcumsumexp(self: Tensor, dim: int) -> Tensor:
        """log of the running sum of exp(self) along ``dim``, without overflow.

        >>> import minigrad
        >>> minigrad.tensor([-200.0, 0.0, 0.0]).logcumsumexp(0)
        tensor([-200.0000,    0.0000,    0.6931])
        """
        if self.dtype.kind not in "fc":
            raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{type_name(self.dtype)}'")
        axis = dim_index(dim, len(self._shape()))
        return _LOGCUMSUMEXP((self,), (axis,))
