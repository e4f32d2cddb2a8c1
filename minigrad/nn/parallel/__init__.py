"""Stage: front. In: a Module. Out: it as PyTorch's programs for several devices wrap it.
Next: ``data_parallel.py``."""

from minigrad.nn.parallel.data_parallel import DataParallel, data_parallel
from minigrad.nn.parallel.distributed import DistributedDataParallel
from minigrad.nn.parallel.parallel_apply import parallel_apply
from minigrad.nn.parallel.scatter_gather import gather, scatter

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel", "gather", "parallel_apply",
           "scatter"]
