"""Stage: beside the house. In: the tables of workloads. Out: ``SUITES``, the tables by the names that the command line
takes, and ``BY_NAME``, all rows by theirs.
Next: ``worker.py``, which runs a row in one library's process."""

from __future__ import annotations

from dataclasses import dataclass

from tools.bench import campaign, drawing
from tools.bench.convolutions import CONVOLUTIONS
from tools.bench.gpu import GPU, TINY
from tools.bench.large import LARGE
from tools.bench.libraries import PEERS
from tools.bench.memory import MEMORY
from tools.bench.narrow import NARROW
from tools.bench.overhead import OVERHEAD
from tools.bench.workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Suite:
    """A table, the peers that are measured if none are named, whether its rows are compared with the machine's limits,
    and which library is compared with the peers."""

    workloads: tuple[Workload, ...]
    peers: tuple[str, ...]
    limits: bool = True
    base: str = "minigrad"


SUITES: dict[str, Suite] = {
    "kernels": Suite(WORKLOADS, PEERS),
    "gpu": Suite(GPU, ("torch-cuda",), limits=False, base="minigrad-cuda"),
    "tiny": Suite(TINY, ("torch",), limits=False),
    "large": Suite(LARGE, ("torch", "torch.compile", "jax")),
    "memory": Suite(MEMORY, ("numpy", "torch", "jax")),
    "narrow": Suite(NARROW, ("numpy", "torch", "jax")),
    "convolutions": Suite(CONVOLUTIONS, ("torch", "jax")),
    "overhead": Suite(OVERHEAD, ("numpy", "torch", "jax", "micrograd"), limits=False),
    campaign.PREFIX: Suite((), ("numpy", *drawing.PEERS)),
}


class Rows(dict[str, Workload]):
    """Rows by their names. A random program's row is drawn when it is asked for."""

    def __missing__(self, name: str) -> Workload:
        self[name] = campaign.draw(name)
        return self[name]


BY_NAME = Rows({w.name: w for suite in SUITES.values() for w in suite.workloads})
