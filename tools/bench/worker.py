"""Stage: beside the house. In: one JSON request a line on stdin. Out: one JSON answer a line on what was stdout.
A worker is one library's process. It prepares one workload at a time, checks its result against the reference, and
runs it as often as it is told. Whatever the library prints goes to stderr.
Next: ``measure.py``, the other end of the pipes."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.figures import relative_error, wrong_result
from tools.bench.libraries import LIBRARIES, Library
from tools.bench.limits import measure_limits
from tools.bench.programs import Timed
from tools.bench.suites import BY_NAME
from tools.bench.workloads import MORE_MEMORY, Workload

CHECKED_CALLS = 3  # jits trace in the first, capture in the second, replay in the third
CHECKED_STEPS = 5
STEPS = ("step", "cold")
ONCE = ("fresh", "cached")  # kinds of rows that are whole programs
PATIENCE = 5.0  # seconds of a first call (compiling included) from which it is checked alone


def make_call(workload: Workload, library: Library, arrays: list[np.ndarray]) -> Callable[[], Any]:
    """One repetition of the workload, as a function of nothing that returns the finished result."""
    function = workload.function(library.name, library.style)
    library.allow_tf32(workload.tf32)
    if workload.kind != "call":
        call: Callable[[], Any] = function(library, arrays)
        return call
    operands = [library.array(a, workload.dtype) for a in arrays]
    module, finish = library.module, library.finish
    compiled = library.compiled(lambda *operands: function(module, *operands))
    return lambda: finish(compiled(*operands))


def reference(workload: Workload) -> np.ndarray:
    """The workload by NumPy in float64: the array, or the losses of the first steps."""
    arrays = [a.astype(np.float64) if a.dtype == np.float32 else a for a in workload.inputs()]
    library = LIBRARIES["numpy"]()
    if workload.kind in ONCE:
        result = workload.function("numpy", "numpy")(library, arrays)
        return np.asarray(result.value if isinstance(result, Timed) else result)
    call = make_call(workload, library, arrays)
    return np.asarray([float(call()) for _ in range(CHECKED_STEPS)] if workload.kind in STEPS else call())


class Server:
    """Answers requests: prepare, run, release."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.call: Callable[[], Any] | None = None

    def prepare(self, workload: str, reference: str) -> dict[str, Any]:
        """Build the workload, compile it, check it, and say how long a call takes and how wrong it is at most."""
        row, library = BY_NAME[workload], self.library
        library.note = ""
        call = make_call(row, library, row.inputs())
        expected = np.load(reference)
        before = memory(reset=True) if row.memory else None
        start = time.perf_counter()
        if row.kind not in STEPS:
            result = call()
            first = time.perf_counter() - start
            for _ in range(CHECKED_CALLS - 1):
                if first < PATIENCE:
                    result = call()
            error = relative_error(library.to_numpy(result), expected)
            del result
        else:
            losses = [float(library.to_numpy(call()))]
            first = time.perf_counter() - start
            losses += [float(library.to_numpy(call())) for _ in range(CHECKED_STEPS - 1)]
            error = relative_error(losses, expected)
        if error > row.tolerance:
            return {"reason": wrong_result(error, row.tolerance), "wrong": True}
        self.call = call
        after = memory() if before is not None else None
        figures = {MORE_MEMORY: max(0.0, after - before)} if before is not None and after is not None else {}
        return {"first_call": first, "error": error, "estimate": self.estimate(), "note": library.note,
                "figures": figures, "version": library.version()}

    def estimate(self) -> float:
        """Seconds a call, from a short doubling run."""
        times = 1
        while True:
            seconds = self.timed(times)
            if seconds > 0.02 or times >= 2**16:
                return seconds / times
            times *= 2

    def timed(self, times: int) -> float:
        """Seconds that ``times`` calls take."""
        call, clock = self.call, time.perf_counter
        assert call is not None
        start = clock()
        for _ in range(times):
            call()
        return clock() - start

    def run(self, times: int, warm: bool) -> dict[str, Any]:
        """Time ``times`` calls, after one that is not counted (it wakes the threads) if ``warm``."""
        if self.call is None:
            return {"reason": "nothing is prepared"}
        if warm:
            self.timed(1)
        return {"seconds": self.timed(times)}

    def release(self) -> dict[str, Any]:
        """Forget the workload, and its memory."""
        self.call = None
        return {}


