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
from minigrad.tensor.arguments import explain_functions
from minigrad.tensor.definition import numpy_names
from minigrad.tensor.operands import require_tensor, whole_number
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import get_default_dtype, type_name

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]

F = TypeVar("F", bound=Callable[..., Any])
LAST_TWO = (-2, -1)
_CONJUGATED = ("fft_ifft", "fft_ihfft")
"""Of real signals, PyTorch conjugates the transform there to have the one back."""


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
        conjugated = name in _CONJUGATED and input.dtype.kind != "c"
        return into(out, result, name, beneath="conj_physical" if conjugated else "")

    return cast(F, numpy_names(checked))


# --- along one dimension


@_checked
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """X[k] = Σ x[j] exp(-2πi jk / n) along ``dim``, k = 0 … n - 1. The signal is first cut off or filled up with zeros
    to n samples; by default n is its size. Input has any shape, its dtype is no half type; the result has size n in
    ``dim`` and is complex: complex128 of float64 and complex128, else complex64.

    ``RuntimeError`` for n below 1, another ``norm`` and half types, ``IndexError`` for a ``dim`` that input does not
    have. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fft.html

    >>> import minigrad
    >>> fft(minigrad.tensor([1.0, 2.0, 3.0]), norm="forward").real
    tensor([ 2.0000, -0.5000, -0.5000])
    """
    return fourier.c2c(input, n, dim, norm, True, "fft_fft")


@_checked
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """x[j] = 1/n Σ X[k] exp(2πi jk / n) along ``dim``: the way back from ``fft``. The spectrum is first cut off or
    filled up with zeros to n elements; by default n is its size. Shapes and dtypes are those of ``fft``.

    ``RuntimeError`` for n below 1, another ``norm`` and half types, ``IndexError`` for a ``dim`` that input does not
    have. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifft.html

    >>> import minigrad
    >>> ifft(minigrad.tensor([6.0, 0.0, 0.0])).real
    tensor([2., 2., 2.])
    """
    return fourier.c2c(input, n, dim, norm, False, "fft_ifft")


@_checked
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of ``fft`` of a real signal along ``dim``; the others are their conjugates. Input
    is real, of any shape and no half type; the result has size n // 2 + 1 in ``dim``, complex128 of float64, else
    complex64.

    ``RuntimeError`` for n below 1, another ``norm``, half types and complex input, ``IndexError`` for a ``dim`` that
    input does not have. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfft.html

    >>> import minigrad
    >>> rfft(minigrad.tensor([1.0, 2.0, 3.0, 4.0])).real
    tensor([10., -2., -2.])
    """
    return fourier.r2c(input, n, dim, norm, True, "fft_rfft")


@_checked
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real signal of n samples along ``dim`` with this half of a spectrum: the way back from ``rfft``. By default n
    = 2 (m - 1), m the size of input, which is first cut off or filled up with zeros to n // 2 + 1. Input may have any
    shape, its dtype is no half type; the result is float64 of float64 and complex128, else float32.

    ``RuntimeError`` for n below 1, another ``norm`` and half types, ``IndexError`` for a ``dim`` that input does not
    have. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfft.html

    >>> import minigrad
    >>> irfft(minigrad.tensor([10.0, -2.0, -2.0]))
    tensor([1., 3., 3., 3.])
    """
    return fourier.c2r(input, n, dim, norm, False, "fft_irfft")


@_checked
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """``fft`` along ``dim`` of a Hermitian signal, x[-j] = conj(x[j]), of which input is the first half: n real
    numbers. By default n = 2 (m - 1), m the size of input, which is first cut off or filled up with zeros to n // 2 +
    1. Shapes and dtypes are those of ``irfft``.

    ``RuntimeError`` for n below 1, another ``norm`` and half types, ``IndexError`` for a ``dim`` that input does not
    have. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfft.html

    >>> import minigrad
    >>> hfft(minigrad.tensor([1.0, 2.0, 3.0]))
    tensor([ 8., -2.,  0., -2.])
    """
    return fourier.c2r(input, n, dim, norm, True, "fft_hfft")


