"""Stage: front. In: Tensors, and arrays of other libraries. Out: the names of PyTorch's ``torch.utils.dlpack``.
Next: ``drawing.py``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor import Tensor, from_dlpack
from minigrad.tensor.capsules import DLDeviceType

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule with the Tensor's memory, to be taken once, in the form that all libraries know.

    >>> import minigrad
    >>> from_dlpack(to_dlpack(minigrad.ones(2)))
    tensor([1., 1.])
    """
    return tensor.__dlpack__()
