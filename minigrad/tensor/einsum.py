"""Stage: front. In: an equation of named dimensions, and Tensors. Out: the sum of products that it says, as matrix
products of two Tensors at a time.
Next: ``added.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import function

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


@function("einsum")
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products by named dimensions: ``einsum("ij,jk->ik", a, b)`` is ``a @ b``; ``...`` stands for a batch.
    Names may be numbers from 0 to 51, too: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``. Without ``->`` the result has the
    names that appear once, in the order of the alphabet. The Tensors have one dtype, which the result has, too.

    ``RuntimeError`` for an equation that does not fit the Tensors, for names that are no letters and for different
    dtypes. Source: https://docs.pytorch.org/docs/stable/generated/torch.einsum.html

    >>> import minigrad
    >>> minigrad.einsum("ij->j", minigrad.tensor([[1, 2], [3, 4]]))
    tensor([4, 6])
    """
    if isinstance(equation, AnyTensor):
        equation, operands = _spelt((equation, *operands))
    given = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], tuple | list) else list(operands)
    if not given:
        raise RuntimeError("einsum(): must provide at least one operand")
    inputs, output = _parse(equation, [t.ndim for t in given])
    names = list(dict.fromkeys([*output, *[n for term in inputs for n in term]]))
    terms = _aligned(given, inputs, names)
    summed = range(len(output), len(names))
    if len(terms) == 1:
        return terms[0].sum(tuple(summed)) if summed else terms[0]
    wide = {d: sum(t._shape()[d] != 1 for t in terms) for d in summed}
    result = terms[0]
    for term in terms[1:]:
        result = _contracted(result, term, wide)
    return result.reshape(result._shape()[:len(output)])


def _spelt(given: Sequence[Any]) -> tuple[str, tuple[Tensor, ...]]:
    """The equation of operands that each have a list of numbers behind them, and the operands."""
    lists = given[1::2] if len(given) % 2 == 0 else (*given[1::2], given[-1])
    texts = []
    for numbers in lists:
        for n in numbers:
            if n is not Ellipsis and not 0 <= n < len(_LETTERS):
                raise ValueError(f"einsum(): subscripts in subscript list are not within the valid range [0, "
                                 f"{len(_LETTERS)})")
        texts.append("".join(["..." if n is Ellipsis else _LETTERS[n] for n in numbers]))
    count = len(given) // 2
    return ",".join(texts[:count]) + "".join([f"->{text}" for text in texts[count:]]), tuple(given[:2 * count:2])


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _parse(equation: str, dims: list[int]) -> tuple[list[list[str]], list[str]]:
    left, arrow, right = equation.partition("->")
    for at, c in enumerate(equation):
        if c not in _LETTERS and c not in " .," and not (arrow and at in (len(left), len(left) + 1)):
            raise RuntimeError(f"einsum(): invalid subscript given at index {at} in the equation string, subscripts "
                               "must be in [a-zA-Z]")
    left, right = left.replace(" ", ""), right.replace(" ", "")
    texts = left.split(",")
    if len(texts) != len(dims):
        which = "more" if len(texts) < len(dims) else "fewer"
        raise RuntimeError(f"einsum(): {which} operands were provided than specified in the equation")
    batch = max([d - len(t.replace("...", "")) for t, d in zip(texts, dims, strict=True) if "..." in t], default=0)
    inputs = []
    for number, (text, d) in enumerate(zip(texts, dims, strict=True)):
        if "." in text.replace("...", ""):
            raise RuntimeError(f"einsum(): found '.' for operand {number} that is not part of any ellipsis")
        names = list(text.replace("...", "*"))
        if "*" in names:
            at, more = names.index("*"), d - len(names) + 1
            names[at:at + 1] = [f"*{i}" for i in range(batch - more, batch)]
        if len(names) != d:
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({len(names)}) does not match the "
                               f"number of dimensions ({d}) for operand {number} and no ellipsis was given")
        inputs.append(names)
    every = [n for names in inputs for n in names]
    if arrow:
        output = [n for c in right.replace("...", "*") for n in ([f"*{i}" for i in range(batch)] if c == "*" else [c])]
        for n in output:
            if n not in every:
                raise RuntimeError(f"einsum(): output subscript {n} does not appear in the equation for any input "
                                   "operand")
            if output.count(n) > 1:
                raise RuntimeError(f"einsum(): output subscript {n} appears more than once in the output")
    else:
        output = [f"*{i}" for i in range(batch)] + sorted({n for n in every if every.count(n) == 1 and n[0] != "*"})
    return inputs, output


