"""Stage: PyTorch programs. In: nothing. Out: ``torch.types``: names for annotations.
Next: ``__main__.py``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import IO, Any

from minigrad.dtype import DType
from minigrad.tensor import Size, Tensor, device

Number = int | float | bool
Device = device | str | int | None
FileLike = str | PathLike[str] | IO[bytes]
Storage = Any

_TensorOrTensors = Tensor | Sequence[Tensor]
_dtype, _device, _size = DType, device, Size | list[int] | tuple[int, ...]
_int, _float, _bool, _complex = int, float, bool, complex

__all__ = ["Device", "FileLike", "Number", "Storage"]
