"""Stage: front. In: what a ``DataLoader`` needs done. Out: the parts of it that also run in worker processes: fetching
samples, making batches of them, the life of a worker.
Next: ``collate.py``."""

from minigrad.utils.data._utils import collate, fetch, pin_memory, worker
from minigrad.utils.data._utils.worker import MP_STATUS_CHECK_INTERVAL, ExceptionWrapper

__all__ = ["MP_STATUS_CHECK_INTERVAL", "ExceptionWrapper", "collate", "fetch", "pin_memory", "worker"]
