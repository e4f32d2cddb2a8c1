"""Stage: front. In: samples, as a sequence or a stream. Out: ``Dataset`` and what is made of several: parts, sums,
stacks, chains.
Next: ``sampler.py``."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from minigrad.tensor import Generator, Tensor, default_generator, rows

T = TypeVar("T", covariant=True)

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset", "TensorDataset",
           "random_split"]


class Dataset(Generic[T]):
    """Samples by index: subclasses have ``__getitem__``, and mostly ``__len__``.

    ``__getitems__(indices)``, if there is one, gives a list of samples at once. ``a + b`` is a ``ConcatDataset``.
    (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Dataset)

    >>> class Squares(Dataset):
    ...     def __getitem__(self, index):
    ...         return index ** 2
    ...     def __len__(self):
    ...         return 4
    >>> len(Squares() + Squares()), (Squares() + Squares())[6]
    (8, 4)
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> Dataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T], Iterable[T]):
    """Samples as a stream: subclasses have ``__iter__``. Each worker process of a ``DataLoader`` has a copy of its own
    and goes through all of it, unless the program divides the work by ``get_worker_info()``. ``a + b`` is a
    ``ChainDataset``. (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset)
    """

    def __add__(self, other: Dataset[Any]) -> Dataset[Any]:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is the tuple of ``t[i]`` of all tensors. ``AssertionError`` if their first dimensions differ.

    >>> from minigrad import arange
    >>> TensorDataset(arange(3), arange(3) * 10)[1]
    (tensor(1), tensor(10))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if tensor.size(0) != tensors[0].size(0):
                raise AssertionError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([tensor[index] for tensor in self.tensors])

    def __len__(self) -> int:
        return self.tensors[0].size(0)

    def _batch(self, indices: list[int], make: Callable[..., Any]) -> list[Tensor] | None:
        """See ``batch_of``."""
        if type(self).__getitem__ is not TensorDataset.__getitem__ or not self.tensors:
            return None
        found = []
        for tensor in self.tensors:
            batch = rows(tensor, indices, make)
            if batch is None:
                return None
            found.append(batch)
        return found


def batch_of(dataset: Any, indices: Any, make: Callable[..., Any]) -> list[Tensor] | None:
    """What ``default_collate`` makes of the samples at these indices, where it can be read from Tensors in memory in
    one go; None where the samples have to be made one by one. ``make(shape, dtype)`` gives the memory for it."""
    if type(indices) is not list or set(map(type, indices)) != {int}:
        return None
    while type(dataset) is Subset:
        try:
            indices = [dataset.indices[i] for i in indices]
        except Exception:
            return None  # the ordinary way raises it again
        dataset = dataset.dataset
        if set(map(type, indices)) != {int}:
            return None
    return dataset._batch(indices, make) if isinstance(dataset, TensorDataset) else None


def _same_length(datasets: Sequence[Any]) -> int:
    length = len(datasets[0])
    for dataset in datasets:
        if len(dataset) != length:
            raise ValueError("Size mismatch between datasets")
    return length


