"""Stage: front. In: the shape of a tensor and the sizes of windows along its last dimensions, as users give them. Out:
the windows, or PyTorch's error: pooling's argument checks.
Next: ``unpooling.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

from minigrad.nn.composites.uneven import Uneven, shared_out
from minigrad.nn.composites.windows import Even, Windows
from minigrad.nn.functional.arguments import list_with_default, whole_numbers
from minigrad.tensor import Tensor, type_name

_WORDS = {1: "one int", 2: "two ints", 3: "three ints"}
_LETTERS = {2: "HW", 3: "THW"}


def check_dtype(input: Tensor, name: str, floats: bool) -> None:
    """``NotImplementedError`` in PyTorch's words for bools and, with ``floats``, for integers."""
    kind = input.dtype.kind
    if kind == "b" or (floats and kind != "f"):
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(input.dtype)}'")


def layout_of(name: str, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
              ceil_mode: bool, suffix: str = "") -> Even:
    """The windows of the pooling function ``name`` along the last dimensions of ``input``."""
    function = name.removesuffix("_short") + suffix
    kernel = whole_numbers(function, "kernel_size", 2, kernel_size)
    steps = () if stride is None else whole_numbers(function, "stride", 3, stride)
    return _layout(name, tuple(input.shape), kernel, steps, whole_numbers(function, "padding", 4, padding),
                   whole_numbers(function, "dilation", 5, dilation), bool(ceil_mode))


@lru_cache(512)
def _layout(name: str, shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any,
            ceil_mode: bool) -> Even:
    dims = int(name.removesuffix("_short")[-2])
    if dims == 1:
        _check_rank_1d(name, shape)
    sizes = _spread(name, "kernel_size", kernel, dims)
    strides = sizes if stride == () else _spread(name, "stride", stride, dims)
    paddings, dilations = _spread(name, "padding", padding, dims), _spread(name, "dilation", dilation, dims)
    if name == "max_pool1d_short":
        _check_short(sizes[0], strides[0], paddings[0], dilations[0])
    else:
        _check_rank(name, shape, dims)
    for k, s, p, d in zip(sizes, strides, paddings, dilations, strict=True):
        if s == 0:
            raise RuntimeError("stride should not be zero")
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > int(((k - 1) * d + 1) / 2):
            raise RuntimeError("pad should be at most half of effective kernel size, but got "
                               f"pad={p}, kernel_size={k} and dilation={d}")
    counts = tuple([_count(n, k, s, p, d, ceil_mode)
                    for n, k, s, p, d in zip(shape[-dims:], sizes, strides, paddings, dilations, strict=True)])
    if name == "max_pool1d_short":
        if counts[0] <= 0:
            raise RuntimeError(f"max_pool1d() Invalid computed output size: {counts[0]}")
    else:
        _check_sizes(name, shape, counts, sizes, strides, paddings, dilations)
    return Even(tuple([Windows(k, s, p, d, o) for k, s, p, d, o in zip(sizes, strides, paddings, dilations, counts,
                                                                       strict=True)]))


