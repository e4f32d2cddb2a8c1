"""Stage: beside the house. In: the tables of workloads. Out: ``SUITES``, the tables by the names that the command line
takes, and ``BY_NAME``, all rows by theirs.
Next: ``worker.py``, which runs a row in one library's process."""

from __future__ import annotations

from dataclasses import dataclass

from tools.bench.libraries import PEERS
from tools.bench.overhead import OVERHEAD
from tools.bench.workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Suite:
    """A table, the peers that are measured if none are named, and whether its rows are compared with the machine's
    limits."""

    workloads: tuple[Workload, ...]
    peers: tuple[str, ...]
    limits: bool = True


SUITES: dict[str, Suite] = {
    "kernels": Suite(WORKLOADS, PEERS),
    "overhead": Suite(OVERHEAD, ("numpy", "torch", "jax", "micrograd"), limits=False),
}

BY_NAME: dict[str, Workload] = {w.name: w for suite in SUITES.values() for w in suite.workloads}
