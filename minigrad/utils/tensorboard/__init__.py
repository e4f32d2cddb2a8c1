"""Stage: front. In: numbers and pictures of a training run. Out: TensorBoard's files, by the package ``tensorboardX``,
which needs no other framework.
Next: ``minigrad/utils/data/``."""

from __future__ import annotations

from functools import cache
from typing import Any

from minigrad.tensor import Tensor

__all__ = ["SummaryWriter"]  # made when it is asked for


def __getattr__(name: str) -> Any:
    """``SummaryWriter``, or ``ImportError`` where tensorboardX is not installed."""
    if name == "SummaryWriter":
        return _writer()
    raise AttributeError(f"module 'minigrad.utils.tensorboard' has no attribute {name!r}")


@cache
def _writer() -> type:
    try:
        from tensorboardX import SummaryWriter as Writer
    except ImportError:
        raise ImportError("torch.utils.tensorboard needs the package tensorboardX: pip install tensorboardX") from None

    class SummaryWriter(Writer):
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

    return SummaryWriter


def _plain(value: Any) -> Any:
    """Arrays in the place of Tensors, also in lists and dictionaries.

    >>> _plain([Tensor([1.0]), "a"])
    [array([1.], dtype=float32), 'a']
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_plain(v) for v in value])
    return value
