"""Stage: front. In: a function of Tensors. Out: the same function on many rows at once: it is called once, on
placeholders for one row.
Next: ``core.py``.

https://docs.pytorch.org/docs/stable/generated/torch.func.vmap.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.func import custom as _custom  # noqa: F401 it tells autograd.Function of vmap
from minigrad.func.level import Level
from minigrad.func.pytree import Tree, fill, flatten, spread
from minigrad.tensor import Tensor, cat


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable[..., Any]:
    """A function that calls ``func`` on each row: of the arguments along their ``in_dims`` (None: the same in every
    call; an int for all, or a structure like that of the arguments; keyword arguments have None), giving results whose
    axis ``out_dims`` counts the rows. ``randomness``: whether random functions inside raise ``RuntimeError``, give all
    rows the ``"same"`` numbers, or ``"different"`` ones. ``chunk_size``: how many rows to compute at a time.

    ``func`` is called once, and what it computes becomes kernels over all rows. It can't ask for values
    (``RuntimeError``), nor change in place what is the same for all rows to something that is not.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.vmap.html

    >>> import minigrad
    >>> x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> vmap(minigrad.dot, in_dims=(0, None))(x, minigrad.tensor([10.0, 1.0]))
    tensor([12., 34.])
    >>> vmap(minigrad.func.grad(lambda x: x.prod()))(x)
    tensor([[2., 1.],
            [4., 3.]])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError("Only allowed values for randomness are 'error', 'different', or 'same'. Got "
                           f"{randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        rows, leaves, tree, dims = _inputs(func, in_dims, args, kwargs)
        if chunk_size is None or chunk_size >= rows:
            found, out_tree, _ = _call(func, leaves, tree, dims, rows, out_dims, randomness)
            return fill(out_tree, iter(found))
        parts = []
        for begin in range(0, rows, chunk_size):
            count = min(chunk_size, rows - begin)
            some = [x if d is None else x.narrow(d, begin, count) for x, d in zip(leaves, dims, strict=True)]
            parts.append(_call(func, some, tree, dims, count, out_dims, randomness))
        _, out_tree, out = parts[0]
        return fill(out_tree, iter([pieces[0] if d is None else cat(list(pieces), d) for d, *pieces in zip(
            out, *[found for found, _, _ in parts], strict=True)]))

    return wrapped


def name_of(func: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    return getattr(func, "__name__", None) or repr(func)


def _inputs(func: Callable[..., Any], in_dims: Any, args: tuple[Any, ...], kwargs: dict[str, Any],
            ) -> tuple[int, list[Any], Tree, list[int | None]]:
    """The number of rows, all arguments, the structure around them, and the axis of rows of each. All errors."""
    if not isinstance(in_dims, int | tuple | list):
        raise ValueError(f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a "
                         f"(potentially nested) tuple matching the structure of inputs, got: {type(in_dims)}.")
    if not args and not kwargs:
        raise ValueError(f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are "
                         "trying to vmap over a function with no inputs. The latter is unsupported.")
    leaves, tree = flatten(args)
    dims = spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, tree)
    if dims is None:
        raise ValueError(f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the "
                         f"structure of `inputs`. in_dims has structure {flatten(in_dims)[1]} but inputs has structure "
                         f"{tree}.")
    named, named_tree = flatten(kwargs)
    leaves += named
    dims += [None] * len(named)
    where = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
    for i, (x, d) in enumerate(zip(leaves, dims, strict=True)):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(f"{where}Got in_dim={d} for an input but in_dim must be either an integer dimension or "
                             "None.")
        if not isinstance(x, Tensor):
            raise ValueError(f"{where}Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap "
                             "over non-Tensor arguments, please use None as the respective in_dim")
        if not -x.ndim <= d < x.ndim:
            raise ValueError(f"{where}Got in_dim={d} for some input, but that input is a Tensor of dimensionality "
                             f"{x.ndim} so expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}.")
        dims[i] = d % x.ndim
    sizes = [x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if len(set(sizes)) > 1:
        raise ValueError("vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                         f"{sizes} for the mapped dimension")
    return sizes[0], leaves, Tree(tuple, None, (tree, named_tree)), dims


def _call(func: Callable[..., Any], leaves: Sequence[Any], tree: Tree, dims: Sequence[int | None], rows: int,
          out_dims: Any, randomness: str) -> tuple[list[Any], Tree, list[int | None]]:
    """What ``func`` gives for all rows, the structure around it, and the axis of rows of each. What is an argument with
    its axis in the same place is that Tensor."""
    level = Level(rows, randomness)
    inner = [x if d is None else level.enter(x if d == 0 else x.movedim(d, 0))
             for x, d in zip(leaves, dims, strict=True)]
    args, kwargs = fill(tree, iter(inner))
    with level.inside():
        result = func(*args, **kwargs)
    found, out_tree = flatten(result)
    out = _out_dims(func, out_dims, out_tree)
    for x, d in zip(found, out, strict=True):
        if isinstance(x, Tensor):
            if d is None and level.differs(x._read()):
                raise ValueError(f"vmap({name_of(func)}, ...): `{name_of(func)}` can not return a BatchedTensor when "
                                 "out_dim is None")
        elif d is not None or x is not None:
            raise ValueError(f"vmap({name_of(func)}, ...): `{name_of(func)}` must only return Tensors, got type "
                             f"{type(x)}. Did you mean to set out_dims= to None for output?")
    given = {(id(x), d): leaf for x, leaf, d in zip(inner, leaves, dims, strict=True)}
    results = [x if d is None else given.get((id(x), d)) for x, d in zip(found, out, strict=True)]
    made = [i for i, d in enumerate(out) if d is not None and results[i] is None]
    for i, whole in zip(made, level.leave([found[i] for i in made]), strict=True):
        results[i] = whole.movedim(0, out[i]) if out[i] else whole
    return results, out_tree, out


def _out_dims(func: Callable[..., Any], out_dims: Any, tree: Tree) -> list[int | None]:
    """The place of the axis of rows in each result."""
    if not all([d is None or isinstance(d, int) for d in flatten(out_dims)[0]]):
        raise ValueError(f"vmap({name_of(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a "
                         "python collection of ints representing where in the outputs the vmapped dimension should "
                         "appear.")
    if isinstance(out_dims, tuple) and len(out_dims) == 1 and tree.kind is None:
        out_dims = out_dims[0]
    found = spread(out_dims, tree)
    if found is None:
        raise ValueError(f"vmap({name_of(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with "
                         f"the structure of `outputs`. out_dims has structure {flatten(out_dims)[1]} but outputs has "
                         f"structure {tree}.")
    return found