def _count(length: int, size: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    room = length + 2 * padding - dilation * (size - 1) - 1 + (stride - 1 if ceil_mode else 0)
    count = room // stride + 1
    if ceil_mode and (count - 1) * stride >= length + padding:
        count -= 1  # the last window begins in the tensor or in the padding before it
    return count


def _spread(name: str, argument: str, value: Any, dims: int) -> tuple[int, ...]:
    """One size for each dimension."""
    if isinstance(value, int):
        return (value,) * dims
    if len(value) == dims:
        return value
    if len(value) == 1:
        return value * dims
    if name == "max_pool1d_short":
        kind = {"stride": "None, an int, list of ints, or tuple of ints",
                "padding": "an int, list of ints, or tuple of ints"}.get(
                    argument, "an int, list of ints or tuple of ints")
        raise RuntimeError(f"max_pool1d() {argument} must be {kind} of size 1 but got size {len(value)}")
    if dims == 1:
        raise RuntimeError(f"{name}() argument '{argument}' should contain one int (got {len(value)})")
    either = {"avg_pool3d": "must be"}.get(name, "must be either" if argument == "dilation" else "must either be")
    omitted = "omitted, " if argument == "stride" else ""
    raise RuntimeError(f"{name}: {argument} {either} {omitted}a single int, or a tuple of {_WORDS[dims]}")


def _check_rank_1d(name: str, shape: tuple[int, ...]) -> None:
    if name == "max_pool1d_short":
        if len(shape) not in (2, 3) or 0 in shape[len(shape) - 2:]:
            raise RuntimeError("max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for "
                               f"input, but got:{list(shape)}")
    elif len(shape) not in (2, 3):
        _raise_rank_1d(name, shape)


def _raise_rank_1d(name: str, shape: tuple[int, ...]) -> NoReturn:
    raise RuntimeError(f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument #1 'self' "
                       f"(while checking arguments for {name})")


def _check_rank(name: str, shape: tuple[int, ...], dims: int) -> None:
    if dims == 2 and name == "avg_pool2d" and len(shape) < 3:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-len(shape)}, {len(shape) - 1}], "
                         "but got -3)")
    if dims > 1 and name != "avg_pool2d" and len(shape) - dims not in (1, 2):
        raise RuntimeError(f"non-empty {dims + 1}D or {dims + 2}D (batch mode) tensor expected for input")


def _check_short(size: int, stride: int, padding: int, dilation: int) -> None:
    """What PyTorch's ``max_pool1d`` says where no gradient is wanted."""
    for name, value in (("kernel_size", size), ("stride", stride)):
        if value <= 0:
            raise RuntimeError(f"max_pool1d() {name} must be greater than zero, but got {value}")
    if padding < 0:
        raise RuntimeError(f"max_pool1d() padding must be non-negative, but got {padding}")
    if padding > size // 2:
        raise RuntimeError(f"max_pool1d() padding should be at most half of kernel size, but got padding={padding} "
                           f"and kernel_size={size}")
    if dilation <= 0:
        raise RuntimeError(f"max_pool1d() dilation must be greater than zero, but got {dilation}")


