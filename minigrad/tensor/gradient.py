"""Stage: front. In: a Tensor. Out: its side that autograd sees: ``backward``, ``grad``, ``requires_grad``, ``grad_fn``,
``detach`` and hooks. What happens in a backward stands in ``autograd/``.
Next: ``inplace.py``."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.backward import run as run_backward
from minigrad.autograd.mode import mode
from minigrad.autograd.node import RemovableHandle
from minigrad.engine import leaf_from_numpy, realise
from minigrad.ops import Op
from minigrad.ops import cast as cast_array
from minigrad.runtime.device import in_host_memory
from minigrad.runtime.locks import record_lock
from minigrad.tensor import points
from minigrad.tensor.aliases import alias, plain_view
from minigrad.tensor.base import AnyTensor, LeafHooks, apart_of, awaken, count_apart
from minigrad.tensor.changes import is_inference
from minigrad.tensor.definition import become, both
from minigrad.tensor.leaving import leave_trace
from minigrad.tensor.promotion import c_name, type_name
from minigrad.tensor.storage import Storage

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def born(storage: Storage) -> None:
    """Make a pending value real; a constant is filled in without a kernel."""
    lazy = storage.lazy
    if lazy.op != Op.CONST:
        realise([lazy])
        return
    with in_host_memory():
        array = np.full(lazy.shape, cast_array(np.asarray(lazy.arg), lazy.dtype), lazy.dtype.numpy)
        value = leaf_from_numpy(array, lazy.dtype, lazy.device)
    with record_lock:
        if storage.lazy is lazy:  # else another thread was faster
            storage.write(value)
            storage.version -= 1


class Autograd:
    """Gradients: what they flow to, where they arrive, and what sees them on the way."""

    __slots__ = ()

    def backward(self: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None,
                 create_graph: bool = False, inputs: Any = None) -> None:
        """Add the gradient of self (one element, or with the ``gradient`` to start from) to the ``.grad`` of its
        leaves.

        >>> import minigrad
        >>> x = minigrad.tensor(3.0, requires_grad=True)
        >>> (x * x).backward()
        >>> x.grad
        tensor(6.)
        """
        plain = gradient is None and not retain_graph and not create_graph and inputs is None
        if plain and not mode.anomaly:
            points.backward(self)
        else:
            run_backward((self,), (gradient,), retain_graph, create_graph, inputs)

    @property
    def grad(self: Tensor) -> Tensor | None:
        """The gradient that ``backward`` added up, or None."""
        gradient = self._grad
        if gradient is None and self._requires_grad and self._edge is not None and not self.retains_grad:
            warnings.warn("The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                          "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                          "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                          "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead.",
                          stacklevel=2)
        return gradient

    @grad.setter
    def grad(self: Tensor, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, AnyTensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type "
                                f"{type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._shape() != self._shape():
                raise RuntimeError(f"attempting to assign a gradient of size '{list(value._shape())}' to a tensor of "
                                   f"size '{list(self._shape())}'. Please ensure that the gradient and the tensor are "
                                   "the same size")
            if value._pending().device != self._pending().device:
                raise RuntimeError(f"attempting to assign a gradient with device type '{value.device}' to a tensor "
                                   f"with device type '{self.device}'. Please ensure that the gradient and the tensor "
                                   "are on the same device")
            if value.dtype is not self.dtype:
                raise RuntimeError("attempting to assign a gradient with dtype "
                                   f"'{c_name(value.dtype)}' to a tensor with grad_dtype "
                                   f"'{type_name(self.dtype)}'. The gradient must match the tensor's dtype")
        self._grad = value

    @grad.deleter
    def grad(self: Tensor) -> None:
        self._grad = None

    # --- what gradients flow to

    @property
    def requires_grad(self: Tensor) -> bool:
        """Whether gradients are computed for it."""
        spec = self._spec
        return self._tracked() if spec is None else spec.requires_grad

    @requires_grad.setter
    def requires_grad(self: Tensor, value: bool) -> None:
        self.requires_grad_(value)

    @requires_grad.deleter
    def requires_grad(self: Tensor) -> None:
        raise RuntimeError("requires_grad must be a bool")

    def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
        """Say whether gradients are computed for this leaf. Its value is computed now if it was pending, so that a
        training loop has the same plan from its first step on.

        ``RuntimeError`` for dtypes without gradients and for Tensors that are not leaves.
        """
        if self._spec is not None:
            awaken(self)
        if self._source() is not None and self._edge is not None:
            if not requires_grad:
                raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a "
                                   "computed variable in a subgraph that doesn't require differentiation use "
                                   "var_no_grad = var.detach().")
            return self
        if requires_grad and mode.enabled is not None and is_inference(self):
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        if requires_grad and self.dtype.kind not in "fc":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        view = self._view
        if view is not None and view.differentiable:
            view.leaf, view.history = True, self._storage.history
        if requires_grad and self._storage.lazy.buffer is None and self._storage.lazy.op != Op.PARAM:
            born(self._storage)
        if self._requires_grad != requires_grad:
            leave_trace(self, "requires_grad of a tensor was changed")
        self._requires_grad, self._tag, self._look = bool(requires_grad), 0, None
        return self

    @property
    def grad_fn(self: Tensor) -> Any:
        """The tape node that made this Tensor; None for a leaf."""
        edge = self._source()
        return edge[0] if type(edge) is tuple else None

    @property
    def is_leaf(self: Tensor) -> bool:
        """Whether no recorded op made this Tensor."""
        return self.grad_fn is None

    @property
    def output_nr(self: Tensor) -> int:
        """Which output of its ``grad_fn`` this is."""
        edge = self._source()
        return edge[1] if type(edge) is tuple else 0

    # --- outside autograd

    @both("detach")
    def detach(self: Tensor) -> Tensor:
        """The same memory outside autograd."""
        return alias(self)

    def detach_(self: Tensor) -> Tensor:
        """Forget how self was computed."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using "
                               "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
                               "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
                               "these gradients.")
        leave_trace(self, "a tensor was detached in place")
        view = self._view
        if view is not None and view.alone:
            become(self, plain_view(self, (), view.shape, view.strides, view.offset, view.kind))
            self._view.differentiable = False  # type: ignore[union-attr]
        elif self._requires_grad:  # views taken before stay as they are
            edge = self if self._edge is None else self._edge
            self._storage.former = weakref.ref(self), self._storage.history, edge
            self._storage.history += 1
        self._edge = self._spec = self._look = None
        self._requires_grad, self._tag = False, 0
        return self

    @property
    def data(self: Tensor) -> Tensor:
        """The same memory outside autograd; assigning replaces it. The tape does not see that it is written, so
        ``backward`` reads the new value without a word where it needs one."""
        return alias(self, "data")

    @data.setter
    def data(self: Tensor, value: Tensor) -> None:
        if not isinstance(value, AnyTensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and value.dtype.kind not in "fc":
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        leave_trace(self, "the data of a tensor was replaced")
        self._source()  # finds the edge of a view, which it is no longer
        counter = apart_of(self) or self._storage.counter
        self._become(value.detach())
        if counter is not None:  # ops whose backward reads self go on seeing its changes, and none of the value's
            count_apart(self, counter)

    @data.deleter
    def data(self: Tensor) -> None:
        raise RuntimeError("Deleting tensor data is not allowed. Delete tensor instead!")

    # --- hooks and retained gradients

    def _leaf_hooks(self: Tensor) -> LeafHooks:
        found = self._hooks
        if found is None:
            found = self._hooks = LeafHooks()
        return found

    def retain_grad(self: Tensor) -> None:
        """Keep the gradient of a Tensor that is no leaf in its ``.grad``, too."""
        source = self._source()
        if source is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._edge is not None:
            node, number = self._edge
            node.more().retained[number] = weakref.ref(self)

    @property
    def retains_grad(self: Tensor) -> bool:
        """Whether ``retain_grad`` was asked for."""
        if self._source() is None or self._edge is None:
            return False
        node, number = self._edge
        return node.extra is not None and number in node.extra.retained

    def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """``hook(grad)`` sees the gradient of self in each backward and may return another. The handle removes it."""
        if self._source() is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._edge is not None:
            node, number = self._edge
            return RemovableHandle.add(node.more().tensor.setdefault(number, {}), hook)
        return RemovableHandle.add(self._leaf_hooks().before, hook)

    def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """``hook(self)`` is called after a backward has changed this leaf's ``.grad``."""
        if self._edge is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return RemovableHandle.add(self._leaf_hooks().after, hook)
