"""Stage: front. In: samples of a function along a dimension. Out: their differences, slopes and integrals.
Next: ``statistics.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import bool_
from minigrad.ops import Op
from minigrad.tensor.arguments import no_overload
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import both, function
from minigrad.tensor.joining import cat
from minigrad.tensor.operands import dim_index
from minigrad.tensor.operators import Division, Wide

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _part(x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    """The elements from begin to end, counted from the end if negative or 0; none where there are too few."""
    size = x.shape[axis]
    begin = min(begin, size)
    return x.narrow(axis, begin, max((end if end > 0 else size + end) - begin, 0))


# --- slopes


def _spacings(spacing: Any, dims: Sequence[int], name: str) -> list[Any]:
    """For each dimension a number, or a vector of coordinates."""
    if spacing is None:
        spacing = 1
    if not isinstance(spacing, tuple | list):
        return [spacing] * len(dims)
    if len(spacing) != len(dims):
        raise RuntimeError(f"{name} expected spacing to be unspecified, a scalar or it's spacing and dim arguments to "
                           f"have the same length, but got a spacing argument of length {len(spacing)} and a dim "
                           f"argument of length {len(dims)}.")
    return list(spacing)


def _slope(x: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    """Second order inside: with steps h before and H after, f' = (h² f(x+H) + (H² - h²) f(x) - H² f(x-h)) /
    (h H (h + H)), of which equal steps leave (f(x+h) - f(x-h)) / 2h; first or second order at the edges."""
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    uneven = isinstance(spacing, AnyTensor) and spacing.ndim > 0
    steps = spacing[1:] - spacing[:-1] if uneven else (x.new_ones(1) * spacing).expand(x.shape[axis] - 1)
    steps = steps.reshape(shape)
    rise = (_part(x, axis, 1, 0) - _part(x, axis, 0, -1)) / steps
    before, after = _part(steps, axis, 0, -1), _part(steps, axis, 1, 0)
    if uneven:
        inside = (_part(rise, axis, 0, -1) * after + _part(rise, axis, 1, 0) * before) / (before + after)
    else:  # f(x) does not count, whatever it is
        inside = (_part(x, axis, 2, 0) - _part(x, axis, 0, -2)) / (before + after)
    first, last = _part(rise, axis, 0, 1), _part(rise, axis, rise.shape[axis] - 1, 0)
    if edge_order == 2:
        n = rise.shape[axis]
        first = first + (first - _part(rise, axis, 1, 2)) * _part(steps, axis, 0, 1) / (
            _part(steps, axis, 0, 1) + _part(steps, axis, 1, 2))
        last = last + (last - _part(rise, axis, n - 2, n - 1)) * _part(steps, axis, n - 1, 0) / (
            _part(steps, axis, n - 1, 0) + _part(steps, axis, n - 2, n - 1))
    return cat([first, inside, last], axis)


@function("gradient")
def gradient(input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The slope of a sampled function along each dimension of ``dim`` (all by default), a Tensor for each.

    ``spacing``: the distance of samples, a number for all dimensions or one for each, or a vector of coordinates for
    each. ``edge_order`` 1 or 2 is the order of accuracy at both ends; inside it is 2. ``RuntimeError`` for fewer than
    edge_order + 1 samples. Source: https://docs.pytorch.org/docs/stable/generated/torch.gradient.html

    >>> import minigrad
    >>> minigrad.gradient(minigrad.tensor([1.0, 4.0, 9.0, 16.0]))
    (tensor([3., 4., 6., 7.]),)
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    given = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = [dim_index(d, input.ndim) for d in given]
    for axis in dims:
        if dims.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        if input.shape[axis] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    if input.dtype is bool_:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead.")
    x = input if input.dtype.kind in "fc" else input.float()
    steps = _spacings(spacing, dims, "torch.gradient")
    return tuple([_slope(x, axis, step, edge_order) for axis, step in zip(dims, steps, strict=True)])


# --- integrals

_HALF, _PRODUCT = Division(Op.DIV, "DivBackward1"), Wide(Op.MUL, "MulBackward1")
"""By a number that is no Tensor: the tape keeps nothing of it."""


def _times(x: Tensor, factor: Any) -> Tensor:
    product: Tensor = x * factor if isinstance(factor, AnyTensor) else _PRODUCT.of(x, factor)
    return product


def _widths(y: Tensor, x: Tensor, axis: int, name: str) -> Tensor:
    """The distances of the points x, to be multiplied with y's means: a vector along the axis, or a Tensor whose own
    dimension ``axis`` counts, as in PyTorch, even if it has more dimensions than y."""
    if x.ndim == 1:
        if x.shape[0] != y.shape[axis]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        x = x.reshape([-1 if i == axis else 1 for i in range(y.ndim)])
    elif x.ndim < y.ndim:
        x = x.reshape((1,) * (y.ndim - x.ndim) + tuple(x.shape))
    return _part(x, axis, 1, 0) - _part(x, axis, 0, -1)


def _check_numbers(name: str, y: Tensor, x: Tensor | None = None) -> None:
    if y.dtype is bool_ or (x is not None and x.dtype is bool_):
        what = "`y`" if x is None else "`x` or `y`"
        raise RuntimeError(f"{name}: received a bool input for {what}, but bool is not supported")


def _heights(y: Tensor, axis: int) -> Tensor:
    """Twice the mean height of each segment."""
    return _part(y, axis, 1, 0) + _part(y, axis, 0, -1)


def _empty(y: Tensor, axis: int) -> Tensor:
    shape = [s for i, s in enumerate(y.shape) if i != axis]
    return y.new_zeros(shape)


def _check_ends(x: Tensor, end: Tensor, axis: int) -> None:
    """``RuntimeError`` unless ``end`` has x's sizes, but for the axis."""
    if end.ndim != x.ndim:
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    for d, (mine, its) in enumerate(zip(x.shape, end.shape, strict=True)):
        if d != axis and mine != its:
            raise RuntimeError("diff expects the shape of tensor to prepend or append to match that of input except "
                               f"along the differencing dimension; input.size({d}) = {mine}, but got tensor.size({d}) "
                               f"= {its}")


