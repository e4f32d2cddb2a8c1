"""Reductions and normalisations that leave elements out: PyTorch's ``torch.masked``.

Stage: PyTorch-shaped top. In: a Tensor and a ``mask`` that is False where an element is left out. Out: what the
function gives for the others. What is left out is replaced by the number that changes nothing: 0 in a sum, -infinity
in a maximum.
Next: ``reductions.py``.

``MaskedTensor`` is not here.
"""

from minigrad.masked.normalisations import cumprod, cumsum, log_softmax, normalize, softmax, softmin
from minigrad.masked.reductions import amax, amin, argmax, argmin, logaddexp, logsumexp, mean, median, norm, prod, std
from minigrad.masked.reductions import sum as sum
from minigrad.masked.reductions import var as var

__all__ = ["amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean",
           "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var"]
