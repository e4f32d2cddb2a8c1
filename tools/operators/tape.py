"""Stage: tests. In: how to call an operator in either library. Out: how their tapes differ in what they allow: a second
backward, operands and results that are changed before backward, gradients of gradients.
Next: ``narrow.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import minigrad
from tools.operators.calls import leaves
from tools.operators.finite import Skipped

Call = Callable[[Any], tuple[list[Any], Any, Any]]
"""Of a library: a fresh call of the operator: its operands, its result, and what derivatives are taken of."""

MOST = 4
"""So many operands and results are changed, one at a time."""

REFUSALS = ("a second time", "modified by an inplace operation", "modified inplace")


def tape(call: Call) -> str | Skipped | None:
    """How minigrad's tape differs from PyTorch's, empty if it does not. None if there is no gradient."""
    try:
        expected = _observed(torch, call)
    except Exception:
        return Skipped("PyTorch has no gradient, or may not change an operand")
    found = _observed(minigrad, call) if expected else {}
    problems = [f"{what}: {found.get(what)}, not {value}" for what, value in expected.items()
                if found.get(what) != value]
    return "; ".join(problems) if expected else None


def _observed(library: Any, call: Call) -> dict[str, Any]:
    given, result, root = call(library)
    wanted = [t.requires_grad for t in given]
    if not any(wanted) or not any(t.requires_grad for t in leaves(root, library)):
        return {}
    _gradients(library, given, root)
    found: dict[str, Any] = {"a second backward": _refusal(partial(_gradients, library, given, root))}
    given, _, root = call(library)
    found["gradients with gradients"] = [
        g is not None and g.requires_grad for g in _gradients(library, given, root, create_graph=True)]
    for what, number in (("operand", len(given)), ("result", len(leaves(result, library)))):
        for i in range(min(number, MOST)):
            given, result, root = call(library)
            changed = (given if what == "operand" else leaves(result, library))[i]
            with library.no_grad():
                changed.copy_(changed.detach().clone())
            found[f"backward after a change of {what} {i}"] = _refusal(partial(_gradients, library, given, root))
    return found


def _gradients(library: Any, given: list[Any], root: Any, **options: Any) -> Any:
    roots = [t.to_dense() if t.is_sparse or t.is_sparse_csr else t for t in leaves(root, library) if t.requires_grad]
    return library.autograd.grad(roots, [t for t in given if t.requires_grad], [
        library.ones_like(r) for r in roots], allow_unused=True, **options)


def _refusal(backward: Callable[[], Any]) -> str:
    """The words with which a backward is refused.

    >>> _refusal(lambda: None)
    'allowed'
    """
    try:
        backward()
    except RuntimeError as error:
        for words in REFUSALS:
            if words in str(error):
                return words
        raise
    return "allowed"
