"""Stage: front. In: a Tensor, and matrices or vectors. Out: beta * the Tensor + alpha * a product of the others,
recorded as one op, which half types round once: ``addmm``, ``addmv``, ``addr``, ``baddbmm``, ``addbmm``.
Next: ``convolution.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, accumulator, bool_
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.inplace import check_expands
from minigrad.tensor.linalg import product
from minigrad.tensor.operands import fit, in_parts, of_parts, one_device, require_tensor, result_dtype
from minigrad.tensor.operators import is_one
from minigrad.tensor.promotion import c_name, can_cast, number, stored, type_name, with_number

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Shape = tuple[int, ...]


def _multiplied(name: str, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """The product that the op called ``name`` adds."""
    if name == "addr":
        shape = (*a.shape, *b.shape)
        x, y = a.reshape((*a.shape, 1)).expand(shape), b.expand(shape)
        return x.binary(Op.AND if a.dtype is bool_ else Op.MUL, y)
    if name == "addmv":
        return product(a, b.reshape((*b.shape, 1))).reshape(a.shape[:1])
    made = product(a, b)
    return made.reduce(Op.SUM, (0,)).reshape(made.shape[1:]) if name == "addbmm" else made


def _added(*given: Any) -> LazyBuffer:
    """beta * input + alpha * a·b; of a factor 1 there is no number, and beta 0 leaves the input out, NaN and all."""
    input, a, b, *numbers, name, dtype, beta, alpha = given
    wide = accumulator(dtype)
    made = _multiplied(name, a.cast(dtype).cast(wide), b.cast(dtype).cast(wide))
    times, plus = (Op.AND, Op.OR) if dtype is bool_ else (Op.MUL, Op.ADD)
    size = 2 if dtype.kind == "c" else 1
    factors = iter([of_parts(numbers[i:i + size]).copy_to(made.device).expand(made.shape)
                    for i in range(0, len(numbers), size)])
    old = None
    if beta != "0":
        old = fit(fit(input, dtype, made.shape), wide, made.shape)
        if beta == "number":
            old = old.binary(times, next(factors))
    if alpha == "number":
        made = made.binary(times, next(factors))
    return (made if old is None else old.binary(plus, made)).cast(dtype)


_OPS = {name: Function(name, _added, f"{name.capitalize()}Backward0")
        for name in ("addmm", "addmv", "addr", "baddbmm", "addbmm")}


def _record(name: str, input: Tensor, a: Tensor, b: Tensor, shape: Shape, beta: Any, alpha: Any) -> Tensor:
    check_expands(input._shape(), shape)
    one_device([t._pending() for t in (input, a, b)])
    dtype = result_dtype((input, a, b)) if name == "addr" else a.dtype
    if 0 in a._shape() or 0 in b._shape():
        alpha = 1
        if name != "addmv" and name != "addr":
            beta = _scale_alone(name, a, shape, beta)
    static, numbers, wide = [], [], accumulator(dtype)
    scaling = dtype if dtype.kind in "iu" else wide  # what PyTorch's kernels take factors of matrices as
    for which, factor in (("beta", beta), ("alpha", alpha)):
        factor = factor.item() if isinstance(factor, AnyTensor) else factor
        if name == "addr":
            _check_factor(which, factor, dtype)
        if which == "beta" and factor == 0:
            static.append("0")
        elif is_one(factor):
            static.append("1")
        else:
            stored(factor, dtype if name in ("addmv", "addr") else scaling)  # it must fit
            static.append("number")
            numbers += in_parts(number(factor, wide), wide)
    return _OPS[name]((input, a, b), (name, dtype, *static), numbers)


def _scale_alone(name: str, a: Tensor, shape: Shape, beta: Any) -> Any:
    """The factor of the input where nothing is multiplied: the result is their product, into whose type beta must fit.
    ``addbmm`` adds a product after the other to the sum, which has no factor but 1 from the second on."""
    factor = beta.item() if isinstance(beta, AnyTensor) else beta
    if 0 in shape:
        return 1
    factors = [factor] if factor != 0 else []
    if name == "addbmm" and a._shape()[0] > 1:
        factors.append(1)
    for each in factors:
        scaled = with_number(a.dtype, each)
        if not can_cast(scaled, a.dtype):
            raise RuntimeError(f"result type {type_name(scaled)} can't be cast to the desired output type "
                               f"{type_name(a.dtype)}")
    return factor


def _check_factor(which: str, factor: Any, dtype: DType) -> None:
    """``RuntimeError`` for a float, or a complex number, that scales integers or bools, and for a bool that scales
    numbers."""
    if isinstance(factor, float | complex) and dtype.kind not in "fc":
        raise RuntimeError(f"For integral input tensors, argument {which} must not be a floating point number.")
    if isinstance(factor, bool) and dtype is not bool_:
        raise RuntimeError(f"Boolean {which} only supported for Boolean results.")


def _check_dims(name: str, tensors: dict[str, tuple[Tensor, int]]) -> None:
    for position, (argument, (tensor, dims)) in enumerate(tensors.items(), 2):
        require_tensor(tensor, name, argument, position)
        if tensor.ndim != dims:
            raise RuntimeError(_DIMS[name].format(argument=argument, got=tensor.ndim))


_DIMS = {
    "addmm": "{argument} must be a matrix, got {got}-D tensor",
    "addr": "addr: Expected 1-D argument {argument}, but got {got}-D",
    "baddbmm": "{argument} must be a 3D tensor",
    "addbmm": "{argument} must be a 3D tensor",
}


def _check_bool(kernel: str, a: Tensor, b: Tensor) -> None:
    """Bools have no products, but for those of no elements, which PyTorch does not look at."""
    if a.dtype is bool_ and 0 not in a._shape() and 0 not in b._shape():
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def _check_types(input: Tensor, a: Tensor, b: Tensor) -> None:
    if input.dtype is not b.dtype:
        raise RuntimeError(f"self and mat2 must have the same dtype, but got {type_name(input.dtype)} and "
                           f"{type_name(b.dtype)}")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {type_name(a.dtype)} and "
                           f"{type_name(b.dtype)}")
    _check_bool("addmm_impl_cpu_", a, b)


class Added:
    """Sums of a Tensor and a product."""

    __slots__ = ()

    @both("addmm")
    def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """beta * self + alpha * mat1 @ mat2. Without beta (0), self counts for nothing, whatever it holds.

        ``RuntimeError`` for other than matrices, shapes that do not fit, and different dtypes. Of integers, beta and
        alpha are cut to integers. Source: https://docs.pytorch.org/docs/stable/generated/torch.addmm.html

        >>> import minigrad
        >>> minigrad.addmm(minigrad.ones(1), minigrad.eye(2), minigrad.eye(2), alpha=2)
        tensor([[3., 1.],
                [1., 3.]])
        """
        _check_dims("addmm", {"mat1": (mat1, 2), "mat2": (mat2, 2)})
        self, mat1, mat2 = operands_of("addmm", self, mat1, mat2)
        (m, k), (rows, n) = mat1._shape(), mat2._shape()
        if k != rows:
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {rows}x{n})")
        _check_types(self, mat1, mat2)
        return _record("addmm", self, mat1, mat2, (m, n), beta, alpha)

    addmm_ = in_place(addmm)

    @both("addmv")
    def addmv(self: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """beta * self + alpha * mat @ vec: self is (m,), or broadcast to it, mat (m, n), vec (n,), of one dtype.
        Without beta (0), self counts for nothing.

        ``RuntimeError`` as for ``addmm``. Source: https://docs.pytorch.org/docs/stable/generated/torch.addmv.html

        >>> import minigrad
        >>> minigrad.addmv(minigrad.ones(2), minigrad.ones(2, 3), minigrad.ones(3))
        tensor([4., 4.])
        """
        require_tensor(vec, "addmv", "vec", 3)
        if mat.ndim != 2 or vec.ndim != 1 or self.ndim > 1:
            raise RuntimeError(f"vector + matrix @ vector expected, got {self.ndim}, {mat.ndim}, {vec.ndim}")
        self, mat, vec = operands_of("addmv", self, mat, vec)
        m, k = mat._shape()
        if k != vec._shape()[0] or self.numel() not in (1, m):
            raise RuntimeError(f"size mismatch, got input ({self.numel()}), mat ({m}x{k}), vec ({vec._shape()[0]})")
        if not self.dtype is mat.dtype is vec.dtype:
            names = [type_name(t.dtype) for t in (self, mat, vec)]
            raise RuntimeError(f"addmv input tensors must have the same dtype, but got {names[0]}, {names[1]}, and "
                               f"{names[2]}")
        _check_bool("addmv_impl_cpu", mat, vec)
        return _record("addmv", self, mat, vec, (m,), beta, alpha)

    addmv_ = in_place(addmv)

    @both("addr")
    def addr(self: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """beta * self + alpha * outer(vec1, vec2), in the type of all three: (m, n) of (m,) and (n,); of bools, beta
        and self or alpha and vec1 and vec2.

        ``RuntimeError`` for other than vectors. Source: https://docs.pytorch.org/docs/stable/generated/torch.addr.html

        >>> import minigrad
        >>> minigrad.addr(minigrad.zeros(2, 2), minigrad.ones(2), minigrad.ones(2))
        tensor([[1., 1.],
                [1., 1.]])
        """
        _check_dims("addr", {"vec1": (vec1, 1), "vec2": (vec2, 1)})
        self, vec1, vec2 = operands_of("addr", self, vec1, vec2)
        return _record("addr", self, vec1, vec2, (*vec1._shape(), *vec2._shape()), beta, alpha)

    addr_ = in_place(addr)

    @both("baddbmm")
    def baddbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """beta * self + alpha * batch1 @ batch2: self is broadcast to (b, m, n), batch1 (b, m, k), batch2 (b, k, n), of
        one dtype. Without beta (0), self counts for nothing.

        ``RuntimeError`` as for ``addmm``. Source: https://docs.pytorch.org/docs/stable/generated/torch.baddbmm.html

        >>> import minigrad
        >>> minigrad.baddbmm(minigrad.ones(1), minigrad.ones(1, 2, 3), minigrad.ones(1, 3, 2))
        tensor([[[4., 4.],
                 [4., 4.]]])
        """
        _check_dims("baddbmm", {"batch1": (batch1, 3), "batch2": (batch2, 3)})
        self, batch1, batch2 = operands_of("baddbmm", self, batch1, batch2)
        (size, m, k), (other, rows, n) = batch1._shape(), batch2._shape()
        if (size, k) != (other, rows):
            raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{size}, {k}] but got: "
                               f"[{other}, {rows}].")
        if not self.dtype is batch1.dtype is batch2.dtype:
            names = [c_name(t.dtype) for t in (self, batch1, batch2)]
            raise RuntimeError(f"Input dtypes must be the same, got: input {names[0]}, batch1: {names[1]}, batch2: "
                               f"{names[2]}")
        _check_bool("baddbmm", batch1, batch2)
        return _record("baddbmm", self, batch1, batch2, (size, m, n), beta, alpha)

    baddbmm_ = in_place(baddbmm)

    @both("addbmm")
    def addbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """beta * self + alpha * the sum over the batch of batch1 @ batch2: self is broadcast to (m, n), batch1 (b, m,
        k), batch2 (b, k, n), of one dtype. Without beta (0), self counts for nothing.

        ``RuntimeError`` as for ``addmm``. Source: https://docs.pytorch.org/docs/stable/generated/torch.addbmm.html

        >>> import minigrad
        >>> minigrad.addbmm(minigrad.ones(1), minigrad.ones(2, 2, 3), minigrad.ones(2, 3, 2))
        tensor([[7., 7.],
                [7., 7.]])
        """
        _check_dims("addbmm", {"batch1": (batch1, 3), "batch2": (batch2, 3)})
        self, batch1, batch2 = operands_of("addbmm", self, batch1, batch2)
        (size, m, k), (other, rows, n) = batch1._shape(), batch2._shape()
        if size != other:
            raise RuntimeError(f"batch1 and batch2 must have same number of batches, got {size} and {other}")
        if k != rows:
            raise RuntimeError(f"Incompatible matrix sizes for bmm ({m}x{k} and {rows}x{n})")
        _check_types(self, batch1, batch2)
        return _record("addbmm", self, batch1, batch2, (m, n), beta, alpha)

    addbmm_ = in_place(addbmm)
