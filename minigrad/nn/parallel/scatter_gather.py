"""Stage: front. In: Tensors in nested lists and dictionaries. Out: a part of them for each device, or such parts
joined. There is one device, so there is one part.
Next: ``distributed.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.tensor import Tensor, cat


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> list[Any]:
    """``[inputs]``, a part for the one device. ``NotImplementedError`` for several.

    >>> scatter(1, [0])
    [1]
    """
    if len(target_gpus) > 1:
        raise NotImplementedError(f"scatter to {len(target_gpus)} devices is not there: minigrad runs a module on one "
                                  "device")
    return [inputs]


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """The parts joined along ``dim`` on a device: Tensors, in dictionaries and sequences too; 0-d ones to a vector.

    >>> import minigrad
    >>> gather([minigrad.ones(1), minigrad.zeros(1)], "cpu")
    tensor([1., 0.])
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        place = "cpu" if target_device in (-1, "cpu") else target_device
        joined: Tensor = cat([(t.reshape(1) if t.ndim == 0 else t).to(place) for t in outputs], dim)
        return joined
    if first is None:
        return None
    if isinstance(first, dict):
        return type(first)({key: gather([o[key] for o in outputs], target_device, dim) for key in first})
    return type(first)([gather(part, target_device, dim) for part in zip(*outputs, strict=True)])
