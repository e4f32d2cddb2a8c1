"""Stage: front. In: Tensors, and arrays of other libraries. Out: ``from_dlpack`` and ``Tensor.__dlpack__``, which share
memory between them by the DLPack protocol.
Next: ``capsules.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad import lazily
from minigrad.tensor.definition import function

if TYPE_CHECKING:
    from minigrad.tensor.capsules import DLDeviceType
    from minigrad.tensor.tensor_class import Tensor


@function("from_dlpack")
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A Tensor on the memory of ``ext_tensor``: an array of any library that has ``__dlpack__``, or a DLPack capsule.
    Changes of either show in both; memory that its library calls read-only can't be changed in place.

    ``device`` elsewhere and ``copy=True`` give a copy. Raises ``TypeError`` for element types minigrad has not,
    ``ValueError`` for negative strides, ``RuntimeError`` for memory that no available device can reach.
    (https://docs.pytorch.org/docs/stable/dlpack.html)

    >>> import numpy as np
    >>> a = np.zeros(2, np.float32)
    >>> t = from_dlpack(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 0.])
    """
    return lazily.module("minigrad.tensor.capsules").shared(ext_tensor, device, copy)


class DLPack:
    """This tensor's memory for other libraries."""

    __slots__ = ()

    def __dlpack_device__(self: Tensor) -> tuple[DLDeviceType, int]:
        """The kind of memory and its index, for DLPack. ``ValueError`` for memory it has no word for.

        >>> import minigrad
        >>> tuple(map(int, minigrad.ones(2).__dlpack_device__()))
        (1, 0)
        """
        return lazily.module("minigrad.tensor.capsules").kind_of(self._storage.lazy.device)

    def __dlpack__(self: Tensor, *, stream: int | None = None, max_version: tuple[int, int] | None = None,
                   dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any:
        """A capsule with the Tensor's memory, computed if it was pending: changes of either side show in both, as for
        ``numpy()``. The memory lives as long as somebody uses it. (https://dmlc.github.io/dlpack/latest/python_spec.html)

        ``copy``: True for a copy, False for none in any case; ``dl_device`` elsewhere asks for a copy there. Raises
        ``BufferError`` for a Tensor that requires a gradient and for a read-only one when ``max_version`` is below 1.

        >>> import minigrad, numpy as np
        >>> t = minigrad.zeros(2)
        >>> np.from_dlpack(t)[0] = 5
        >>> t
        tensor([5., 0.])
        """
        return lazily.module("minigrad.tensor.capsules").exported(self, stream, max_version, dl_device, copy)