class Calculus:
    """Differences and integrals of samples."""

    __slots__ = ()

    @both("diff")
    def diff(self: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
             append: Tensor | None = None) -> Tensor:
        """Each element less the one before along ``dim``, n times over; for bools whether they differ. ``prepend`` and
        ``append`` are put before and after self first.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.diff.html

        >>> import minigrad
        >>> minigrad.tensor([1, 3, 6]).diff()
        tensor([2, 3])
        """
        if not self.ndim:
            raise RuntimeError("diff expects input to be at least one-dimensional")
        axis = dim_index(dim, self.ndim)
        if n < 0:
            raise RuntimeError(f"order must be non-negative but got {n}")
        parts = [p for p in (prepend, self, append) if p is not None]
        for part in parts:
            _check_ends(self, part, axis)
        if n == 0:
            return self.clone()
        x = cat(parts, axis) if len(parts) > 1 else self
        if n >= x.shape[axis]:
            return x.narrow(axis, 0, 0).clone()
        for _ in range(n):
            after, before = _part(x, axis, 1, 0), x.narrow(axis, 0, x.shape[axis] - 1)
            x = after.logical_xor(before) if x.dtype is bool_ else after - before
        return x


def _trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral along ``dim`` by the trapezoidal rule: Σ (y[i] + y[i+1]) / 2 times the distance of the points ``x``,
    or ``dx``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.trapezoid.html

    >>> import minigrad
    >>> minigrad.trapezoid(minigrad.tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    if not y.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    axis = dim_index(dim, y.ndim)
    if y.shape[axis] == 0:
        return _empty(y, axis)
    _check_numbers("trapezoid", y, x)
    if x is not None:
        return _HALF.of((_heights(y, axis) * _widths(y, x, axis, "trapezoid")).sum(axis), 2.0)
    return _times(y.sum(axis) - _times(y.select(axis, 0) + y.select(axis, -1), 0.5), dx)


def _cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """As ``trapezoid``, of the first two samples, the first three, and so on: one element less along ``dim``.

    ``RuntimeError`` for bools, and for a number of points x that is not that of the samples. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.cumulative_trapezoid.html

    >>> import minigrad
    >>> minigrad.cumulative_trapezoid(minigrad.tensor([1.0, 5.0, 10.0]))
    tensor([ 3.0000, 10.5000])
    """
    if not y.ndim:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    axis = dim_index(dim, y.ndim)
    _check_numbers("cumulative_trapezoid", y, x)
    if x is not None:
        return _HALF.of((_heights(y, axis) * _widths(y, x, axis, "cumulative_trapezoid")).cumsum(axis), 2.0)
    return _times(_heights(y, axis), dx / 2.0).cumsum(axis)


def _integral(rule: Any, name: str) -> None:
    """The rule as a function of this name."""

    def integral(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
        if x is not None and dx is not None:
            raise no_overload(name, y, x, dx=dx)
        if isinstance(dx, bool | complex) and name != "trapz":
            raise RuntimeError(f"{name}: Currently, we only support dx as a real number.")
        if isinstance(dx, str | complex):
            raise no_overload(name, y, dx=dx)
        return rule(y, x, dx=1 if dx is None else dx, dim=dim)

    integral.__doc__ = rule.__doc__
    function(name)(integral)


_integral(_trapezoid, "trapezoid")
_integral(_trapezoid, "trapz")
_integral(_cumulative_trapezoid, "cumulative_trapezoid")
