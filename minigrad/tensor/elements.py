"""Stage: front. In: a Tensor, often of indices. Out: its elements, and between which bounds they are, if they are in
memory: indices are held against what they choose from at the call.
Next: ``slicing.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from minigrad.engine import to_numpy
from minigrad.runtime.buffer import Buffer
from minigrad.tensor.capture import capturing
from minigrad.tensor.changes import is_filled
from minigrad.tensor.storage import compute, look, tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def concrete(tensor: Tensor, what: str) -> np.ndarray:
    """The elements now; ``RuntimeError`` while a composite is traced, which has none."""
    look(what)
    if tensor._spec is not None:  # what is replayed has no graph to be read from
        return tensor._array()
    lazy = tensor._read()
    if lazy.buffer is None:
        compute(lazy, what)
    return to_numpy(lazy)


def known(tensor: Tensor, viewed: bool = False) -> np.ndarray | None:
    """The elements, if they are in memory already; ``viewed``: also of a view of what is."""
    if capturing() is not None or not is_filled(tensor):
        return None
    if viewed and tensor._view is not None and tensor._storage.lazy.buffer is not None:
        return tensor._array()
    lazy = tensor._read()
    return None if lazy.buffer is None else to_numpy(lazy)


def bounds(index: Tensor) -> tuple[int, int] | None:
    """The least and the greatest element, if they are in the host's memory already; (0, -1) where there is none. They
    are remembered: a value does not change, and what NumPy or another process sees is looked at anew. Nobody waits for
    a GPU to look at indices: it checks them when it runs."""
    if capturing() is not None or not is_filled(index):
        return None
    lazy = index._read()
    buffer = lazy.buffer
    if buffer is None or not buffer.on_host:
        return None
    own = type(buffer) is Buffer and not buffer.exports
    found = Buffer.noted.get(buffer) if own else None
    if found is not None and found[0]() is lazy:
        least, greatest = found[1:]
        return least, greatest
    array = to_numpy(lazy)
    least, greatest = (int(array.min()), int(array.max())) if array.size else (0, -1)
    if own:
        Buffer.noted[buffer] = ref(lazy), least, greatest
    return least, greatest


def check_range(index: Tensor, size: int, dim: int, error: type[Exception] = IndexError,
                message: str = "index {value} is out of bounds for dimension {dim} with size {size}",
                negative: bool = True, ignore: int | None = None) -> bool:
    """Raises if a realised index is out of range, ``ignore`` apart; of a pending one nothing is known, and False says
    so: it is checked when it runs (``IndexError``). ``negative``: whether it may count from the end. Where there is
    nothing to choose from, any index is wrong."""
    if size == 0 and ignore is None and index.numel() and not capturing():
        value = 0 if tracing.names else concrete(index, "an index into nothing").flat[0]
        raise error(message.format(value=value, dim=dim, size=size))
    found = bounds(index)
    if found is None:
        return False
    least, greatest = found
    lowest = -size if negative else 0
    if least > greatest or (least >= lowest and greatest < size):
        return True
    array = known(index)
    assert array is not None
    wrong = (array < lowest) | (array >= size)
    if ignore is not None:
        wrong &= array != ignore
    if wrong.any():
        raise error(message.format(value=array[wrong].flat[0], dim=dim, size=size))
    return True
