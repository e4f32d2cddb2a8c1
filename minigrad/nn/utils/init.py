"""Stage: front. In: a class of Modules and its arguments. Out: one of them with uninitialised weights.
Next: ``fusion.py``."""

from __future__ import annotations

import inspect
from typing import Any

from minigrad.nn.modules.module import Module
from minigrad.tensor import default_generator


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)`` whose parameters and buffers are not to be relied on, and that draws no random
    numbers from the global generator. ``RuntimeError`` if the class is no Module's, or takes no ``device``.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.skip_init.html)

    >>> from minigrad import nn
    >>> skip_init(nn.Linear, 2, 3)
    Linear(in_features=2, out_features=3, bias=True)
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    state = default_generator.get_state()
    try:
        module = module_cls(*args, **kwargs)
    finally:
        default_generator.set_state(state)
    return module.to_empty(device=kwargs.get("device") or "cpu")
