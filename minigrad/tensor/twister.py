"""Stage: tensor, on the host. In: a seed or a state. Out: the stream MT19937 as PyTorch's CPU generator has it: words
of 32 bits, and what it makes of them: larger words, numbers below a bound, floating-point numbers in [0, 1).
Next: ``shuffle.py``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Self

import numpy as np

from minigrad.tensor.size import device as as_device

DEFAULT_SEED = 67280421310721
"""The seed of a generator that nobody seeded, as in PyTorch."""

# The layout of PyTorch's ``get_state()``; ``normal`` is the spare number of an odd draw of normals.
_STATE = np.dtype([
    ("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("key", "<u8", 624),
    ("unused_x", "<f8"), ("normal", "<f8"), ("unused_rho", "<f8"), ("has_normal", "<i4"), ("padding", "<i4"),
    ("unused_float", "<f4"), ("unused_flag", "<i4")])


def locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that one thread at a time runs."""

    @wraps(method)
    def alone(self: Twister, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return alone


class Twister:
    """Where a stream of random words stands. Methods may be called from several threads: each call is one uninterrupted
    piece of the stream.

    Source: Matsumoto and Nishimura, "Mersenne Twister", 1998.
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

    @locked
    def manual_seed(self, seed: int) -> Self:
        """Start the stream of ``seed`` (only its low 32 bits choose the stream); returns the generator.

        Raises ``ValueError`` for a seed outside [-2^63, 2^64); a negative one means ``2^64 + seed``.

        >>> from minigrad import Generator
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

    @locked
    def seed(self) -> int:
        """Seed from the operating system's entropy, and return that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed the stream started from.

        >>> from minigrad import Generator
        >>> Generator(7).initial_seed()
        7
        """
        return self._seed

    @locked
    def get_state(self) -> Any:
        """Where the stream stands: uint8, shape (5056,), byte for byte what PyTorch's ``get_state`` gives.

        >>> from minigrad import Generator
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

    @locked
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

    def clone_state(self) -> Self:
        """Another generator at the same place of the same stream.

        >>> from minigrad import Generator
        >>> g = Generator(1)
        >>> g.clone_state().random64() == g.random64()
        True
        """
        made = type(self)(self.device)
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
        return type(self), (self.device,), (self._seed, None, self.get_state())

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

    @locked
    def random64(self) -> int:
        """One number in [0, 2^64), from two words. PyTorch's ``random_()`` on int64 is this modulo 2^63.

        >>> from minigrad import Generator
        >>> Generator(0).random64()
        10123822223749065263
        """
        if self._engine is None:
            self._twister()
        high: int = self._word()
        return high << 32 | self._word()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it


def _position(twister: np.random.RandomState) -> tuple[np.ndarray, int]:
    """The 624 words of the current block, and how many of them were handed out."""
    state = twister.get_state(legacy=False)["state"]
    return state["key"], state["pos"]
