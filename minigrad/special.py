"""Stage: front. In: Tensors. Out: ``torch.special``'s functions.
Next: ``minigrad/sparse/``.

>>> import minigrad
>>> minigrad.special.ndtr(minigrad.tensor([0.0, 1.0]))
tensor([0.5000, 0.8413])
>>> minigrad.special.legendre_polynomial_p(minigrad.tensor([0.5]), 2)
tensor([-0.1250])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.tensor import Tensor
from minigrad.tensor.arguments import explain_functions
from minigrad.tensor.bessel import BESSEL, orthogonal
from minigrad.tensor.bessel import zeta as zeta_of
from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.operands import not_for_halves, require_tensor, result_dtype
from minigrad.tensor.outputs import into
from minigrad.tensor.special import OF_ONE
from minigrad.tensor.special_pairs import xlog1py_of

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e",
    "i1", "i1e", "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0",
    "xlog1py", "xlogy", "zeta",
]

Unary = Callable[..., Tensor]


def _unary(name: str, meaning: str) -> Unary:
    """A function of each element that only this module has."""
    known = OF_ONE.get(name)

    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        require_tensor(input, f"special_{name}", "input", 1)
        if name in ("erfcx", "log_ndtr", "ndtri"):
            not_for_halves(input.dtype, f"{name}_cpu")
        result: Tensor = BESSEL[name](input) if known is None else known((input,))
        return into(out, result, f"special_{name}")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = meaning
    return function


def _polynomial(name: str, meaning: str) -> Callable[..., Tensor]:
    def function(input: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        return into(out, orthogonal(name, input, n), f"special_{name}")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning} of degree n, a number or Tensor; 0 for n < 0. It has no gradient."
    return function


digamma = psi = FUNCTIONS["digamma"]
gammaln, multigammaln = FUNCTIONS["lgamma"], FUNCTIONS["mvlgamma"]
erf, erfc, erfinv = FUNCTIONS["erf"], FUNCTIONS["erfc"], FUNCTIONS["erfinv"]
exp2, expm1, log1p = FUNCTIONS["exp2"], FUNCTIONS["expm1"], FUNCTIONS["log1p"]
expit, logit = FUNCTIONS["sigmoid"], FUNCTIONS["logit"]
gammainc, gammaincc = FUNCTIONS["igamma"], FUNCTIONS["igammac"]
i0, sinc, round = FUNCTIONS["i0"], FUNCTIONS["sinc"], FUNCTIONS["round"]
logsumexp, polygamma, xlogy = FUNCTIONS["logsumexp"], FUNCTIONS["polygamma"], FUNCTIONS["xlogy"]

erfcx = _unary("erfcx", "exp(input²) erfc(input).")
ndtr = _unary("ndtr", "The distribution function of the standard normal distribution.")
log_ndtr = _unary("log_ndtr", "log(ndtr(input)), with all digits where that is far below 0.")
ndtri = _unary("ndtri", "The inverse of ndtr on [0, 1].")
entr = _unary("entr", "-input log(input); 0 at 0, -inf below.")
i0e = _unary("i0e", "exp(-|input|) I₀(input), the modified Bessel function scaled.")
i1 = _unary("i1", "The modified Bessel function of the first kind and order 1.")
i1e = _unary("i1e", "exp(-|input|) I₁(input).")

airy_ai = _unary("airy_ai", "Airy's function Ai. It has no gradient.")
bessel_j0 = _unary("bessel_j0", "The Bessel function of the first kind and order 0. It has no gradient.")
bessel_j1 = _unary("bessel_j1", "The Bessel function of the first kind and order 1. It has no gradient.")
bessel_y0 = _unary("bessel_y0", "The Bessel function of the second kind and order 0; NaN below 0. It has no gradient.")
bessel_y1 = _unary("bessel_y1", "The Bessel function of the second kind and order 1; NaN below 0. It has no gradient.")
modified_bessel_i0 = _unary("modified_bessel_i0", "As ``i0``, but without a gradient.")
modified_bessel_i1 = _unary("modified_bessel_i1", "As ``i1``, but without a gradient.")
modified_bessel_k0 = _unary("modified_bessel_k0", "The modified Bessel function of the second kind and order 0; NaN "
                            "below 0. It has no gradient.")
modified_bessel_k1 = _unary("modified_bessel_k1", "The modified Bessel function of the second kind and order 1; NaN "
                            "below 0. It has no gradient.")
scaled_modified_bessel_k0 = _unary("scaled_modified_bessel_k0", "exp(input) K₀(input). It has no gradient.")
scaled_modified_bessel_k1 = _unary("scaled_modified_bessel_k1", "exp(input) K₁(input). It has no gradient.")
spherical_bessel_j0 = _unary("spherical_bessel_j0", "sin(input) / input, and 1 at 0. It has no gradient.")

chebyshev_polynomial_t = _polynomial("chebyshev_polynomial_t", "Chebyshev's polynomial of the first kind")
chebyshev_polynomial_u = _polynomial("chebyshev_polynomial_u", "Chebyshev's polynomial of the second kind")
chebyshev_polynomial_v = _polynomial("chebyshev_polynomial_v", "Chebyshev's polynomial of the third kind")
chebyshev_polynomial_w = _polynomial("chebyshev_polynomial_w", "Chebyshev's polynomial of the fourth kind")
shifted_chebyshev_polynomial_t = _polynomial("shifted_chebyshev_polynomial_t", "T(2 input - 1), Chebyshev's polynomial")
shifted_chebyshev_polynomial_u = _polynomial("shifted_chebyshev_polynomial_u", "U(2 input - 1), Chebyshev's polynomial")
shifted_chebyshev_polynomial_v = _polynomial("shifted_chebyshev_polynomial_v", "V(2 input - 1), Chebyshev's polynomial")
shifted_chebyshev_polynomial_w = _polynomial("shifted_chebyshev_polynomial_w", "W(2 input - 1), Chebyshev's polynomial")
hermite_polynomial_h = _polynomial("hermite_polynomial_h", "The physicist's Hermite polynomial")
hermite_polynomial_he = _polynomial("hermite_polynomial_he", "The probabilist's Hermite polynomial")
laguerre_polynomial_l = _polynomial("laguerre_polynomial_l", "Laguerre's polynomial")
legendre_polynomial_p = _polynomial("legendre_polynomial_p", "Legendre's polynomial")


def zeta(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """Hurwitz' zeta function, the sum over k >= 0 of (other + k)^-input. It has a gradient by other only.

    >>> import minigrad
    >>> zeta(minigrad.tensor([2.0]), 1)
    tensor([1.6449])
    """
    not_for_halves(result_dtype((input, other)), "zeta_cpu")
    return into(out, zeta_of(input, other), "special_zeta")


def xlog1py(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """input * log(1 + other), and 0 where input is 0."""
    return into(out, xlog1py_of(input, other), "special_xlog1py")


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """log(softmax(input)) along ``dim``."""
    return input.log_softmax(dim, dtype)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(input) / sum(exp(input)) along ``dim``."""
    return input.softmax(dim, dtype)


explain_functions(globals())
