"""Stage: front. In: the arguments of a function to differentiate. Out: the Tensors among them as new inputs of a tape
or with tangents, and what of the results still depends on something else.
Next: ``transforms.py``."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.autograd.backward import grad
from minigrad.autograd.handles import next_sequence
from minigrad.autograd.mode import mode, recording
from minigrad.autograd.protocol import Front
from minigrad.func.level import RowsInput
from minigrad.func.pytree import fill, flatten
from minigrad.tensor import Tensor, zeros_like
from minigrad.tensor.aliases import plain_view
from minigrad.tensor.duals import dual, tangents


class Call:
    """A call of ``func``, on the tape. ``inputs`` are the Tensors by which it is differentiated, in the structure of
    the primals ``where``, and ``originals`` what the caller gave for them; ``outputs`` those of its result; ``outer``:
    whether something outside may be differentiated through this call, a Tensor that requires a gradient or a transform
    around this one: then the results keep their tape. ``name`` is what errors say of the results."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], where: Sequence[int], has_aux: bool,
                 named: dict[str, Any] | None = None, name: str = "vjp(f, *primals)") -> None:
        before, first = bool(mode.enabled), next_sequence()
        leaves, self.structure = flatten(tuple([args[i] for i in where]))
        for t in leaves:
            if not isinstance(t, Tensor):
                raise ValueError(f"Thing passed to transform API must be Tensor, got {type(t)}")
        given = list(args)
        with recording():
            self.originals = leaves
            self.inputs = [_input(t) for t in leaves]
            for i, value in zip(where, fill(self.structure, iter(self.inputs)), strict=True):
                given[i] = value
            own = [x for x in self.inputs if x.grad_fn is None]
            try:
                result = func(*given, **(named or {}))
            finally:
                _leaves.update(own)
        self.result, self.aux = split_aux(result, has_aux, name)
        self.outputs, self.out_structure = flatten(self.result)
        tensors = [o for o in self.outputs if isinstance(o, Tensor)]
        self.outer = before and _leads_elsewhere(tensors, self.inputs)
        if self.outer:
            _name_originals(tensors, first, {id(x): t for x, t in zip(self.inputs, leaves, strict=True) if x is not t})

    def gradients(self, outputs: Sequence[Tensor], starts: Sequence[Any] | None, outer: bool | None = None,
                  ) -> list[Tensor]:
        """The gradients by the inputs; zeros where there are none."""
        outer = self.outer if outer is None else outer
        chosen = [(o, None if starts is None else s) for o, s in zip(outputs, starts or outputs, strict=True)
                  if o.requires_grad]
        if not chosen:
            return [zeros_like(x).detach() for x in self.inputs]
        found = grad([o for o, _ in chosen], self.inputs, [s for _, s in chosen], retain_graph=True,
                     create_graph=outer, allow_unused=True)
        return [zeros_like(x).detach() if g is None else g for g, x in zip(found, self.inputs, strict=True)]

    def shown(self, value: Any) -> Any:
        """What the caller sees of results: without this call's tape, if nothing else needs it; an input as the Tensor
        that the caller gave for it, and a view of it as one of that."""
        leaves, structure = flatten(value)
        return fill(structure, iter([self._outside(t) if isinstance(t, Tensor) else t for t in leaves]))

    def _outside(self, t: Tensor) -> Tensor:
        for x, original in zip(self.inputs, self.originals, strict=True):
            if t is x:
                return original
            if (x.grad_fn is None or not self.outer) and (view := _view_of(t, x, original)) is not None:
                return view
        return _cut(t) if t.requires_grad and not self.outer else t


def _input(t: Tensor) -> Tensor:
    """A Tensor as an input of its own, with the same memory and tangents."""
    if t.is_inference():
        t = t.clone()
    if t.requires_grad:
        return t.view_as(t)
    return _cut(t).requires_grad_()


def _view_of(t: Tensor, x: Tensor, original: Tensor) -> Tensor | None:
    """What ``t`` shows of ``x``, as a view of the original on the same memory; None if it is no view of x."""
    if t is x:
        return original
    view = t._view
    if view is None or not view.differentiable or t._storage is not original._storage or mode.duals:
        return None
    above = _view_of(view.find_parent(), x, original)
    return None if above is None else plain_view(above, view.steps, view.shape, view.strides, view.offset, view.kind)


def _cut(t: Tensor) -> Tensor:
    """A Tensor without its tape, but with its tangents."""
    if not mode.duals:
        return t.detach()
    result: Tensor = Front.wrap(t._read(), None)
    dual(result, tangents(t))
    return result


def split_aux(result: Any, has_aux: bool, name: str) -> tuple[Any, Any]:
    """What a function gave, and with ``has_aux`` the second half of it; ``RuntimeError`` if that is no pair."""
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True")
    leaves, _ = flatten(result[1])
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(leaf)}")
    return result


def require_tensors(leaves: Sequence[Any], name: str) -> None:
    """``RuntimeError`` if a function gave something that is no Tensor, or nothing."""
    if not leaves:
        raise RuntimeError(f"{name}: expected f(*primals) to return at least one Tensor, got no Tensors")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"{name}: expected f(*primals) to return only tensors, got unsupported type "
                               f"{type(leaf)}")


def require_differentiable(outputs: Sequence[Any]) -> None:
    """``RuntimeError`` if a function whose vjp is asked for gave something that has no gradient."""
    require_tensors(outputs, "vjp(f, *primals)")
    for output in outputs:
        if not (output.is_floating_point() or output.is_complex()):
            raise RuntimeError("vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor "
                               f"with dtype {output.dtype}")


def require_real(given: Any, name: str, what: str) -> None:
    """``RuntimeError`` if there is a complex Tensor: a Jacobian has real inputs and outputs."""
    for i, x in enumerate(flatten(given)[0]):
        if isinstance(x, Tensor) and x.is_complex():
            raise RuntimeError(f"{name}: Expected all {what} to be real but received complex tensor at flattened input "
                               f"idx: {i}")


_leaves: weakref.WeakSet[Tensor] = weakref.WeakSet()
"""The leaves that calls have made which are over: nobody asks for their gradients any more."""


def _name_originals(outputs: Sequence[Tensor], first: int, originals: dict[int, Tensor]) -> None:
    """What was computed of the inputs since the entry ``first`` of the tape reads the originals: where their ``.data``
    is replaced, that of now."""
    edges, seen = [t._source() for t in outputs], set()
    while edges:
        edge = edges.pop()
        if type(edge) is tuple and edge[0].sequence > first and edge[0] not in seen:
            seen.add(edge[0])
            if edge[0].kept:
                edge[0].stand_for(originals)
            edges += edge[0].edges


def _leads_elsewhere(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> bool:
    """Whether a gradient of the outputs comes to a leaf that is not one of the inputs, and not of a call inside."""
    own = {id(x) for x in (*inputs, *_leaves)}
    edges, seen = [t._source() for t in outputs], set()
    while edges:
        edge = edges.pop()
        if edge is None:
            continue
        if type(edge) is not tuple:
            if id(edge) not in own:
                return True
        elif type(edge[0]) is RowsInput:
            return True
        elif edge[0] not in seen:
            seen.add(edge[0])
            edges += edge[0].edges
    return False


