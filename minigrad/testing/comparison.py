"""Stage: tests. In: two Tensors or numbers, or sequences and mappings of them. Out: nothing if they are close, else an
``AssertionError`` that says where and by how much they differ, in PyTorch's words.
Next: ``creation.py``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from minigrad.autograd.mode import no_grad
from minigrad.dtype import DType, bfloat16, complex64, complex128, float16, float32, float64, int64, promote
from minigrad.tensor import Tensor, as_tensor, isclose, tensor

_TOLERANCES = {float16: (1e-3, 1e-5), bfloat16: (1.6e-2, 1e-5), float32: (1.3e-6, 1e-5), float64: (1e-7, 1e-7),
               complex64: (1.3e-6, 1e-5), complex128: (1e-7, 1e-7)}
"""By dtype the relative and the absolute tolerance; other dtypes have to be equal."""

_OLD_TOLERANCES = {float16: (1e-3, 1e-3), float32: (1e-4, 1e-5), float64: (1e-5, 1e-8)}

Message = str | Callable[[str], str] | None


class _Mismatch(Exception):
    """What is wrong with a pair: the exception to raise, its message, and where the pair stands."""

    def __init__(self, kind: type[Exception], message: str, place: tuple[Any, ...]) -> None:
        self.kind, self.message, self.place = kind, message, place

    def error(self, message: Message) -> Exception:
        if isinstance(message, str):
            return self.kind(message)
        found = self.message
        if self.place:
            found += f"\n\nThe failure occurred for item {''.join([str([item]) for item in self.place])}"
        return self.kind(message(found) if callable(message) else found)


@dataclass(frozen=True)
class _Options:
    """What ``assert_close`` was told."""

    allow_subclasses: bool = True
    rtol: float | None = None
    atol: float | None = None
    equal_nan: bool = False
    check_device: bool = True
    check_dtype: bool = True
    check_layout: bool = True
    check_stride: bool = False

    def tolerances(self, place: tuple[Any, ...], *dtypes: DType) -> tuple[float, float]:
        """The relative and the absolute tolerance for values of these types."""
        if (self.rtol is None) != (self.atol is None):
            raise _Mismatch(ValueError, "Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                                        f"{'rtol' if self.rtol is None else 'atol'}.", place)
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        return _widest(dtypes, _TOLERANCES)


def _widest(dtypes: Sequence[DType], known: Mapping[DType, tuple[float, float]]) -> tuple[float, float]:
    found = [known.get(d, (0.0, 0.0)) for d in dtypes]
    return max([r for r, _ in found]), max([a for _, a in found])


def assert_close(actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None,
                 atol: float | None = None, equal_nan: bool = False, check_device: bool = True,
                 check_dtype: bool = True, check_layout: bool = True, check_stride: bool = False,
                 msg: Message = None) -> None:
    """``AssertionError`` unless |actual - expected| <= atol + rtol * |expected| everywhere, and shapes, dtypes and
    devices are equal. The tolerances follow from the dtypes: give both or none.

    Numbers, arrays, sequences and mappings are compared too, item by item. ``msg`` takes the place of the message, or
    makes one of it. Source: https://docs.pytorch.org/docs/stable/testing.html

    >>> import minigrad
    >>> assert_close(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 2.000001]))
    >>> assert_close(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 3.0]))
    Traceback (most recent call last):
    AssertionError: Tensor-likes are not close!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 1.0 at index (1,) (up to 1e-05 allowed)
    Greatest relative difference: 0.3333333432674408 at index (1,) (up to 1.3e-06 allowed)
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    options = _Options(allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride)
    try:
        checks = _pairs(actual, expected, options, ())
    except _Mismatch as found:
        raise found.error(None) from None
    with no_grad():
        for check in checks:
            try:
                check()
            except _Mismatch as found:
                raise found.error(msg) from None


def assert_allclose(actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None,
                    equal_nan: bool = True, msg: str = "") -> None:
    """The old name of ``assert_close``, with other tolerances and no check of dtypes."""
    warnings.warn("`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future release. "
                  "Please use `torch.testing.assert_close()` instead. You can find detailed upgrade instructions in "
                  "https://github.com/pytorch/pytorch/issues/61844.", FutureWarning, stacklevel=2)
    actual = actual if isinstance(actual, Tensor) else tensor(actual)
    expected = expected if isinstance(expected, Tensor) else tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        rtol, atol = _widest((actual.dtype, expected.dtype), _OLD_TOLERANCES)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


# --- what is compared with what


