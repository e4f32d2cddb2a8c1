"""Stage: front. In: ``minigrad.backends.cuda.matmul.allow_tf32 = True``. Out: the setting ALLOW_TF32, which the CUDA
device's ``Target`` follows.
Next: ``cudnn.py``."""

from __future__ import annotations

from minigrad import config


def is_built() -> bool:
    """Whether this minigrad can make kernels for NVIDIA GPUs: always, whether there is a GPU or not; see
    ``minigrad.cuda.is_available()``. https://docs.pytorch.org/docs/stable/backends.html

    >>> is_built()
    True
    """
    return True


class MatmulSettings:
    """How products of matrices are computed. https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere"""

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 matrices may be multiplied as TF32: operands rounded to 10 bits of mantissa, sums in float32;
        faster, and about a thousandth less exact. Off unless setting ALLOW_TF32 is 1. Kernels compiled from now on
        follow it.

        >>> import minigrad
        >>> minigrad.backends.cuda.matmul.allow_tf32
        False
        """
        return bool(config.get("ALLOW_TF32"))

    @allow_tf32.setter
    def allow_tf32(self, allow: bool) -> None:
        if not isinstance(allow, bool):
            raise TypeError(f"allow_tf32 should be a bool, got {allow!r}")
        config.assign(ALLOW_TF32=int(allow))

    def __setattr__(self, name: str, value: object) -> None:
        if name != "allow_tf32":
            raise AttributeError(f"minigrad.backends.cuda.matmul has no setting {name!r}; it has allow_tf32")
        super().__setattr__(name, value)


matmul = MatmulSettings()
