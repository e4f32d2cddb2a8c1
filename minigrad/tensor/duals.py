"""Stage: front. In: Tensors with tangents, while a level of forward mode is open. Out: the tangents of what is computed
from them: a call of ``forward_of`` its body beside each call. Levels nest: a tangent is a Tensor, recorded on the tape
and with tangents of the levels outside its own.
Next: ``replay.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import ref

from minigrad import lazily
from minigrad.autograd.mode import mode
from minigrad.autograd.node import Node, Refusing
from minigrad.autograd.protocol import Front
from minigrad.graph.function import Subgraph
from minigrad.tensor.aliases import plain_view
from minigrad.tensor.base import Duals, made
from minigrad.tensor.function import recorded
from minigrad.tensor.replay import thread

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_next_level = count(1).__next__
_holders: dict[int, list[ref[Any]]] = {}
"""By open level, the Tensors that have a tangent there."""


def open_level() -> int:
    """Begin a level of forward mode, inside those that are open. What follows is not replayed."""
    level = _next_level()
    thread.watch()
    mode.duals = (*mode.duals, level)
    _holders[level] = []
    return level


def close_level(level: int) -> None:
    """End a level: nothing has a tangent there any more."""
    mode.duals = tuple([n for n in mode.duals if n != level])
    mode.watched -= 1
    for reference in _holders.pop(level):
        holder = reference()
        if holder is not None:
            holder.__dict__["_tangents"].pop(level, None)


@contextmanager
def level() -> Iterator[int]:
    """A block inside a level of forward mode.

    >>> import minigrad
    >>> with level() as n:
    ...     x = minigrad.tensor([1.0, 2.0])
    ...     attach(x, n, minigrad.ones(2))
    ...     tangent(x * x, n)
    tensor([2., 4.])
    """
    number = open_level()
    try:
        yield number
    finally:
        close_level(number)


@contextmanager
def within(levels: tuple[int, ...]) -> Iterator[None]:
    """A block in which only these levels are open."""
    before, mode.duals = mode.duals, levels
    try:
        yield
    finally:
        mode.duals = before


def tangent(t: Tensor, level: int) -> Tensor | None:
    """The tangent of a Tensor at a level; that of a view is the view of its base's."""
    view = t._view
    if view is None:
        own = t.__dict__.get("_tangents")
        found: Tensor | None = None if own is None else own.get(level)
        return found
    above = tangent(view.base, level)
    if above is None:
        return None
    found = plain_view(above, view.chain(), view.shape, view.strides, view.offset, view.kind,
                       None if view.dtype is view.base.dtype else view.dtype)
    assert found._view is not None
    found._view.alone = view.alone
    return found


def check(t: Tensor, change: Tensor) -> None:
    """``ValueError`` where a Tensor or what is to be its tangent is of a dtype without derivatives, ``RuntimeError``
    where the two have other shapes."""
    for what, value in (("primal", t), ("tangent", change)):
        if not (value.is_floating_point() or value.is_complex()):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {value.dtype}")
    if t.shape != change.shape:
        raise RuntimeError("Trying to set a forward gradient that has a different size than that of the original "
                           f"Tensor, this is not supported. Tensor is of size {list(t.shape)} while the given "
                           f"forward gradient is of size {list(change.shape)}.")


def attach(t: Tensor, level: int, value: Tensor | None) -> None:
    """Give a Tensor that is no view a tangent, in its dtype, or take it away."""
    own = t.__dict__.setdefault("_tangents", {})
    if value is None:
        own.pop(level, None)
        return
    value = value.to(t.dtype)
    if value._view is not None:
        value = value.clone()
    own[level] = value
    _holders[level].append(ref(t))


def tangents(t: Tensor) -> dict[int, Any]:
    """The tangents of a Tensor at all open levels."""
    found = {n: tangent(t, n) for n in mode.duals}
    return {n: v for n, v in found.items() if v is not None}


def dual(t: Tensor, given: dict[int, Any]) -> None:
    """Give a Tensor tangents by level, of those levels that are still open."""
    for n, value in given.items():
        if n in mode.duals:
            attach(t, n, value)


def without(t: Tensor, level: int) -> Tensor:
    """The Tensor, with its edge, but without the tangent of a level."""
    result = Front.wrap(t._read(), t._source())
    dual(result, {n: v for n, v in tangents(t).items() if n != level})
    return result


def _forward(kind: type[Node], node: Node | None, body: Subgraph, tensors: Sequence[Tensor],
             results: Sequence[Tensor]) -> None:
    """Give the results of a call their tangents, at all levels, the outermost first: those inside may read them.
    ``NotImplementedError`` for an op that PyTorch does not differentiate, as in backward."""
    every = mode.duals
    known: list[dict[int, Any]] = [tangents(t) for t in tensors]
    for i, n in enumerate(every):
        given = [k.get(n) for k in known]
        if all([g is None for g in given]):
            continue
        if issubclass(kind, Refusing) and True in body.flows:
            raise NotImplementedError(f"Trying to use forward AD with aten::{body.name} that does not support it.")
        forward = lazily.module("minigrad.grad.jvp").forward_of(body, tuple([g is not None for g in given]))
        if forward.body is None:
            continue
        values = (*tensors, *results)
        operands = [*[values[r] for r in forward.residuals], *[g for g in given if g is not None]]
        with within(every[:i]):
            found = recorded(kind, forward.body, operands, [o._read() for o in operands])
        for position, value in zip(forward.which, found, strict=True):
            attach(results[position], n, value)
    if node is not None and node.saved:
        held = {r: changes for r in node.whole.residuals
                if (changes := known[r] if r < len(tensors) else tangents(results[r - len(tensors)]))}
        if held:
            node.more().tangents = held


def _adopted(self: Tensor, value: Tensor) -> None:
    """``self`` becomes ``value``, in place: so does its tangent, or that of the part of its base."""
    view = self._view
    for i, n in enumerate(mode.duals):
        new = tangent(value, n)
        if view is None:
            attach(self, n, new)
            continue
        base = view.base
        old = tangent(base, n)
        if new is None and old is None:
            continue
        with within(mode.duals[:i]):
            if old is None:
                old = made(base._read().like(0.0))
                attach(base, n, old)
            part = tangent(self, n)
            assert part is not None
            if new is None:
                part.zero_()
            else:
                part.copy_(new)


Front.forward = staticmethod(_forward)
Front.tangents = staticmethod(tangents)
Front.dual = staticmethod(dual)
Duals.adopted = staticmethod(_adopted)
