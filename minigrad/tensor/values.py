"""Stage: front. In: a Tensor. Out: its elements: as NumPy array, Python number or list; ``realize`` computes them.
Next: ``attributes.py``."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.dtype import bfloat16
from minigrad.engine import realise, to_numpy
from minigrad.runtime.device import get_device as device_of
from minigrad.runtime.locks import record_lock
from minigrad.tensor import points
from minigrad.tensor.arguments import explained
from minigrad.tensor.capture import capturing
from minigrad.tensor.changes import is_filled
from minigrad.tensor.storage import Writes, tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


@explained
def realize(*tensors: Any) -> None:
    """Compute these Tensors now, in one run.

    >>> import minigrad
    >>> x = minigrad.ones(2) + 1
    >>> realize(x)
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    if not tracing.names and capturing() is None:
        shells = []
        for t in given:
            if t._spec is not None and not is_filled(t):
                shells.append(t)
        if shells:
            points.value(shells)
        pending = []
        for t in given:
            value = t._whole()
            if value.buffer is None:
                pending.append(value)
        written = Writes.take() if Writes.any() else []
        if written or len(set(pending)) < len(pending):
            realise(pending + written)
        elif pending:
            points.compute(pending)


class Values:
    """The elements as arrays, numbers and lists."""

    __slots__ = ()

    def _array(self: Tensor) -> np.ndarray:
        """The elements as a NumPy array on the Tensor's memory, computed if they were pending. Not for keeping."""
        storage, view = self._storage, self._view
        return storage.array() if view is None else view.array(storage)

    def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
        """A NumPy array on the same memory: changes of either show in both.

        ``RuntimeError`` for a Tensor that requires a gradient, while gradients are recorded, and ``TypeError`` for
        one in a device's own memory, unless ``force``, which copies the latter.

        >>> import minigrad
        >>> t = minigrad.ones(2)
        >>> a = t.numpy()
        >>> _ = t.add_(1)
        >>> a.tolist()
        [2.0, 2.0]
        """
        if not force and mode.enabled and self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        storage = self._storage
        if storage.lazy.device != "CPU" and not device_of(storage.lazy.device).host_memory:
            if force:
                return self.detach().cpu().numpy()
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the "
                            "tensor to host memory first.")
        with record_lock:  # between computing and showing nobody writes or makes a clone
            storage.array()
            storage.make_private()
            return to_numpy(storage.lazy, True) if self._view is None else self._view.array(storage, True)

    def item(self: Tensor) -> Any:
        """The only element as a Python number; ``RuntimeError`` if there are more or none."""
        n = prod(self._shape())
        if n != 1:
            raise RuntimeError(f"a Tensor with {n} elements cannot be converted to Scalar")
        level = tracing.level
        if level is not None and level.is_unknown(self._read()):
            level.refuse("item")
        array = self._array()
        return float(array.reshape(())) if self.dtype.kind == "f" else array.item()  # of complex numbers: complex

    def tolist(self: Tensor) -> Any:
        """The elements as nested lists of Python numbers; one number for a 0-d tensor."""
        array = self._array()
        return (array.astype(np.float32) if self.dtype is bfloat16 else array).tolist()

    def realize(self: Tensor) -> Tensor:
        """Compute self now, and return it."""
        if self._spec is None or Writes.any() or not points.value((self,)):
            realize(self)
        return self
