"""Stage: front. In: how many samples there are. Out: samplers, which say in which order their indices come; random ones
draw the numbers that PyTorch's draw.
Next: ``distributed.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

from minigrad.dtype import float64
from minigrad.tensor import Generator, Tensor, as_tensor, default_generator, multinomial

T = TypeVar("T", covariant=True)

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
           "WeightedRandomSampler"]


def random_seed(generator: Generator | None) -> int:
    """A seed drawn as ``empty((), dtype=int64).random_(generator=generator)`` draws it."""
    return (default_generator if generator is None else generator).random64() % 2**63


def _check_size(value: Any, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


class Sampler(Generic[T]):
    """The base of all samplers: subclasses have ``__iter__``, which gives indices or lists of indices, and mostly
    ``__len__``. (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Sampler)"""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """0, 1, … in order.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices in random order, or drawn with ``replacement``; ``num_samples`` of them (default: as many as there are).

    Nothing is drawn before it is asked for, so ``num_samples`` may be as large as you like. Without a ``generator`` it
    takes a private one, with a seed drawn from the default generator. ``TypeError`` if ``replacement`` is no bool,
    ``ValueError`` if ``num_samples`` is not positive.

    >>> list(RandomSampler(range(5), generator=Generator(42)))
    [2, 4, 3, 0, 1]
    """

    data_source: Sized
    replacement: bool

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None,
                 generator: Generator | None = None) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError("num_samples should be a positive integer value, but got "
                             f"num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many indices one round gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, left = len(self.data_source), self.num_samples
        generator = Generator(random_seed(None)) if self.generator is None else self.generator
        if self.replacement:
            for _ in range(left // 32):
                yield from generator.randint(0, n, 32).tolist()
            yield from generator.randint(0, n, left % 32).tolist()
        else:
            for _ in range(left // n):
                yield from generator.randperm(n).tolist()
            yield from generator.randperm(n).tolist()[:left % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order.

    >>> list(SubsetRandomSampler([10, 20, 30], Generator(0)))
    [30, 10, 20]
    """

    indices: Sequence[int]

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        generator = default_generator if self.generator is None else self.generator
        for i in generator.randperm(len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` indices, each drawn with the probability that its weight has among all weights.

    ``ValueError`` if ``num_samples`` is not positive, ``replacement`` no bool, or the weights are not 1-d.

    >>> list(WeightedRandomSampler([0.1, 0.0, 0.9], 4, generator=Generator(0)))
    [2, 2, 2, 2]
    """

    weights: Tensor
    num_samples: int
    replacement: bool

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True,
                 generator: Generator | None = None) -> None:
        _check_size(num_samples, "num_samples")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        given = as_tensor(weights, dtype=float64)
        if given.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {tuple(given.shape)}")
        self.weights = given
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        yield from multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The indices of another sampler as lists of ``batch_size``; the last one is shorter, or with ``drop_last`` is left
    out. ``ValueError`` if ``batch_size`` is not positive or ``drop_last`` no bool.

    >>> list(BatchSampler(SequentialSampler(range(5)), 2, False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_size(batch_size, "batch_size")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices, size = iter(self.sampler), self.batch_size
        while batch := list(islice(indices, size)):
            if len(batch) < size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
