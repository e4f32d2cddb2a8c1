"""Stage: front. In: the arguments of a function to differentiate. Out: the Tensors among them as new inputs of a tape,
and what of the results still depends on something else.
Next: ``transforms.py``."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.autograd.backward import grad
from minigrad.autograd.mode import enable_grad
from minigrad.jit.trees import fill, flatten
from minigrad.tensor import Tensor, zeros_like


class Call:
    """A call of ``func``, on the tape. ``inputs`` are the Tensors by which it is differentiated, in the structure of
    the primals ``where``; ``outputs`` those of its result; ``outer``: whether something outside may be differentiated
    through this call, a Tensor that requires a gradient or a transform around this one: then the results keep their
    tape."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], where: Sequence[int], has_aux: bool,
                 named: dict[str, Any] | None = None, what: str = "output of function f") -> None:
        tensors: list[Tensor] = []
        self.structure = flatten([args[i] for i in where], tensors)
        given = list(args)
        with enable_grad():
            self.inputs = [t.clone() if t.requires_grad else t.detach().requires_grad_() for t in tensors]
            for i, value in zip(where, fill(self.structure, iter(self.inputs)), strict=True):
                given[i] = value
            leaves = [x for x in self.inputs if x.grad_fn is None]
            try:
                result = func(*given, **(named or {}))
            finally:
                _leaves.update(leaves)
        self.aux: Any = None
        if has_aux:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(f"{what} should be a tuple: (output, aux) if has_aux is True")
            result, self.aux = result
        self.outputs: list[Tensor] = []
        self.out_structure = flatten(result, self.outputs)
        self.result = result
        self.outer = _leads_elsewhere(self.outputs, self.inputs)

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
        """What the caller sees of results: without this call's tape, if nothing else needs it."""
        if self.outer:
            return value
        tensors: list[Tensor] = []
        structure = flatten(value, tensors)
        return fill(structure, iter([t.detach() if t.requires_grad else t for t in tensors]))


_leaves: weakref.WeakSet[Tensor] = weakref.WeakSet()
"""The leaves that calls have made which are over: nobody asks for their gradients any more."""


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
        elif edge[0] not in seen:
            seen.add(edge[0])
            edges += edge[0].edges
    return False