def _pairs(actual: Any, expected: Any, options: _Options, place: tuple[Any, ...]) -> list[Callable[[], None]]:
    """A check for each pair of items. ``_Mismatch`` if the two are not built alike."""
    if _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            raise _Mismatch(AssertionError, f"The length of the sequences mismatch: {len(actual)} != {len(expected)}",
                            place)
        return [c for i in range(len(actual)) for c in _pairs(actual[i], expected[i], options, (*place, i))]
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        has, wants = set(actual), set(expected)
        if has != wants:
            raise _Mismatch(AssertionError, "The keys of the mappings do not match:\n"
                                            f"Missing keys in the actual mapping: {sorted(wants - has)}\n"
                                            f"Additional keys in the actual mapping: {sorted(has - wants)}", place)
        try:
            keys = sorted(has)
        except TypeError:
            keys = list(has)
        return [c for k in keys for c in _pairs(actual[k], expected[k], options, (*place, k))]
    return [_pair(actual, expected, options, place)]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _pair(actual: Any, expected: Any, options: _Options, place: tuple[Any, ...]) -> Callable[[], None]:
    if actual is None or expected is None:
        return lambda: _equal_or_fail(actual, expected, "None", place)
    if isinstance(actual, bool | np.bool_) and isinstance(expected, bool | np.bool_):
        return lambda: _equal_or_fail(bool(actual), bool(expected), "Booleans", place)
    numbers = (int, float, np.number)
    if isinstance(actual, numbers) and isinstance(expected, numbers):
        a, b = [v.item() if isinstance(v, np.number) else v for v in (actual, expected)]
        tolerances = options.tolerances(place, *[float64 if isinstance(v, float) else int64 for v in (a, b)])
        return lambda: _check_numbers(a, b, options, place, *tolerances)
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if related and (options.allow_subclasses or type(actual) is type(expected)):
        try:
            tensors = [v if isinstance(v, Tensor) else as_tensor(v) for v in (actual, expected)]
        except (TypeError, ValueError, RuntimeError, KeyError):
            pass
        else:
            tolerances = options.tolerances(place, *[t.dtype for t in tensors])
            return lambda: _check_tensors(tensors[0], tensors[1], options, place, *tolerances)
    raise _Mismatch(TypeError, f"No comparison pair was able to handle inputs of type {type(actual)} and "
                               f"{type(expected)}.", place)


def _equal_or_fail(actual: Any, expected: Any, what: str, place: tuple[Any, ...]) -> None:
    if actual is not expected:
        raise _Mismatch(AssertionError, f"{what} mismatch: {actual} is not {expected}", place)


# --- numbers


def _check_numbers(actual: Any, expected: Any, options: _Options, place: tuple[Any, ...], rtol: float,
                   atol: float) -> None:
    if options.check_dtype and type(actual) is not type(expected):
        raise _Mismatch(AssertionError, f"The (d)types do not match: {type(actual)} != {type(expected)}.", place)
    if actual == expected or (options.equal_nan and math.isnan(actual) and math.isnan(expected)):
        return
    difference = abs(actual - expected)
    if not (math.isfinite(difference) and difference <= atol + rtol * abs(expected)):
        _fail_scalars(actual, expected, place, rtol, atol)


def _fail_scalars(actual: Any, expected: Any, place: tuple[Any, ...], rtol: float, atol: float) -> NoReturn:
    difference = abs(actual - expected)
    relative = math.inf if expected == 0 else difference / abs(expected)
    raise _Mismatch(AssertionError, _message("Scalars", f"Expected {expected} but got {actual}.",
                                             (difference, None, atol), (relative, None, rtol)), place)


def _message(what: str, extra: str, absolute: tuple[float, Any, float], relative: tuple[float, Any, float]) -> str:
    """The message for a mismatch; the last two are a difference, where it is and what is allowed."""
    equality = absolute[2] == 0 and relative[2] == 0
    lines = [f"{what} are not {'equal' if equality else 'close'}!\n", extra]
    for kind, (difference, index, allowed) in (("absolute", absolute), ("relative", relative)):
        line = (f"{kind.title()} difference: {difference}" if index is None else
                f"Greatest {kind} difference: {difference} at index {index}")
        lines.append(line if equality else f"{line} (up to {allowed} allowed)")
    return "\n".join(lines)


# --- Tensors


def _check_tensors(actual: Tensor, expected: Tensor, options: _Options, place: tuple[Any, ...], rtol: float,
                   atol: float) -> None:
    for name, checked, a, b in (
            ("shape", True, actual.shape, expected.shape),
            ("stride()", options.check_stride, actual.stride(), expected.stride()),
            ("device", options.check_device, actual.device, expected.device),
            ("dtype", options.check_dtype, actual.dtype, expected.dtype)):
        if checked and a != b:
            raise _Mismatch(AssertionError, f"The values for attribute '{name}' do not match: {a} != {b}.", place)
    if actual.device != expected.device:
        actual, expected = actual.cpu(), expected.cpu()
    if actual.dtype != expected.dtype:
        dtype = promote(*[int64 if t.dtype.kind == "u" and t.dtype.itemsize > 1 else t.dtype
                          for t in (actual, expected)])
        actual, expected = actual.to(dtype), expected.to(dtype)
    matches = isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=options.equal_nan)
    if bool(matches.all()):
        return
    if not actual.shape:
        _fail_scalars(actual.item(), expected.item(), place, rtol, atol)
    raise _Mismatch(AssertionError, _message("Tensor-likes", *_differences(actual, expected, matches, rtol, atol)),
                    place)


def _differences(actual: Tensor, expected: Tensor, matches: Tensor, rtol: float, atol: float) -> tuple[Any, ...]:
    """How many elements differ, and the greatest differences."""
    count = matches.numel()
    wrong = count - int(matches.sum())
    if actual.dtype.kind not in "fc":
        actual, expected = actual.to(int64), expected.to(int64)
    absolute = (actual - expected).abs().flatten()
    relative = absolute / expected.abs().flatten()
    found = []
    for difference, allowed in ((absolute, atol), (relative, rtol)):
        value, at = difference.masked_fill(matches.flatten(), 0).max(0)
        found.append((value.item(), tuple([int(i) for i in np.unravel_index(int(at), tuple(matches.shape))]), allowed))
    return f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})", *found
