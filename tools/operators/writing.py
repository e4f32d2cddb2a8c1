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


def out(there: Call, here: Call, expected: Any, compare: Compare, thorough: bool) -> str:
    """``out=`` of the right shapes and empty; if ``thorough``, of other shapes, which are resized with a warning, and
    of other dtypes, of which PyTorch refuses some."""
    places: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
        ("zeros", torch.zeros_like), ("empty", lambda t: t.new_empty(0))]
    if thorough:
        places += [("of another shape", lambda t: t.new_zeros((*t.shape, 2))),
                   ("of another dtype", lambda t: torch.zeros_like(t, dtype=_other(t.dtype)))]
    if any(t.layout is not torch.strided for t in leaves(expected, torch)):
        places = places[:1]
    for name, place in places:
        problem = _into(there, here, mapped(mapped(expected, lambda t: t.detach()), place), compare)
        if problem:
            return f"out {name}: {problem}"
    return ""


def _other(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype.is_floating_point or dtype.is_complex else torch.float64


def _into(there: Call, here: Call, target: Any, compare: Compare) -> str:
    function, arguments, options = here
    arguments, options = (mapped(a, lambda t: t.detach()) for a in (arguments, options))
    place = ours(mapped(target, torch.clone))  # after ``numpy()`` PyTorch resizes no tensor
    options = {**options, "out": place}
    aliases = [t.detach() for t in leaves(place, minigrad)]
    shapes = [t.shape for t in aliases]
    with warnings.catch_warnings(record=True) as warned_there:
        warnings.simplefilter("always")
        try:
            returned = seeded(torch, there[0], there[1], {**there[2], "out": target})
        except Exception as error:
            return refused_alike(error, lambda: seeded(minigrad, function, arguments, options))
    with warnings.catch_warnings(record=True) as warned_here:
        warnings.simplefilter("always")
        result = seeded(minigrad, function, arguments, options)
    found = leaves(place, minigrad)
    if returned is not None and list(map(id, leaves(result, minigrad))) != list(map(id, found)):
        return "it does not return out"
    problem = compare(place, target)
    if problem:
        return problem
    resized = ["was resized" in " ".join(str(w.message) for w in warned) for warned in (warned_here, warned_there)]
    if resized[0] != resized[1] and shapes != [t.shape for t in found]:
        return f"{'a' if resized[0] else 'no'} warning that it was resized"
    if shapes != [t.shape for t in found]:
        return ""  # its memory may be another
    problem = compare(aliases[0] if isinstance(place, minigrad.Tensor) else aliases, target)
    return f"another Tensor of the same memory: {problem}" if problem else ""


