"""Stage: recording. In: outputs of a graph. Out: nothing, or a VerifyError that shows the node which breaks the
grammar.
Next: ``host.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from minigrad.dtype import DType, bool_, int64, uint64
from minigrad.errors import VerifyError
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import ELEMENTWISE, REDUCE, REDUCE_OPS, RESULT_TYPES, SCALAR_OPS, Op


def verify(outputs: Sequence[LazyBuffer]) -> None:
    """Check every node against the grammar in ``lazy.py``.

    >>> from minigrad.dtype import float32
    >>> a = LazyBuffer.const(2.0, float32, (3,), "CPU")
    >>> verify([a.binary("ADD", a)])
    >>> verify([LazyBuffer("ADD", (a,), None, (3,), float32, "CPU")])
    Traceback (most recent call last):
    minigrad.errors.VerifyError: ADD takes 2 sources, has 1: ADD (3,) float32 of (3,) float32
    """
    for node in toposort(outputs):
        problem = _problem(node)
        if problem:
            shapes = ", ".join(f"{s.shape} {s.dtype.name}" for s in node.srcs)
            raise VerifyError(f"{problem}: {node.op} {node.shape} {node.dtype.name} of {shapes}")


def _problem(node: LazyBuffer) -> str:
    if any(size < 0 for size in node.shape):
        return "a size is negative"
    if node.op in ELEMENTWISE:
        return _elementwise(node)
    if node.op in REDUCE:
        return _reduce(node)
    if node.op in (Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.PAD, Op.SHRINK, Op.FLIP, Op.STRIDE, Op.WINDOW):
        return _movement(node)
    if node.op == Op.SCAN:
        return _not_for(node.arg[0], node.srcs[0].dtype)
    if node.op in (Op.GATHER, Op.SCATTER):
        return _indexed(node)
    if node.op == Op.LOOP:
        return _loop(node)
    if node.op == Op.RANDOM_BITS and (node.srcs[0].shape, node.srcs[0].dtype) != ((), uint64):
        return "the key is one uint64"
    if node.op in (Op.SCALAR,) and node.shape != ():
        return "a SCALAR has shape ()"
    return ""


def _loop(node: LazyBuffer) -> str:
    loop, params = node.arg, node.arg.body.params
    if len(node.srcs) != len(params):
        return "a source for each param of the body"
    rows = range(loop.states, loop.states + loop.sequences)
    for i, (source, param) in enumerate(zip(node.srcs, params, strict=True)):
        shape = (loop.steps, *param.shape) if i in rows else param.shape
        if source.shape != shape or source.dtype is not param.dtype:
            return "sources are like the body's params, sequences with a row for each step"
    if any((o.shape, o.dtype) != (p.shape, p.dtype) for o, p in zip(loop.body.outputs[:loop.states], params)):
        return "a state keeps its shape and dtype"
    return "" if loop.steps > 0 else "a loop has steps"


def _elementwise(node: LazyBuffer) -> str:
    row, srcs = SCALAR_OPS[node.op], node.srcs
    if len(srcs) != row.arity:
        return f"{node.op} takes {row.arity} sources, has {len(srcs)}"
    if node.op == Op.BITCAST and (srcs[0].dtype.is_complex or node.dtype.is_complex):
        fits = prod(srcs[0].shape) * srcs[0].dtype.size == prod(node.shape) * node.dtype.size
        return "" if node.arg is node.dtype and fits else "a BITCAST keeps the bytes"
    if any(s.shape != node.shape for s in srcs):
        return "operands have one shape"
    if node.op in (Op.CAST, Op.BITCAST):
        fits = node.op == Op.CAST or srcs[0].dtype.size == node.dtype.size
        return "" if node.arg is node.dtype and fits else "the argument is the result's dtype"
    operands = srcs[1:] if node.op == Op.WHERE else srcs
    if node.op == Op.WHERE and srcs[0].dtype is not bool_:
        return "the condition is bool"
    if any(s.dtype is not operands[0].dtype for s in operands):
        return "operands have one dtype"
    if operands[0].dtype.kind not in row.kinds:
        return f"{node.op} is not for {operands[0].dtype.name}"
    expected = RESULT_TYPES.get(node.op, _same)(operands[0].dtype)
    return "" if node.dtype is expected else f"the result is {expected.name}"


def _same(dtype: DType) -> DType:
    return dtype


def _not_for(reduction: str, dtype: DType) -> str:
    """A reduction is for the dtypes of the op by which it joins; sums of bools are recorded as MAX."""
    fits = dtype.kind in SCALAR_OPS[REDUCE_OPS[reduction].combine].kinds
    return "" if fits else f"{reduction} is not for {dtype.name}"


def _reduce(node: LazyBuffer) -> str:
    source = node.srcs[0]
    wrong = _not_for(node.op, source.dtype)
    if wrong:
        return wrong
    if list(node.arg) != sorted(set(node.arg)) or any(not 0 <= a < len(source.shape) for a in node.arg):
        return "axes are sorted and in range"
    expected = tuple(1 if i in node.arg else s for i, s in enumerate(source.shape))
    return "" if node.shape == expected and node.dtype is source.dtype else "reduced axes keep size 1"


def _movement(node: LazyBuffer) -> str:
    source = node.srcs[0]
    if node.dtype is not source.dtype:
        return "movement keeps the dtype"
    if node.op == Op.RESHAPE:
        return "" if prod(node.shape) == prod(source.shape) == prod(node.arg) else "the number of elements changes"
    if node.op == Op.EXPAND:
        tail = node.shape[len(node.shape) - len(source.shape):]
        fits = len(node.shape) >= len(source.shape) and all(
            a in (1, b) for a, b in zip(source.shape, tail, strict=True))
        return "" if fits else "only axes of size 1 are repeated"
    if node.op == Op.SHRINK:
        fits = all(0 <= b <= e <= s for (b, e), s in zip(node.arg, source.shape, strict=True))
        return "" if fits else "the box lies inside"
    if node.op == Op.PAD:
        return "" if all(p >= 0 for axis in node.arg for p in axis) else "padding is not negative"
    if node.op == Op.PERMUTE:
        return "" if sorted(node.arg) == list(range(len(source.shape))) else "a permutation of the axes"
    expected = source.move(node.op, node.arg).shape if source.buffer is None else node.shape
    return "" if node.shape == expected else "the shape does not follow from the argument"


def _indexed(node: LazyBuffer) -> str:
    k = node.arg if node.op == Op.GATHER else node.arg[0]
    indexes = node.srcs[-k:]
    if any(i.dtype is not int64 or i.shape != indexes[0].shape for i in indexes):
        return "indexes are int64 of one shape"
    region = indexes[0].shape + node.srcs[0].shape[k:]
    held = node.shape if node.op == Op.GATHER else node.srcs[1].shape
    return "" if held == region else "the values have the indexes' shape, then the remaining axes"
