"""Stage: front. In: a Tensor that is to be changed in place. Out: PyTorch's error where it may not be, because of what
the tape knows of it; and its retained gradient, moved to its new history.
Next: ``base.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.autograd.mode import mode
from minigrad.autograd.node import Edge
from minigrad.tensor.view import View

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def check_in_place(self: Tensor) -> None:
    """``RuntimeError`` for a leaf that requires a gradient, or a view of one, while the tape records."""
    if not mode.enabled:
        return
    view = self._view
    if view is not None and (view.quiet or view.differentiable) and view.base._requires_grad:
        _check_base(self, view)
    if self._source() is None:
        return
    check_view(self, "is being modified inplace")
    if self._edge is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def _check_base(self: Tensor, view: View) -> None:
    """``RuntimeError`` for a view of a leaf that requires a gradient, or one that was made where nothing is recorded
    of what does."""
    above: View | None = view
    while above is not None and above.differentiable:
        above = above.parent._view
    if above is not None and above.quiet:
        name = view.kind.removesuffix("Backward0")
        made = "A view was" if above is view else f"Output 0 of {name} is a view of a view which was"
        raise RuntimeError(f"{made} created in no_grad mode and is being modified inplace with grad mode enabled. "
                           "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
                           "your code by moving both the view and the inplace either both inside the no_grad block "
                           "(if you don't want the inplace to be tracked) or both outside (if you want the inplace to "
                           "be tracked).")
    if view.differentiable and above is None:
        check_view(self, "is being modified inplace")
        if view.base._edge is None:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


SEVERAL = ("SplitBackward0", "SplitWithSizesBackward0", "UnbindBackward0")
"""Views that come several at a time. They may not be changed in place where the tape records it."""


def check_view(tensor: Tensor, what: str) -> None:
    """``RuntimeError`` for one of several views made by one call, or a view of such a one."""
    view = tensor._view
    while view is not None and view.differentiable:
        if view.kind in SEVERAL:
            kind = tensor._view.kind.removesuffix("Backward0")  # type: ignore[union-attr]
            raise RuntimeError(f"Output 0 of {kind} is a view and {what}. This view is the output of a function that "
                               "returns multiple views. Such functions do not allow the output views to be modified "
                               "inplace. You should replace the inplace operation by an out-of-place one.")
        view = view.parent._view


def move_retained(tensor: Tensor, old: Edge, new: Edge) -> None:
    """A Tensor that retains its gradient has another history: it is the gradient of what it is now."""
    if type(old) is not tuple or old[0].extra is None:
        return
    reference = old[0].extra.retained.get(old[1])
    if reference is not None and reference() is tensor and type(new) is tuple:
        del old[0].extra.retained[old[1]]
        new[0].more().retained[new[1]] = reference
