"""Stage: recording. In: ``from torch.autograd.grad_mode import no_grad``. Out: the names of ``mode.py``, and a switch
that has nothing to switch here.
Next: ``forward_ad.py``."""

from __future__ import annotations

from minigrad.autograd.mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled", "set_multithreading_enabled"]


def is_multithreading_enabled() -> bool:
    """True: that a thread walks backward alone is no matter of this setting."""
    return True


class set_multithreading_enabled:
    """Accepted: a backward pass is walked by the thread that asked for it; kernels use all threads in any case.

    >>> with set_multithreading_enabled(False):
    ...     pass
    """

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass
