"""Stage: front. In: Tensors. Out: ``torch.special``'s names, as far as they are here.
Next: ``minigrad/sparse/``.

>>> import minigrad
>>> minigrad.special.ndtr(minigrad.tensor([0.0, 1.0]))
tensor([0.5000, 0.8413])
"""

from __future__ import annotations

from typing import Any

from minigrad.tensor import Tensor
from minigrad.tensor.special import OF_ONE
from minigrad.tensor.special_pairs import polygamma, xlog1py_of, xlogy

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln",
    "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri",
    "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy",
]

digamma = psi = Tensor.digamma
gammaln = Tensor.lgamma
multigammaln = Tensor.mvlgamma
erf, erfc, erfinv = Tensor.erf, Tensor.erfc, Tensor.erfinv
exp2, expm1, log1p = Tensor.exp2, Tensor.expm1, Tensor.log1p
expit, logit = Tensor.sigmoid, Tensor.logit
gammainc, gammaincc = Tensor.igamma, Tensor.igammac
i0, sinc, round = Tensor.i0, Tensor.sinc, Tensor.round
logsumexp = Tensor.logsumexp


def erfcx(input: Tensor) -> Tensor:
    """exp(input²) erfc(input)."""
    return OF_ONE["erfcx"]((input,))


def ndtr(input: Tensor) -> Tensor:
    """The distribution function of the standard normal distribution."""
    return OF_ONE["ndtr"]((input,))


def log_ndtr(input: Tensor) -> Tensor:
    """log(ndtr(input)), with all digits where that is far below 0."""
    return OF_ONE["log_ndtr"]((input,))


def ndtri(input: Tensor) -> Tensor:
    """The inverse of ndtr on [0, 1]."""
    return OF_ONE["ndtri"]((input,))


def entr(input: Tensor) -> Tensor:
    """-input log(input); 0 at 0, -inf below."""
    return OF_ONE["entr"]((input,))


def i0e(input: Tensor) -> Tensor:
    """exp(-|input|) I₀(input), the modified Bessel function scaled."""
    return OF_ONE["i0e"]((input,))


def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind and order 1."""
    return OF_ONE["i1"]((input,))


def i1e(input: Tensor) -> Tensor:
    """exp(-|input|) I₁(input)."""
    return OF_ONE["i1e"]((input,))


def xlog1py(input: Any, other: Any) -> Tensor:
    """input * log(1 + other), and 0 where input is 0."""
    return xlog1py_of(input, other)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """log(softmax(input)) along ``dim``."""
    return input.log_softmax(dim, dtype)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(input) / sum(exp(input)) along ``dim``."""
    return input.softmax(dim, dtype)
