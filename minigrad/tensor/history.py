"""Stage: front. In: a view, or a Tensor that was changed in place. Out: its entry on the tape, of an op that only the
tape knows.
Next: ``base.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from minigrad.autograd.node import Edge, Node, kind
from minigrad.autograd.refusals import refusing_some
from minigrad.graph.function import param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.body import Body
from minigrad.tensor.storage import moved
from minigrad.tensor.view import View, write_in_part, write_window

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


class TapeOp:
    """An op that only the tape knows: the value itself comes about in another way."""

    def __init__(self, name: str, compute: Callable[..., LazyBuffer], node: str) -> None:
        self.body, self.node = Body(name, compute), kind(node)

    def __call__(self, values: tuple[LazyBuffer, ...], edges: tuple[Edge, ...], static: tuple[Any, ...] = ()) -> Node:
        """Its entry, for inputs like ``values``. No value is kept: only shapes matter to the gradients."""
        return self.node(self.body.at(values, static), edges, ())


# Fresh contents: no gradient flows to what was there before.
FILL = TapeOp("fill", lambda x: x.like(0.0), "FillBackward0")
COPY_SLICES = TapeOp("copy_slices", write_window, "CopySlices")
COPY_IN_PART = TapeOp("copy_slices", write_in_part, "CopySlices")


def view_edge(view: View, parent: Tensor, source: Edge) -> Edge:
    """A node of its own for the view; gradients go on to ``source``, or to the parent if it is a leaf."""
    source = parent if source is None else source
    whole = parent._pending()
    shaped = whole if parent._view is None else param(0, parent._shape(), whole.dtype, whole.device)
    node = _view_op(view.kind)((shaped,), (source,), (view.steps,))
    if view.sequence > (source[0].sequence if type(source) is tuple else 0):  # else what is behind it was changed
        node.sequence = view.sequence
    return node, 0


@cache
def _view_op(node: str) -> TapeOp:
    return TapeOp("view", moved, node)


# --- another shape that the tape has not seen


def _reshaped(x: LazyBuffer, shape: tuple[int, ...]) -> LazyBuffer:
    return LazyBuffer.const(0.0, x.dtype, shape, x.device)


def _summed(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
            shape: tuple[int, ...]) -> list[LazyBuffer]:
    """The gradient, summed over the axes that are more or longer than before. Others are refused before."""
    old = inputs[0].shape
    added = len(shape) - len(old)
    axes = tuple([i for i, n in enumerate(shape) if i < added or old[i - added] != n])
    return [grads[0].reduce(Op.SUM, axes).reshape(old)]


_UNSEEN = Body("unseen", _reshaped, _summed)


def unseen_by_tape(edge: Edge, shape: tuple[int, ...]) -> Edge:
    """The history of a Tensor that got another shape while nothing was recorded: it is the same. Gradients that cannot
    be brought to the old shape are a ``RuntimeError``."""
    node, number = edge
    before = node.body.outputs[number]
    old, refused = before.shape, None
    if len(old) > len(shape) or any([n not in (1, m) for n, m in zip(old[::-1], shape[::-1], strict=False)]):
        refused = refusing_some(((0, f"Function {node.name()} returned an invalid gradient at index 0 - got "
                                 f"{list(shape)} but expected shape compatible with {list(old)}"),))
        shape = old
    return kind("AliasBackward0", refused)(_UNSEEN.at((before,), (shape,)), (edge,), ()), 0
