"""Stage: front. In: a custom ``autograd.Function`` that is applied to placeholders of ``vmap``. Out: a call of its own
rule for all rows, or an error that says how to give it one.
Next: ``rows.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minigrad.autograd.function import Function
from minigrad.autograd.protocol import Front
from minigrad.func.level import Level
from minigrad.func.pytree import fill, flatten, spread
from minigrad.tensor import Tensor
from minigrad.tensor.storage import tracing

_MORE = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class VmapInfo(NamedTuple):
    """What the rule of a Function is told of the ``vmap``: the number of rows, and its ``randomness``."""

    batch_size: int
    randomness: str


def _rows(function: Any, args: tuple[Any, ...]) -> Callable[[], Any] | None:
    """How to call a Function on all rows; None if it is called on placeholders, or there are none."""
    level = tracing.level
    if not isinstance(level, Level):
        return None
    leaves, structure = flatten(args)
    differs = [isinstance(x, Tensor) and level.differs(x._read()) for x in leaves]
    if not any(differs):
        return None
    if function.setup_context is Function.setup_context and not function.generate_vmap_rule:
        raise RuntimeError("In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, "
                           f"...), it must override the setup_context staticmethod. {_MORE}")
    own = function.vmap is not Function.vmap
    if function.generate_vmap_rule:
        if own:
            raise RuntimeError(f"You tried to vmap over {function.__name__}, but it has both generate_vmap_rule=True "
                               "and an overridden vmap staticmethod. Please set generate_vmap_rule=False or delete the "
                               f"overridden vmap staticmethod to avoid ambiguity. {_MORE}")
        return None
    if not own:
        raise RuntimeError(f"You tried to vmap over {function.__name__}, but it does not have vmap support. Please "
                           "override and implement the vmap staticmethod or set generate_vmap_rule=True. "
                           f"{_MORE}")

    def call() -> Any:
        whole = iter(level.leave([x for x, d in zip(leaves, differs, strict=True) if d]))
        given = fill(structure, iter([next(whole) if d else x for x, d in zip(leaves, differs, strict=True)]))
        dims = fill(structure, iter([0 if d else None for d in differs]))
        with level.paused():
            result = function.vmap(VmapInfo(level.rows, level.randomness), dims, *given)
        _check(result)
        outputs, out_structure = flatten(result[0])
        axes = spread(result[1], out_structure)
        if axes is None:
            raise ValueError(f"vmap: the vmap staticmethod of {function.__name__} returned out_dims={result[1]}, which "
                             f"is not compatible with the structure of its outputs, {out_structure}")
        with level.paused():
            moved = [x if d is None else x.movedim(d, 0) for x, d in zip(outputs, axes, strict=True)]
        return fill(out_structure, iter([x if d is None else level.enter(x)
                                         for x, d in zip(moved, axes, strict=True)]))

    return call


def _check(result: Any) -> None:
    told = ("Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure "
            "compatible with the output. ")
    if not isinstance(result, tuple):
        raise RuntimeError(f"{told}Got a {type(result)} instead")
    if len(result) != 2:
        raise RuntimeError(f"{told}Got {len(result)} returns instead")


Front.rows = staticmethod(_rows)