def serve(name: str, threads: int) -> None:
    """Answer requests until stdin ends. The first answer says whether the library could be imported."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    try:
        server = Server(LIBRARIES[name](threads))
        answer({"version": server.library.version()})
    except Exception as error:
        answer({"reason": first_line(error), "text": traceback.format_exc()})
        return
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(server, request.pop("do"))(**request))
        except Exception as error:
            server.call = None
            answer({"reason": first_line(error), "text": traceback.format_exc()})


def first_line(error: BaseException) -> str:
    """An exception in one line of at most 160 characters.

    >>> first_line(ValueError("bad\\nmore"))
    'ValueError: bad'
    """
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:160]


def cold(name: str, workload: str, threads: int) -> dict[str, Any]:
    """Seconds from an imported library to the loss of the first step: model, compiling and all. And that loss."""
    row = BY_NAME[workload]
    arrays = row.inputs()
    library = LIBRARIES[name](threads)
    start = time.perf_counter()
    loss = float(library.to_numpy(make_call(row, library, arrays)()))
    return {"seconds": time.perf_counter() - start, "loss": loss, "version": library.version()}


def fresh(name: str, workload: str, threads: int) -> dict[str, Any]:
    """Run a whole program, once: seconds from the imported library to the result read as NumPy's, unless the program
    looks at the clock itself; the result; and by how many MB the process grew at its largest."""
    row = BY_NAME[workload]
    arrays = row.inputs()
    library = LIBRARIES[name](threads)
    before = memory(reset=True)
    start = time.perf_counter()
    result = row.function(library.name, library.style)(library, arrays)
    timed = result if isinstance(result, Timed) else None
    value = timed.value if timed else result
    value = np.asarray(value if isinstance(value, (float, list)) else library.to_numpy(value))
    seconds = timed.seconds if timed else time.perf_counter() - start
    after = memory()
    figures = dict(timed.figures) if timed else {}
    if before is not None and after is not None:
        figures[MORE_MEMORY] = max(0.0, after - before)
    return {"seconds": seconds, "value": value.tolist(), "figures": figures, "note": library.note,
            "version": library.version()}


def memory(reset: bool = False) -> float | None:
    """The largest memory of this process so far in MB; with ``reset``, what it has now, from where the largest counts
    anew. None where the system does not tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        return peak_memory(Path("/proc/self/status").read_text())
    except (OSError, AttributeError):
        return None


def peak_memory(text: str) -> float:
    """The peak in ``/proc/self/status`` in MB.

    >>> peak_memory("VmPeak: 100 kB, VmHWM:   2048 kB, VmRSS: 1024 kB")
    2.0
    """
    return float(text.split("VmHWM:", 1)[1].split(None, 1)[0]) / 1024


def write_references(folder: str, names: list[str]) -> None:
    """Save each workload's reference as ``folder/NAME.npy``."""
    for name in names:
        np.save(Path(folder) / f"{name}.npy", reference(BY_NAME[name]))


def main(arguments: list[str]) -> None:
    """``serve LIBRARY THREADS``, ``cold LIBRARY WORKLOAD THREADS``, ``fresh LIBRARY WORKLOAD THREADS``,
    ``limits THREADS``, ``references FOLDER NAME``."""
    threads = int(arguments[-1]) if arguments[-1].isdigit() else 0
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if arguments[0] == "serve":
        serve(arguments[1], threads)
    elif arguments[0] == "references":
        write_references(arguments[1], arguments[2:])
    else:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        once = {"cold": cold, "fresh": fresh}
        value = measure_limits(threads) if arguments[0] == "limits" else (
            once[arguments[0]](arguments[1], arguments[2], threads))
        print(json.dumps(value), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
