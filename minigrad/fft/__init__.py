"""Stage: front. In: signals. Out: ``torch.fft``'s names: discrete Fourier transforms along one or more dimensions, by
NumPy's pocketfft. ``norm`` says where the scaling is: ``"backward"``, the default, 1/n on the way back; ``"forward"``,
1/n on the way there; ``"ortho"``, 1/√n on both. Source: https://docs.pytorch.org/docs/stable/fft.html
Next: ``minigrad/special.py``.

>>> import minigrad
>>> minigrad.fft.fftfreq(4)
tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from minigrad.dtype import DType
from minigrad.tensor import FUNCTIONS, Tensor, fourier
from minigrad.tensor.definition import into, numpy_names
from minigrad.tensor.operands import require_tensor
from minigrad.tensor.promotion import get_default_dtype, type_name

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]

F = TypeVar("F", bound=Callable[..., Any])
LAST_TWO = (-2, -1)


def _checked(made: F) -> F:
    """The function, which checks that it gets a Tensor, and the type of ``out``."""
    name = f"fft_{made.__name__}"

    @wraps(made)
    def checked(input: Any, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        require_tensor(input, name, "input", 1)
        result = made(input, *args, **kwargs)
        if out is not None and result.dtype.kind == "c" and out.dtype.kind != "c":
            raise RuntimeError(f"{made.__name__} expects a complex output tensor, but got {type_name(out.dtype)}")
        if out is not None and result.dtype.kind != "c" and out.dtype.kind == "c":
            raise RuntimeError(f"{made.__name__} expects a floating point output tensor, but got "
                               f"{type_name(out.dtype)}")
        return into(out, result)

    return cast(F, numpy_names(checked))


# --- along one dimension


@_checked
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """X[k] = Σ x[j] exp(-2πi jk / n) along ``dim``, complex; the signal is first cut off or filled up with zeros to n
    samples. ``RuntimeError`` for fewer than one sample, and for half types."""
    return fourier.c2c(input, n, dim, norm, True, "fft_fft")


@_checked
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """x[j] = 1/n Σ X[k] exp(2πi jk / n): the way back from ``fft``."""
    return fourier.c2c(input, n, dim, norm, False, "fft_ifft")


@_checked
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of ``fft`` of a real signal: the others are their conjugates."""
    return fourier.r2c(input, n, dim, norm, True, "fft_rfft")


@_checked
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real signal of n samples with this half of a spectrum; n is by default twice the number of elements, less
    2."""
    return fourier.c2r(input, n, dim, norm, False, "fft_irfft")


@_checked
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """``fft`` of a signal that is Hermitian, x[-j] = conj(x[j]), of which the first half is given: real."""
    return fourier.c2r(input, n, dim, norm, True, "fft_hfft")


@_checked
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first half of the Hermitian signal with this real spectrum: the way back from ``hfft``."""
    return fourier.r2c(input, n, dim, norm, False, "fft_ihfft")


# --- along several


@_checked
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``fft`` along each of ``dim``, by default all, or the last ``len(s)``; ``s`` are the sizes, -1 for one that
    stays."""
    return fourier.c2c_many(input, s, dim, norm, True)


@_checked
def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``ifft`` along each of ``dim``."""
    return fourier.c2c_many(input, s, dim, norm, False)


@_checked
def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``rfft`` along the last of ``dim``, then ``fft`` along the others."""
    return fourier.r2c_many(input, s, dim, norm, True, "rfftn")


@_checked
def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``ifft`` along all but the last of ``dim``, then ``irfft`` along that."""
    return fourier.c2r_many(input, s, dim, norm, False, "irfftn")


@_checked
def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``fft`` along all but the last of ``dim``, then ``hfft`` along that."""
    return fourier.c2r_many(input, s, dim, norm, True, "hfftn")


@_checked
def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``ihfft`` along the last of ``dim``, then ``ifft`` along the others."""
    return fourier.r2c_many(input, s, dim, norm, False, "ihfftn")


@_checked
def fft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``fftn`` along two dimensions."""
    return fourier.c2c_many(input, s, dim, norm, True)


@_checked
def ifft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``ifftn`` along two dimensions."""
    return fourier.c2c_many(input, s, dim, norm, False)


@_checked
def rfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``rfftn`` along two dimensions."""
    return fourier.r2c_many(input, s, dim, norm, True, "rfftn")


@_checked
def irfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``irfftn`` along two dimensions."""
    return fourier.c2r_many(input, s, dim, norm, False, "irfftn")


@_checked
def hfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``hfftn`` along two dimensions."""
    return fourier.c2r_many(input, s, dim, norm, True, "hfftn")


@_checked
def ihfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``ihfftn`` along two dimensions."""
    return fourier.r2c_many(input, s, dim, norm, False, "ihfftn")


# --- frequencies


def _frequencies(name: str, n: int, count: int, d: float, out: Any, dtype: DType | None, device: Any,
                 requires_grad: bool) -> Tensor:
    kind = dtype or get_default_dtype()
    if kind.kind not in "fc":
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    index = FUNCTIONS["arange"](count, dtype=kind, device=device)
    if name == "fftfreq":
        index = index - n * (index > (n - 1) // 2).to(kind)
    result = into(out, index * (1.0 / (n * d) if n else 1.0))
    return result.requires_grad_() if requires_grad else result


def fftfreq(n: int, d: float = 1.0, *, out: Any = None, dtype: DType | None = None, layout: Any = None,
            device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of ``fft`` of n samples at distance d, in cycles a unit: 0, 1, …, -2, -1, divided by n d.

    >>> fftfreq(3, 0.5)
    tensor([ 0.0000,  0.6667, -0.6667])
    """
    return _frequencies("fftfreq", n, n, d, out, dtype, device, requires_grad)


def rfftfreq(n: int, d: float = 1.0, *, out: Any = None, dtype: DType | None = None, layout: Any = None,
             device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of ``rfft``: 0, 1, …, n // 2, divided by n d."""
    return _frequencies("rfftfreq", n, n // 2 + 1, d, out, dtype, device, requires_grad)


def _shifted(input: Tensor, dim: Any, half: Callable[[int], int]) -> Tensor:
    dims = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    at = [fourier.dimension(d, input) for d in dims]
    return input.roll([half(input.shape[d]) for d in at], at)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The spectrum with frequency 0 in the middle of ``dim``, by default of all.

    >>> import minigrad
    >>> fftshift(minigrad.tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return _shifted(input, dim, lambda n: n // 2)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The way back from ``fftshift``."""
    return _shifted(input, dim, lambda n: (n + 1) // 2)
