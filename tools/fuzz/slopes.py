"""Stage: tests. In: a library. Out: some of its functions by other formulas, whose slopes, and the slopes of these,
have all their digits, or are numbers where PyTorch's formulas divide by 0 before they leave out what was divided.
Next: ``program.py``."""

from __future__ import annotations

import math
from typing import Any

WIDE = {"sinh": True, "cosh": True, "square": True, "i0": True, "tan": False, "reciprocal": False, "rsqrt": False}
"""Functions whose slopes overflow in float16 before they are multiplied, and whether these read the operand."""


class Slopes:
    """The functions, by name."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def __getattr__(self, name: str) -> Any:
        """One of ``WIDE``: of float16 in float32."""
        reads = WIDE[name]

        def wide(x: Any) -> Any:
            if x.dtype != self.library.float16:
                return getattr(self.library, name)(x)
            found = getattr(self.library, name)(x.float()).to(x.dtype)
            return self._keeping(found, x) if reads else found

        return wide

    def _keeping(self, found: Any, x: Any) -> Any:
        """What was found. Its backward reads x, as PyTorch's does: so it is an error if x is changed before."""
        return self.library.where(self.library.zeros_like(x, dtype=self.library.bool), x.abs(), found)

    def digamma(self, x: Any) -> Any:
        """Its slope is the sum of 1 / (x + k)^2 to the last digits, and infinite at its poles. Its value near them has
        all its digits, too."""
        library = self.library
        if not x.is_floating_point():
            return library.digamma(x)
        slope, plain = self._trigamma(x)
        endless = slope.isinf()
        moved = (x - x.detach()).masked_fill(plain, 0)  # it is 0, and so is its root, whose slope is infinite
        curve = library.polygamma(2, x.detach().double()).to(x.dtype)
        bent = moved * moved * curve.masked_fill(plain | endless, 0) / 2
        moved = library.where(endless, moved.masked_fill(~endless, 1).sqrt(),
                              moved * slope.masked_fill(endless, 0) + bent)
        whole = library.digamma(x.detach())
        at = x.detach().double()
        below = (at < 0) & (at != at.round()) & at.isfinite()
        turned = library.digamma(1 - at) - math.pi / library.tan(math.pi * (at - at.round()))
        whole = library.where(below, turned.to(x.dtype), whole)
        return self._keeping(library.where(plain, library.digamma(x.masked_fill(~plain, 1)), whole + moved), x)

    def logit(self, x: Any, *eps: Any) -> Any:
        """At -0.0 its slope is that at 0.0."""
        return self.library.special.logit(x + 0.0 if x.is_floating_point() else x, *eps)

    def gelu(self, x: Any) -> Any:
        """By erfc(), which far below 0 cancels no digits."""
        library = self.library
        whole = library.nn.functional.gelu(x)
        wide = x.double()
        exact = (wide * library.special.erfc(wide * -math.sqrt(0.5)) / 2).to(x.dtype)
        return library.where((x < -1) & x.isfinite(), exact, whole)

    def conv1d(self, x: Any, weight: Any) -> Any:
        """In float32, where NaN is not multiplied by the zeros that fill bfloat16 up to pairs."""
        wide = [t.float() if t.dtype == self.library.bfloat16 else t for t in (x, weight)]
        return self.library.nn.functional.conv1d(*wide).to(x.dtype)

    def lgamma(self, x: Any) -> Any:
        """Its slope's slope is that of ``digamma``."""
        library = self.library
        whole = library.lgamma(x)
        if not x.is_floating_point():
            return whole
        slope, plain = self._trigamma(x)
        endless = slope.isinf() & ~plain
        moved = (x - x.detach()).masked_fill(plain, 0)
        off = slope.double() - library.polygamma(1, x.detach().double())
        bent = moved * moved * off.masked_fill(plain | endless, 0).to(x.dtype) / 2
        return whole + library.where(endless, moved.masked_fill(~endless, 1) ** 1.5, bent)

    def _trigamma(self, x: Any) -> tuple[Any, Any]:
        """The slope of digamma(), and where it is left as it is."""
        library = self.library
        at, one = x.detach().double(), library.ones((), dtype=library.float64)
        turned = library.special.zeta(one * 2, (1 - at).clamp(min=1))  # of a far negative number it does not end
        slope = library.where(at > 0, library.special.zeta(one * 2, at.abs()),
                              (math.pi / library.sin(math.pi * (at - at.round()))) ** 2 - turned)
        pole = (at == at.round()) & (at < 0) & at.isfinite()
        return slope.masked_fill(pole, math.inf).to(x.dtype), (x == 0) | ~x.isfinite()

    def log_ndtr(self, x: Any) -> Any:
        """Far below 0 by a formula whose slope cancels no digits: it is -x - 1 / x."""
        far = x < -100
        near, below = x.masked_fill(far, 0), x.masked_fill(~far, -100)
        tail = -below * below / 2 - (-below).log() - math.log(2 * math.pi) / 2
        return self.library.where(far, tail, self.library.special.log_ndtr(near))

    def sinc(self, x: Any) -> Any:
        """Near 0 by its series; 0 of float32 numbers so large that their product with pi is infinite."""
        whole = self.library.sinc(x)
        if not x.is_floating_point():
            return whole
        near = x.abs() < 0.05
        square = (x.masked_fill(~near, 0).double() * math.pi) ** 2
        series = sum((-square) ** k / math.factorial(2 * k + 1) for k in range(6))
        far = (x.abs() > 1e38) & x.isfinite() & (x.dtype != self.library.float64)
        found = self.library.where(near, series.to(x.dtype), self.library.sinc(x.masked_fill(near | far, 1)))
        return found.masked_fill(far, 0)

    def mish(self, x: Any) -> Any:
        """Far above 0 it is x."""
        far = x > 80
        return self.library.where(far, x, self.library.nn.functional.mish(x.masked_fill(far, 0)))

    def copysign(self, x: Any, y: Any) -> Any:
        """At 0, where its slope is 0, it is constant."""
        if not hasattr(x, "detach") or not x.is_floating_point():
            return self.library.copysign(x, y)
        return self._still(lambda x: self.library.copysign(x, y), x)

    def atan2(self, y: Any, x: Any) -> Any:
        """In the type of the result: PyTorch's slope has a square of x in its own."""
        return self._in_one_type(self.library.atan2, y, x)

    def hypot(self, x: Any, y: Any) -> Any:
        """As atan2(): a tangent times x."""
        return self._in_one_type(self.library.hypot, x, y)

    def xlog1py(self, x: Any, y: Any) -> Any:
        """As atan2(): y + 1."""
        return self._in_one_type(self.library.special.xlog1py, x, y)

    def _in_one_type(self, function: Any, *operands: Any) -> Any:
        """What it gives for operands of the type of the result. Backward reads the operands themselves, too: one that
        was changed in place is an error."""
        whole, common = function(*operands), self.library.result_type(*operands)
        turned = [t.to(common) if hasattr(t, "detach") and t.is_floating_point() else t for t in operands]
        if all(a is b for a, b in zip(turned, operands, strict=True)):
            return whole
        return self.library.where(self.library.ones_like(whole, dtype=self.library.bool), function(*turned), whole)

    def angle(self, x: Any) -> Any:
        """As copysign()."""
        return self._still(self.library.angle, x) if x.is_complex() else self.library.angle(x)

    def sgn(self, x: Any) -> Any:
        """As copysign()."""
        return self._still(self.library.sgn, x) if x.is_complex() else self.library.sgn(x)

    def cosine_similarity(self, x: Any, y: Any, dim: int) -> Any:
        """The norm of a vector of zeros is constant."""
        library = self.library

        def unit(t: Any) -> Any:
            zero = (t == 0).all(dim, keepdim=True)
            size = library.linalg.vector_norm(t.masked_fill(zero, 1), 2, dim, True).masked_fill(zero, 0)
            return t / (size + (1e-8 - size).clamp_min(0).detach())

        return (unit(x) * unit(y)).sum(dim)

    def local_response_norm(self, x: Any, size: int) -> Any:
        """Of a half type in float32, in which no square overflows."""
        wide = x.float() if x.dtype in (self.library.float16, self.library.bfloat16) else x
        return self.library.nn.functional.local_response_norm(wide, size).to(x.dtype)

    def std(self, x: Any, *args: Any, **options: Any) -> Any:
        """Of complex numbers in float64, in which no square overflows."""
        found = (x.to(self.library.complex128) if x.is_complex() else x).std(*args, **options)
        return found.to(x.real.dtype) if x.is_complex() else found

    def normalize(self, x: Any, dim: int) -> Any:
        """One number as a row of one: the root of its square is that of a sum, which may be infinite."""
        found = self.library.nn.functional.normalize(x if x.ndim else x[None], dim=dim)
        return found.reshape(x.shape)

    def renorm(self, x: Any, p: float, dim: int, maxnorm: float) -> Any:
        """Rows with NaN stay as they are: they are not longer than allowed."""
        library = self.library
        axes = [i for i in range(x.ndim) if i != dim % x.ndim]
        plain = x.isnan().sum(axes, keepdim=True) > 0
        return library.where(plain, x, library.renorm(x.masked_fill(plain, 0), p, dim, maxnorm))

    def pow(self, x: Any, exponent: Any) -> Any:
        """By a number that is rounded to float32 first: which are odd depends on that."""
        library = self.library
        if isinstance(exponent, float) and library.result_type(x, exponent) == library.float32:
            exponent = library.tensor(exponent, dtype=library.float32).item()
        return library.pow(x, exponent)

    def gradient(self, y: Any, x: Any) -> tuple[Any]:
        """``autograd.grad`` with a graph, whose values are those without: PyTorch has two formulas for some."""
        values, tracked = [self.library.autograd.grad(
            y, x, retain_graph=True, create_graph=graph, allow_unused=True)[0] for graph in (False, True)]
        if values is not None and tracked is not None:
            tracked = tracked.clone()
            tracked.data.copy_(values)
        return (tracked,)

    def _still(self, function: Any, x: Any) -> Any:
        zero = x == 0
        return self.library.where(zero, function(x.detach()), function(x.masked_fill(zero, 1)))
