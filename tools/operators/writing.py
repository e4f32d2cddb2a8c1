"""Stage: tests. In: a function that writes into a tensor it is given, in both libraries, and its arguments. Out: how
what it wrote differs, who else sees it, and what it refuses.
Next: ``checks.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

import minigrad
from tools.operators.calls import leaves, mapped, refused_alike, seeded
from tools.operators.facade import ours
from tools.operators.finite import Skipped

Compare = Callable[[Any, Any], str]
Call = tuple[Callable[..., Any], list[Any], dict[str, Any]]
"""A function, its arguments and its keywords."""


def in_place(there: Call, here: Call, compare: Compare) -> str | None:
    """The method with an underscore: it returns its first argument, another Tensor of the same memory sees what it sees
    in PyTorch, and it refuses what PyTorch's refuses. None if PyTorch's gives its first argument another shape."""
    function, arguments, options = here
    arguments, options = (mapped(a, lambda t: t.detach()) for a in (arguments, options))
    alias, seen = arguments[0].detach(), there[1][0].detach()
    try:
        expected = seeded(torch, *there)
    except Exception as error:
        return refused_alike(error, lambda: seeded(minigrad, function, arguments, options))
    if arguments[0].shape != expected.shape:
        return None
    result = seeded(minigrad, function, arguments, options)
    if result is not arguments[0]:
        return "it does not return its first argument"
    problem = compare(result, expected)
    if problem:
        return problem
    problem = compare(alias, seen)
    return f"another Tensor of the same memory: {problem}" if problem else ""


def out(there: Call, here: Call, expected: Any, compare: Compare, thorough: bool) -> str | Skipped:
    """``out=`` of the right shapes and empty; if ``thorough``, of other shapes, which are resized with a warning, and
    of other dtypes, of which PyTorch refuses some. Skipped where PyTorch leaves something else in the right shapes than
    it returns without ``out=``, and minigrad what PyTorch returns."""
    places: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
        ("zeros", torch.zeros_like), ("empty", lambda t: t.new_empty(0))]
    if thorough:
        places += [("of another shape", lambda t: t.new_zeros((*t.shape, 2))),
                   ("of another dtype", lambda t: torch.zeros_like(t, dtype=_other(t.dtype)))]
    if any(t.layout is not torch.strided for t in leaves(expected, torch)):
        places = [("zeros", _zeros_there), ("without elements", torch.zeros_like)]
    fitting, lost = None, False
    for name, place in places:
        target = mapped(mapped(expected, lambda t: t.detach()), place)
        problem, found = _into(there, here, target, compare)
        fitting = target if fitting is None else fitting
        if problem and found is not None and compare(fitting, expected) and not compare(found, expected):
            lost = True
        elif problem:
            return f"out {name}: {problem}"
    return Skipped("PyTorch does not leave there what it returns without out=") if lost else ""


def _zeros_there(tensor: torch.Tensor) -> torch.Tensor:
    """A sparse tensor that stores zeros in the same places."""
    made = tensor.clone()
    (made._values() if made.is_sparse else made.values()).zero_()
    return made


def _size(tensor: Any) -> tuple[Any, int]:
    """The shape, and how many elements are stored if it is sparse."""
    return tensor.shape, tensor._nnz() if tensor.is_sparse or tensor.is_sparse_csr else 0


def _other(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype.is_floating_point or dtype.is_complex else torch.float64


def _into(there: Call, here: Call, target: Any, compare: Compare) -> tuple[str, Any]:
    """What is wrong with the call that writes into such a target, and what minigrad wrote, None if PyTorch refuses."""
    function, arguments, options = here
    arguments, options = (mapped(a, lambda t: t.detach()) for a in (arguments, options))
    place = ours(mapped(target, torch.clone))  # after ``numpy()`` PyTorch resizes no tensor
    options = {**options, "out": place}
    aliases = [t.detach() for t in leaves(place, minigrad)]
    sizes = list(map(_size, aliases))
    with warnings.catch_warnings(record=True) as warned_there:
        warnings.simplefilter("always")
        try:
            returned = seeded(torch, there[0], there[1], {**there[2], "out": target})
        except Exception as error:
            return refused_alike(error, lambda: seeded(minigrad, function, arguments, options)), None
    with warnings.catch_warnings(record=True) as warned_here:
        warnings.simplefilter("always")
        result = seeded(minigrad, function, arguments, options)
    found = leaves(place, minigrad)
    if returned is not None and list(map(id, leaves(result, minigrad))) != list(map(id, found)):
        return "it does not return out", place
    problem = compare(place, target)
    if problem:
        return problem, place
    resized = ["was resized" in " ".join(str(w.message) for w in warned) for warned in (warned_here, warned_there)]
    if resized[0] != resized[1] and sizes != list(map(_size, found)):
        return f"{'a' if resized[0] else 'no'} warning that it was resized", place
    if sizes != list(map(_size, found)):
        return "", place  # its memory may be another
    problem = compare(aliases[0] if isinstance(place, minigrad.Tensor) else tuple(aliases), target)
    return (f"another Tensor of the same memory: {problem}" if problem else ""), place
