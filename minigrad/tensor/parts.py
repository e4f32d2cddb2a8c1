"""Stage: front. In: a Tensor and where a part of it is. Out: the tensor with another part there, as a new one; a part
as a copy; positions as coordinates.
Next: ``ordering.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.tensor.autocast import operands_of
from minigrad.tensor.creation import full
from minigrad.tensor.definition import also, both, function, in_place
from minigrad.tensor.function import Function, tensor_function
from minigrad.tensor.joining import cat
from minigrad.tensor.operands import dim_index

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _embedding(name: str, view: Callable[..., Tensor]) -> Function:
    """A copy of a tensor after another has been written to a view of it; static arguments are the view's."""

    def embedded(x: Tensor, src: Tensor, *static: Any) -> Tensor:
        copy = x.clone()
        place = view(copy, *static)
        if place.shape != src.shape:
            raise RuntimeError("expected src to have a size equal to the slice of self. src size = "
                               f"{list(src.shape)}, slice size = {list(place.shape)}")
        place.copy_(src)
        return copy

    title = "".join(part.capitalize() for part in name.split("_"))
    return tensor_function(name, f"{title}Backward0", embedded)


_SELECT = _embedding("select_scatter", lambda x, dim, index: x.select(dim, index))
_SLICE = _embedding("slice_scatter", lambda x, axis, start, end, step: x[
    (slice(None),) * axis + (slice(start, end, step),)])
_DIAGONAL = _embedding("diagonal_scatter", lambda x, offset, dim1, dim2: x.diagonal(offset, dim1, dim2))
_STRIDED = _embedding("as_strided_scatter", lambda x, size, stride, offset: x.as_strided(size, stride, offset))


def _split_at(self: Tensor, how: Any, dim: int, least: int, name: str) -> tuple[Tensor, ...]:
    if self.ndim < least:
        raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but "
                           f"got a tensor with {self.ndim} dimensions!")
    if isinstance(how, int) and (how == 0 or self.shape[dim] % how):
        raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension "
                           f"{self.shape[dim]} is not divisible by the split_size {how}!")
    return self.tensor_split(how, dim)


def _indices(name: str, given: tuple[Any, ...], by_name: Any) -> Any:
    """``x.hsplit(1, 3)`` is ``x.hsplit([1, 3])``, and ``x.hsplit(indices=[1, 3])``."""
    how = by_name if by_name is not None else given[0] if len(given) == 1 else given
    if isinstance(how, str | float):
        raise TypeError(f"{name}() received an invalid combination of arguments - got (Tensor, {type(how).__name__}), "
                        "but expected one of:\n * (Tensor input, int sections)\n * (Tensor input, tuple of ints "
                        "indices)")
    return how


