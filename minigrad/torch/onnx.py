"""Stage: PyTorch programs. In: a Module. Out: an error: minigrad writes no ONNX.
Next: ``absent.py``."""

from __future__ import annotations

from typing import Any, NoReturn


def export(*args: Any, **options: Any) -> NoReturn:
    """``NotImplementedError``.

    >>> export(None)
    Traceback (most recent call last):
    NotImplementedError: torch.onnx.export is not implemented in minigrad
    """
    raise NotImplementedError("torch.onnx.export is not implemented in minigrad")


def is_in_onnx_export() -> bool:
    """False.

    >>> is_in_onnx_export()
    False
    """
    return False
