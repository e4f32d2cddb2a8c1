"""Stage: tensor, on the host. In: a seed, then shapes and ranges. Out: NumPy arrays of random numbers, the
very ones PyTorch's CPU generator gives for the same seed and the same order of draws.
Every method takes exactly as many 32-bit words from the stream as PyTorch does.
Next: ``twister.py``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import lazily
from minigrad.dtype import DType, bool_, float32, float64, from_numpy, int64
from minigrad.tensor.normals import box_muller, fused
from minigrad.tensor.promotion import type_name
from minigrad.tensor.twister import Twister, locked

Shape = int | Sequence[int]

_BLOCK = 16  # PyTorch draws 16 or more normals in blocks of 16
_RANDPERM_LIMIT = (2**32 - 1) // 20  # from here on PyTorch shuffles by another method


class Generator(Twister):
    """PyTorch's CPU random number generator. ``device`` may be any: numbers are drawn on the host for all of them.

    Integer and uniform numbers are PyTorch's to the bit, normal ones within 1e-6 standard deviations. ``float16`` and
    ``bfloat16`` numbers are computed in float32 and rounded; a normal one may so differ in its last bit. Methods may
    be called from several threads: each call is one uninterrupted piece of the stream.

    Source: https://pytorch.org/docs/stable/generated/torch.Generator.html

    >>> Generator(42).uniform32(3).tolist()
    [0.8822692632675171, 0.9150039553642273, 0.38286375999450684]
    """

    # --- floating point ---

    def uniform32(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """float32 numbers ``u * (high - low) + low``, u uniform in [0, 1): PyTorch's ``rand`` and ``uniform_``."""
        return self.uniform(shape, low, high, float32)

    def uniform64(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """The same in float64.

        >>> Generator(42).uniform64(2).tolist()
        [0.05815448596142969, 0.06291016742457756]
        """
        return self.uniform(shape, low, high, float64)

    @locked
    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0, dtype: DType = float32) -> np.ndarray:
        """Numbers ``u * (high - low) + low`` of a floating ``dtype``, u uniform in [0, 1), shape ``shape``.

        Raises ``RuntimeError`` if ``low > high`` and ``TypeError`` if ``dtype`` is not floating.

        >>> Generator(42).uniform(2, -1, 1).tolist()
        [0.7645385265350342, 0.8300079107284546]
        """
        _check_float("uniform_", dtype)
        if not low <= high:
            raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
        shape, count = _shape(shape)
        if dtype is float64:
            result = fused(self._unit64(count), float(high) - float(low), float(low))
        else:
            start, width = np.float32(low), np.float32(high) - np.float32(low)
            result = self._unit32(count)
            if start == 0:
                result *= width
            else:  # one rounding, as with PyTorch's fused multiply-add: the float64 product is exact
                wide = result.astype(np.float64)
                wide *= np.float64(width)
                wide += np.float64(start)
                result = wide.astype(np.float32)
        result = result.astype(dtype.numpy, copy=False)
        ends = np.array([low, high]).astype(dtype.numpy)
        result[result == ends[1]] = ends[0]  # what rounding took up to ``high`` goes to ``low``, as in PyTorch
        return result.reshape(shape)

    @locked
    def normal(self, shape: Shape, mean: float = 0.0, std: float = 1.0, dtype: DType = float32) -> np.ndarray:
        """Normal numbers by Box and Muller's transformation: PyTorch's ``randn`` and ``normal_``.

        16 and more are drawn in blocks of 16 (8 radii, then 8 angles); fewer in pairs in float64, where the
        second number of an odd last pair is kept for the next such call, as PyTorch keeps it.
        Raises ``RuntimeError`` if ``std`` is negative and ``TypeError`` if ``dtype`` is not floating.

        >>> Generator(42).normal(2).round(4).tolist()
        [0.3366999924182892, 0.12880000472068787]
        """
        _check_float("normal_", dtype)
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        shape, count = _shape(shape)
        if count < _BLOCK:
            result = fused(self._normal_pairs(count), float(std), float(mean))
        else:
            unit, real = (self._unit64, np.float64) if dtype is float64 else (self._unit32, np.float32)
            result = np.empty(count, real)
            whole = count - count % _BLOCK
            drawn = whole if dtype.size == 2 else count  # PyTorch draws the half types by whole blocks
            box_muller(unit(drawn)[:whole], result[:whole], mean, std)
            if whole < count:  # the last 16 numbers are drawn once more
                box_muller(unit(_BLOCK), result[-_BLOCK:], mean, std)
        return result.astype(dtype.numpy, copy=False).reshape(shape)

    @locked
    def normal_pairs(self, shape: Shape) -> np.ndarray:
        """Standard normal numbers in float64, drawn in pairs whatever their number: what ``log_normal_`` takes."""
        shape, count = _shape(shape)
        return self._normal_pairs(count).reshape(shape)

    def _normal_pairs(self, count: int) -> np.ndarray:
        result = np.empty(count)
        kept = 0
        if count and self._spare is not None:
            result[0], self._spare, kept = self._spare, None, 1
        pairs = (count - kept + 1) // 2
        units = self._unit64(2 * pairs)
        radius, angle = np.sqrt(-2.0 * np.log1p(-units[1::2])), 2.0 * np.pi * units[0::2]
        both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).reshape(-1)
        result[kept:] = both[:count - kept]
        if len(both) > count - kept:
            self._spare = float(both[-1])
        return result

    @locked
    def exponential(self, shape: Shape, rate: float = 1.0, dtype: DType = float32) -> np.ndarray:
        """Numbers ``-log(1 - u) / rate``: PyTorch's ``exponential_``. ``RuntimeError`` if ``rate <= 0``.

        On Intel processors PyTorch takes these from another library's stream; here they are the same everywhere.

        >>> Generator(0).exponential(2).round(4).tolist()
        [3.5083000659942627, 1.2303999662399292]
        """
        _check_float("exponential_", dtype)
        if not rate > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
        shape, count = _shape(shape)
        result = -1.0 / rate * np.log1p(-self._unit64(count))
        if dtype.size < 4:
            result = result.astype(np.float32)  # rounded twice, as in PyTorch
        return result.astype(dtype.numpy, copy=False).reshape(shape)

    # --- integers and choices ---

    @locked
    def randint(self, low: int, high: int, shape: Shape) -> np.ndarray:
        """int64 numbers in [low, high): PyTorch's ``randint``; one word each, two from a range of 2^28 on.

        Raises ``RuntimeError`` if the range is empty.

        >>> Generator(42).randint(0, 10, (2, 3)).tolist()
        [[2, 7, 6], [4, 6, 5]]
        """
        low, high = int(low), int(high)
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        if low < int64.min or high > int64.max + 1:
            raise ValueError(f"randint's bounds should fit int64, got low={low}, high={high}")
        shape, count = _shape(shape)
        span = high - low
        steps = self._below(span, count, double=span >= 2**28).astype(np.uint64, copy=False)
        return (steps + np.uint64(low % 2**64)).view(np.int64).reshape(shape)  # wraps to negative numbers

    @locked
    def random(self, shape: Shape, dtype: DType = int64) -> np.ndarray:
        """Whole numbers over what ``dtype`` holds exactly from 0 on: PyTorch's ``random_()`` without bounds.

        >>> from minigrad.dtype import int8
        >>> Generator(3).random(3, int8).tolist()
        [106, 24, 121]
        """
        shape, count = _shape(shape)
        if dtype.is_float:
            span = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}[dtype.name] + 1
        else:
            span = int(dtype.max) + 1
        return self._below(span, count, double=dtype.size == 8).astype(dtype.numpy).reshape(shape)

    @locked
    def randperm(self, n: int) -> np.ndarray:
        """A random order of 0 .. n-1, int64, shape (n,): PyTorch's ``randperm``; n-1 words.

        >>> Generator(42).randperm(5).tolist()
        [2, 4, 3, 0, 1]
        """
        n = int(n)
        if n < 0:
            raise RuntimeError(f"n must be non-negative, got {n}")
        if n >= _RANDPERM_LIMIT:
            raise ValueError(f"randperm takes n below {_RANDPERM_LIMIT}, got {n}")
        steps = np.arange(max(n - 1, 0), dtype=np.uint32)
        partners = steps + self._words(len(steps)) % (np.uint32(n) - steps)
        return lazily.module("minigrad.tensor.shuffle").shuffled(n, partners)

    @locked
    def bernoulli(self, shape: Shape, p: float | np.ndarray = 0.5) -> np.ndarray:
        """True with probability ``p``: PyTorch's ``bernoulli_`` and the masks of its dropout; dtype bool.

        ``p`` is a number (two words an element), or an array that broadcasts to ``shape``: then a float64
        array takes two words an element and any other floating type one. ``RuntimeError`` if p is not in [0, 1].

        >>> Generator(42).bernoulli(6, 0.5).tolist()
        [True, True, True, True, False, True]
        """
        shape, count = _shape(shape)
        if isinstance(p, np.ndarray):
            if not ((p >= 0) & (p <= 1)).all():
                raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
            units = self._unit64(count) if p.dtype == np.float64 else self._unit32(count)
            return units.reshape(shape) < p.astype(units.dtype)
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        return (self._unit64(count) < p).reshape(shape)

    @locked
    def multinomial(self, p: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn with the weights in each row of ``p``: PyTorch's ``multinomial``; int64.

        ``p`` has shape (categories,) or (rows, categories) and a floating dtype; the result has ``num_samples``
        in place of ``categories``. Raises ``RuntimeError`` for weights that are negative, not finite or all
        zero, and for more samples than categories without replacement.

        >>> Generator(0).multinomial(np.array([0.0, 3.0, 1.0], np.float32), 2).tolist()
        [1, 2]
        """
        p = np.asarray(p)
        _check_multinomial(p, num_samples, replacement)
        rows = p.reshape(-1, p.shape[-1])
        if num_samples == 1 or not replacement:
            race = self.exponential(rows.shape, dtype=float64).astype(p.dtype)
            with np.errstate(all="ignore"):
                score = rows / race
            if num_samples == 1:
                chosen = score.argmax(axis=1)[:, None]
            else:
                chosen = np.argsort(-score, axis=1, kind="stable")[:, :num_samples]
        else:
            cumulative = np.cumsum(rows, axis=1, dtype=p.dtype)
            cumulative /= cumulative[:, -1:]
            units = self._unit64(len(rows) * num_samples).reshape(len(rows), num_samples)
            chosen = np.empty(units.shape, np.int64)
            for i, row in enumerate(cumulative.astype(np.float64)):
                chosen[i] = np.searchsorted(row, units[i])
        return chosen.astype(np.int64).reshape((*p.shape[:-1], num_samples))

    @locked
    def sampled(self, draw: Callable[[np.random.RandomState], Any]) -> np.ndarray:
        """What ``draw`` takes from NumPy's view of the stream: for samplers that reject some of what they draw. Their
        numbers are right and repeat with the seed, but are not those of PyTorch."""
        return np.asarray(draw(self._twister()))

def _shape(shape: Shape) -> tuple[tuple[int, ...], int]:
    sizes = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    count = 1
    for n in sizes:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(sizes)}")
        count *= n
    return sizes, count


def _check_float(name: str, dtype: DType) -> None:
    if not dtype.is_float:
        kind = "bool" if dtype is bool_ else dtype.name
        raise TypeError(f"{name} draws floating-point numbers, got dtype {kind}; use float32 and convert")


def _check_multinomial(p: np.ndarray, num_samples: int, replacement: bool) -> None:
    if p.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got shape {p.shape}")
    if p.dtype.kind in "iub":
        raise RuntimeError("multinomial only supports floating-point dtypes for input, got: "
                           f"{type_name(from_numpy(p.dtype))}")
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {num_samples}")
    if not replacement and num_samples > p.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement, "
                           f"got {num_samples} samples of {p.shape[-1]} categories")
    if p.shape[-1] > 1 << 24:  # of float32 numbers, more are not distinguished
        raise RuntimeError("number of categories cannot exceed 2^24")
    if not (np.isfinite(p) & (p >= 0)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not (p.sum(axis=-1) > 0).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


default_generator = Generator()
"""The generator of ``rand`` and its kin when none is given; it starts from the system's entropy."""
default_generator.seed()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=default_generator._after_fork)


def manual_seed(seed: int) -> Generator:
    """Seed ``default_generator`` and return it.

    >>> manual_seed(42).uniform32(1).tolist()
    [0.8822692632675171]
    """
    return default_generator.manual_seed(seed)
