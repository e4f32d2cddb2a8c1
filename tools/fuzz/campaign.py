"""Stage: tests. In: how many programs, or for how long; a file of what ran before. Out: that many more, in processes of
their own.
Next: ``__main__.py``.

The programs are run in stretches of seeds, each by a process that ends after it: so one that crashes or hangs is a
failure of one program, and the next stretch begins behind it. The file gets a line for each stretch, and a campaign
that was interrupted goes on with the seeds that it lacks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tools.fuzz.counts import Counts
from tools.fuzz.program import device_of

STRETCH = 4000
"""Programs of a process: three minutes on the CPU device, and a gigabyte of caches. To begin takes it as long as a
hundred programs: it loads PyTorch and compiles tier 0's kernels anew."""

LONGEST = 5.0
"""Minutes after which a process of another device ends, so that what it found is seen."""

SLOW = 5.0
"""Seconds that a program of a stretch may take on average before the process is ended."""

Record = dict[str, Any]


def finished(path: Path | None, devices: Sequence[str] = ()) -> list[Record]:
    """The stretches in a file that ran on these devices. A last line that was not written to its end counts for
    nothing."""
    found = []
    for line in path.read_text().splitlines() if path is not None and path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("devices", []) == list(devices):
            found.append(record)
    return found


def stretches(first: int, count: int, done: list[Record]) -> Iterator[tuple[int, int]]:
    """The parts of the seeds ``first`` … ``first + count - 1`` that no finished stretch has: begin and length, up to
    ``STRETCH`` each.

    >>> list(stretches(0, 1200, [{"first": 100, "last": 899}]))
    [(0, 100), (900, 300)]
    """
    at, end = first, first + count
    known = sorted((record["first"], record["last"] + 1) for record in done)
    while at < end:
        behind = next((stop for start, stop in known if start <= at < stop), None)
        if behind is not None:
            at = behind
            continue
        stop = min([end, at + STRETCH, *[start for start, _ in known if start > at]])
        yield at, stop - at
        at = stop


def name_of(seed: int, devices: Sequence[str]) -> str:
    """What begins the text of a failure: which program it is.

    >>> name_of(7, ["CC"])
    '# seed 7, --device CC'
    """
    return f"# seed {seed}" + "".join(f", --device {name}" for name in device_of(seed, devices).values())


def run(first: int, count: int, arguments: list[str], until: float, devices: Sequence[str] = ()) -> Record:
    """A stretch in a process of its own, which stops when time is up. If a signal or this function ends it, the seed
    at which it was is a failure, and the last of the stretch; a known one if the reference alone ends so, too.
    ``RuntimeError`` if it raised something."""
    began = time.monotonic()
    command = [sys.executable, "-X", "faulthandler", "-m", "tools.fuzz", "--stretch", f"{first}:{count}",
               f"--minutes={min((until - began) / 60, LONGEST)}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + SLOW * count)
        if done.returncode > 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
        output, how = done.stdout, f"signal {-done.returncode} ended the process: {done.stderr[-2000:]}"
    except subprocess.TimeoutExpired as error:
        output, how = (error.stdout or b"").decode(), "the process took too long"
    *before, last = output.splitlines() or [""]
    if last.startswith("{"):
        record: Record = json.loads(last)
        return record | {"first": first, "last": first + record["programs"] - 1}
    at = int(last) if last.isdecimal() else int(before[-1]) if before else first
    counts = Counts()
    counts.programs, counts.seconds = at - first + 1, time.monotonic() - began
    if how.startswith("signal") and subprocess.run(  # in a process in which nothing else was computed
            [*command[:command.index("--stretch")], "--alone", "--stretch", f"{at}:1", *arguments],
            capture_output=True, check=False, timeout=60).returncode < 0:
        counts.drawn["known"]["refusals that nobody means"] += 1
    else:
        counts.failures.append(f"{name_of(at, devices)}: {how}\n")
    return counts.record() | {"first": first, "last": at}


def campaign(parts: Iterator[tuple[int, int]], arguments: list[str], processes: int, seconds: float,
             devices: Sequence[str] = ()) -> Iterator[Record]:
    """Run stretches until there are no more, or time is up; each as it ends."""
    until = time.monotonic() + seconds
    waiting: dict[Future[Record], int] = {}
    with ThreadPoolExecutor(processes) as threads:
        rest: list[tuple[int, int]] = []
        while True:
            while len(waiting) < processes and time.monotonic() < until:
                part = rest.pop() if rest else next(parts, None)
                if part is None:
                    break
                waiting[threads.submit(run, *part, arguments, until, devices)] = sum(part)
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                record, stop = future.result(), waiting.pop(future)
                if record["last"] + 1 < stop:  # it died, or time is up
                    rest.append((record["last"] + 1, stop - record["last"] - 1))
                yield record