def _aligned(operands: Sequence[Tensor], inputs: list[list[str]], names: list[str]) -> list[Tensor]:
    """The operands with one dimension for each of the names, of size 1 where they do not have it."""
    sizes: dict[str, int] = {}
    terms = []
    for number, (tensor, labels) in enumerate(zip(operands, inputs, strict=True)):
        own: list[str] = []
        for name in labels:
            if name in own:
                tensor = _diagonal(tensor, name, own.index(name), len(own), number)
            else:
                _check_size(name, number, len(own), tensor._shape()[len(own)], sizes)
                own.append(name)
        found = [n for n in names if n in own]
        tensor = tensor.permute(*[own.index(n) for n in found]) if found else tensor
        terms.append(tensor if len(found) == len(names) else
                     tensor.reshape([tensor._shape()[found.index(n)] if n in own else 1 for n in names]))
    return terms


def _diagonal(tensor: Tensor, name: str, first: int, second: int, number: int) -> Tensor:
    """``ii``: the diagonal of these dimensions, in the first's place."""
    a, b = tensor._shape()[second], tensor._shape()[first]
    if a != b:
        raise RuntimeError(f"einsum(): subscript {name} is repeated for operand {number} but the sizes don't match, "
                           f"{a} != {b}")
    return tensor.diagonal(0, first, second).movedim(-1, first)


def _check_size(name: str, number: int, dim: int, size: int, sizes: dict[str, int]) -> None:
    """Each name has one size, and 1, which is broadcast."""
    seen = sizes.get(name, 1)
    if size == 1:
        return
    if seen not in (1, size):
        if name[0] == "*":
            raise RuntimeError(f"einsum(): dimension {dim} covered by ellipsis in operand {number}has size {size} "
                               f"which does not broadcast with previously seen ellipsis with size {seen} for the "
                               "respective dimension")
        raise RuntimeError(f"einsum(): subscript {name} has size {size} for operand {number} which does not broadcast "
                           f"with previously seen size {seen}")
    sizes[name] = size


def _contracted(a: Tensor, b: Tensor, wide: dict[int, int]) -> Tensor:
    """The product of two aligned operands, summed over what no later one has. ``wide``: of each dimension that is to be
    summed, how many of the operands that are left have a size other than 1; it is kept up to date."""
    summed: tuple[list[int], list[int], list[int]] = ([], [], [])
    of_a, of_b, of_both = summed
    for d in wide:
        in_a, in_b = a._shape()[d] != 1, b._shape()[d] != 1
        if in_a and in_b:
            wide[d] -= 1
        if wide[d] == 1 and (in_a or in_b):
            (of_both if in_a and in_b else of_a if in_a else of_b).append(d)
            wide[d] = 0
    a = a.sum(of_a, keepdim=True) if of_a else a
    b = b.sum(of_b, keepdim=True) if of_b else b
    return _summed_product(a, b, of_both) if of_both else a * b


def _summed_product(a: Tensor, b: Tensor, summed: list[int]) -> Tensor:
    """The sum of a b over these dimensions, which keep the size 1, as a product of two batches of matrices. The rows
    are of the operand whose dimensions come first, so that the result is in row-major order where that can be, as in
    PyTorch."""
    shapes = a._shape(), b._shape()
    rest = [d for d in range(a.ndim) if d not in summed]
    batch = [d for d in rest if shapes[0][d] != 1 != shapes[1][d]]
    rows = [d for d in rest if shapes[0][d] != 1 == shapes[1][d]]
    columns = [d for d in rest if shapes[0][d] == 1]
    if rows and columns and columns[-1] < rows[0]:
        a, b, rows, columns, shapes = b, a, columns, rows, shapes[::-1]

    def laid_out(tensor: Tensor, *groups: list[int]) -> Tensor:
        shape = tensor._shape()
        others = [d for d in range(tensor.ndim) if not any(d in g for g in groups)]
        ordered = tensor.permute(*[d for g in groups for d in g], *others)
        return ordered.reshape([prod([shape[d] for d in g]) for g in groups])

    result = laid_out(a, batch, rows, summed).bmm(laid_out(b, batch, summed, columns))
    order = [*batch, *rows, *columns, *summed]
    sizes = [1 if d in summed else shapes[1][d] if shapes[0][d] == 1 else shapes[0][d] for d in order]
    return result.reshape(sizes).permute(*[order.index(d) for d in range(len(order))])
