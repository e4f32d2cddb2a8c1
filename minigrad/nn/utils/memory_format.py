"""Stage: front. In: a Module. Out: the same Module: how elements lie in memory is the compiler's choice.
Next: ``rnn.py``."""

from __future__ import annotations

from typing import Any, TypeVar

M = TypeVar("M")


def convert_conv2d_weight_memory_format(module: M, memory_format: Any) -> M:
    """The module as it is. In PyTorch the weights of its convolutions are laid out anew, with the same values.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv2d_weight_memory_format.html)

    >>> from minigrad import nn
    >>> convert_conv2d_weight_memory_format(nn.ReLU(), None)
    ReLU()
    """
    return module


def convert_conv3d_weight_memory_format(module: M, memory_format: Any) -> M:
    """The module as it is; see ``convert_conv2d_weight_memory_format``."""
    return module
