"""Stage: realise, tier 0. In: a FUNCTION node. Out: the calls of its body. For a body that comes again with
inputs of the same form they are made as a template; all further calls of it copy that with other addresses.
Next: ``nodes.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minigrad.engine.tier0.builder import LEAVES, MOST_MEMORIES, SHIFT, Builder, Product, View
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

At = dict[LazyBuffer, Any]

_PARAMS = MOST_MEMORIES >> 1
"""Memory numbers that stand for the inputs while a template is made."""

Cell = tuple[int, int]
"""A reference in a template: ``bases[i] + offset``; the bases are 0, the inputs' references, and the first of the
memories that a copy of the template gets."""


@dataclass(slots=True)
class Template:
    """The calls of a body: as in ``Builder``, with cells for references."""

    kernels: list[int]
    records: list[int]
    cells: list[Cell]
    nbytes: list[int]
    outputs: list[Any]


def function(b: Builder, node: LazyBuffer, at: At) -> None:
    """The value of a FUNCTION: its first output. ``b.outputs`` has all of them."""
    body = node.arg
    values: list[Any] = []
    forms: list[bool] = []
    alone = False
    for s in node.srcs:
        value = at[s]
        if value.__class__ is Product:
            value = b.plain(s, at)
        values.append(value)
        forms.append(value.__class__ is int)
        alone = alone or not (forms[-1] or value.strides is None)
    key = (body, *forms)
    template = None if alone else b.templates.get(key)
    if template is None:
        # Most bodies come once. Those that are given views share the copies they need with others. And of those that
        # check indices, each call has status words of its own.
        if alone or key not in b.templates or any([n.op in (Op.GATHER, Op.SCATTER) for n in body.order]):
            b.templates[key] = None
            _set(b, node, at, _run(b, body, values))
            return
        template = b.templates[key] = _template(b, body, values)
    bases = [0, *[v if v.__class__ is int else v.ref for v in values], len(b.nbytes) << SHIFT]
    b.kernels += template.kernels
    b.records += template.records
    b.cells += [bases[i] + offset for i, offset in template.cells]
    b.nbytes += template.nbytes
    _set(b, node, at, [_bound(v, bases) for v in template.outputs])


def output(b: Builder, node: LazyBuffer, at: At) -> None:
    """The value of an OUTPUT."""
    at[node] = b.outputs[node.srcs[0]][node.arg]


def _set(b: Builder, node: LazyBuffer, at: At, outputs: list[Any]) -> None:
    at[node] = outputs[0]
    if len(outputs) > 1:
        b.outputs[node] = outputs
        if b.watching:  # two of them may share memory, which is read until the last OUTPUT has come
            for value in outputs:
                b.keep(node, value)


def _run(b: Builder, body: Any, values: list[Any]) -> list[Any]:
    inside: At = dict(zip(body.params, values, strict=True))
    b.depth += 1
    b.run(body.order, inside)
    b.depth -= 1
    return [inside[o] for o in body.outputs]


def _template(b: Builder, body: Any, values: list[Any]) -> Template:
    """Make the calls of the body with stand-ins for the inputs, and take them back."""
    stand_ins: list[Any] = []
    for i, value in enumerate(values):
        ref = (_PARAMS + i) << SHIFT
        stand_ins.append(ref if value.__class__ is int else View(ref, value.strides))
    kept = b.kernels, b.records, b.cells, b.copies, b.alive
    first, count = len(b.nbytes), len(values)
    b.kernels, b.records, b.cells, b.copies, b.alive = [], [], [], {}, {}
    made = _run(b, body, stand_ins)

    def relative(ref: int) -> Cell:
        memory = ref >> SHIFT
        if memory >= _PARAMS:
            return 1 + memory - _PARAMS, ref - (memory << SHIFT)
        return (0, ref) if memory < LEAVES else (1 + count, ref - (first << SHIFT))

    template = Template(b.kernels, b.records, [relative(r) for r in b.cells], b.nbytes[first:],
                        [_unbound(v, relative) for v in made])
    b.kernels, b.records, b.cells, b.copies, b.alive = kept
    del b.nbytes[first:]
    return template


def _unbound(value: Any, relative: Any) -> Any:
    if value.__class__ is int:
        return relative(value)
    if value.__class__ is View:
        return View(relative(value.ref), value.strides)
    return Product(_unbound(value.a, relative), _unbound(value.b, relative))


def _bound(value: Any, bases: list[int]) -> Any:
    """A value of the template for one call: ``_unbound`` put cells in place of references."""
    if value.__class__ is tuple:
        return bases[value[0]] + value[1]
    if value.__class__ is View:
        cell: Any = value.ref
        return View(bases[cell[0]] + cell[1], value.strides)
    return Product(_bound(value.a, bases), _bound(value.b, bases))
