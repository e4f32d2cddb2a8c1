"""Stage: front. In: switches of single backends. Out: what the devices read when they compile. Named as PyTorch names
them; those of libraries that are not used here may be set and change nothing.
Next: ``cuda.py``."""

from minigrad.backends import cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
