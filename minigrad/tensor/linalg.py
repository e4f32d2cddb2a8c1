"""Stage: front. In: vectors, matrices, batches of them. Out: their products. A product is written as a broadcast
multiplication and a sum, which the scheduler recognises as a contraction; half types accumulate in float32.
Next: ``einsum.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from minigrad import lazily
from minigrad.dtype import accumulator, bool_, int8, int32, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import become, both, function
from minigrad.tensor.function import Function
from minigrad.tensor.operands import broadcast_shapes, dim_index, not_for, one_device, require_tensor
from minigrad.tensor.promotion import c_name, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def product(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """(…, M, K) times (…, K, N) with equal leading sizes: the sum over k of a[…, m, k] * b[…, k, n]."""
    *batch, m, k = a.shape
    n = b.shape[-1]
    wide = accumulator(a.dtype)
    dtype = a.dtype
    shape = (*batch, m, k, n)
    x = a.cast(wide).reshape((*batch, m, k, 1)).expand(shape)
    y = b.cast(wide).reshape((*batch, 1, k, n)).expand(shape)
    return x.binary(Op.MUL, y).reduce(Op.SUM, (len(batch) + 1,)).reshape((*batch, m, n)).cast(dtype)


Shape = tuple[int, ...]


def _operands(a: Tensor, b: Any, name: str, argument: str = "other") -> tuple[Shape, Shape]:
    require_tensor(b, name, argument, 2)
    la, lb = a._pending(), b._pending()
    if la.device != lb.device:
        one_device((la, lb))
    return a._shape(), b._shape()


def _check_types(la: Tensor | LazyBuffer, lb: Tensor | LazyBuffer, name: str = "mat") -> None:
    if la.dtype is not lb.dtype and not (name == "bmm" and la.dtype is bool_):
        if name == "mat":
            raise RuntimeError("expected m1 and m2 to have the same dtype, but got: "
                               f"{c_name(la.dtype)} != {c_name(lb.dtype)}")
        if name == "dot":
            raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {type_name(la.dtype)} and "
                               f"{type_name(lb.dtype)}")
        if name == "mv":
            matrix, vector = type_name(la.dtype), type_name(lb.dtype)
            raise RuntimeError(f"addmv input tensors must have the same dtype, but got {vector}, {matrix}, and "
                               f"{vector}")
        raise RuntimeError(f"expected scalar type {type_name(la.dtype)} but found {type_name(lb.dtype)}")
    if la.dtype is bool_ and (name == "dot" or (0 not in la.shape and 0 not in lb.shape)):
        kernel = {"mat": "addmm_impl_cpu_", "mv": "addmv_impl_cpu"}.get(name, name)
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def _mm(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """Matrices, or on the left a batch of them as one tall matrix. It checks them itself: once for each pair of types
    and shapes, not at each call."""
    one_device((a, b))
    _check_inner((prod(a.shape[:-1]), a.shape[-1]), b.shape)
    _check_types(a, b)
    rows = a.reshape((prod(a.shape[:-1]), a.shape[-1]))
    return product(rows, b).reshape((*a.shape[:-1], b.shape[-1]))


def _mv(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    return product(a.reshape((prod(a.shape[:-1]), a.shape[-1])), b.reshape((b.shape[0], 1))).reshape(a.shape[:-1])


def _vm(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    *batch, k, n = b.shape
    return product(a.reshape((*[1] * len(batch), 1, k)).expand((*batch, 1, k)), b).reshape((*batch, n))


def _bmm(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return product(a.expand((*batch, *a.shape[-2:])), b.expand((*batch, *b.shape[-2:])))


def _dot(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    wide = accumulator(a.dtype)
    return a.cast(wide).binary(Op.MUL, b.cast(wide)).reduce(Op.SUM, (0,)).reshape(()).cast(a.dtype)


_MM, _FOLDED_MM = Function("mm", _mm, "MmBackward0"), Function("matmul", _mm, "UnsafeViewBackward0")
_MV, _FOLDED_MV = Function("mv", _mv, "MvBackward0"), Function("matmul", _mv, "UnsafeViewBackward0")
_BMM, _FOLDED_BMM = Function("bmm", _bmm, "BmmBackward0"), Function("matmul", _bmm, "UnsafeViewBackward0")
_VM, _DOT = Function("matmul", _vm, "SqueezeBackward4", keeps=((1,), (0,))), Function("dot", _dot, "DotBackward0")


def _check_inner(a: Sequence[int], b: Sequence[int]) -> None:
    if a[1] != b[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a[0]}x{a[1]} and {b[0]}x{b[1]})")


def _check_batch(self: Tensor, other: Tensor, batch: Shape, a: Shape, b: Shape) -> None:
    if a[-1] != b[-2]:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{prod(batch)}, {a[-1]}] "
                           f"but got: [{prod(batch)}, {b[-2]}].")
    if 0 not in (*batch, *a, *b):  # without elements PyTorch's kernel does not run, and does not look at dtypes
        _check_types(self, other, "bmm")


def _product(self: Tensor, other: Tensor) -> Tensor:
    """``self @ other``."""
    if isinstance(other, AnyTensor) and len(self._shape()) == 2 == len(other._shape()):
        return _MM.first((self, other))
    a, b = _operands(self, other, "matmul")
    self, other = operands_of("matmul", self, other)
    if not a or not b:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D")
    if len(a) == 1 and len(b) == 1:
        return self.dot(other)
    if len(b) == 1:
        return _times_vector(self, other, a, b)
    if len(a) == 1:
        return _vector_times(self, other, a, b)
    if len(b) == 2:
        return _FOLDED_MM((self, other))
    return _batched(self, other, a, b)


def _times_vector(self: Tensor, other: Tensor, a: Shape, b: Shape) -> Tensor:
    *batch, m, k = a
    if k != b[0]:
        raise RuntimeError(f"size mismatch, got input ({prod(batch) * m}), mat ({prod(batch) * m}x{k}), vec ({b[0]})")
    _check_types(self, other, "mv")
    return (_FOLDED_MV if batch else _MV)((self, other))


def _vector_times(self: Tensor, other: Tensor, a: Shape, b: Shape) -> Tensor:
    if len(b) == 2:
        _check_inner((1, *a), b)
        _check_types(self, other)
    else:
        _check_batch(self, other, b[:-2], (1, *a), b)
    return _VM((self, other))


def _batched(self: Tensor, other: Tensor, a: Shape, b: Shape) -> Tensor:
    batch = broadcast_shapes(a[:-2], b[:-2])
    _check_batch(self, other, batch, a, b)
    if self.dtype is not other.dtype:  # there are no elements
        self = self.to(other.dtype)
    return (_BMM if len(batch) == 1 else _FOLDED_BMM)((self, other))


def lapack(name: str) -> Any:
    """A module of ``lapack/``, or ``fourier``, which uses it, by name: they are imported when one of their functions is
    first called."""
    return lazily.module(f"minigrad.tensor.{name}" if name == "fourier" else f"minigrad.tensor.lapack.{name}")


class LinearAlgebra:
    """Products of vectors, matrices and batches of them."""

    __slots__ = ()

    def __matmul__(self: Tensor, other: Any) -> Tensor:
        return _product(self, other) if isinstance(other, AnyTensor) else NotImplemented

    def __rmatmul__(self: Tensor, other: Any) -> Tensor:
        return _product(other, self) if isinstance(other, AnyTensor) else NotImplemented

    @both("matmul")
    def matmul(self: Tensor, other: Tensor) -> Tensor:
        """The matrix product of every rank PyTorch allows: vectors are rows on the left and columns on the right,
        leading dimensions are a batch and broadcast.

        Raises ``RuntimeError`` for sizes that don't fit, numbers, and dtypes that differ.

        >>> import minigrad
        >>> minigrad.tensor([[1, 2], [3, 4]]) @ minigrad.tensor([1, 1])
        tensor([3, 7])
        """
        return _product(self, other)

    @both("mm")
    def mm(self: Tensor, mat2: Tensor) -> Tensor:
        """The product of two matrices of one dtype, (m, k) and (k, n): (m, n).

        ``RuntimeError`` for other than matrices, sizes that do not fit, and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.mm.html

        >>> import minigrad
        >>> minigrad.ones(2, 3).mm(minigrad.ones(3, 2))
        tensor([[3., 3.],
                [3., 3.]])
        """
        a, b = _operands(self, mat2, "mm", "mat2")
        if len(a) != 2:
            raise RuntimeError("self must be a matrix")
        if len(b) != 2:
            raise RuntimeError("mat2 must be a matrix")
        return _MM((self, mat2))

    @both("bmm")
    def bmm(self: Tensor, mat2: Tensor) -> Tensor:
        """The products of two batches of matrices of one dtype, (b, m, k) and (b, k, n): (b, m, n).

        ``RuntimeError`` for other than three dimensions, sizes that do not fit, and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.bmm.html

        >>> import minigrad
        >>> minigrad.ones(1, 2, 3).bmm(minigrad.ones(1, 3, 2))
        tensor([[[3., 3.],
                 [3., 3.]]])
        """
        a, b = _operands(self, mat2, "bmm", "mat2")
        for name, shape in (("batch1", a), ("batch2", b)):
            if len(shape) != 3:
                raise RuntimeError(f"{name} must be a 3D tensor")
        if a[0] != b[0] or a[2] != b[1]:
            raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, "
                               f"{a[2]}] but got: [{b[0]}, {b[1]}].")
        self, mat2 = operands_of("bmm", self, mat2)
        return _batched(self, mat2, a, b)

    @both("mv")
    def mv(self: Tensor, vec: Tensor) -> Tensor:
        """A matrix, (m, n), times a vector of its dtype, (n,): (m,).

        ``RuntimeError`` for other shapes and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.mv.html

        >>> import minigrad
        >>> minigrad.ones(2, 3).mv(minigrad.ones(3))
        tensor([3., 3.])
        """
        a, b = _operands(self, vec, "mv", "vec")
        if not a:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        if len(a) != 2 or len(b) != 1:
            raise RuntimeError(f"vector + matrix @ vector expected, got 1, {len(a)}, {len(b)}")
        return _times_vector(self, vec, a, b)

    @both("dot", "inner_product")
    def dot(self: Tensor, tensor: Tensor) -> Tensor:
        """Σ self[i] tensor[i] of two vectors of one size and dtype: 0-d.

        ``RuntimeError`` for other than vectors, different sizes and dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.dot.html

        >>> import minigrad
        >>> minigrad.ones(3).dot(minigrad.ones(3))
        tensor(3.)
        """
        a, b = _operands(self, tensor, "dot", "tensor")
        if len(a) != 1 or len(b) != 1:
            raise RuntimeError(f"1D tensors expected, but got {len(a)}D and {len(b)}D tensors")
        if a != b and self.dtype is tensor.dtype:
            raise RuntimeError(f"inconsistent tensor size, expected tensor {list(a)} and src {list(b)} to "
                               f"have the same number of elements, but got {a[0]} and {b[0]} elements "
                               "respectively")
        _check_types(self, tensor, "dot")
        return _DOT((self, tensor))

    inner_product = dot

    @both("vdot")
    def vdot(self: Tensor, other: Tensor) -> Tensor:
        """Σ conj(self[i]) other[i] of two vectors of one size and dtype: 0-d.

        ``RuntimeError`` as for ``dot``. Source: https://docs.pytorch.org/docs/stable/generated/torch.vdot.html

        >>> import minigrad
        >>> minigrad.ones(3).vdot(minigrad.ones(3))
        tensor(3.)
        """
        return self.conj().dot(other)

    @both("inner")
    def inner(self: Tensor, other: Tensor) -> Tensor:
        """The sum of products over the last dimension of both, (*, n) and (+, n): (*, +).
        A 0-d Tensor multiplies the other.

        ``RuntimeError`` for different sizes of it and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.inner.html

        >>> import minigrad
        >>> minigrad.ones(2, 3).inner(minigrad.ones(3))
        tensor([3., 3.])
        """
        require_tensor(other, "inner", "other", 2)
        if not self.ndim or not other.ndim:
            return self * other
        if self._shape()[-1] != other._shape()[-1]:
            raise RuntimeError("inner() the last dimension must match on both input tensors but got shapes "
                               f"{list(self._shape())} and {list(other._shape())}")
        if self.dtype is not other.dtype:
            raise RuntimeError("both inputs should have same dtype")
        if self.ndim == other.ndim == 1:
            return self.dot(other)
        return self.tensordot(other, ([-1], [-1]))

    @both("outer", "ger")
    def outer(self: Tensor, vec2: Tensor) -> Tensor:
        """out[i, j] = self[i] vec2[j] of two vectors, (m,) and (n,), in the type they promote to: (m, n).

        ``RuntimeError`` for other than vectors. Source: https://docs.pytorch.org/docs/stable/generated/torch.outer.html

        >>> import minigrad
        >>> minigrad.tensor([1, 2]).outer(minigrad.tensor([1, 3]))
        tensor([[1, 3],
                [2, 6]])
        """
        for name, vector in (("self", self), ("vec2", vec2)):
            if vector.ndim != 1:
                raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {vector.ndim}-D")
        return self.unsqueeze(1) * vec2

    ger = outer

    # --- more dimensions

    @both("tensordot", keywords={"a": "input", "b": "other"}, out=3)
    def tensordot(self: Tensor, other: Tensor, dims: Any = 2) -> Tensor:
        """The sum of products over pairs of dimensions: the ``dims`` last of self and first of other, or those in two
        lists, in order; what is left of both are the dimensions of the result.

        ``RuntimeError`` for pairs of different sizes, for lists of different lengths or that name a dimension twice,
        and for different dtypes; ``IndexError`` for dimensions that a Tensor does not have. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.tensordot.html

        >>> import minigrad
        >>> minigrad.ones(2, 3).tensordot(minigrad.ones(3, 2), 1)
        tensor([[3., 3.],
                [3., 3.]])
        """
        if isinstance(dims, int):
            if dims < 0:
                raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
            if dims > min(self.ndim, other.ndim):
                raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
            dims = (range(-dims, 0), range(dims))
        given = [[ds] if isinstance(ds, int) else list(ds) for ds in dims]
        if len(given[0]) != len(given[1]):
            raise RuntimeError("both dimension lists should have same length")
        if self.dtype is not other.dtype:
            raise RuntimeError("both inputs should have same dtype")
        first, second, mine, theirs = self, other, [], []
        for d, e in zip(*given, strict=True):
            a, b = first.size(d), second.size(e)
            mine.append(dim_index(d, self.ndim))
            theirs.append(dim_index(e, other.ndim))
            if b == 1:  # it stands for every element of the other dimension
                self = self.sum(d, keepdim=True, dtype=self.dtype) if a != 1 else self
            elif a == 1:
                other = other.sum(e, keepdim=True, dtype=other.dtype)
            elif a != b:
                raise RuntimeError(f"contracted dimensions need to match, but first has size {a} in dim {d} and second "
                                   f"has size {b} in dim {e}")
        for named in (mine, theirs):
            for d in named:
                if named.count(d) > 1:
                    raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        free_a = [d for d in range(self.ndim) if d not in mine]
        free_b = [d for d in range(other.ndim) if d not in theirs]
        shape = [self._shape()[d] for d in free_a] + [other._shape()[d] for d in free_b]
        k = prod([self._shape()[d] for d in mine])
        left = self.permute(*free_a, *mine).reshape(prod([self._shape()[d] for d in free_a]), k)
        right = other.permute(*theirs, *free_b).reshape(k, prod([other._shape()[d] for d in free_b]))
        if prod(shape) == 1:
            not_for("b", self.dtype, "dot")
        return left.mm(right).reshape(shape)

    @both("trace")
    def trace(self: Tensor) -> Tensor:
        """The sum of the diagonal of a matrix, (m, n), of any dtype but bool: 0-d, int64 for integers.

        ``RuntimeError`` for other than a matrix, ``NotImplementedError`` for bools. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.trace.html

        >>> import minigrad
        >>> minigrad.tensor([[1, 2], [3, 4]]).trace()
        tensor(5)
        """
        if self.ndim != 2:
            raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {self.ndim}")
        if self.dtype is bool_:
            raise NotImplementedError("\"trace\" not implemented for 'Bool'")
        self, = operands_of("trace", self)
        return self.diagonal().sum()

    @both("kron")
    def kron(self: Tensor, other: Tensor) -> Tensor:
        """Each element of self times all of other, laid out as blocks, in the type they promote to: size i of the
        result is the product of both sizes i, counted from the last.

        There is a gradient for both. Source: https://docs.pytorch.org/docs/stable/generated/torch.kron.html

        >>> import minigrad
        >>> minigrad.tensor([1, 2]).kron(minigrad.tensor([1, 10]))
        tensor([ 1, 10,  2, 20])
        """
        dims = max(self.ndim, other.ndim)
        a, b = [t.reshape((1,) * (dims - t.ndim) + t._shape()) for t in (self, other)]
        pairs = a.reshape([n for s in a._shape() for n in (s, 1)]) * b.reshape([n for s in b._shape() for n in (1, s)])
        return become(pairs, pairs.reshape([m * n for m, n in zip(a._shape(), b._shape(), strict=True)]))

    @both("cross")
    def cross(self: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
        """``linalg.cross``: the vector product along a dimension of size 3, by default the first such; the others are
        broadcast.

        ``RuntimeError`` if there is none, and for different numbers of dimensions and dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.cross.html

        >>> import minigrad
        >>> minigrad.tensor([1.0, 0.0, 0.0]).cross(minigrad.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
        """
        if dim is None:
            found = [i for i, s in enumerate(self._shape()) if s == 3]
            if not found:
                raise RuntimeError("no dimension of size 3 in input")
            dim = found[0]
        return lapack("products").cross(self, other, dim=dim)


@function("_int_mm")
def int_mm(self: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices of bytes, ``self`` (m, k) of int8 or uint8 and ``mat2`` (k, n) of int8, in
    int32: (m, n). It is ``self.int() @ mat2.int()``, which is computed as fast.

    ``RuntimeError`` for other than matrices, sizes that do not fit, and other dtypes. Source: PyTorch's
    ``aten/src/ATen/native/LinearAlgebra.cpp``.

    >>> import minigrad
    >>> minigrad._int_mm(minigrad.tensor([[100, 100]], dtype=minigrad.int8), minigrad.tensor([[100], [-3]]).char())
    tensor([[9700]], dtype=minigrad.int32)
    """
    a, b = _operands(self, mat2, "_int_mm", "mat2")
    for name, shape in (("self", a), ("mat2", b)):
        if len(shape) != 2:
            raise RuntimeError(f"int_mm_out_cpu: Expected {name} to be of dimension 2 but got {len(shape)}")
    if a[1] != b[0]:
        raise RuntimeError(f"int_mm_out_cpu: self.size(1) needs to match mat2.size(0) but got {a[1]} and {b[0]}")
    if self.dtype not in (int8, uint8):
        raise RuntimeError(f"int_mm_out_cpu: Expected self dtype to be int8 or uint8 but got {c_name(self.dtype)}")
    if mat2.dtype is not int8:
        raise RuntimeError(f"int_mm_out_cpu: Expected mat2 dtype to be of type int8 but got {c_name(mat2.dtype)}")
    return self.to(int32).mm(mat2.to(int32))