@function("unravel_index")
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates, a Tensor for each dimension, of positions in a flat tensor of this shape.

    >>> import minigrad
    >>> minigrad.unravel_index(minigrad.tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    if not indices.dtype.is_int:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if not isinstance(shape, int | tuple | list):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    found, rest = [], indices
    for size in reversed(sizes):
        found.append(rest % size)
        rest = rest // size
    return tuple(reversed(found))


_where_to_split = also(sections="indices_or_sections", indices="indices_or_sections")


def _as_slices(self: Tensor, parts: Sequence[Tensor], dim: int) -> tuple[Tensor, ...]:
    """The parts as views of their own, not several of one call."""
    found, begin = [], 0
    for p in parts:
        found.append(self.narrow(dim, begin, p.size(dim)))
        begin += p.size(dim)
    return tuple(found)


class Parts:
    """Parts of a tensor: replaced in a copy, copied, counted."""

    __slots__ = ()

    @both("select_scatter", real=True)
    def select_scatter(self: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
        """A copy with ``src`` in place of ``self.select(dim, index)``.

        >>> import minigrad
        >>> minigrad.zeros(2, 2).select_scatter(minigrad.ones(2), 0, 1)
        tensor([[0., 0.],
                [1., 1.]])
        """
        return _SELECT((self, src), (dim, index))

    @both("slice_scatter", real=True)
    def slice_scatter(self: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
                      step: int = 1) -> Tensor:
        """A copy with ``src`` in place of the elements start, start + step … below end of ``dim``."""
        return _SLICE((self, src), (dim_index(dim, self.ndim), start, end, step))

    @both("diagonal_scatter")
    def diagonal_scatter(self: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """A copy with ``src`` in place of ``self.diagonal(offset, dim1, dim2)``."""
        return _DIAGONAL((self, src), (offset, dim1, dim2))

    @both("as_strided_scatter")
    def as_strided_scatter(self: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int],
                           storage_offset: int | None = None) -> Tensor:
        """A copy with ``src`` in place of ``self.as_strided(size, stride, storage_offset)``. Where ``src`` stands self
        has no gradient; that of PyTorch 2.13 is wrong there and everywhere else, as its own tests know."""
        return _STRIDED((self, src), (tuple(size), tuple(stride), storage_offset))

    @both("narrow_copy")
    def narrow_copy(self: Tensor, dim: int, start: int, length: int) -> Tensor:
        """A copy of ``self.narrow(dim, start, length)``."""
        if dim >= max(1, self.ndim):
            raise RuntimeError("Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false.")
        if self.ndim and length < 0:
            raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({self.shape[dim]}).")
        return self.narrow(dim, start, length).clone()

    # --- divided along a named dimension

    @both("hsplit")
    @_where_to_split
    def hsplit(self: Tensor, *given: Any, indices_or_sections: Any = None) -> tuple[Tensor, ...]:
        """Divided along dimension 1, vectors along 0: into as many equal parts, or at these indices; views."""
        return _split_at(self, _indices("hsplit", given, indices_or_sections), 0 if self.ndim == 1 else 1, 1, "hsplit")

    @both("vsplit")
    @_where_to_split
    def vsplit(self: Tensor, *given: Any, indices_or_sections: Any = None) -> tuple[Tensor, ...]:
        """Divided along dimension 0: into as many equal parts, or at these indices; views."""
        return _split_at(self, _indices("vsplit", given, indices_or_sections), 0, 2, "vsplit")

    @both("dsplit")
    @_where_to_split
    def dsplit(self: Tensor, *given: Any, indices_or_sections: Any = None) -> tuple[Tensor, ...]:
        """Divided along dimension 2: into as many equal parts, or at these indices; views."""
        return _split_at(self, _indices("dsplit", given, indices_or_sections), 2, 3, "dsplit")

    @both("unsafe_chunk")
    def unsafe_chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """``chunk``, whose parts may be changed in place."""
        return _as_slices(self, self.chunk(chunks, dim), dim)

    @both("unsafe_split")
    def unsafe_split(self: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
        """``split``, whose parts may be changed in place."""
        return _as_slices(self, self.split(split_size, dim), dim)

    @both("unsafe_split_with_sizes")
    def unsafe_split_with_sizes(self: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """``split_with_sizes``, whose parts may be changed in place."""
        return _as_slices(self, self.split(list(split_sizes), dim), dim)

    @both("renorm")
    def renorm(self: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
        """Each part along ``dim`` whose p-norm is over ``maxnorm`` scaled down to it.

        >>> import minigrad
        >>> minigrad.tensor([[3.0, 4.0], [0.3, 0.4]]).renorm(2, 0, 1.0)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
        """
        if p <= 0:
            raise RuntimeError("renorm: non-positive-norm not supported")
        if maxnorm < 0:
            raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
        if self.ndim < 2:
            raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {self.ndim} dimensions")
        axis = dim_index(dim, self.ndim)
        self, = operands_of("renorm", self)
        others = [i for i in range(self.ndim) if i != axis]
        over = self.detach().norm(p, others, keepdim=True) > maxnorm
        norm = self.masked_fill(~over, 0).norm(p, others, keepdim=True)  # the slope of the others' norms is not read
        factor = (maxnorm / (norm + 1e-7)).where(over, norm.new_ones(()))
        return self * factor

    renorm_ = in_place(renorm)

    # --- positions

    @both("nonzero_static")
    def nonzero_static(self: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
        """``nonzero()`` cut, or filled up with ``fill_value``, to so many rows."""
        found = self.nonzero()[:size]
        missing = size - found.shape[0]
        if not missing:
            return found
        return cat([found, full((missing, self.ndim), fill_value, dtype=found.dtype, device=self.device)])
