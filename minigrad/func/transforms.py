"""Stage: front. In: a function. Out: a function that gives its gradient, its Jacobian, its Hessian, or their products
with vectors. They nest: ``grad(grad(f))``. Reverse mode, on the tape that ``backward()`` has.
Next: ``modules.py``.

https://docs.pytorch.org/docs/stable/func.api.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

from minigrad.autograd.backward import grad as tape_grad
from minigrad.func.core import Call
from minigrad.jit.trees import fill, flatten
from minigrad.tensor import Tensor, stack, zeros, zeros_like

Argnums = int | tuple[int, ...]


def _places(argnums: Argnums, count: int) -> list[int]:
    """The positions of the arguments to differentiate by; ``RuntimeError`` where there is no such argument."""
    given = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not given:
        raise RuntimeError("argnums must be non-empty")
    for n in given:
        if not -count <= n < count:
            raise RuntimeError(f"Got argnum={n}, but only {count} positional inputs")
    found = [n % count for n in given]
    if len(set(found)) < len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return found


def _of_places(argnums: Argnums, values: Sequence[Any]) -> Any:
    return values[0] if isinstance(argnums, int) else tuple(values)


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of ``func``, which returns one number, by argument ``argnums``, and the value;
    with ``has_aux`` func returns a pair, of which the second half is handed on: ``(gradient, (value, aux))``.

    >>> import minigrad
    >>> grad_and_value(lambda x: x**3)(minigrad.tensor(2.0))
    (tensor(12.), tensor(8.))
    """
    @wraps(func)
    def wrapper(*args: Any, **named: Any) -> Any:
        call = Call(func, args, _places(argnums, len(args)), has_aux, named,
                    "grad_and_value(f)(*args): output of function f")
        out = call.result
        if not isinstance(out, Tensor):
            raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(out)}")
        if out.ndim:
            raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                               f"{out.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?")
        found = fill(call.structure, iter(call.shown(call.gradients([out], None))))
        value = call.shown(out)
        return _of_places(argnums, found), (value, call.shown(call.aux)) if has_aux else value

    return wrapper


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of ``func``, which returns one number, by argument ``argnums``; with
    ``has_aux`` the pair of gradient and aux.

    >>> import minigrad
    >>> grad(grad(lambda x: x**3))(minigrad.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @wraps(func)
    def wrapper(*args: Any, **named: Any) -> Any:
        found, value = both(*args, **named)
        return (found, value[1]) if has_aux else found

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``func(*primals)``, and a function that multiplies a vector, built as the output, by the Jacobian; with
    ``has_aux`` also aux.

    >>> import minigrad
    >>> y, back = vjp(lambda x: x.sin(), minigrad.zeros(2))
    >>> y, back(minigrad.tensor([1.0, 2.0]))
    (tensor([0., 0.]), (tensor([1., 2.]),))
    """
    call = Call(func, primals, range(len(primals)), has_aux)

    def multiply(*vectors: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        starts: list[Tensor] = []
        structure = flatten(vectors[0] if len(vectors) == 1 else vectors, starts)
        if structure != call.out_structure:
            raise RuntimeError("Expected pytree structure of cotangents to be the same as pytree structure of outputs "
                               f"to the function. cotangents: {structure}, primal output: {call.out_structure}")
        outer = call.outer or any([s.requires_grad for s in starts])
        found = call.gradients(call.outputs, starts, outer)
        return tuple(fill(call.structure, iter(found if outer else call.shown(found))))

    value = call.shown(call.result)
    return (value, multiply, call.shown(call.aux)) if has_aux else (value, multiply)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """``func(*primals)``, and its Jacobian times ``tangents``, which are built as the primals. Computed as the
    derivative, by the vector, of a vector's product with the Jacobian.

    >>> import minigrad
    >>> jvp(lambda x: x.sin(), (minigrad.zeros(2),), (minigrad.tensor([1.0, 2.0]),))
    (tensor([0., 0.]), tensor([1., 2.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to "
                           "call f(*primals).")
    call = Call(func, primals, range(len(primals)), has_aux)
    directions: list[Tensor] = []
    structure = flatten(list(tangents), directions)
    if structure != call.structure:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure. For example, "
            "if primals is a tuple of 3 tensors, tangents also must be. Got primals with structure "
            f"{call.structure} and tangents with structure {structure}")
    for x, t in zip(call.inputs, directions, strict=True):
        if x.shape != t.shape:
            raise RuntimeError("Trying to set a forward gradient that has a different size than that of the original "
                               f"Tensor, this is not supported. Tensor is of size {list(x.shape)} while the given "
                               f"forward gradient is of size {list(t.shape)}.")
    made = call.shown(fill(call.out_structure, iter(_times(call, directions))))
    value = call.shown(call.result)
    return (value, made, call.shown(call.aux)) if has_aux else (value, made)


def _times(call: Call, directions: Sequence[Tensor]) -> list[Tensor]:
    """The Jacobian times the directions."""
    factors = [zeros_like(o).detach().requires_grad_() for o in call.outputs]
    products = call.gradients(call.outputs, factors, True)
    chosen = [(p, d) for p, d in zip(products, directions, strict=True) if p.requires_grad]
    if not chosen:
        return [zeros_like(o).detach() for o in call.outputs]
    found = tape_grad([p for p, _ in chosen], factors, [d for _, d in chosen], retain_graph=True, allow_unused=True,
                      create_graph=call.outer or any([d.requires_grad for d in directions]))
    return [zeros_like(o).detach() if g is None else g for g, o in zip(found, call.outputs, strict=True)]


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``func(*primals)``, and a function that multiplies the Jacobian by tangents. ``func`` runs once.

    >>> import minigrad
    >>> y, ahead = linearize(lambda x: x.sin(), minigrad.zeros(2))
    >>> ahead(minigrad.ones(2))
    tensor([1., 1.])
    """
    call = Call(func, primals, range(len(primals)), False)

    def multiply(*tangents: Any) -> Any:
        directions: list[Tensor] = []
        if flatten(list(tangents), directions) != call.structure:
            raise RuntimeError("linearize(): the tangents are not built as the primals were")
        return call.shown(fill(call.out_structure, iter(_times(call, directions))))

    return call.shown(call.result), multiply


def jacrev(func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None,
           _preallocate_and_copy: bool = False) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``: for each Tensor of the output, in its place, the derivatives by
    argument ``argnums``, of the output's shape and then the input's. One backward for each element of the output.

    >>> import minigrad
    >>> jacrev(lambda x: x * x)(minigrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    @wraps(func)
    def wrapper(*args: Any, **named: Any) -> Any:
        call = Call(func, args, _places(argnums, len(args)), has_aux, named)
        found = []
        for output in call.outputs:
            rows = []
            for i in range(output.numel()):
                start = zeros(output.numel(), dtype=output.dtype, device=output.device)
                start[i] = 1
                rows.append(call.gradients([output], [start.reshape(output.shape)]))
            blocks = [stack(column).reshape(*output.shape, *x.shape)
                      for column, x in zip(zip(*rows, strict=True), call.inputs, strict=True)]
            found.append(_of_places(argnums, fill(call.structure, iter(call.shown(blocks)))))
        result = _filled_with(call.out_structure, found)
        return (result, call.shown(call.aux)) if has_aux else result

    return wrapper


def _filled_with(structure: Any, values: Sequence[Any]) -> Any:
    """The structure of an output with other things in the place of its Tensors."""
    return fill(structure, iter(values))


def jacfwd(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *,
           randomness: str = "error") -> Callable[..., Any]:
    """``jacrev``: minigrad has no forward mode for functions, and the Jacobian is the same."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of ``func``: the Jacobian of its Jacobian.

    >>> import minigrad
    >>> hessian(lambda x: (x**3).sum())(minigrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> NoReturn:
    """``NotImplementedError``: write the batch dimension out, most ops take one."""
    raise NotImplementedError("torch.func.vmap is not there: minigrad does not add a dimension to a user's function. "
                              "Give the function itself a leading batch dimension, which nearly all ops broadcast over")


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> NoReturn:
    """``NotImplementedError``: it serves tracers, of which minigrad has its own."""
    raise NotImplementedError("torch.func.functionalize is not there; minigrad's graph has no mutations anyway")
