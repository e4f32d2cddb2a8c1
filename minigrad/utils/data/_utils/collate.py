"""Stage: front. In: a list of samples. Out: a batch: Tensors with one more dimension, in the structure of the samples.
Next: ``fetch.py``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from minigrad.dtype import float64
from minigrad.tensor import Tensor, as_tensor, stack, stacked, tensor
from minigrad.utils.data._utils.memory import batch_memory

CollateMap = dict[type | tuple[type, ...], Callable[..., Any]]

default_collate_err_msg_format = ("default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
                                  "found {}")


def _holds_text(array: np.ndarray) -> bool:
    """Whether the elements are text or objects, of which no Tensor can be made."""
    return array.dtype.kind in "SUO"


# --- structures


def rebuilt(like: Any, convert: Callable[[Any], Any]) -> Any:
    """A container like this one with its parts converted; None for what is no container. ``convert`` takes a key of a
    mapping, or an index. Tuples become lists, named ones stay; a type that can't be made again becomes a dict or
    list."""
    kind = type(like)
    if isinstance(like, Mapping):
        parts = {key: convert(key) for key in like}
        try:
            if isinstance(like, MutableMapping):
                clone = copy.copy(like)  # it may have more to it than its items
                clone.update(parts)
                return clone
            return kind(parts)
        except TypeError:
            return parts
    made = [convert(i) for i in range(len(like))]
    if isinstance(like, tuple):
        return kind(*made) if hasattr(like, "_fields") else made
    try:
        if isinstance(like, MutableSequence):
            copied = copy.copy(like)
            for i, part in enumerate(made):
                copied[i] = part
            return copied
        return kind(made)
    except TypeError:
        return made


def default_convert(data: Any) -> Any:
    """``data`` with the NumPy arrays and numbers in it as Tensors on their memory; the rest as it is.

    It is what a ``DataLoader`` without batches does with a sample.
    (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_convert)

    >>> default_convert({"x": np.array([1, 2]), "name": "a"})
    {'x': tensor([1, 2]), 'name': 'a'}
    """
    if isinstance(data, Tensor | str | bytes):
        return data
    if type(data).__module__ == "numpy":
        return data if isinstance(data, np.ndarray) and _holds_text(data) else as_tensor(data)
    if isinstance(data, Mapping | Sequence):
        return rebuilt(data, lambda at: default_convert(data[at]))
    return data


def collate(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """A batch of samples, by the type of the first: with the function that ``collate_fn_map`` has for it, else part by
    part. Each function is called as ``f(batch, collate_fn_map=…)``.

    ``RuntimeError`` for sequences of different lengths, ``TypeError`` for a type that is not known.
    (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data._utils.collate.collate)

    >>> collate([{"a": "x"}, {"a": "y"}], collate_fn_map={str: lambda batch, *, collate_fn_map=None: "".join(batch)})
    {'a': 'xy'}
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        if kind in collate_fn_map:
            return collate_fn_map[kind](batch, collate_fn_map=collate_fn_map)
        for known, function in collate_fn_map.items():
            if isinstance(first, known):
                return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        return rebuilt(first, lambda key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map))
    if isinstance(first, Sequence):
        named = isinstance(first, tuple) and hasattr(first, "_fields")
        size = len(first)
        for sample in batch:
            if not named and len(sample) != size:
                raise RuntimeError("each element in list of batch should be of equal size")
        columns = list(zip(*batch, strict=False))
        return rebuilt(first, lambda i: collate(columns[i], collate_fn_map=collate_fn_map))
    raise TypeError(default_collate_err_msg_format.format(kind))


# --- kinds of elements


def collate_tensor_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """``stack(batch)``; in a worker process in memory that the main process can take over."""
    made = stacked(batch, batch_memory())
    return stack(batch) if made is None else made


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """The arrays as Tensors, collated. ``TypeError`` for text and objects."""
    if _holds_text(batch[0]):
        raise TypeError(default_collate_err_msg_format.format(batch[0].dtype))
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """A 1-d Tensor of the numbers' own type."""
    return as_tensor(batch)


def collate_float_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """A 1-d float64 Tensor."""
    return tensor(batch, dtype=float64)


def collate_int_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """A 1-d Tensor, int64 for integers and bool for bools."""
    return tensor(batch)


def collate_str_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """The strings as they are."""
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
"""The functions of ``default_collate``. Programs add their own."""


def default_collate(batch: Any) -> Any:
    """The samples of a list as one batch: Tensors and arrays stacked, numbers as a Tensor (floats float64, integers
    int64), strings as they are, dicts, lists and named tuples part by part, tuples part by part as a list.

    ``RuntimeError`` for Tensors of different shapes, ``TypeError`` for other types.
    (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate)

    >>> default_collate([(1, 0.5, "a"), (2, 1.5, "b")])
    [tensor([1, 2]), tensor([0.5000, 1.5000], dtype=minigrad.float64), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def stacks_tensors(collate_fn: Any) -> bool:
    """Whether this function makes ``stack`` of Tensors, nothing else."""
    return collate_fn is default_collate and default_collate_fn_map.get(Tensor) is collate_tensor_fn
