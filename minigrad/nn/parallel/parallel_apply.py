"""Stage: front. In: modules and an input for each. Out: their outputs, one after another on the one device.
Next: ``scatter_gather.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.nn.modules.module import Module


def parallel_apply(modules: Sequence[Module], inputs: Sequence[Any], kwargs_tup: Sequence[dict[str, Any]] | None = None,
                   devices: Sequence[Any] | None = None) -> list[Any]:
    """``[module(*input, **kwargs) …]``: an input that is no tuple is the one argument. All run on one device.

    ``AssertionError`` for lists of different lengths.

    >>> from minigrad import nn
    >>> parallel_apply([nn.Identity(), nn.Identity()], [1, (2,)])
    [1, 2]
    """
    assert len(modules) == len(inputs), (
        f"The number of modules {len(modules)} is not equal to the number of inputs {len(inputs)}")
    options = kwargs_tup or [{}] * len(modules)
    return [module(*(i if isinstance(i, tuple | list) else (i,)), **named)
            for module, i, named in zip(modules, inputs, options, strict=True)]