@_checked
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first half, n // 2 + 1 elements, of the Hermitian signal whose ``fft`` along ``dim`` is this real input: the
    way back from ``hfft``. Shapes and dtypes are those of ``rfft``.

    ``RuntimeError`` for n below 1, another ``norm``, half types and complex input, ``IndexError`` for a ``dim`` that
    input does not have. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfft.html

    >>> import minigrad
    >>> ihfft(minigrad.tensor([10.0, -4.0, 2.0, -4.0])).real
    tensor([1., 2., 5.])
    """
    return fourier.r2c(input, n, dim, norm, False, "fft_ihfft")


# --- along several


@_checked
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``fft`` along each of ``dim``: by default all, or the last ``len(s)`` if ``s`` is given. ``s`` are the sizes to
    which the signal is first cut off or filled up with zeros, -1 for one that stays. Input has any shape, its dtype is
    no half type; the result is complex: complex128 of float64 and complex128, else complex64.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm`` and
    half types. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftn.html

    >>> import minigrad
    >>> fftn(minigrad.ones(2, 2)).real
    tensor([[4., 0.],
            [0., 0.]])
    """
    return fourier.c2c_many(input, s, dim, norm, True)


@_checked
def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``ifft`` along each of ``dim``: the way back from ``fftn``, whose arguments, shapes and dtypes it has.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm`` and
    half types. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifftn.html

    >>> import minigrad
    >>> ifftn(minigrad.tensor([[4.0, 0.0], [0.0, 0.0]])).real
    tensor([[1., 1.],
            [1., 1.]])
    """
    return fourier.c2c_many(input, s, dim, norm, False)


@_checked
def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``rfft`` along the last of ``dim``, then ``fft`` along the others: by default all, or the last ``len(s)`` if
    ``s`` is given. ``s`` are the sizes of the signal as in ``fftn``. Input is real, of no half type; the result has
    s[-1] // 2 + 1 elements in the last ``dim``, complex128 of float64, else complex64.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm``, half
    types, no dimension and complex input. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfftn.html

    >>> import minigrad
    >>> rfftn(minigrad.ones(2, 4)).shape
    minigrad.Size([2, 3])
    """
    return fourier.r2c_many(input, s, dim, norm, True, "rfftn")


@_checked
def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``ifft`` along all but the last of ``dim``, then ``irfft`` along that: the way back from ``rfftn``. ``s`` are the
    sizes of the result; the last is by default 2 (m - 1), m the size of input. The result is float64 of float64 and
    complex128, else float32.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm``, half
    types and no dimension. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfftn.html

    >>> import minigrad
    >>> irfftn(minigrad.tensor([[8.0, 0.0], [0.0, 0.0]]))
    tensor([[2., 2.],
            [2., 2.]])
    """
    return fourier.c2r_many(input, s, dim, norm, False, "irfftn")


@_checked
def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``fft`` along all but the last of ``dim``, then ``hfft`` along that: the spectrum of a Hermitian signal of which
    input is the first half. ``s`` are the sizes of the result; shapes and dtypes are those of ``irfftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm``, half
    types and no dimension. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfftn.html

    >>> import minigrad
    >>> hfftn(minigrad.ones(2, 2))
    tensor([[4., 0.],
            [0., 0.]])
    """
    return fourier.c2r_many(input, s, dim, norm, True, "hfftn")


@_checked
def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """``ihfft`` along the last of ``dim``, then ``ifft`` along the others: the way back from ``hfftn``. Shapes and
    dtypes are those of ``rfftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm``, half
    types, no dimension and complex input. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfftn.html

    >>> import minigrad
    >>> ihfftn(minigrad.tensor([[4.0, 0.0], [0.0, 0.0]])).real
    tensor([[1., 1.],
            [1., 1.]])
    """
    return fourier.r2c_many(input, s, dim, norm, False, "ihfftn")


@_checked
def fft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``fftn`` along two dimensions, by default the last; ``s`` are their two sizes. Shapes and dtypes are those of
    ``fftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm`` and
    half types. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fft2.html

    >>> import minigrad
    >>> fft2(minigrad.ones(3, 2, 2)).shape
    minigrad.Size([3, 2, 2])
    """
    return fourier.c2c_many(input, s, dim, norm, True)


@_checked
def ifft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``ifftn`` along two dimensions, by default the last; ``s`` are their two sizes. Shapes and dtypes are those of
    ``ifftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm`` and
    half types. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifft2.html

    >>> import minigrad
    >>> ifft2(minigrad.tensor([[4.0, 0.0], [0.0, 0.0]])).real
    tensor([[1., 1.],
            [1., 1.]])
    """
    return fourier.c2c_many(input, s, dim, norm, False)


