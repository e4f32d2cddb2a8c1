"""Stage: front. In: samples. Out: batches for training: data sets, samplers, ``DataLoader`` with worker processes, in
the words of ``torch.utils.data``.
Next: ``dataset.py``.

(https://docs.pytorch.org/docs/stable/data.html)

>>> from minigrad import arange
>>> loader = DataLoader(TensorDataset(arange(4), arange(4) * 10), batch_size=2)
>>> for x, y in loader:
...     print(x, y)
tensor([0, 1]) tensor([ 0, 10])
tensor([2, 3]) tensor([20, 30])
"""

from minigrad.utils.data import _utils, dataloader, dataset, distributed, sampler
from minigrad.utils.data._utils.worker import _DatasetKind
from minigrad.utils.data.dataloader import DataLoader, default_collate, default_convert, get_worker_info
from minigrad.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from minigrad.utils.data.distributed import DistributedSampler
from minigrad.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "DistributedSampler", "IterableDataset",
    "RandomSampler", "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler", "TensorDataset",
    "WeightedRandomSampler", "_DatasetKind", "_utils", "dataloader", "dataset", "default_collate", "default_convert",
    "distributed", "get_worker_info", "random_split", "sampler",
]
