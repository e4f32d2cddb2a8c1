"""Stage: front. In: a Module. Out: the same behind ``.module``, as PyTorch wraps it to share a batch among GPUs.
Next: ``parallel_apply.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.nn.modules.module import Module


def _check(device_ids: Sequence[Any] | None) -> None:
    if device_ids is not None and len(device_ids) > 1:
        raise NotImplementedError(f"DataParallel on {len(device_ids)} devices is not there: minigrad runs a module on "
                                  "one device; give one device id, or none")


class DataParallel(Module):
    """A Module called as it is, on its one device. What names its parameters says ``module.`` first, as in PyTorch.

    ``NotImplementedError`` for several ``device_ids``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html)

    >>> from minigrad import nn
    >>> list(DataParallel(nn.Linear(2, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None,
                 dim: int = 0) -> None:
        super().__init__()
        _check(device_ids)
        self.module = module
        self.dim = dim
        self.device_ids = list(device_ids or [])
        self.output_device = self.device_ids[0] if output_device is None and self.device_ids else output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(module: Module, inputs: Any, device_ids: Sequence[Any] | None = None, output_device: Any = None,
                  dim: int = 0, module_kwargs: dict[str, Any] | None = None) -> Any:
    """``module(*inputs, **module_kwargs)`` on the one device. See ``DataParallel``.

    >>> from minigrad import nn
    >>> data_parallel(nn.Identity(), 3)
    3
    """
    _check(device_ids)
    arguments = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return module(*arguments, **(module_kwargs or {}))
