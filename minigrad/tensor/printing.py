"""Stage: tensor, on the host. In: a NumPy array and what else a tensor shows (dtype, device, grad_fn). Out:
the text PyTorch prints for it, with ``minigrad.`` where PyTorch writes ``torch.``.
All numbers of one tensor share one format, which ``_number_format`` chooses from those that are shown.
Next: ``numpy_protocol.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.dtype import DType, bool_, from_numpy, int64, shown
from minigrad.records import Record
from minigrad.tensor.promotion import default_complex_dtype, get_default_dtype


class PrintOptions(Record):
    """How tensors print: digits after the point, number of elements from which on ``...`` stands for the
    inner ones, how many stay visible at each end, characters in a line, and scientific notation (None: decide)."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}
_options = PrintOptions()


def get_printoptions() -> PrintOptions:
    """The options tensors print with now.

    >>> get_printoptions().precision
    4
    """
    return _options


def set_printoptions(precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None) -> None:
    """Change how tensors print; None leaves an option as it is (but ``sci_mode`` goes back to deciding by itself).

    ``profile`` is ``"default"``, ``"short"`` or ``"full"`` and is applied first; ``ValueError`` for another name.
    Source: https://pytorch.org/docs/stable/generated/torch.set_printoptions.html

    >>> set_printoptions(precision=2)
    >>> print(format_tensor(np.array([1.5, 2.25], np.float32)))
    tensor([1.50, 2.25])
    >>> set_printoptions(profile="default")
    """
    global _options
    options = _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"unknown print profile {profile!r}; the profiles are {', '.join(_PROFILES)}")
        options = _PROFILES[profile]
    given: dict[str, Any] = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
                             "linewidth": linewidth}
    _options = options.replaced(**{name: value for name, value in given.items() if value is not None},
                                 sci_mode=sci_mode)


def format_tensor(array: np.ndarray, *, dtype_suffix: str | None = None, requires_grad: bool = False,
                  grad_fn_name: str | None = None, device_suffix: str = "", tangent: str | None = None,
                  options: PrintOptions | None = None, name: str = "tensor") -> str:
    """The text of a tensor with the elements ``array`` (of any shape).

    ``dtype_suffix`` and ``device_suffix`` are printed after the elements (``"dtype=minigrad.float64"``,
    ``"device='cc'"``); an empty one is left out, and ``dtype_suffix=None`` says the dtype where PyTorch does.
    ``grad_fn_name`` gives ``grad_fn=<...>``, else ``requires_grad`` gives ``requires_grad=True``.

    >>> print(format_tensor(np.array([[1, 2.5], [-3, 4]], np.float32), requires_grad=True))
    tensor([[ 1.0000,  2.5000],
            [-3.0000,  4.0000]], requires_grad=True)
    >>> print(format_tensor(np.array(7.0), grad_fn_name="MulBackward0"))
    tensor(7., dtype=minigrad.float64, grad_fn=<MulBackward0>)
    >>> print(format_tensor(np.zeros((0, 3), np.float32)))
    tensor([], size=(0, 3))
    """
    options = _options if options is None else options
    dtype = from_numpy(array.dtype)
    suffixes = [device_suffix]
    shorten = array.ndim > 0 and array.size > options.threshold
    if array.size == 0 or (shorten and options.edgeitems == 0):
        body = "[...]" if shorten else "[]"
    else:
        body = _elements(array, dtype, len(name) + 1, shorten, options)
    if array.ndim != 1 if array.size == 0 else options.edgeitems == 0:
        suffixes.append(f"size={tuple(array.shape)}")
    suffixes.append(_dtype_suffix(dtype, array.size == 0) if dtype_suffix is None else dtype_suffix)
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")
    return with_suffixes(f"{name}({body}", [s for s in suffixes if s], len(name) + 1, options.linewidth)


def elements_text(array: np.ndarray, indent: int) -> str:
    """The elements alone, whose further lines are indented; of none also the size. For the parts of a sparse tensor.

    >>> print(elements_text(np.array([[1, 2], [3, 4]]), 4))
    [[1, 2],
         [3, 4]]
    """
    options = _options
    if not array.size:
        return f"[], size={tuple(array.shape)}"
    shorten = array.ndim > 0 and array.size > options.threshold
    return _elements(array, from_numpy(array.dtype), indent, shorten, options)


def format_return_type(name: str, fields: Sequence[tuple[str, object]]) -> str:
    """The text of a named result such as ``x.max(1)``: a field a line.

    >>> print(format_return_type("max", [("values", "tensor([2.])"), ("indices", "tensor([0])")]))
    minigrad.return_types.max(
    values=tensor([2.]),
    indices=tensor([0]))
    """
    lines = [f"{field}={value}" for field, value in fields]
    return shown(f"return_types.{name}(\n") + ",\n".join(lines) + ")"


