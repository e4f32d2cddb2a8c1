"""Stage: front. In: a Tensor. Out: it in memory that several processes share, or the question whether it is.
Next: ``tensor_class.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.engine import to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.locks import record_lock
from minigrad.runtime.shared import CAN_SHARE, SharedBuffer
from minigrad.tensor.storage import Storage, look

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def share(storage: Storage) -> SharedBuffer:
    """Move a Storage to memory that processes share. ``NotImplementedError`` where that can't be."""
    look("share_memory_()")
    if not CAN_SHARE or storage.lazy.device != "CPU":
        raise NotImplementedError(f"memory of the device {storage.lazy.device} can't be shared between processes here; "
                                  "share a copy on the CPU")
    with record_lock:  # nobody writes or makes a clone meanwhile
        array, lazy = storage.array(), storage.lazy
        buffer = lazy.buffer
        if isinstance(buffer, SharedBuffer) and buffer.file >= 0:
            if not buffer.exports:
                storage.make_private()
                buffer = storage.lazy.buffer
            if isinstance(buffer, SharedBuffer):
                buffer.use_together()
                return buffer
        buffer = SharedBuffer(array.nbytes, both=True)
        if array.nbytes:
            buffer.as_numpy(lazy.dtype, lazy.shape)[...] = to_numpy(lazy)
        storage.put(LazyBuffer.from_buffer(buffer, lazy.shape, lazy.dtype, lazy.device))
        return buffer


class Sharing:
    """Memory that several processes share."""

    __slots__ = ()

    def share_memory_(self: Tensor) -> Tensor:
        """Move the memory, and with it all views of it, to where other processes can share it; returns self.

        A process that is forked afterwards, or gets the Tensor through a queue of ``minigrad.multiprocessing``, sees
        every in-place change and makes changes that all see.
        (https://docs.pytorch.org/docs/stable/generated/torch.Tensor.share_memory_.html)

        >>> import minigrad
        >>> minigrad.ones(2).share_memory_().is_shared()
        True
        """
        share(self._storage)
        return self

    def is_shared(self: Tensor) -> bool:
        """Whether the memory is shared between processes."""
        return isinstance(self._storage.lazy.buffer, SharedBuffer)

    def pin_memory(self: Tensor, device: Any = None) -> Tensor:
        """Memory that a GPU reads faster. There is none here: ``RuntimeError``."""
        raise RuntimeError("Cannot access accelerator device when none is available.")

    def is_pinned(self: Tensor, device: Any = None) -> bool:
        """False: there is no such memory here."""
        return False
