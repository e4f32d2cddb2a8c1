"""Stage: tensor, on the host. In: a seed, then shapes and ranges. Out: NumPy arrays of random numbers, the
very ones PyTorch's CPU generator gives for the same seed and the same order of draws.
The stream is MT19937; every method takes exactly as many 32-bit words from it as PyTorch does.
Next: ``shuffle.py``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

import numpy as np

from minigrad.dtype import DType, bool_, float32, float64, from_numpy, int64
from minigrad.tensor.normals import box_muller, fused
from minigrad.tensor.promotion import type_name
from minigrad.tensor.shuffle import shuffled
from minigrad.tensor.size import device as as_device

DEFAULT_SEED = 67280421310721
"""The seed of a ``Generator()`` that nobody seeded, as in PyTorch."""

Shape = int | Sequence[int]

# The layout of PyTorch's ``get_state()``; ``normal`` is the spare number of an odd draw of normals.
_STATE = np.dtype([
    ("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("key", "<u8", 624),
    ("unused_x", "<f8"), ("normal", "<f8"), ("unused_rho", "<f8"), ("has_normal", "<i4"), ("padding", "<i4"),
    ("unused_float", "<f4"), ("unused_flag", "<i4")])
_BLOCK = 16  # PyTorch draws 16 or more normals in blocks of 16
_RANDPERM_LIMIT = (2**32 - 1) // 20  # from here on PyTorch shuffles by another method


def _locked(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def locked(self: Generator, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class Generator:
    """PyTorch's CPU random number generator. ``device`` may be any: numbers are drawn on the host for all of them.

    Integer and uniform numbers are PyTorch's to the bit, normal ones within 1e-6 standard deviations. ``float16`` and
    ``bfloat16`` numbers are computed in float32 and rounded; a normal one may so differ in its last bit. Methods may
    be called from several threads: each call is one uninterrupted piece of the stream.

    Source: https://pytorch.org/docs/stable/generated/torch.Generator.html, and Matsumoto and Nishimura,
    "Mersenne Twister", 1998.

    >>> Generator(42).uniform32(3).tolist()
    [0.8822692632675171, 0.9150039553642273, 0.38286375999450684]
    """

    shown: ClassVar[Callable[[np.ndarray], Any]] = staticmethod(lambda state: state)
    """What users get of a state: a Tensor. ``random.py`` says so, which knows them."""

    def __init__(self, seed: Any = DEFAULT_SEED, device: Any = "cpu") -> None:
        if isinstance(seed, str | as_device):  # PyTorch's first argument
            seed, device = DEFAULT_SEED, seed
        self._lock = threading.RLock()
        self.device = as_device(device)
        self.manual_seed(seed)

    # --- seeds and states ---

    @_locked
    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of ``seed`` (only its low 32 bits choose the stream); returns the generator.

        Raises ``ValueError`` for a seed outside [-2^63, 2^64); a negative one means ``2^64 + seed``.

        >>> Generator().manual_seed(-1).initial_seed() == 2**64 - 1
        True
        """
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"Overflow when unpacking long long: a seed should lie in [-2**63, 2**64), got {seed}")
        self._seed = seed % 2**64
        self._engine: np.random.RandomState | None = None  # made at the first draw: numpy.random takes time to import
        self._spare: float | None = None
        return self

    @_locked
    def seed(self) -> int:
        """Seed from the operating system's entropy, and return that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed the stream started from.

        >>> Generator(7).initial_seed()
        7
        """
        return self._seed

    @_locked
    def get_state(self) -> Any:
        """Where the stream stands: uint8, shape (5056,), byte for byte what PyTorch's ``get_state`` gives.

        >>> g = Generator(1)
        >>> state = g.get_state()
        >>> first = g.random64()
        >>> g.set_state(state)
        >>> g.random64() == first
        True
        """
        state = np.zeros((), _STATE)
        key, position = _position(self._twister())
        fresh, start = _position(np.random.RandomState(self._seed & 0xFFFFFFFF))
        untouched = position == start and bool((key == fresh).all())
        state["seed"], state["seeded"], state["key"] = self._seed, 1, key
        state["left"], state["next"] = (1, 0) if untouched else (625 - position, position)
        if self._spare is not None:
            state["normal"], state["has_normal"] = self._spare, 1
        return type(self).shown(np.frombuffer(state.tobytes(), np.uint8).copy())

    @_locked
    def set_state(self, state: Any) -> None:
        """Go on from a ``get_state``, of this class or of PyTorch's generator; an array will do.

        Raises ``TypeError`` if it is not uint8 and ``RuntimeError`` if it is not a state.
        """
        if not hasattr(state, "__array__"):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
        state = np.asarray(state)
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if state.size != _STATE.itemsize:
            raise RuntimeError(f"Expected a CPUGeneratorImplState of size {_STATE.itemsize} but found the input RNG "
                               f"state size to be {state.size}")
        fields = np.frombuffer(state.tobytes(), _STATE)[0]
        left, following = int(fields["left"]), int(fields["next"])
        if fields["seeded"] != 1 or not 1 <= left <= 624 or following > 624 or (left > 1 and following != 625 - left):
            raise RuntimeError("Invalid mt19937 state: take it from get_state()")
        self._seed = int(fields["seed"])
        engine = self._start(0)
        twister = {"key": fields["key"].astype(np.uint32), "pos": 624 if left == 1 else following}
        engine.set_state({"bit_generator": "MT19937", "state": twister, "has_gauss": 0, "gauss": 0.0})
        self._spare = float(fields["normal"]) if fields["has_normal"] else None

    def clone_state(self) -> Generator:
        """Another generator at the same place of the same stream.

        >>> g = Generator(1)
        >>> g.clone_state().random64() == g.random64()
        True
        """
        made = Generator(self.device)
        made.set_state(self.get_state())
        return made

    def get_offset(self) -> int:
        """``RuntimeError``: only generators of GPUs have an offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> None:
        """``RuntimeError``: only generators of GPUs have an offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def graphsafe_get_state(self) -> Any:
        """``NotImplementedError``: only generators of GPUs have it."""
        raise NotImplementedError("graphsafe_get_state is not supported in this Generator")

    def graphsafe_set_state(self, state: Any) -> None:
        """``NotImplementedError``: only generators of GPUs have it."""
        raise NotImplementedError("graphsafe_set_state is not supported in this Generator")

    def __reduce__(self) -> tuple[Any, ...]:
        """For ``pickle``, in PyTorch's layout."""
        return Generator, (self.device,), (self._seed, None, self.get_state())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """For ``pickle``: seed, the offset that only GPUs have, and state."""
        self.manual_seed(state[0])
        self.set_state(state[2])

    # --- the stream ---

    def _twister(self) -> np.random.RandomState:
        if self._engine is None:
            return self._start(self._seed & 0xFFFFFFFF)
        return self._engine

    def _start(self, seed: int) -> np.random.RandomState:
        """Make the engine, and keep the words' own source: for a few words that is ten times as fast."""
        bits = np.random.MT19937(0)
        self._engine = engine = np.random.RandomState(bits)
        engine.seed(seed)
        self._word = bits.random_raw
        return engine

    def _words(self, count: int) -> np.ndarray:
        # over the full range randint hands the words out as they are, three times as fast as ``bytes``
        return self._twister().randint(0, 2**32, count, dtype=np.uint32)

    def _double_words(self, count: int) -> np.ndarray:
        pairs = self._words(2 * count).astype("<u4", copy=False).view("<u8")
        high = pairs << np.uint64(32)  # the first word is the high half
        pairs >>= np.uint64(32)
        pairs |= high
        return pairs

    def _below(self, span: int, count: int, double: bool) -> np.ndarray:
        """``count`` numbers in [0, span): one word each, or a double word, modulo ``span``."""
        drawn = self._double_words(count) if double else self._words(count)
        return drawn if span == 2 ** (8 * drawn.itemsize) else drawn % drawn.dtype.type(span)

    def _unit32(self, count: int) -> np.ndarray:
        """``count`` float32 in [0, 1): 24 bits of one word each."""
        words = self._words(count)
        words &= np.uint32(0xFFFFFF)
        return words.astype(np.float32) * np.float32(2.0**-24)

    def _unit64(self, count: int) -> np.ndarray:
        """``count`` float64 in [0, 1): 53 bits of two words each."""
        words = self._double_words(count)
        words &= np.uint64(2**53 - 1)
        return words.astype(np.float64) * 2.0**-53

    @_locked
    def random64(self) -> int:
        """One number in [0, 2^64), from two words. PyTorch's ``random_()`` on int64 is this modulo 2^63.

        >>> Generator(0).random64()
        10123822223749065263
        """
        if self._engine is None:
            self._twister()
        high: int = self._word()
        return high << 32 | self._word()

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

    @_locked
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

    @_locked
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

    @_locked
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

    @_locked
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

    @_locked
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

    @_locked
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

    @_locked
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
        return shuffled(n, steps + self._words(len(steps)) % (np.uint32(n) - steps))

    @_locked
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

    @_locked
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

    @_locked
    def sampled(self, draw: Callable[[np.random.RandomState], Any]) -> np.ndarray:
        """What ``draw`` takes from NumPy's view of the stream: for samplers that reject some of what they draw. Their
        numbers are right and repeat with the seed, but are not those of PyTorch."""
        return np.asarray(draw(self._twister()))

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it


def _position(twister: np.random.RandomState) -> tuple[np.ndarray, int]:
    """The 624 words of the current block, and how many of them were handed out."""
    state = twister.get_state(legacy=False)["state"]
    return state["key"], state["pos"]


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
