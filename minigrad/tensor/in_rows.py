"""Stage: front. In: a generator. Out: the same, but whatever is asked of it, it draws for many rows: the random numbers
of all calls of a function under ``vmap``, in the order in which PyTorch draws them.
Next: ``random.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from minigrad.tensor.generator import Generator


class Whole(np.ndarray):
    """What a random function is given, in all rows already."""


class InRows:
    """A ``Generator`` whose results have the axes ``rows`` in front.

    >>> InRows(Generator(42), (2,)).uniform((3,)).shape
    (2, 3)
    """

    def __init__(self, generator: Generator, rows: tuple[int, ...]) -> None:
        self.generator, self.rows = generator, rows

    def uniform(self, shape: Any, *args: Any) -> np.ndarray:
        return self.generator.uniform(self._all(shape), *args)

    def uniform64(self, shape: Any, *args: Any) -> np.ndarray:
        return self.generator.uniform64(self._all(shape), *args)

    def normal(self, shape: Any, *args: Any) -> np.ndarray:
        return self.generator.normal(self._all(shape), *args)

    def normal_pairs(self, shape: Any) -> np.ndarray:
        return self.generator.normal_pairs(self._all(shape))

    def exponential(self, shape: Any, *args: Any) -> np.ndarray:
        return self.generator.exponential(self._all(shape), *args)

    def randint(self, low: int, high: int, shape: Any) -> np.ndarray:
        return self.generator.randint(low, high, self._all(shape))

    def random(self, shape: Any, *args: Any) -> np.ndarray:
        return self.generator.random(self._all(shape), *args)

    def bernoulli(self, shape: Any, p: Any = 0.5) -> np.ndarray:
        whole = self._all(shape)
        return self.generator.bernoulli(whole, np.broadcast_to(p, whole) if isinstance(p, np.ndarray) else p)

    def randperm(self, n: int) -> np.ndarray:
        return self._each(lambda: self.generator.randperm(n))

    def multinomial(self, p: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        whole = p if isinstance(p, Whole) else np.broadcast_to(p, (*self.rows, *p.shape))
        found = self.generator.multinomial(np.asarray(whole).reshape(-1, p.shape[-1]), num_samples, replacement)
        return found.reshape((*whole.shape[:-1], num_samples))

    def sampled(self, draw: Callable[[np.random.RandomState], Any]) -> np.ndarray:
        return self._each(lambda: self.generator.sampled(draw))

    def _all(self, shape: Any) -> tuple[int, ...]:
        return (*self.rows, *((shape,) if isinstance(shape, int) else shape))

    def _each(self, draw: Callable[[], np.ndarray]) -> np.ndarray:
        one = [draw() for _ in range(prod(self.rows))]
        return np.stack(one).reshape((*self.rows, *one[0].shape))
