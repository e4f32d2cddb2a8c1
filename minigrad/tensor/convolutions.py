"""Stage: front. In: images, filters and options as PyTorch takes them. Out: ``conv1d`` to ``conv_transpose3d``: what
they are given is checked once for each combination of shapes and options; the formulas are in ``convolution.py``.
Next: ``creation.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import index
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, bool_
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.convolution import CONVOLUTION, TRANSPOSED, Geometry
from minigrad.tensor.definition import function
from minigrad.tensor.operands import require_tensor
from minigrad.tensor.promotion import c_name, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Shape = tuple[int, ...]
_AXES: dict[int, tuple[tuple[str, ...], Shape, Shape]] = {
    1: (("height", "width"), (1,), (0,)), 2: (("height", "width"), (), ()), 3: (("depth", "height", "width"), (), ())}
"""For messages: the names of the axes, and what the height has where there is none."""


def _convolve(name: str, dims: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
              groups: int) -> Tensor:
    if not isinstance(input, AnyTensor) or not isinstance(weight, AnyTensor) or not (
            bias is None or isinstance(bias, AnyTensor)):
        raise _wrong_arguments(name, input, weight, bias)
    input, weight, bias = operands_of("convolution", input, weight, bias)
    x = _batched(name, dims, input)
    shapes = x._shape(), weight._shape(), None if bias is None else bias._shape()
    types = x.dtype, weight.dtype, None if bias is None else bias.dtype
    try:
        at = _geometry(dims, shapes, types, _static(stride), _static(padding), _static(dilation), groups)
    except _NoIntegers:
        raise _wrong_arguments(name, input, weight, bias, stride=stride, padding=padding,
                               dilation=dilation) from None
    y = CONVOLUTION((x, weight) if bias is None else (x, weight, bias), (at,))
    if not shapes[0][1]:  # without channels PyTorch has no filters
        y = y[:, :0]
    return y if x is input else y.squeeze(0)


def _convolve_transposed(name: str, dims: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any,
                         output_padding: Any, groups: int, dilation: Any) -> Tensor:
    require_tensor(input, name, "input", 1)
    require_tensor(weight, name, "weight", 2)
    if bias is not None and not isinstance(bias, AnyTensor):
        raise TypeError(f"{name}(): argument 'bias' must be Tensor, not {type(bias).__name__}")
    for argument, value in (("stride", stride), ("padding", padding), ("output_padding", output_padding),
                            ("dilation", dilation)):
        if isinstance(value, str | float):
            raise TypeError(f"{name}(): argument '{argument}' must be tuple of ints, not {type(value).__name__}")
    input, weight, bias = operands_of("convolution", input, weight, bias)
    x = _batched(name, dims, input)
    shapes = x._shape(), weight._shape(), None if bias is None else bias._shape()
    try:
        at = _transposed_geometry(dims, shapes, (x.dtype, weight.dtype), _static(stride), _static(padding),
                                  _static(output_padding), groups, _static(dilation))
    except _NoIntegers:
        raise _wrong_arguments(name, input, weight, bias, stride=stride, padding=padding,
                               output_padding=output_padding, dilation=dilation) from None
    y = TRANSPOSED((x, weight) if bias is None else (x, weight, bias), (at,))
    return y if x is input else y.squeeze(0)


# --- arguments


class _NoIntegers(Exception):
    """A size is no integer."""


def _static(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _batched(name: str, dims: int, input: Tensor) -> Tensor:
    given = len(input._shape())
    if given == dims + 2:
        return input
    if given != dims + 1:
        raise RuntimeError(f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {name}, but got input "
                           f"of size: {list(input._shape())}")
    return input.unsqueeze(0)


def _wrong_arguments(name: str, *args: Any, **named: Any) -> TypeError:
    given = [type(a).__name__ for i, a in enumerate(args) if a is not None or i < 2]
    given += [f"{n}={type(v).__name__}" for n, v in named.items() if isinstance(v, float) or (
        isinstance(v, str) and n != "padding")]
    ends = [f" * (Tensor input, Tensor weight, Tensor bias = None, tuple of ints stride = 1, {padding}, tuple of ints "
            "dilation = 1, int groups = 1)\n" for padding in ("tuple of ints padding = 0", 'str padding = "valid"')]
    return TypeError(f"{name}() received an invalid combination of arguments - got ({', '.join(given)}), but expected "
                     f"one of:\n{''.join(ends)}")


def _each(value: Any, name: str, dims: int, padding: Any = 0) -> Shape:
    """One number for each axis; a single one stands for all."""
    try:
        sizes = tuple([index(v) for v in value]) if isinstance(value, tuple) else (index(value),)
    except TypeError:
        raise _NoIntegers from None
    if len(sizes) not in (1, dims):
        if padding == "same":
            raise RuntimeError(f"{name} cannot broadcast to {dims} dimensions")
        raise RuntimeError(f"expected {name} to be a single integer value or a list of {dims} values to match the "
                           f"convolution dimensions, but got {name}={list(sizes)}")
    return sizes * dims if len(sizes) == 1 else sizes


def _same_padding(kernel: Shape, stride: Shape, dilation: Shape) -> tuple[tuple[int, int], ...]:
    """As many outputs as inputs; of an odd number of zeros more come at the end."""
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(t % 2 for t in totals):
        warnings.warn("Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy "
                      "of the input be created", stacklevel=5)
    return tuple([(t // 2, t - t // 2) for t in totals])


def _check_types(x: DType, w: DType, b: DType | None = None) -> None:
    if b is not None and b is not x:
        raise RuntimeError(f"Input type ({c_name(x)}) and bias type ({c_name(b)}) should be the same")
    if w is not x:
        raise RuntimeError(f"expected scalar type {type_name(x)} but found {type_name(w)}")
    if x is bool_:
        raise NotImplementedError("\"slow_conv2d_cpu\" not implemented for 'Bool'")


def _check_weight(dims: int, x: Shape, w: Shape, bias: Shape | None, groups: int, transposed: bool) -> None:
    """The number of filters and channels."""
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if len(w) < 3:
        raise RuntimeError("weight should have at least three dimensions")
    if w[0] < groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got "
                           f"weight of size [{', '.join(map(str, w))}] instead")
    if w[0] % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but "
                           f"got weight of size [{list(w)}] instead")
    channels = w[0] if transposed else w[1] * groups
    if x[1] != channels:
        how = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(f"Given {how}, weight of size {list(w)}, expected input{list(x)} to have {channels} "
                           f"channels, but got {x[1]} channels instead")
    filters = w[1] * groups if transposed else w[0]
    if bias is not None and bias != (filters,):
        how = "transposed=1, " if transposed else ""
        raise RuntimeError(f"Given {how}weight of size {list(w)}, expected bias to be 1-dimensional with {filters} "
                           f"elements, but got bias of size {list(bias)} instead")
    if 0 in x[2:] and x[0] and x[1]:
        raise RuntimeError(f"Only zero batch or zero channel inputs are supported, but got input shape: {list(x)}")


@lru_cache(1024)
def _geometry(dims: int, shapes: tuple[Any, ...], types: tuple[Any, ...], stride: Any, padding: Any, dilation: Any,
              groups: int) -> Geometry:
    """How the windows lie, or PyTorch's error."""
    x, w, bias = shapes
    _check_types(*types)
    if len(w) >= 3 and len(w) - 2 != dims:
        if padding != "same":
            _each((1,) * dims if not isinstance(stride, tuple) else stride, "stride", len(w) - 2)
        space = "" if padding == "same" else " "
        raise RuntimeError(f"Expected {len(w)}-dimensional input for {len(w)}-dimensional weight{space}{list(w)}, but "
                           f"got {len(x)}-dimensional input of size {list(x)} instead")
    kernel = w[2:]
    stride, dilation = _each(stride, "stride", dims, padding), _each(dilation, "dilation", dims, padding)
    if padding == "same":
        both = _same_padding(kernel, stride, dilation)
    elif padding == "valid":
        both = ((0, 0),) * dims
    elif isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    else:
        both = tuple([(p, p) for p in _each(padding, "padding", dims)])
    if any(low < 0 for low, _ in both):
        raise RuntimeError("negative padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        but = "" if min(dilation) < 0 else f", but got {list(dilation)}"
        raise RuntimeError(f"dilation should be greater than zero{but}")
    _check_weight(dims, x, w, bias, groups, False)
    if 0 in kernel and x[1]:  # nothing is computed without channels
        axes, one, _ = _AXES[dims]
        raise RuntimeError("kernel size should be greater than zero, but got " + " ".join(
            [f"kernel_{a}: {k}" for a, k in zip(axes, one + kernel, strict=True)]))
    padded = [n + low + high for n, (low, high) in zip(x[2:], both, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(r > n for r, n in zip(reach, padded, strict=True)):
        raise RuntimeError(f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
                           f"({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size")
    out = tuple([(n - r) // s + 1 for n, r, s in zip(padded, reach, stride, strict=True)])
    return Geometry(stride, both, dilation, groups, out)


@lru_cache(1024)
def _transposed_geometry(dims: int, shapes: tuple[Any, ...], types: tuple[Any, ...], stride: Any, padding: Any,
                         output_padding: Any, groups: int, dilation: Any) -> Geometry:
    x, w, bias = shapes
    _check_types(*types)
    stride, dilation = _each(stride, "stride", dims), _each(dilation, "dilation", dims)
    padding, more = _each(padding, "padding", dims), _each(output_padding, "output_padding", dims)
    if any(p < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")
    if any(p < 0 for p in more):
        raise RuntimeError("negative output_padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    axes, one, none = _AXES[dims]
    if any(d <= 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero, but got " + ", ".join(
            [f"dilation_{a}: {d}" for a, d in zip(axes, one + dilation, strict=True)]))
    _check_weight(dims, x, w, bias, groups, True)
    if any(m >= s and m >= d for m, s, d in zip(more, stride, dilation, strict=True)):
        given = (("output_padding", none + more), ("stride", one + stride), ("dilation", one + dilation))
        raise RuntimeError("output padding must be smaller than either stride or dilation, but got " + " ".join(
            [f"{name}_{a}: {v}" for name, sizes in given for a, v in zip(axes, sizes, strict=True)]))
    out = tuple([(n - 1) * s - 2 * p + d * (k - 1) + m + 1 for n, s, p, d, k, m in zip(
        x[2:], stride, padding, dilation, w[2:], more, strict=True)])
    if any(n < 1 for n in out):
        raise RuntimeError(f"Given input size per channel: ({' x '.join(map(str, x[2:]))}). Calculated output size per "
                           f"channel: ({' x '.join(map(str, out))}). Output size is too small")
    return Geometry(stride, tuple([(p, p) for p in padding]), dilation, groups, out)


# --- the functions

_PLAIN = """{dims}D convolution: y[n, o, p] = bias[o] + sum over c, k of x[n, c, p*stride + k*dilation - padding] *
w[o, c, k].

``input`` is (N, C, {sizes}) or, unbatched, (C, {sizes}); ``weight`` (O, C / groups, {kernel}); ``bias`` (O,).
``stride``, ``padding`` and ``dilation`` are a number or one for each axis; ``padding`` may be ``"valid"`` (none)
or ``"same"`` (as many outputs as inputs; stride 1). Group g of the filters sees group g of the channels only.
Setting ``WINOGRAD`` has windows of 3 × 3 neighbours computed faster, with another error.
``RuntimeError`` for sizes that do not fit and for dtypes that differ.
(https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.{name}.html)

>>> import minigrad
>>> minigrad.{name}(minigrad.ones(1, 1{fours}), minigrad.ones(1, 1{threes})).shape
minigrad.Size([1, 1{twos}])
"""
_TRANSPOSED = """{dims}D transposed convolution, the gradient of {plain}: y[n, o, p*stride + k*dilation - padding] is
bias[o] + the sum over c and all such p, k of x[n, c, p] * w[c, o, k].

``input`` is (N, C, {sizes}) or, unbatched, (C, {sizes}); ``weight`` (C, O / groups, {kernel}); ``bias`` (O,).
An axis of n elements becomes one of (n - 1)*stride - 2*padding + dilation*(k - 1) + output_padding + 1.
``RuntimeError`` for sizes that do not fit and for dtypes that differ.
(https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.{name}.html)

>>> import minigrad
>>> minigrad.{name}(minigrad.ones(1, 1{twos}), minigrad.ones(1, 1{threes})).shape
minigrad.Size([1, 1{fours}])
"""


def _documented(dims: int, name: str, text: str, made: Callable[..., Tensor]) -> Callable[..., Tensor]:
    sizes = ("depth", "height", "width")[3 - dims:]
    made.__doc__ = text.format(
        dims=dims, name=name, plain=f"conv{dims}d", sizes=", ".join(sizes), kernel=", ".join(f"k{s[0]}" for s in sizes),
        twos=", 2" * dims, threes=", 3" * dims, fours=", 4" * dims)
    return function(name)(made)


def _plain(dims: int) -> Callable[..., Tensor]:
    name = f"conv{dims}d"

    def conv(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Sequence[int] = 1,
             padding: str | int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1) -> Tensor:
        return _convolve(name, dims, input, weight, bias, stride, padding, dilation, groups)

    return _documented(dims, name, _PLAIN, conv)


def _transpose(dims: int) -> Callable[..., Tensor]:
    name = f"conv_transpose{dims}d"

    def conv_transpose(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Sequence[int] = 1,
                       padding: int | Sequence[int] = 0, output_padding: int | Sequence[int] = 0, groups: int = 1,
                       dilation: int | Sequence[int] = 1) -> Tensor:
        return _convolve_transposed(name, dims, input, weight, bias, stride, padding, output_padding, groups,
                                    dilation)

    return _documented(dims, name, _TRANSPOSED, conv_transpose)


conv1d, conv2d, conv3d = _plain(1), _plain(2), _plain(3)
conv_transpose1d, conv_transpose2d, conv_transpose3d = _transpose(1), _transpose(2), _transpose(3)
