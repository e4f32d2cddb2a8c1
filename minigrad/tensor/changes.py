"""Stage: front. In: a Tensor that is to be changed in place. Out: PyTorch's error where it may not be, because of what
the tape knows of it; and its retained gradient, moved to its new history.
Next: ``history.py``."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any

from minigrad.autograd.mode import mode
from minigrad.autograd.node import Edge
from minigrad.graph.strides import contiguous_strides
from minigrad.tensor.entry import PUT
from minigrad.tensor.replay import Trace
from minigrad.tensor.storage import Storage
from minigrad.tensor.view import REPEATED, SEVERAL, View

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def check_in_place(self: Tensor) -> None:
    """``RuntimeError`` for a leaf that requires a gradient, or a view of one, while the tape records, and outside
    inference mode for what was made inside."""
    if mode.enabled is None:
        return
    if mode.enabled:
        _check_tape(self)
    if is_inference(self):
        raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not allowed.You can make a "
                           "clone to get a normal tensor before doing inplace update.See "
                           "https://github.com/pytorch/rfcs/pull/17 for more details.")


def _check_tape(self: Tensor) -> None:
    """The part of ``check_in_place`` that asks what the tape knows."""
    if (spec := self._spec) is not None and spec.view is None:  # the result of an op, which is no leaf and no view
        return
    view = self._view
    if view is not None and not view.cut and (not view.enabled or view.differentiable) and (
            view.find_root()._requires_grad):
        _check_base(self, view)
    if self._source() is None:
        return
    check_view(self, "is being modified inplace")
    if type(self._edge) is not tuple:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if view is not None and view.differentiable and type(view.find_root()._edge) is not tuple:  # a leaf, or it was one
        raise RuntimeError(_OF_LEAF)


def is_inference(tensor: Tensor) -> bool:
    """Whether the memory behind a Tensor was made in inference mode."""
    if tensor._spec is None:
        return tensor._storage.edits < 0
    root = _root(tensor)
    if isinstance(root, Storage):
        return root.edits < 0
    trace, slot = root
    return bool(trace.specs[slot].enabled is None)


def _check_base(self: Tensor, view: View) -> None:
    """``RuntimeError`` for a view of a leaf that requires a gradient, or one that was made where nothing is recorded
    of what does."""
    check_made(view)
    if view.differentiable and _begin(view) is None:
        check_view(self, "is being modified inplace")
        if type(view.find_root()._edge) is not tuple:
            raise RuntimeError(_OF_LEAF)


def _begin(view: View | None) -> View | None:
    """The first view above that the tape does not know, if it is one to PyTorch."""
    while view is not None and view.differentiable:
        view = view.above
    return None if view is None or view.cut else view


def check_made(view: View) -> None:
    """``RuntimeError`` for a view that was made where nothing is recorded, or a view of such a one."""
    above = _begin(view)
    if above is not None and not above.enabled:
        where, block = ("inference", "inference_mode") if above.enabled is None else ("no_grad", "no_grad")
        usual = "in normal mode" if above.enabled is None else "with grad mode enabled"
        name = view.kind.removesuffix("Backward0")
        made = "A view was" if above is view else f"Output 0 of {name} is a view of a view which was"
        raise RuntimeError(f"{made} created in {where} mode and is being modified inplace {usual}. "
                           "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
                           f"your code by moving both the view and the inplace either both inside the {block} block "
                           "(if you don't want the inplace to be tracked) or both outside (if you want the inplace to "
                           "be tracked).")


_OF_LEAF = "a view of a leaf Variable that requires grad is being used in an in-place operation."


def check_view(tensor: Tensor, what: str) -> None:
    """``RuntimeError`` for one of several views made by one call, or a view of such a one."""
    view = tensor._view
    while view is not None and view.differentiable:
        if view.kind in SEVERAL:
            kind = tensor._view.kind.removesuffix("Backward0")  # type: ignore[union-attr]
            raise RuntimeError(f"Output 0 of {kind} is a view and {what}. This view is the output of a function that "
                               "returns multiple views. Such functions do not allow the output views to be modified "
                               "inplace. You should replace the inplace operation by an out-of-place one.")
        view = view.above


def move_retained(tensor: Tensor, old: Edge, new: Edge) -> None:
    """A Tensor that retains its gradient has another history: it is the gradient of what it is now."""
    if type(old) is not tuple or old[0].extra is None:
        return
    reference = old[0].extra.retained.get(old[1])
    if reference is not None and reference() is tensor and type(new) is tuple:
        del old[0].extra.retained[old[1]]
        new[0].more().retained[new[1]] = reference


# --- as a call of the trace


def may_stand(trace: Trace, t: Tensor, value: Tensor) -> bool:
    """Whether a result that is changed in place may stand for the value that it takes: both are results of the trace,
    not computed yet, and the tape of the value is all that there is of it afterwards."""
    if value._tag != trace.tag or mode.enabled is None or mode.mutation or mode.duals:
        return False
    slot, now = t._slot, value._slot
    was, new = trace.specs[slot], trace.specs[now]
    if was is None or new is None or was.view is not None or new.view is not None or was.enabled is None:
        return False
    if new.requires_grad < was.requires_grad or trace.holders[slot]() is not t or trace.holders[now]() is not value:
        return False
    computed = trace.values[slot]
    return slot != now and slot not in trace.filled and (computed is None or computed.buffer is None)


def is_seen_once(trace: Trace, slot: int) -> bool:
    """Whether nothing but one result shows its memory."""
    return not any([entry.body is None and entry.view != PUT and slot in entry.operands for entry in trace.path])


# --- operands that lie where the result is to go

OVERLAP = dict.fromkeys(("addmm", "addmv", "addbmm", "baddbmm", "masked_fill", "masked_scatter", "renorm"))
"""What PyTorch's ops do about operands in the memory that they write. None: nothing. False: they refuse one that covers
a part of it, or all in another order; that is so for those that work element by element. True: any."""
OVERLAP |= dict.fromkeys(("gather", "index_add", "index_copy", "index_put", "index_reduce", "index_select", "kthvalue",
                          "put", "scatter", "scatter_add", "scatter_reduce", "take", "cat"), True)
OVERLAP |= dict.fromkeys(("where", "maximum", "minimum", "fmax", "fmin"), False)

_SHARED = ("unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
           "memory location. Please clone() the tensor before performing the operation.")


def check_overlap(target: Tensor, operands: Iterable[Any], entirely: bool | None = False,
                  expanded: bool = False) -> None:
    """``RuntimeError`` for a Tensor to be written some of whose elements are elements of an operand; ``entirely``: also
    if all of them are, in their places, as those of ``detach()``. Only windows without gaps are looked at, as in
    PyTorch. ``expanded``: operands are brought to the target's shape first, and have gaps if elements were repeated for
    that."""
    if entirely is None:
        return
    for x in operands:
        if x is target:
            if entirely:
                raise RuntimeError(_SHARED)
        elif type(x) in (tuple, list):
            check_overlap(target, x, entirely)
        elif isinstance(x, type) or not hasattr(x, "_spec"):
            continue
        elif (entirely or _is_part(x) or _is_part(target)) and _root(x) == _root(target):
            shape = target._shape()
            a, b = _range(x, shape) if expanded and x._shape() != shape else _range(x), _range(target)
            if a is not None and b is not None and a[0] < b[1] and b[0] < a[1] and (entirely or a != b):
                raise RuntimeError(_SHARED)


def is_itself(view: Tensor, value: Tensor) -> bool:
    """Whether a value is this very view of this very memory, for gradients too."""
    if view._spec is not None or value._spec is not None:
        return False  # a shell would have to be computed to say
    a, b = view._view, value._view
    return (a is not None and b is not None and view._storage is value._storage and a.base is b.base
            and a.differentiable == b.differentiable and a.dtype is b.dtype
            and (a.shape, a.strides, a.offset) == (b.shape, b.strides, b.offset))


def check_distinct(target: Tensor) -> None:
    """``RuntimeError`` if elements of a Tensor to be written are one in memory because it was expanded."""
    if repeated(target):
        raise RuntimeError(REPEATED)


def repeated(tensor: Tensor) -> tuple[int, ...]:
    """The axes along which all elements are one in memory; none if there are no elements."""
    known = tensor._view if (spec := tensor._spec) is None else spec
    if known is None or not known.strides or 0 not in known.strides or 0 in known.shape:
        return ()
    return tuple([i for i, (n, step) in enumerate(zip(known.shape, known.strides, strict=True)) if n > 1 and not step])


def _is_part(tensor: Tensor) -> bool:
    return (tensor._view if (spec := tensor._spec) is None else spec.view) is not None


def _root(tensor: Tensor) -> Any:
    """What stands for the memory of a Tensor: its Storage, or the trace and the slot of what will have it."""
    if is_filled(tensor):
        return tensor._storage
    trace: Any = tensor._owner
    slot = trace.root_of(tensor._slot)
    whole = trace.leaf(slot)
    return (trace, slot) if whole is None else whole._storage


def _range(tensor: Tensor, expanded: tuple[int, ...] | None = None) -> tuple[int, int, Any] | None:
    """Where the elements begin and end, in bytes, and their order; None if there are gaps or none at all."""
    known = tensor._view if (spec := tensor._spec) is None else spec
    shape = tensor._shape()
    strides, offset = (None, 0) if known is None else (known.strides, known.offset)
    strides = contiguous_strides(shape) if strides is None else strides
    if expanded is not None:
        if prod(expanded) != prod(shape):
            return None
        for size in reversed(expanded[:len(expanded) - len(shape)]):
            strides = (shape[0] * strides[0] if shape else 0, *strides)
            shape = (size, *shape)
    size, step = tensor.dtype.size, 1
    for stride, n in sorted([(s, n) for s, n in zip(strides, shape, strict=True) if n != 1]):
        if stride != step:
            return None
        step *= n
    return (offset * size, (offset + prod(shape)) * size, strides) if prod(shape) else None


def is_filled(tensor: Tensor) -> bool:
    """Whether the Tensor is no shell, or one that has memory already."""
    owner = None if tensor._spec is None else tensor._owner
    return owner is None or tensor._slot in owner.filled