@_checked
def rfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``rfftn`` along two dimensions, by default the last; ``s`` are their two sizes. Shapes and dtypes are those of
    ``rfftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm``, half
    types and complex input. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfft2.html

    >>> import minigrad
    >>> rfft2(minigrad.ones(3, 2, 4)).shape
    minigrad.Size([3, 2, 3])
    """
    return fourier.r2c_many(input, s, dim, norm, True, "rfftn")


@_checked
def irfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``irfftn`` along two dimensions, by default the last; ``s`` are their two sizes. Shapes and dtypes are those of
    ``irfftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm`` and
    half types. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfft2.html

    >>> import minigrad
    >>> irfft2(minigrad.tensor([[8.0, 0.0], [0.0, 0.0]]))
    tensor([[2., 2.],
            [2., 2.]])
    """
    return fourier.c2r_many(input, s, dim, norm, False, "irfftn")


@_checked
def hfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``hfftn`` along two dimensions, by default the last; ``s`` are their two sizes. Shapes and dtypes are those of
    ``hfftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm`` and
    half types. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfft2.html

    >>> import minigrad
    >>> hfft2(minigrad.ones(2, 2))
    tensor([[4., 0.],
            [0., 0.]])
    """
    return fourier.c2r_many(input, s, dim, norm, True, "hfftn")


@_checked
def ihfft2(input: Tensor, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Tensor:
    """``ihfftn`` along two dimensions, by default the last; ``s`` are their two sizes. Shapes and dtypes are those of
    ``ihfftn``.

    ``RuntimeError`` for sizes below 1, dimensions that are not unique or not as many as ``s``, another ``norm``, half
    types and complex input. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfft2.html

    >>> import minigrad
    >>> ihfft2(minigrad.tensor([[4.0, 0.0], [0.0, 0.0]])).real
    tensor([[1., 1.],
            [1., 1.]])
    """
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
    result = into(out, index * (1.0 / (n * d) if n * d else float("inf")))
    return result.requires_grad_() if requires_grad else result


def fftfreq(n: int, d: float = 1.0, *, out: Any = None, dtype: DType | None = None, layout: Any = None,
            device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of ``fft`` of n samples at distance d, in cycles a unit: 0, 1, …, -2, -1, divided by n d: (n,),
    of a floating or complex ``dtype``, by default the default dtype.

    ``RuntimeError`` for another dtype. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftfreq.html

    >>> fftfreq(3, 0.5)
    tensor([ 0.0000,  0.6667, -0.6667])
    """
    n = whole_number("fft_fftfreq", "n", n, 1)
    return _frequencies("fftfreq", n, n, d, out, dtype, device, requires_grad)


def rfftfreq(n: int, d: float = 1.0, *, out: Any = None, dtype: DType | None = None, layout: Any = None,
             device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of ``rfft`` of n samples at distance d, in cycles a unit: 0, 1, …, n // 2, divided by n d: (n //
    2 + 1,), of a floating or complex ``dtype``, by default the default dtype.

    ``RuntimeError`` for another dtype. Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfftfreq.html

    >>> rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    n = whole_number("fft_rfftfreq", "n", n, 1)
    return _frequencies("rfftfreq", n, n // 2 + 1, d, out, dtype, device, requires_grad)


def _shifted(input: Tensor, dim: Any, half: Callable[[int], int]) -> Tensor:
    dims = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    at = [fourier.dimension(d, input) for d in dims]
    return input.roll([half(input.shape[d]) for d in at], at)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The spectrum with frequency 0 in the middle of each of ``dim``, by default of all: rolled by n // 2. Input has
    any shape and dtype, the result the same.

    ``IndexError`` for a ``dim`` that input does not have. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.fft.fftshift.html

    >>> import minigrad
    >>> fftshift(minigrad.tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return _shifted(input, dim, lambda n: n // 2)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The way back from ``fftshift``: rolled by (n + 1) // 2 along each of ``dim``, by default all. Input has any shape
    and dtype, the result the same.

    ``IndexError`` for a ``dim`` that input does not have. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.fft.ifftshift.html

    >>> import minigrad
    >>> ifftshift(minigrad.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return _shifted(input, dim, lambda n: (n + 1) // 2)


explain_functions(globals())
