"""Stage: front. In: a function. Out: a function that gives its gradient, or the products of its Jacobian with vectors.
They nest: ``grad(grad(f))``. Reverse mode is the tape that ``backward()`` has, forward mode that of ``duals.py``.
Next: ``matrices.py``.

https://docs.pytorch.org/docs/stable/func.api.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from minigrad.autograd.mode import mode
from minigrad.autograd.protocol import Front
from minigrad.func.core import Call, require_differentiable, require_tensors, split_aux
from minigrad.func.level import Level
from minigrad.func.pytree import fill, flatten, treespec
from minigrad.tensor import Tensor, zeros_like
from minigrad.tensor.duals import attach, check, dual, level, tangent, tangents, without

Argnums = int | tuple[int, ...]


def places(argnums: Argnums, count: int) -> list[int]:
    """The positions of the arguments to differentiate by; ``RuntimeError`` where there is no such argument."""
    if not isinstance(argnums, int | tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    given = (argnums,) if isinstance(argnums, int) else argnums
    if not given:
        raise RuntimeError("argnums must be non-empty")
    for n in given:
        if not -count <= n < count:
            raise RuntimeError(f"Got argnum={n}, but only {count} positional inputs")
    found = [n % count for n in given]
    if len(set(found)) < len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return found


def of_places(argnums: Argnums, values: Sequence[Any]) -> Any:
    """What belongs to each position; without a tuple if ``argnums`` is one number."""
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
        call = Call(func, args, places(argnums, len(args)), has_aux, named, "grad_and_value(f)(*args)")
        out = call.result
        if not isinstance(out, Tensor):
            raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(out)}")
        if out.ndim:
            raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                               f"{out.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?")
        found = fill(call.structure, iter(call.shown(call.gradients([out], None))))
        value = call.shown(out)
        return of_places(argnums, found), (value, call.shown(call.aux)) if has_aux else value

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
    require_differentiable(call.outputs)

    def multiply(*vectors: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        starts, structure = flatten(vectors[0] if len(vectors) == 1 else vectors)
        if structure != call.out_structure:
            raise RuntimeError("Expected pytree structure of cotangents to be the same as pytree structure of outputs "
                               f"to the function. cotangents: {treespec(structure)}, primal output: "
                               f"{treespec(call.out_structure)}")
        outer = call.outer or (mode.enabled and any([s.requires_grad for s in starts]))
        found = call.gradients(call.outputs, starts, outer)
        return tuple(fill(call.structure, iter(found if outer else call.shown(found))))

    value = call.shown(call.result)
    return (value, multiply, call.shown(call.aux)) if has_aux else (value, multiply)


# --- forward mode


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """``func(*primals)``, and its Jacobian times ``tangents``, which are built as the primals. With ``strict``
    ``RuntimeError`` for an output that does not depend on them.

    >>> import minigrad
    >>> jvp(lambda x: x.sin(), (minigrad.zeros(2),), (minigrad.tensor([1.0, 2.0]),))
    (tensor([0., 0.]), tensor([1., 2.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to "
                           "call f(*primals).")
    at, structure = flatten(primals)
    directions, given = flatten(tangents)
    if given != structure:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure. For example, "
            f"if primals is a tuple of 3 tensors, tangents also must be. Got primals with structure {structure} and "
            f"tangents with structure {given}")
    for what, leaves in (("primals", at), ("tangents", directions)):
        if not leaves:
            raise RuntimeError(f"jvp(f, primals, tangents): Expected {what} to contain at least one Tensor.")
        for x in leaves:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"jvp(f, primals, tangents): Expected {what} to only contain Tensors, got "
                                   f"{type(x)}")
    with level() as n:
        result = func(*fill(structure, iter(duals_of(at, directions, n))))
        result, aux = split_aux(result, has_aux, "jvp(f, primals, tangents)")
        outputs, out_structure = flatten(result)
        require_tensors(outputs, "jvp(f, primals, tangents)")
        changes = [tangent(o, n) for o in outputs]
        if strict and None in changes:
            raise RuntimeError("jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. "
                               "This is not allowed with strict=True.")
        found = [zeros_like(o).detach() if c is None else c for o, c in zip(outputs, changes, strict=True)]
        value = fill(out_structure, iter([without(o, n) for o in outputs]))
        beside, aux_structure = flatten(aux)
        aux = fill(aux_structure, iter([without(b, n) if isinstance(b, Tensor) else b for b in beside]))
    made = fill(out_structure, iter(found))
    return (value, made, aux) if has_aux else (value, made)


def duals_of(primals: Sequence[Tensor], directions: Sequence[Tensor], n: int) -> list[Tensor]:
    """Tensors with the values, edges and tangents of ``primals``, and with ``directions`` as tangents at level n."""
    made = []
    for x, t in zip(primals, directions, strict=True):
        check(x, t)
        new = Front.wrap(x._read(), x._source())
        dual(new, tangents(x))
        attach(new, n, t)
        made.append(new)
    return made


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``func(*primals)``, and a function that multiplies the Jacobian by tangents. ``func`` runs once.

    >>> import minigrad
    >>> y, ahead = linearize(lambda x: x.sin(), minigrad.zeros(2))
    >>> ahead(minigrad.ones(2))
    tensor([1., 1.])
    """
    at, structure = flatten(primals)
    tracer = Level(1)
    unknown = [tracer.enter(zeros_like(x).detach().unsqueeze(0)) for x in at]
    params = [u._read() for u in unknown]
    with tracer.inside(), level() as n:
        result = func(*fill(structure, iter(duals_of(at, unknown, n))))
        outputs, out_structure = flatten(result)
        require_tensors(outputs, "linearize(f, *primals)")
        changes = [tangent(o, n) for o in outputs]
        value = fill(out_structure, iter([without(o, n) for o in outputs]))
    lazies = [None if c is None else c._read() for c in changes]

    def multiply(*tangents: Any) -> Any:
        directions, given = flatten(tangents)
        if given != structure:
            raise RuntimeError(f"Expected the tangents {given} to have the same argspec as the primals {structure}")
        for i, (x, t) in enumerate(zip(at, directions, strict=True)):
            for what, a, b in (("shape", t.shape, x.shape), ("dtype", t.dtype, x.dtype), ("device", t.device,
                                                                                           x.device)):
                if a != b:
                    raise RuntimeError(f"tangent:{i} with {what} {a} in flattened pytree doesn't match the {what} {b} "
                                       "of the corresponding primal.")
        if mode.duals or any([t.requires_grad for t in directions]):  # what was traced has no tape of its own
            return jvp(func, primals, tangents)[1]
        call = Level(1)
        call.at = {p: call.held(t._read().reshape((1, *t.shape))) for p, t in zip(params, directions, strict=True)}
        found = iter(call.leave([Front.wrap(v, None) for v in lazies if v is not None]))
        return fill(out_structure, iter([zeros_like(o).detach() if v is None else next(found).squeeze(0)
                                         for o, v in zip(outputs, lazies, strict=True)]))

    return value, multiply


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """``func`` itself: what minigrad records of it has no mutations, and no views in memory, anyway.

    >>> import minigrad
    >>> functionalize(lambda x: x.clone().add_(1))(minigrad.zeros(2))
    tensor([1., 1.])
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are:\n"
            "     remove='mutations': all inplace and out= operators will be removed from the program, and replaced "
            "with their out-of-place equivalents.\n"
            "     remove='mutations_and_views': In addition to the above, all aliasing operators {view} will be "
            "replaced with their non-aliasing counterparts, {view}_copy.\n")

    @wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapped
