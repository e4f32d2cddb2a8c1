"""Stage: tests. In: a statement of the reference's run, or what it makes. Out: the same as it would be if the reference
did what is done here: copies in place of conjugates, results in row-major order, other kernels of its own.
Next: ``histories.py``."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tools.fuzz.failure import GUARD, shared
from tools.fuzz.loops import NAME
from tools.fuzz.program import Change, has_gradient, step
from tools.fuzz.slopes import WIDE
from tools.fuzz.ties import by_place


def _plain(value: Any, variables: dict[str, Any]) -> Any:
    """A conjugate or a negative that shares memory becomes one of its own."""
    return value.resolve_conj().resolve_neg() if hasattr(value, "resolve_conj") else value


def _row_major(value: Any, variables: dict[str, Any]) -> Any:
    """A result with memory of its own gets it in row-major order."""
    if not hasattr(value, "untyped_storage") or value.stride() == value.new_empty(value.shape).stride():
        return value
    memory = value.untyped_storage().data_ptr()
    if any(other is not value and hasattr(other, "untyped_storage") and other.untyped_storage().data_ptr() == memory
           for other in variables.values()):
        return value
    if value._is_view():
        return value.contiguous()
    value.data = value.new_empty(value.shape).copy_(value.data)  # of one element it may be contiguous, and have gaps
    return value


def _untracked(value: Any, variables: dict[str, Any]) -> Any:
    """A view made under no_grad requires no gradient."""
    made = hasattr(value, "requires_grad") and value.requires_grad and value.grad_fn is None and value._is_view()
    if not made:
        return value
    plain = value.detach()
    plain.tracked = value
    return plain


def _as_views(line: str, variables: dict[str, Any], scope: dict[str, Any]) -> Callable[[str], None]:
    """Where such a view is written, it is the view."""
    found = WRITTEN.match(line)
    name = "" if found is None else found[1] or found[2]
    plain: Any = variables.get(name)
    if not hasattr(plain, "tracked"):
        return lambda raised: None
    variables[name] = plain.tracked

    def back(raised: str) -> None:
        if raised or line.startswith("with L.no_grad()"):
            variables[name] = plain

    return back


def _alone(line: str, variables: dict[str, Any], scope: dict[str, Any]) -> Callable[[str], None]:
    """A view whose data is replaced is none any longer, but keeps its history."""
    found, guard = REPLACED.match(line), GUARD.match(line)
    view: Any = None if found is None else variables.get(found[1])
    runs = guard is None or eval(guard[1], scope)  # the program is our own text
    if found is not None and runs and hasattr(view, "_is_view") and view._is_view():
        variables[found[1]] = view.clone()
    return _as_views(line, variables, scope)


def _without_gradients(line: str, variables: dict[str, Any]) -> None:
    """What cannot have a gradient, since it is no float, requires none."""
    for value in variables.values():
        if hasattr(value, "is_complex") and not (value.is_floating_point() or value.is_complex()):
            with suppress(RuntimeError):  # some must not be asked; views are not detached in place
                if value.requires_grad:
                    value.detach_()


REPLACED = re.compile(r"(?:(?:with|if) .*?: )?(v\d+)\.data = ")
WRITTEN = re.compile(r"(?:(?:with|if) .*?: )?(?:L\.\w+\(.*out=(v\d+)\)$"
                     r"|(v\d+)(?:\.(?!requires_grad_)\w+_\(|\[.* [-+*]?= ))")


def _from_copies(line: str, variables: dict[str, Any], scope: dict[str, Any]) -> Callable[[str], None]:
    """What is written comes from operands that do not change meanwhile: the statement runs on copies, too, and what
    they get is written."""
    found = WRITTEN.match(line)
    name = "" if found is None else found[1] or found[2]
    target: Any = variables.get(name)
    others = [variables[other] for other in NAME.findall(line) if other in variables and other != name]
    if not hasattr(target, "untyped_storage") or not any(
            shared(target, other) for other in others):
        return lambda raised: None
    copies = {other: value.detach().clone() if hasattr(value, "untyped_storage") else value
              for other, value in variables.items()}
    failed = step(line, scope, copies)

    def write(raised: str) -> None:
        with suppress(RuntimeError):  # its elements share memory
            if not raised and not failed:
                target.data.copy_(copies[name])

    return write


def _whole(line: str, variables: dict[str, Any], scope: dict[str, Any]) -> Callable[[str], None]:
    """What a statement that raises has written is taken back."""
    found = WRITTEN.match(line)
    target: Any = None if found is None else variables.get(found[1] or found[2])
    if not hasattr(target, "untyped_storage"):
        return lambda raised: None
    before = target.detach().clone()

    def restore(raised: str) -> None:
        with suppress(RuntimeError):  # its elements share memory, or it has another shape
            if raised:
                target.data.copy_(before)

    return restore


UNARY = re.compile(r"(= |lambda t: \(?)(L\.(?:nn\.functional\.|special\.)?\w+|slopes\.(?:gelu|" + "|".join(WIDE)
                   + r"))\((v\d+|t)\)(?=$|[),])")
KRON = re.compile(r"L\.kron\((v\d+|t), ")
RESPONSE = re.compile(r"(local_response_norm\((?:v\d+|t)(?:\[[^]]*\])?), ")
VIEWED = re.compile(r"= (?:L\.nn\.functional\.(?:max_pool1d|avg_pool1d|linear)\(|v\d+\.repeat_interleave\().*\)$")
HOOK = re.compile(r"lambda g: g\.mul_\(2\)")
BY_SLOPES = re.compile(r"(= |lambda t: \(?)L\.(?:special\.|nn\.functional\.)?"
                       r"(digamma|lgamma|log_ndtr|sinc|mish|gelu|logit|copysign|atan2|hypot|xlog1py|angle|sgn"
                       r"|cosine_similarity|conv1d|pow|normalize|local_response_norm|renorm|" + "|".join(WIDE) + r")\(")
WITH_GRAPH = re.compile(r"= L\.autograd\.grad\((.*), create_graph=True, allow_unused=True\)\[0\]$")
SPREAD = re.compile(r"= (v\d+)\.std\((.*)\)$")
LOGS = re.compile(r"= (v\d+)\.logcumsumexp\((-?\d+)\)")
NORM = re.compile(r"L\.nn\.functional\.layer_norm\((v\d+|t), \1\.shape\[-1:\]\)")
COMPARED = re.compile(r"\.(lt|le|gt|ge|eq|ne)_\((.*)\)$")


def _by_other_kernels(line: str) -> str:
    for pattern, text in ((BY_SLOPES, r"\1slopes.\2("), (WITH_GRAPH, r"= slopes.gradient(\1)[0]"),
                          (SPREAD, r"= slopes.std(\1, \2)"), (LOGS, r"= running_logs(\1, \2)"),
                          (NORM, r"standardised(\1)"), (UNARY, r"\1one_by_one(\2, \3)")):
        line = pattern.sub(text, line)
    return by_place(line)


def _as_new(line: str, variables: dict[str, Any], scope: dict[str, Any]) -> Callable[[str], None]:
    """A leaf that gets another shape in place is a new one: the tape has not seen it."""
    found = WRITTEN.match(line)
    name = "" if found is None else found[2]
    leaf: Any = variables.get(name)
    if not hasattr(leaf, "untyped_storage") or not has_gradient(leaf) or not leaf.is_leaf:
        return lambda raised: None
    shape = leaf.shape

    def renew(raised: str) -> None:
        grad = leaf.grad
        if leaf.shape != shape and (grad is None or grad.shape == leaf.shape):
            variables[name] = new = leaf.detach().requires_grad_()
            new.grad = grad

    return renew


def _apart(line: str, variables: dict[str, Any]) -> None:
    """After a backward no two gradients are in the same memory."""
    if ".backward(" in line:
        for value in variables.values():
            if hasattr(value, "requires_grad") and has_gradient(value) and value.grad is not None:
                value.grad = value.grad.clone()


COPIES = Change(made=_plain)
UNREFUSED = Change(lambda line: KRON.sub(r"L.kron(\1.contiguous(), ", line), before=_as_new)
READ_BEFORE = Change(lambda line: HOOK.sub("lambda g: g.clone().mul_(2)", line), after=_apart, before=_from_copies)
UNTRACKED = Change(lambda line: COMPARED.sub(r".\1_(detached(\2))", line), _untracked, _without_gradients, _alone)
UNWRITTEN = Change(before=_whole)
ROW_MAJOR = Change(lambda line: VIEWED.sub(r"\g<0>.clone()", RESPONSE.sub(r"\1.contiguous(), ", line)), _row_major)
OTHER_KERNELS = Change(_by_other_kernels)
OTHER_SLOPES = Change(lambda line: BY_SLOPES.sub(r"\1slopes.\2(", line))
