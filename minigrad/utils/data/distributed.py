"""Stage: front. In: how many processes share a data set. Out: ``DistributedSampler``, the share of one of them.
Next: ``dataloader.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minigrad.tensor import Generator
from minigrad.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[Any]):
    """Every ``num_replicas``-th index from ``rank`` on, in an order that is shuffled by ``seed + epoch``.

    All shares are equally long: the first indices are repeated for that, or with ``drop_last`` the last ones are left
    out. ``ValueError`` for a rank that is not below ``num_replicas``. Both have to be given, since there is no
    distributed package (``RuntimeError``).

    >>> [list(DistributedSampler(range(5), 2, rank, shuffle=False)) for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(self, dataset: Any, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
                 seed: int = 0, drop_last: bool = False) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError("Requires distributed package to be available")
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        count = len(dataset)
        self.num_samples = count // num_replicas if drop_last else -(-count // num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)
        order = Generator(self.seed + self.epoch).randperm(count).tolist() if self.shuffle else list(range(count))
        while order and len(order) < self.total_size:
            order += order[:self.total_size - len(order)]
        mine = order[self.rank:self.total_size:self.num_replicas]
        if len(mine) != self.num_samples:
            raise AssertionError(f"Number of subsampled indices ({len(mine)}) does not match num_samples "
                                 f"({self.num_samples})")
        return iter(mine)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of another epoch. Without it every epoch has the same."""
        self.epoch = epoch
