"""Stage: front. In: a function. Out: a function that gives its whole Jacobian or Hessian: products with all vectors of
the standard basis at once, by ``vmap``.
Next: ``modules.py``.

https://docs.pytorch.org/docs/stable/func.api.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from minigrad.func.core import Call, require_differentiable, require_real
from minigrad.func.pytree import fill, flatten
from minigrad.func.rows import vmap
from minigrad.func.transforms import Argnums, jvp, of_places, places
from minigrad.tensor import Tensor, eye, zeros


def basis(tensors: Sequence[Tensor]) -> list[Tensor]:
    """For each Tensor the parts of the standard basis of all elements together that belong to it: a row for each
    element of any.

    >>> import minigrad
    >>> [b.shape for b in basis([minigrad.zeros(2), minigrad.zeros(1, 3)])]
    [minigrad.Size([5, 2]), minigrad.Size([5, 1, 3])]
    """
    sizes = [t.numel() for t in tensors]
    total, begin, found = sum(sizes), 0, []
    for t, n in zip(tensors, sizes, strict=True):
        rows = eye(total, dtype=t.dtype, device=t.device)
        found.append(rows[:, begin:begin + n].reshape(total, *t.shape))
        begin += n
    return found


def jacrev(func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None,
           _preallocate_and_copy: bool = False) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``: for each Tensor of the output, in its place, the derivatives by
    argument ``argnums``, of the output's shape and then the input's. ``chunk_size``: how many elements of the output
    are differentiated at a time. ``RuntimeError`` for complex arguments and outputs.

    >>> import minigrad
    >>> jacrev(lambda x: x * x)(minigrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @wraps(func)
    def wrapper(*args: Any, **named: Any) -> Any:
        require_real(args, "jacrev", "inputs")
        call = Call(func, args, places(argnums, len(args)), has_aux, named)
        require_differentiable(call.outputs)
        require_real(call.outputs, "jacrev", "outputs")
        sizes = [o.numel() for o in call.outputs]
        if sum(sizes):
            columns = vmap(lambda *starts: tuple(call.gradients(call.outputs, starts)), chunk_size=chunk_size)(
                *basis(call.outputs))
        else:
            columns = tuple([zeros(0, *x.shape, dtype=x.dtype, device=x.device) for x in call.inputs])
        pieces = [c.split(sizes) for c in columns]
        found = []
        for i, output in enumerate(call.outputs):
            blocks = [p[i].reshape(*output.shape, *x.shape) for p, x in zip(pieces, call.inputs, strict=True)]
            found.append(of_places(argnums, fill(call.structure, iter(call.shown(blocks)))))
        result = fill(call.out_structure, iter(found))
        return (result, call.shown(call.aux)) if has_aux else result

    return wrapper


def jacfwd(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *,
           randomness: str = "error") -> Callable[..., Any]:
    """``jacrev`` by forward mode, which is cheaper where there are more outputs than inputs. ``randomness``: as for
    ``vmap``. ``RuntimeError`` for complex arguments and outputs.

    >>> import minigrad
    >>> jacfwd(lambda x: x * x)(minigrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    return jacobian_ahead(func, argnums, has_aux, randomness, True)


def jacobian_ahead(func: Callable[..., Any], argnums: Argnums, has_aux: bool = False, randomness: str = "error",
                   real: bool = False) -> Callable[..., Any]:
    """``jacfwd``, of complex numbers too unless ``real``."""
    @wraps(func)
    def wrapper(*args: Any, **named: Any) -> Any:
        if real:
            require_real(args, "jacfwd", "inputs")
        where = places(argnums, len(args))
        inputs, structure = flatten(tuple([args[i] for i in where]))
        for x in inputs:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"jacfwd: Expected all inputs to be Tensors, got {type(x)}")
        trees: list[Any] = []

        def partly(*primals: Any) -> Any:
            given = list(args)
            for i, value in zip(where, primals, strict=True):
                given[i] = value
            return func(*given, **named)

        def push(*directions: Tensor) -> Any:
            primals = tuple([args[i] for i in where])
            value, change, *aux = jvp(partly, primals, fill(structure, iter(directions)), has_aux=has_aux)
            outputs, out_structure = flatten(value)
            if real:
                require_real(outputs, "jacfwd", "outputs")
            trees[:] = [outputs, out_structure]
            return tuple(flatten(change)[0]), aux

        columns, aux = vmap(push, out_dims=(0, None), randomness=randomness)(*basis(inputs))
        outputs, out_structure = trees
        sizes = [x.numel() for x in inputs]
        found = []
        for output, column in zip(outputs, columns, strict=True):
            parts = column.movedim(0, -1).split(sizes, -1)
            blocks = [p.reshape(*output.shape, *x.shape) for p, x in zip(parts, inputs, strict=True)]
            found.append(of_places(argnums, fill(structure, iter(blocks))))
        result = fill(out_structure, iter(found))
        return (result, aux[0]) if has_aux else result

    return wrapper


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of ``func``: the Jacobian of its Jacobian, forward over reverse.

    >>> import minigrad
    >>> hessian(lambda x: (x**3).sum())(minigrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