def _check_sizes(name: str, shape: tuple[int, ...], counts: tuple[int, ...], sizes: tuple[int, ...],
                 strides: tuple[int, ...], paddings: tuple[int, ...], dilations: tuple[int, ...]) -> None:
    dims = len(counts)
    if dims == 1:  # PyTorch adds a dimension and pools over two
        shape, counts = (*shape[:-1], 1, shape[-1]), (1, *counts)
        sizes, strides, paddings, dilations, dims = (1, *sizes), (1, *strides), (0, *paddings), (1, *dilations), 2

    def listed(word: str, values: Sequence[int], between: str = " ") -> str:
        return between.join(f"{word}{letter}: {value}" for letter, value in zip(_LETTERS[dims], values, strict=True))

    for what, word, values in (("kernel size", "k", sizes), ("stride", "d", strides),
                               ("dilation", "dilation", dilations)):
        if min(values) <= 0:
            raise RuntimeError(f"{what} should be greater than zero, but got {listed(word, values)}")
    if dims == 2:
        if len(shape) not in (3, 4) or 0 in shape[len(shape) - 3:]:
            raise RuntimeError("Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but "
                               f"got:{list(shape)}")
    elif 0 in shape[len(shape) - 4:]:
        caller = {"max_pool3d": "max_pool3d_with_indices_out_cpu_template()"}.get(name, f"{name}()")
        raise RuntimeError(f"{caller}: Expected input's non-batch dimensions to have positive length, but input has a "
                           f"shape of {list(shape)} and non-batch dimension 0 has length zero!")  # whichever it is
    if name == "avg_pool3d" and any([n < k for n, k in zip(shape[-3:], sizes, strict=True)]):
        raise RuntimeError(f"input image ({listed('', shape[-3:])}) smaller than kernel size ({listed('k', sizes)})")
    if any([p > k // 2 for p, k in zip(paddings, sizes, strict=True)]):
        raise RuntimeError(f"pad should be smaller than or equal to half of kernel size, but got "
                           f"{_sizes_and_pads(sizes, paddings)}")
    if min(counts) < 1:
        before, after = ["x".join(map(str, (shape[-dims - 1], *n))) for n in (shape[-dims:], counts)]
        raise RuntimeError(f"Given input size: ({before}). Calculated output size: ({after}). "
                           "Output size is too small")


def _sizes_and_pads(sizes: tuple[int, ...], paddings: tuple[int, ...]) -> str:
    """As PyTorch lists them: two dimensions from the last, three with the last in the middle."""
    if len(sizes) == 2:
        return f"padW = {paddings[1]}, padH = {paddings[0]}, kW = {sizes[1]}, kH = {sizes[0]}"
    return " ".join(f"{word}{letter}: {values['THW'.index(letter)]}"
                    for word, values in (("k", sizes), ("pad", paddings)) for letter in "TWH")


# --- adaptive pooling


def adaptive_layout(name: str, input: Tensor, output_size: Any) -> Even | Uneven:
    """The windows of the adaptive pooling function ``name``."""
    dims = int(name[-2])
    if dims == 1:
        sizes = whole_numbers(name, "output_size", 2, output_size)
    elif isinstance(output_size, int):
        sizes = (output_size,) * dims
    else:
        sizes = whole_numbers(name, "output_size", 2, list_with_default(output_size, input.shape))
    return _adaptive_layout(name, tuple(input.shape), sizes)


@lru_cache(512)
def _adaptive_layout(name: str, shape: tuple[int, ...], sizes: Any) -> Even | Uneven:
    dims, average = int(name[-2]), "avg" in name
    if dims == 1:
        if len(shape) not in (2, 3):
            _raise_rank_1d(name, shape)
        sizes = (sizes,) if isinstance(sizes, int) else sizes
        if len(sizes) != 1:
            raise RuntimeError(f"{name}() argument 'output_size' should contain one int (got {len(sizes)})")
    elif len(sizes) != dims:
        raise RuntimeError(f"{name}: output_size must be {dims}" if average else
                           f"{name}(): internal error: output_size.size() must be {dims}")
    if dims > 1 and len(shape) - dims not in (1, 2):
        raise RuntimeError(f"{name}(): Expected {dims + 1}D or {dims + 2}D tensor, but got{'' if average else ':'} "
                           f"{list(shape)}")
    if average and dims < 3:  # only the pooled dimensions must have elements; in one dimension it pools over two
        name, shape, sizes = "adaptive_avg_pool2d", (*shape[:-1], *(1,) * (2 - dims), shape[-1]), (
            *(1,) * (2 - dims), *sizes)
    first = len(shape) - (2 if average and dims < 3 else dims if len(shape) - dims == 1 else dims + 1)
    for axis in range(first, len(shape)):
        if shape[axis] == 0:
            raise RuntimeError(f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input "
                               f"has sizes {list(shape)} with dimension {axis} being empty")
    if min(sizes) < 0:
        if average:
            listed = ", ".join(map(str, sizes[:2])) + "".join(f",{n}" for n in sizes[2:])
            raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received "
                               f"{{{listed}}}")
        kept = [*shape[:-dims], *(1,) * (2 - dims), *sizes]
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {kept}")
    return shared_out(shape[-dims:], sizes[-dims:])


# --- unpooling


def unpooled_size(input: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
                  output_size: Sequence[int] | None) -> tuple[int, ...]:
    """The size that a max pooling of these windows was applied to: ``output_size`` if it may be one."""
    dims = len(kernel)
    default = [(n - 1) * s + k - 2 * p
               for n, k, s, p in zip(input.shape[-dims:], kernel, stride, padding, strict=True)]
    given: Sequence[int] = default
    if output_size is not None:
        given = output_size[2:] if len(output_size) == dims + 2 else output_size
        if len(given) != dims:
            raise ValueError(f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it has a "
                             f"length of '{len(given)}'")
        for d, (size, middle, step) in enumerate(zip(given, default, stride, strict=True)):
            if not middle - step < size < middle + step:
                raise ValueError(f'invalid output_size "{given}" (dim {d} must be between {middle - step} and '
                                 f"{middle + step})")
    for d, size in enumerate(given):
        if size < 0:
            raise ValueError("max_unpooling: output_size must contain non-negative spatial dimensions, but got "
                             f"output_size[{d}]={size}")
    return tuple(given)