def _dtype_suffix(dtype: DType, empty: bool) -> str:
    """Elements show which they are of the default type, its complex twin, int64 and bool; without elements only the
    default type goes unsaid."""
    default = get_default_dtype()
    silent = (default,) if empty else (default, default_complex_dtype(), int64, bool_)
    return "" if dtype in silent else f"dtype={dtype!r}"


def with_suffixes(text: str, suffixes: Sequence[str], indent: int, linewidth: int, newline: bool = False) -> str:
    """``text, suffix, suffix)``; a suffix that would cross ``linewidth`` starts a new line, with ``newline`` also the
    first."""
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if newline or length + len(suffix) + 2 > linewidth:
            newline = False
            text += f",\n{' ' * indent}{suffix}"
            length = indent + len(suffix)
        else:
            text += f", {suffix}"
            length += len(suffix) + 2
    return text + ")"


def _elements(array: np.ndarray, dtype: DType, indent: int, shorten: bool, options: PrintOptions) -> str:
    ends = tuple(shorten and n > 2 * options.edgeitems for n in array.shape)
    shown = array
    for axis, cut in enumerate(ends):
        if cut:
            head = np.arange(options.edgeitems)
            shown = shown.take(np.concatenate((head, head + array.shape[axis] - options.edgeitems)), axis)
    words, width = _words(shown.reshape(-1), dtype, options)
    if array.ndim == 0:
        return words[0]
    room = options.linewidth - (indent + array.ndim - 1)
    return _brackets(words, shown.shape, ends, indent, max(1, room // (width + 2)))


def _words(array: np.ndarray, dtype: DType, options: PrintOptions) -> tuple[list[str], int]:
    """The text of each element, and the width that the longest may have. Both parts have a format of their own."""
    if dtype.is_complex:
        reals, width = _words(array.real, dtype.part, options)
        imags, imag_width = _words(array.imag, dtype.part, options)
        signed = [text.lstrip() if text.lstrip()[0] in "+-" else f"+{text.lstrip()}" for text in imags]
        return [f"{real}{imag}j" for real, imag in zip(reals, signed, strict=True)], width + imag_width + 1
    if dtype.is_float:
        array = array.astype(np.float64)  # exact for every floating type
    numbers = array.tolist()
    write = _number_format(numbers, dtype, options)
    return [write(number) for number in numbers], len(write.padding)


class _Padded:
    """A function from a number to text, filled with blanks on the left to a common width."""

    def __init__(self, write: Callable[[Any], str], width: int) -> None:
        self.write, self.padding = write, " " * width

    def __call__(self, number: Any) -> str:
        text = self.write(number)
        return self.padding[len(text):] + text


def _number_format(numbers: list[Any], dtype: DType, options: PrintOptions) -> _Padded:
    """The one format for all of ``numbers``.

    Integers and booleans as they are. Floats: whole numbers as ``12.``, others with ``precision`` digits; in
    scientific notation if the largest magnitude is over 1000 times the smallest or over 1e8, or (unless all are
    whole) the smallest is under 1e-4. Zeros, infinities and NaN have no say in this, nor in the width.
    """
    if not dtype.is_float:
        return _Padded(str, max(map(len, map(str, numbers)), default=1))
    telling = [x for x in numbers if x != 0 and math.isfinite(x)]
    if not telling:
        return _Padded(_whole, 1)
    low, high = min(map(abs, telling)), max(map(abs, telling))
    whole = all(x.is_integer() for x in telling)
    scientific = options.sci_mode
    if scientific is None:
        scientific = high / low > 1000 or high > 1e8 or (not whole and low < 1e-4)
    if scientific:
        write: Callable[[float], str] = f"{{:.{options.precision}e}}".format
    else:
        write = _whole if whole else f"{{:.{options.precision}f}}".format
    return _Padded(write, max(len(write(x)) for x in telling))


def _whole(number: float) -> str:
    return f"{number:.0f}" + ("." if math.isfinite(number) else "")


def _brackets(words: list[str], shape: tuple[int, ...], ends: tuple[bool, ...], indent: int, per_line: int) -> str:
    """``words`` (row-major, ``shape``) in nested brackets; ``ends`` says which axes had their middle left out."""
    rank = len(shape)
    inner_indent = " " * (indent + rank)
    row_length = shape[-1]
    blocks = []
    for row in range(math.prod(shape[:-1])):
        row_words = words[row * row_length:(row + 1) * row_length]
        if ends[-1]:
            row_words.insert(row_length // 2, " ...")
        lines = [", ".join(row_words[i:i + per_line]) for i in range(0, len(row_words), per_line)]
        blocks.append("[" + f",\n{inner_indent}".join(lines) + "]")
    for axis in range(rank - 2, -1, -1):
        separator = "," + "\n" * (rank - axis - 1) + " " * (indent + axis + 1)
        length = shape[axis]
        joined = []
        for group in range(math.prod(shape[:axis])):
            parts = blocks[group * length:(group + 1) * length]
            if ends[axis]:
                parts.insert(length // 2, "...")
            joined.append("[" + separator.join(parts) + "]")
        blocks = joined
    return blocks[0]
