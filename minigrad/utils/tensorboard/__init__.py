"""Stage: front. In: numbers and pictures of a training run. Out: TensorBoard's files, by the package ``tensorboardX``,
which needs no other framework.
Next: ``minigrad/utils/data/``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor import Tensor

try:
    from tensorboardX import SummaryWriter as _Writer
except ImportError:
    raise ImportError("torch.utils.tensorboard needs the package tensorboardX: pip install tensorboardX") from None


class SummaryWriter(_Writer):
    """The ``SummaryWriter`` of tensorboardX, which takes Tensors where it takes arrays.

    Source: https://docs.pytorch.org/docs/stable/tensorboard.html
    """

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("add_"):
            return found

        def add(*args: Any, **named: Any) -> Any:
            return found(*[_plain(a) for a in args], **{k: _plain(v) for k, v in named.items()})

        return add


def _plain(value: Any) -> Any:
    """Arrays in the place of Tensors, also in lists and dictionaries."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_plain(v) for v in value])
    return value


__all__ = ["SummaryWriter"]
