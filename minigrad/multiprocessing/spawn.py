"""Stage: front. In: a function and how many processes shall run it. Out: the processes, and the error of the first that
fails as an exception here.
Next: ``minigrad/backends/``."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any


class ProcessException(Exception):
    """A process has failed: ``error_index`` says which, ``error_pid`` was its number in the system."""

    def __init__(self, msg: str, error_index: int, error_pid: int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.error_pid = error_pid

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The function has raised an exception, whose traceback is in the message."""


class ProcessExitedException(ProcessException):
    """The process was ended by a signal (``signal_name``) or with a code (``exit_code``)."""

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int,
                 signal_name: str | None = None) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.error_index, self.error_pid, self.exit_code, self.signal_name)


def _wrap(fn: Callable[..., Any], i: int, args: Sequence[Any], report: Any) -> None:
    """What a process runs."""
    try:
        fn(i, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted, too, and says so
    except Exception:
        report.send(traceback.format_exc())
        report.close()
        sys.exit(1)


class ProcessContext:
    """Processes that were started together."""

    def __init__(self, processes: Sequence[Any], reports: Sequence[Any]) -> None:
        self.processes = processes
        self._reports = reports
        self.sentinels = {process.sentinel: index for index, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """Their numbers in the system."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until one has ended, ``timeout`` seconds at most; True if all have. If one has failed, the others are
        ended, after ``grace_period`` seconds, and its error is raised."""
        if not self.sentinels:
            return True
        for sentinel in connection.wait(self.sentinels.keys(), timeout):
            index = self.sentinels.pop(sentinel)
            process = self.processes[index]
            process.join()
            if process.exitcode:
                self._end_all(grace_period)
                raise self._error(index)
        return not self.sentinels

    def _end_all(self, grace_period: float | None) -> None:
        if grace_period is not None:
            self._wait(grace_period)
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        self._wait(30 if grace_period is None else grace_period)
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, end - time.monotonic()))

    def _error(self, index: int) -> ProcessException:
        process, report = self.processes[index], self._reports[index]
        code, pid = process.exitcode, process.pid
        try:
            told = report.recv() if report.poll() else None
        except EOFError:
            told = None
        if told is not None:
            return ProcessRaisedException(f"\n\n-- Process {index} terminated with the following error:\n{told}",
                                          index, pid)
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"<Unknown signal {-code}>"
            return ProcessExitedException(f"process {index} terminated with signal {name}", index, pid, code, name)
        return ProcessExitedException(f"process {index} terminated with exit code {code}", index, pid, code)


class SpawnContext(ProcessContext):
    """The old name of ``ProcessContext``."""

    def __init__(self, processes: Sequence[Any], reports: Sequence[Any]) -> None:
        warnings.warn("SpawnContext is renamed to ProcessContext since 1.4 release.", stacklevel=2)
        super().__init__(processes, reports)


def start_processes(fn: Callable[..., Any], args: Sequence[Any] = (), nprocs: int = 1, join: bool = True,
                    daemon: bool = False, start_method: str = "spawn") -> ProcessContext | None:
    """``spawn`` by any start method: ``"fork"``, ``"spawn"`` or ``"forkserver"``."""
    context: Any = multiprocessing.get_context(start_method)
    processes, reports = [], []
    for i in range(nprocs):
        report, end = context.Pipe(duplex=False)
        process = context.Process(target=_wrap, args=(fn, i, args, end), daemon=daemon)
        process.start()
        end.close()
        processes.append(process)
        reports.append(report)
    started = ProcessContext(processes, reports)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(fn: Callable[..., Any], args: Sequence[Any] = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
          start_method: str = "spawn") -> ProcessContext | None:
    """Run ``fn(i, *args)`` in ``nprocs`` new processes, i from 0 on; the function must be one that can be pickled.

    With ``join`` it waits for all: ``ProcessRaisedException`` with the traceback if one raises,
    ``ProcessExitedException`` if one is ended otherwise; the rest is ended then. Else it returns a ``ProcessContext``.
    (https://docs.pytorch.org/docs/stable/multiprocessing.html#spawning-subprocesses)
    """
    if start_method != "spawn":
        warnings.warn(f"This method only supports start_method=spawn (got: {start_method}).\nTo use a different "
                      "start_method use:\n\t\t torch.multiprocessing.start_processes(...)", FutureWarning, stacklevel=2)
    return start_processes(fn, args, nprocs, join, daemon, start_method="spawn")
