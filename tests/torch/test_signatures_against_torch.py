"""Stage: tests. In: the signatures that PyTorch ships for type checkers (``_VariableFunctions.pyi`` and
``_C/__init__.pyi``), and those of its Python functions. Out: minigrad's take the same arguments: every way of calling
that PyTorch names binds here, with the same names in the same places and the same defaults.
Next: ``tests/torch/test_views_against_torch.py``."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from minigrad import Tensor
from minigrad.nn import functional as F
from minigrad.tensor import FUNCTIONS
from minigrad.torch import names

torch = pytest.importorskip("torch")

FOLDER = Path(torch.__file__).parent / "_C"


class Parameter(NamedTuple):
    name: str
    by_position: bool
    by_name: bool
    default: Any


NONE_GIVEN = inspect.Parameter.empty


def value_of(node: ast.expr | None) -> Any:
    """A default in a stub file; ``...`` where it cannot be told."""
    if node is None:
        return NONE_GIVEN
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ...


def overload(node: ast.FunctionDef, method: bool) -> list[Parameter] | None:
    """The parameters of one overload; None if it takes any number of arguments."""
    a = node.args
    if a.kwarg is not None:
        return None
    found = []
    if a.vararg is not None:
        found.append(Parameter(f"*{a.vararg.arg}", True, False, NONE_GIVEN))
    before = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(before) - len(a.defaults)) + list(a.defaults)
    pairs = list(zip(before, defaults, strict=True))[1 if method else 0:]
    found = [Parameter(p.arg, True, p not in a.posonlyargs, value_of(d)) for p, d in pairs] + found
    return found + [Parameter(p.arg, False, True, value_of(d))
                    for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]


@cache
def stubs(file: str, cls: str | None) -> dict[str, list[list[Parameter]]]:
    """Overloads by name."""
    body: Any = ast.parse((FOLDER / file).read_text(encoding="utf-8")).body
    if cls is not None:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == cls).body
    found: dict[str, list[list[Parameter]]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            one = overload(node, cls is not None)
            if one is not None and not any([p.name == "self" for p in one]):  # that is deprecated
                found.setdefault(node.name, []).append(one)
    return found


def of_python(function: Any, method: bool) -> list[list[Parameter]]:
    """The parameters of a function written in Python."""
    kinds = inspect.Parameter
    given = list(inspect.signature(function).parameters.values())[1 if method else 0:]
    return [[Parameter(p.name if p.kind != kinds.VAR_POSITIONAL else f"*{p.name}", p.kind in (
        kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL), p.kind in (
        kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD), p.default) for p in given if p.kind != kinds.VAR_KEYWORD]]


def problems(signature: inspect.Signature, theirs: list[Parameter], method: bool) -> list[str]:
    """What of one overload does not bind, or is in another place."""
    found: list[str] = []
    first = [object()] if method else []
    several = any([p.kind == inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values()])
    ways = {
        "by name": ([p for p in theirs if not p.by_name], [p for p in theirs if p.by_name]),
        "by position": ([p for p in theirs if p.by_position], [p for p in theirs if not p.by_position]),
        "without what has a default": ([p for p in theirs if p.by_position and p.default is NONE_GIVEN],
                                       [p for p in theirs if not p.by_position and p.default is NONE_GIVEN]),
    }
    for way, (placed, named) in ways.items():
        try:
            bound = signature.bind(*first, *[p.name.lstrip("*") for p in placed], **{p.name: p.name for p in named})
        except TypeError as error:
            found.append(f"{way}: {error}")
            continue
        for name, given in bound.arguments.items():
            # a parameter that is there under its own name, too, may stand at the place of another
            if isinstance(given, str) and given != name and given not in signature.parameters and not several:
                found.append(f"{way}: {given} is taken as {name}")
    return found


def of_all(signature: inspect.Signature, overloads: list[list[Parameter]]) -> list[str]:
    """What is otherwise in every overload that has the parameter: its default, and whether it is given by name only."""
    found = []
    for name, ours in signature.parameters.items():
        theirs = [p for one in overloads for p in one if p.name == name]
        defaults = [p.default for p in theirs if p.default is not NONE_GIVEN and p.default is not ...]
        if defaults and ours.default is not NONE_GIVEN and not any([same(d, ours.default) for d in defaults]):
            found.append(f"default of {name}: {defaults[0]!r}, not {ours.default!r}")
        if theirs and not any([p.by_position for p in theirs]) and (
                ours.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD):
            found.append(f"{name} is to be given by name only")
    return found


MEANS = {"None": ("False", "()", "1", "0.0", "True"), "()": ("None",), "False": ("None",), "1": ("None",),
         "True": ("None",)}
"""Defaults that stand for others: ``std(unbiased=None)`` for True, ``trapezoid(dx=None)`` for 1."""


def same(theirs: Any, ours: Any) -> bool:
    """Whether two defaults mean the same."""
    return theirs == ours or str(ours) in MEANS.get(str(theirs), ())


def differences(ours: Any, overloads: list[list[Parameter]], method: bool) -> list[str]:
    signature = inspect.signature(ours)
    found = []
    for theirs in overloads:
        names = getattr(ours, "also", {})
        known = [p._replace(name=names.get(p.name, p.name)) for p in theirs
                 if p.name not in ("out_dtype", "names") and not (method and p.name == "out")]
        for problem in problems(signature, known, method):
            found.append(f"({', '.join([p.name for p in theirs])}) {problem}")
    return list(dict.fromkeys([*found, *of_all(signature, overloads)]))


def cases() -> dict[str, tuple[Any, list[list[Parameter]], bool]]:
    found: dict[str, tuple[Any, list[list[Parameter]], bool]] = {}
    for name, overloads in stubs("_VariableFunctions.pyi", None).items():
        theirs, ours = getattr(torch, name, None), names.find(name)
        if inspect.isfunction(ours):
            found[name] = (ours, of_python(theirs, False) if inspect.isfunction(theirs) else overloads, False)
    for name in dir(torch):
        theirs, ours = getattr(torch, name), FUNCTIONS.get(name)
        if name not in found and inspect.isfunction(theirs) and inspect.isfunction(ours) and not name.startswith("_"):
            found[name] = (ours, of_python(theirs, False), False)
    for name, overloads in stubs("__init__.pyi", "TensorBase").items():
        theirs = getattr(torch.Tensor, name, None)
        ours = getattr(Tensor, name, None)
        if inspect.isfunction(ours):
            found[f"Tensor.{name}"] = (ours, of_python(theirs, True) if inspect.isfunction(theirs) else overloads, True)
    for name in dir(torch.nn.functional):
        theirs, ours = getattr(torch.nn.functional, name), getattr(F, name, None)
        if not name.startswith("_") and inspect.isfunction(theirs) and inspect.isfunction(ours):
            try:
                inspect.signature(theirs)
            except ValueError:
                continue
            if "args" not in inspect.signature(theirs).parameters:
                found[f"F.{name}"] = (ours, of_python(theirs, False), False)
    return found


LEFT_OUT = {
    "tensor": "its arguments are given by name only in PyTorch, whatever the stub file says",
    "Tensor.new_tensor": "as tensor", "Tensor.new": "PyTorch's constructor of long ago",
    "Tensor.requires_grad_": "PyTorch calls its argument requires_grad, the stub file mode",
    "linspace": "steps has no default in PyTorch", "logspace": "as linspace",
    "rsub": "alpha is given by name for Tensors", "subtract": "as rsub", "Tensor.subtract": "as rsub",
    "Tensor.subtract_": "as rsub", "result_type": "a scalar beside a tensor, both by name",
    **dict.fromkeys(("lu", "meshgrid", "unique", "unique_consecutive"), "any number of arguments in PyTorch's"),
    **dict.fromkeys(("hspmm", "sspaddmm"), "sparse results are not written into others"),
    **dict.fromkeys(("rrelu", "rrelu_"), "the numbers come from the default generator only"),
    **dict.fromkeys(("set_num_threads", "set_num_interop_threads"), "by position only, whatever the stub file says"),
    "spmm": "torch.sparse.mm, which calls its first argument otherwise",
    "repeat_interleave": "repeats alone, by name",
}
"""What is otherwise, and why."""

CASES = {name: case for name, case in cases().items() if name not in LEFT_OUT}


@pytest.mark.parametrize("name", CASES)
def test_signature(name: str) -> None:
    ours, overloads, method = CASES[name]
    found = differences(ours, overloads, method)
    assert not found, "\n".join(found)


def test_enough_is_compared_and_nothing_is_left_out_in_vain() -> None:
    assert len(CASES) > 850
    for name in LEFT_OUT:
        ours, overloads, method = cases()[name]
        assert differences(ours, overloads, method), name


def test_a_difference_is_found() -> None:
    def wrong(self: Any, dim: Any, keepdim: bool = True) -> None:
        """Another order, and another default."""

    theirs = [[Parameter("keepdim", True, True, False), Parameter("dim", False, True, None)]]
    found = differences(wrong, theirs, True)
    assert any("default of keepdim: False, not True" in line for line in found)
    assert any("dim is to be given by name only" in line for line in found)
    assert any("unexpected" in line or "multiple" in line or "missing" in line for line in found)