class StackDataset(Dataset[Any]):
    """Sample i is the tuple of sample i of all datasets, or for datasets given by keyword a dict.

    ``ValueError`` if their lengths differ, if both kinds are given, or none.

    >>> StackDataset([1, 2], ["one", "two"])[1], StackDataset(number=[1, 2], word=["one", "two"])[0]
    ((2, 'two'), {'number': 1, 'word': 'one'})
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like "
                             "input/output, but both types are given.")
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self._length = _same_length(args or list(kwargs.values()))
        self.datasets = args or kwargs

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])

    def __getitems__(self, indices: list[Any]) -> list[Any]:
        """The samples at all indices."""
        if isinstance(self.datasets, dict):
            columns = [_items(dataset, indices) for dataset in self.datasets.values()]
            return [dict(zip(self.datasets, sample, strict=True)) for sample in zip(*columns, strict=True)]
        return list(zip(*[_items(dataset, indices) for dataset in self.datasets], strict=True))

    def __len__(self) -> int:
        return self._length


def _items(dataset: Any, indices: list[Any]) -> list[Any]:
    """The samples of one of several datasets."""
    many = getattr(dataset, "__getitems__", None)
    if not callable(many):
        return [dataset[i] for i in indices]
    items: list[Any] = many(indices)
    if len(items) != len(indices):
        raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(items)}")
    return items


class ConcatDataset(Dataset[T]):
    """The samples of several datasets, one after another. ``AssertionError`` for none, or for an ``IterableDataset``.

    >>> ConcatDataset([[1, 2], [3, 4]])[-1]
    4
    """

    datasets: list[Any]
    cumulative_sizes: list[int]

    @staticmethod
    def cumsum(sequence: Iterable[Any]) -> list[int]:
        """The running sums of the lengths."""
        return list(accumulate([len(part) for part in sequence]))

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx: int) -> T:
        if idx < 0:
            if -idx > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            idx += len(self)
        at = bisect_right(self.cumulative_sizes, idx)
        before = self.cumulative_sizes[at - 1] if at else 0
        return self.datasets[at][idx - before]

    @property
    def cummulative_sizes(self) -> list[int]:
        """An old spelling of ``cumulative_sizes``; ``FutureWarning``."""
        warnings.warn("`cummulative_sizes` attribute is renamed to `cumulative_sizes`", FutureWarning, stacklevel=2)
        return self.cumulative_sizes


class ChainDataset(IterableDataset[Any]):
    """The samples of several streams, one after another. ``AssertionError``, when it gets there, for a part that is no
    ``IterableDataset``."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def _parts(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._parts():
            yield from dataset

    def __len__(self) -> int:
        return sum([len(dataset) for dataset in self._parts()])


class Subset(Dataset[T]):
    """The samples of ``dataset`` at ``indices``.

    A subclass with its own ``__getitem__`` needs its own ``__getitems__`` too (``NotImplementedError``): a
    ``DataLoader`` asks that one.

    >>> Subset(["a", "b", "c"], [2, 0])[1]
    'a'
    """

    dataset: Any
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[T] | Iterable[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        cls = type(self)
        if cls.__getitem__ is not Subset.__getitem__ and cls.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{cls.__name__} overrides __getitem__ but not __getitems__. When subclassing Subset and overriding "
                "__getitem__, you must also override __getitems__ to ensure DataLoader works correctly with your "
                "custom logic. A simple implementation:\n\ndef __getitems__(self, indices):\n"
                "    return [self.__getitem__(idx) for idx in indices]")

    def __getitem__(self, idx: Any) -> T:
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The samples at all indices."""
        chosen = [self.indices[i] for i in indices]
        many = getattr(self.dataset, "__getitems__", None)
        return many(chosen) if callable(many) else [self.dataset[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.indices)


def _lengths(total: int, fractions: Sequence[float]) -> list[int]:
    """Fractions of ``total``, rounded down; what is left goes to the first ones, one each."""
    lengths = []
    for i, fraction in enumerate(fractions):
        if fraction < 0 or fraction > 1:
            raise ValueError(f"Fraction at index {i} is not between 0 and 1")
        lengths.append(math.floor(total * fraction))
    for i in range(total - sum(lengths)):
        lengths[i % len(lengths)] += 1
    for i, length in enumerate(lengths):
        if length == 0:
            warnings.warn(f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=3)
    return lengths


def random_split(dataset: Dataset[T] | Iterable[T], lengths: Sequence[int | float],
                 generator: Generator | None = default_generator) -> list[Subset[T]]:
    """Divide a dataset at random into parts of these lengths, or of these fractions if they sum up to 1.

    The order is ``randperm(len(dataset), generator=generator)``, as in PyTorch. ``ValueError`` if the lengths don't sum
    up to that of the dataset.

    >>> first, second = random_split(range(10), [3, 7], generator=Generator(42))
    >>> list(first), list(second)
    ([2, 6, 1], [8, 4, 5, 0, 9, 3, 7])
    """
    count = len(dataset)  # type: ignore[arg-type]  # not every Dataset has a length: PyTorch's neither
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths(count, lengths)
    total = sum(lengths)
    if total != count:
        raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
    source = default_generator if generator is None else generator
    indices = source.randperm(int(total)).tolist()
    ends = list(accumulate(lengths))
    return [Subset(dataset, indices[end - length:end])
            for end, length in zip(ends, lengths, strict=True)]
