"""Stage: front. In: a Tensor's memory, on its way through a queue or pipe of ``multiprocessing``. Out: the same memory
in the other process: it is moved to shared memory first, and both use it from then on.
Next: ``spawn.py``."""

from __future__ import annotations

import os
from multiprocessing import reduction
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.shared import CAN_SHARE, SharedBuffer
from minigrad.tensor import Tensor
from minigrad.tensor.sharing import share
from minigrad.tensor.storage import Storage


def check_sendable(tensor: Tensor) -> None:
    """``RuntimeError`` for a Tensor that hangs on a tape, which stays in its process."""
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError("Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does "
                           "not support crossing process boundaries.  If you just want to transfer the data, call "
                           "detach() on the tensor before serializing (e.g., putting it on the queue).")


def _identity(file: int) -> tuple[int, int]:
    """What tells one piece of shared memory from another, in whichever process."""
    status = os.fstat(file)
    return status.st_dev, status.st_ino


class SharedStorages:
    """The Storages on shared memory in this process: memory that arrives again is the same Storage."""

    _known: ClassVar[WeakValueDictionary[tuple[int, int], Storage]] = WeakValueDictionary()

    @classmethod
    def storage(cls, buffer: SharedBuffer, shape: tuple[int, ...], dtype: DType) -> Storage:
        """The Storage on this memory."""
        key = _identity(buffer.file)
        known = cls._known.get(key)
        if known is None:
            buffer.use_together()
            known = cls._known[key] = Storage(LazyBuffer.from_buffer(buffer, shape, dtype, "CPU"))
        return known

    @classmethod
    def reduce(cls, storage: Storage) -> Any:
        """For a pickler of ``multiprocessing``."""
        if not CAN_SHARE or storage.lazy.device != "CPU":
            return storage.__reduce__()
        buffer = share(storage)
        cls._known[_identity(buffer.file)] = storage
        lazy = storage.lazy
        file = reduction.DupFd(buffer.file)
        return _rebuilt, (file, buffer.nbytes, lazy.shape, lazy.dtype)


def _rebuilt(file: Any, nbytes: int, shape: tuple[int, ...], dtype: DType) -> Storage:
    """What a pickle calls in the other process."""
    return SharedStorages.storage(SharedBuffer(nbytes, file.detach(), both=True), shape, dtype)


def _reduce_tensor(tensor: Tensor) -> Any:
    check_sendable(tensor)
    return tensor.__reduce_ex__(4)


def init_reductions() -> None:
    """Have queues and pipes of ``multiprocessing`` share the memory of Tensors."""
    ForkingPickler.register(Storage, SharedStorages.reduce)
    ForkingPickler.register(Tensor, _reduce_tensor)
