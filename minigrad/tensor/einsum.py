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
    inputs, output = _parse(equation, [t.ndim for t in given])
    terms = [_without_repeats(t, names) for t, names in zip(given, inputs, strict=True)]
    while len(terms) > 1:
        later = {n for _, names in terms[2:] for n in names} | set(output)
        terms[:2] = [_contract(*terms[0], *terms[1], later)]
    tensor, names = terms[0]
    summed = tuple([i for i, n in enumerate(names) if n not in output])
    if summed:
        tensor, names = tensor.sum(summed), [n for n in names if n in output]
    return tensor.permute(*[names.index(n) for n in output]) if names else tensor


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


def _without_repeats(tensor: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    """``ii``: the diagonal."""
    for name in [n for n in dict.fromkeys(names) if names.count(n) > 1]:
        while names.count(name) > 1:
            first = names.index(name)
            second = names.index(name, first + 1)
            tensor = tensor.diagonal(0, first, second)
            names = [n for i, n in enumerate(names) if i not in (first, second)] + [name]
    return tensor, names


def _contract(a: Tensor, names_a: list[str], b: Tensor, names_b: list[str],
              later: set[str]) -> tuple[Tensor, list[str]]:
    """Two operands as one batched matrix product: shared names that are needed later are the batch, the others are
    summed."""
    sizes: dict[str, int] = {}
    for number, (tensor, names) in enumerate(((a, names_a), (b, names_b))):
        for name, s in zip(names, tensor._shape(), strict=True):
            if sizes.get(name, 1) not in (1, s) and s != 1:
                raise RuntimeError(f"einsum(): subscript {name} has size {s} for operand {number} which does not "
                                   f"broadcast with previously seen size {sizes[name]}")
            sizes[name] = max(sizes.get(name, 1), s) if s != 0 else 0
    for only, other in ((names_a, names_b), (names_b, names_a)):
        for name in [n for n in only if n not in other and n not in later]:
            if only is names_a:
                a, names_a = a.sum(names_a.index(name)), [n for n in names_a if n != name]
            else:
                b, names_b = b.sum(names_b.index(name)), [n for n in names_b if n != name]
    shared = [n for n in names_a if n in names_b]
    batch, summed = [n for n in shared if n in later], [n for n in shared if n not in later]
    rows, columns = [n for n in names_a if n not in shared], [n for n in names_b if n not in shared]

    def laid_out(tensor: Tensor, names: list[str], *groups: list[str]) -> Tensor:
        tensor = tensor.permute(*[names.index(n) for g in groups for n in g])
        tensor = tensor.expand(*[sizes[n] for g in groups for n in g]) if names else tensor
        return tensor.reshape([prod([sizes[n] for n in g]) for g in groups])

    result = laid_out(a, names_a, batch, rows, summed) @ laid_out(b, names_b, batch, summed, columns)
    names = [*batch, *rows, *columns]
    return result.reshape([sizes[n] for n in names]), names
