"""Stage: front. In: what a ``DataLoader`` needs done. Out: the parts of it that also run in worker processes: fetching
samples, making batches of them, the life of a worker.
Next: ``collate.py``."""

from __future__ import annotations

MP_STATUS_CHECK_INTERVAL = 5.0
"""Seconds after which a process that waits for another looks whether that one is still there."""
