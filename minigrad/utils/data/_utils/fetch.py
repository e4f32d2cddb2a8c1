"""Stage: front. In: an index, or a list of them. Out: the sample or batch that a data set has for it.
Next: ``memory.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.utils.data._utils.collate import stacks_tensors
from minigrad.utils.data._utils.memory import batch_memory
from minigrad.utils.data.dataset import batch_of


class _BaseDatasetFetcher:
    """Fetches from ``dataset``; with ``auto_collation`` a list of samples at a time, which ``collate_fn`` makes a
    batch of."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last

    def fetch(self, possibly_batched_index: Any) -> Any:
        """The sample or batch."""
        raise NotImplementedError


class _IterableDatasetFetcher(_BaseDatasetFetcher):
    """The next samples of a stream, as many as there are indices. ``StopIteration`` at its end."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        super().__init__(dataset, auto_collation, collate_fn, drop_last)
        self.dataset_iter = iter(dataset)
        self.ended = False

    def fetch(self, possibly_batched_index: Any) -> Any:
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.dataset_iter))
        samples: list[Any] = []
        for _ in possibly_batched_index:
            try:
                samples.append(next(self.dataset_iter))
            except StopIteration:
                self.ended = True
                break
        if not samples or (self.drop_last and len(samples) < len(possibly_batched_index)):
            raise StopIteration
        return self.collate_fn(samples)


class _MapDatasetFetcher(_BaseDatasetFetcher):
    """The samples at the indices."""

    def fetch(self, possibly_batched_index: Any) -> Any:
        dataset = self.dataset
        if not self.auto_collation:
            return self.collate_fn(dataset[possibly_batched_index])
        if stacks_tensors(self.collate_fn):
            batch = batch_of(dataset, possibly_batched_index, batch_memory())
            if batch is not None:
                return batch
        many = getattr(dataset, "__getitems__", None)
        samples = many(possibly_batched_index) if many else [dataset[i] for i in possibly_batched_index]
        return self.collate_fn(samples)
