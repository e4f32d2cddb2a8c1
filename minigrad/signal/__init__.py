"""PyTorch's ``torch.signal``: windows.

Stage: PyTorch-shaped top. In: a length. Out: a window of that many numbers.
Next: ``windows.py``."""

from minigrad.signal import windows

__all__ = ["windows"]
