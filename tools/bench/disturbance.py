"""Stage: beside the house. In: the kernel's count of busy processor time. Out: how much of the machine others took
while a sample ran. Libraries that spin at barriers become a hundred times slower when a neighbour holds one core, so
a disturbed sample says nothing; it is taken again, and marked if it stays so. Linux only; elsewhere nothing is seen.
Next: ``measure.py``, which asks."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

DISTURBED = 0.15  # of all cores' time; /proc counts in ticks of 10 ms, so less than this can be rounding


def busy_seconds(text: str, ticks_per_second: float) -> float:
    """Busy time of all cores in the first line of ``/proc/stat``: all but idle, waiting for disks, and guests (which
    are already in user time). Time stolen by the hypervisor counts as busy.

    >>> busy_seconds("cpu  100 0 50 900 30 0 5 45 7 0", 100)
    2.0
    """
    user, nice, system, _idle, _wait, interrupt, soft, stolen = map(float, text.split("\n", 1)[0].split()[1:9])
    return (user + nice + system + interrupt + soft + stolen) / ticks_per_second


def process_seconds(text: str, ticks_per_second: float) -> float:
    """Processor time of one process in its ``/proc/PID/stat``: user and system, all threads.

    >>> process_seconds("7 (a b) S 1 1 1 0 -1 4194304 0 0 0 0 150 50 0 0 20", 100)
    2.0
    """
    fields = text.rsplit(")", 1)[1].split()
    return (float(fields[11]) + float(fields[12])) / ticks_per_second


@dataclass(frozen=True)
class Snapshot:
    """Processor time so far, of the machine and of the processes that belong to a sample."""

    wall: float
    busy: float
    own: float

    @staticmethod
    def take(*processes: int) -> Snapshot | None:
        """The state now; None where the system does not tell."""
        try:
            ticks = os.sysconf("SC_CLK_TCK")
            own = sum(process_seconds(Path(f"/proc/{pid}/stat").read_text(), ticks) for pid in processes)
            return Snapshot(time.monotonic(), busy_seconds(Path("/proc/stat").read_text(), ticks), own)
        except (OSError, ValueError, AttributeError, IndexError):
            return None


def others_share(before: Snapshot | None, after: Snapshot | None, cores: int) -> float:
    """The share of all cores' time between two snapshots that went to others; 0 where it is not known.

    >>> others_share(Snapshot(0.0, 10.0, 3.0), Snapshot(1.0, 12.0, 4.0), 2)
    0.5
    """
    if before is None or after is None or after.wall <= before.wall:
        return 0.0
    foreign = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, foreign / (cores * (after.wall - before.wall)))
