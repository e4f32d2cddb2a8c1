"""Stage: beside the house. In: workloads and library names. Out: per workload and library, seconds a call each round.
One process a library; while one works the others are stopped by a signal. The order is shuffled every round.
Next: ``figures.py``, what is made of the samples."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.disturbance import DISTURBED, Snapshot, others_share
from tools.bench.figures import Measured, relative_error, repetitions, wrong_result
from tools.bench.libraries import LIBRARIES, ON_REQUEST, is_installed
from tools.bench.workloads import Workload

ROOT = Path(__file__).resolve().parents[2]
RETRIES = 6  # disturbed samples taken again, a workload
IMPORT_TIMER = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


@dataclass(frozen=True)
class Settings:
    """How long and how often: ``target`` seconds a sample, at most about ``budget`` seconds a library and row. ``end``:
    when all of it must be over, by ``time.monotonic``."""

    rounds: int = 7
    target: float = 0.3
    timeout: float = 60.0
    budget: float = 8.0
    threads: int = 2
    seed: int = 0
    end: float = math.inf

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return max(0.0, self.end - time.monotonic())


class Failed(Exception):
    """A library could not do what it was asked; the message is the reason that is printed. ``over`` is the limit in
    seconds, if it took too long, ``wrong`` whether its result was wrong, ``text`` all that the library said."""

    over: float | None = None
    wrong: bool = False
    text: str = ""

    @staticmethod
    def off(error: float, tolerance: float) -> Failed:
        """The failure of one whose result is off by ``error``."""
        failure = Failed(wrong_result(error, tolerance))
        failure.wrong = True
        return failure

    def write(self, column: Measured) -> None:
        """Say so in the library's column."""
        column.reason, column.over, column.wrong, column.text = str(self), self.over, self.wrong, self.text

    @staticmethod
    def late(seconds: float) -> Failed:
        """The failure of one that took more than ``seconds``."""
        failure = Failed(f"no answer within {seconds:.0f} s")
        failure.over = seconds
        return failure


def environment(threads: int, folder: Path, gpu: bool = False) -> dict[str, str]:
    """The variables of every child: the number of threads in all spellings, no GPU unless ``gpu``, caches in
    ``folder``, and bytecode kept, as pip keeps that of the peers."""
    count = str(threads)
    return {**os.environ, **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "THREADS"), count),
        **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""}), "PYTHONDONTWRITEBYTECODE": "", "JAX_PLATFORMS": "cpu",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "XDG_CACHE_HOME": str(folder / "cache")}


class Worker:
    """One library's process, stopped except during ``request``."""

    def __init__(self, name: str, settings: Settings, folder: Path) -> None:
        self.name, self.settings = name, settings
        self.buffer = b""
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.worker", "serve", name, str(settings.threads)], cwd=ROOT,
            env={**environment(settings.threads, folder, LIBRARIES[name].gpu),
                 "MINIGRAD_TIERS": "0"},  # compiled before it is timed
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        try:
            self.version = str(self.answer(settings.timeout)["version"])
        except Failed:
            self.kill()
            raise
        self.signal("SIGSTOP")

    def signal(self, name: str) -> None:
        """Send SIGSTOP or SIGCONT, where the system has them and the process lives."""
        if hasattr(signal, name) and self.process.poll() is None:
            self.process.send_signal(getattr(signal, name))

    def request(self, timeout: float, **message: Any) -> dict[str, Any]:
        """Wake the worker, ask, wait for the answer, stop it again. Raises ``Failed`` with the worker's reason."""
        assert self.process.stdin is not None
        self.signal("SIGCONT")
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
            return self.answer(timeout)
        except BrokenPipeError:
            raise Failed(self.epitaph()) from None
        finally:
            self.signal("SIGSTOP")

    def answer(self, timeout: float) -> dict[str, Any]:
        """The next line of the worker as a dict; kills the worker when it takes longer than ``timeout`` seconds."""
        assert self.process.stdout is not None
        timeout = min(timeout, self.settings.left)
        descriptor, end = self.process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self.buffer:
            if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                self.kill()
                raise Failed.late(timeout)
            received = os.read(descriptor, 65536)
            if not received:
                raise Failed(self.epitaph())
            self.buffer += received
        line, self.buffer = self.buffer.split(b"\n", 1)
        value: dict[str, Any] = json.loads(line)
        if "reason" in value:
            failure = Failed(value["reason"])
            failure.wrong, failure.text = value.get("wrong", False), value.get("text", "")
            raise failure
        return value

    def epitaph(self) -> str:
        """Why the process is gone: its exit code and the last line it wrote to stderr."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with code {self.process.returncode}: {lines[-1] if lines else 'no message'}"[:200]

    @property
    def alive(self) -> bool:
        """Whether the process can still be asked."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process, stopped or not."""
        if self.alive:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


class Session:
    """The workers of one run of the benchmark. A worker that died or hung is started again for the next workload."""

    def __init__(self, names: tuple[str, ...], settings: Settings, folder: Path) -> None:
        self.names, self.settings, self.folder = names, settings, folder
        self.workers: dict[str, Worker] = {}
        self.versions: dict[str, str] = {}
        self.missing = {name: f"{LIBRARIES[name].needs or LIBRARIES[name].module_name} is not installed"
                        for name in names if not is_installed(name)}

    def worker(self, name: str) -> Worker:
        """The library's worker, started if need be. Raises ``Failed`` if it cannot be."""
        if name in self.missing:
            raise Failed(self.missing[name])
        if name not in self.workers or not self.workers[name].alive:
            if name in self.workers:
                self.workers[name].kill()
            try:
                self.workers[name] = Worker(name, self.settings, self.folder)
            except Failed as failure:
                self.missing[name] = str(failure)
                raise
            self.versions[name] = self.workers[name].version
        return self.workers[name]

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            worker.kill()

    def child(self, *arguments: str, extra: dict[str, str] | None = None, timeout: float | None = None) -> str:
        """Run one fresh Python process to its end and return its stdout. Raises ``Failed``."""
        try:
            done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True,
                                  env={**environment(self.settings.threads, self.folder), **(extra or {})},
                                  timeout=min(timeout or self.settings.timeout, self.settings.left))
        except subprocess.TimeoutExpired as late:
            raise Failed.late(late.timeout) from None
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise Failed(f"{lines[-1] if lines else f'exit code {done.returncode}'}"[:200])
        return done.stdout

    def limits(self) -> dict[str, float | None]:
        """The machine's limits, measured now in a process of its own."""
        value: dict[str, float | None] = json.loads(
            self.child("-m", "tools.bench.worker", "limits", str(self.settings.threads)))
        return value

    def reference(self, workload: Workload) -> Path:
        """The file of the workload's reference result, computed now."""
        path = self.folder / f"{workload.name}.npy"
        self.child("-m", "tools.bench.worker", "references", str(self.folder), workload.name, timeout=600)
        return path


def shuffled(names: list[str], settings: Settings, workload: str, round_number: int) -> list[str]:
    """The order of one round, the same for the same seed.

    >>> shuffled(["a", "b", "c"], Settings(seed=1), "chain", 0)
    ['b', 'c', 'a']
    """
    return random.Random(f"{settings.seed}/{workload}/{round_number}").sample(names, len(names))


def measure(workload: Workload, session: Session) -> dict[str, Measured]:
    """All samples of one workload, by library: the session's first, then those of its peers that the session has."""
    columns = {name: Measured() for number, name in enumerate(session.names)
               if not number or name in workload.peers or (name in ON_REQUEST and workload.kind != "import")}
    if workload.kind == "cold":
        _measure_fresh(workload, session, columns, _cold_sampler(workload, session))
    elif workload.kind in ("fresh", "cached"):
        _measure_fresh(workload, session, columns, _program_sampler(workload, session))
    elif workload.kind == "import":
        _measure_fresh(workload, session, columns, _import_sampler(session))
    else:
        _measure_warm(workload, session, columns)
    return columns


def _measure_warm(workload: Workload, session: Session, columns: dict[str, Measured]) -> None:
    settings = session.settings
    estimates = _prepare(workload, session, columns)
    spent = dict.fromkeys(estimates, 0.0)
    retries = RETRIES
    for number in range(settings.rounds):
        for name in shuffled(list(estimates), settings, workload.name, number):
            if (spent[name] > settings.budget or not settings.left) and columns[name].samples:
                continue
            try:
                seconds, others = _sample(session, name, estimates[name])
                while others > DISTURBED and retries:
                    retries -= 1
                    time.sleep(0.3)
                    again, others_again = _sample(session, name, estimates[name])
                    if others_again < others:
                        seconds, others = again, others_again
            except Failed as failure:
                failure.write(columns[name])
                del estimates[name]
                continue
            estimates[name] = seconds
            columns[name].samples[number] = seconds / workload.parts
            columns[name].others[number] = round(others, 3)
            spent[name] += max(seconds, settings.target)
    for name in estimates:
        with contextlib.suppress(Failed):
            session.workers[name].request(settings.timeout, do="release")


def _prepare(workload: Workload, session: Session, columns: dict[str, Measured]) -> dict[str, float]:
    """Prepare the workload in every worker, checked; the estimated seconds a call of those that can run it."""
    estimates = {}
    path = session.reference(workload)
    for name, column in columns.items():
        try:
            answer = session.worker(name).request(2 * session.settings.timeout, do="prepare", workload=workload.name,
                                                  reference=str(path))
        except Failed as failure:
            failure.write(column)
            continue
        estimates[name] = answer["estimate"]
        column.first_call, column.error, column.note = answer["first_call"], answer["error"], answer["note"]
        column.figures = {unit: {0: value} for unit, value in answer["figures"].items()}
    path.unlink()
    return estimates


def _sample(session: Session, name: str, estimate: float) -> tuple[float, float]:
    """Seconds a call of one timed run, and the share of the machine that others took meanwhile."""
    worker, times = session.workers[name], repetitions(estimate, session.settings.target)
    processes = (worker.process.pid, os.getpid())
    before = Snapshot.take(*processes)
    answer = worker.request(session.settings.timeout, do="run", times=times, warm=estimate < 1.0)
    return answer["seconds"] / times, others_share(before, Snapshot.take(*processes), os.cpu_count() or 1)


@dataclass
class Sample:
    """What one fresh process told."""

    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""


Sampler = Callable[[str], Sample]


def _measure_fresh(workload: Workload, session: Session, columns: dict[str, Measured], sample: Sampler) -> None:
    """One fresh process a sample. The first of each library only fills the system's file cache and is dropped, unless
    it takes so long that the files do not matter (a row called cached needs what the first left)."""
    for name, column in columns.items():
        column.reason = session.missing.get(name, "")
    spent = {name: 0.0 for name, column in columns.items() if not column.reason}
    budget = 3 * session.settings.budget
    for number in range(-1, min(session.settings.rounds, 5 if workload.kind == "import" else 3)):
        for name in shuffled(list(spent), session.settings, workload.name, number):
            if spent[name] > budget and columns[name].samples:
                continue
            start = time.monotonic()
            try:
                taken = sample(name)
            except Failed as failure:
                failure.write(columns[name])
                del spent[name]
                continue
            spent[name] += time.monotonic() - start
            columns[name].note = taken.note
            if number >= 0 or (spent[name] > budget and workload.kind != "cached"):
                columns[name].samples[max(number, 0)] = taken.seconds
                for unit, value in taken.figures.items():
                    columns[name].figures.setdefault(unit, {})[max(number, 0)] = value


def _import_sampler(session: Session) -> Sampler:
    def sample(name: str) -> Sample:
        if name == "minigrad" and "minigrad" not in session.versions:
            session.worker(name)  # says why, where minigrad is only an empty folder
        return Sample(float(session.child("-c", IMPORT_TIMER.format(LIBRARIES[name].module_name)).split()[-1]))

    return sample


def _cold_sampler(workload: Workload, session: Session) -> Sampler:
    path = session.reference(workload)
    expected = float(np.load(path)[0])
    path.unlink()

    def sample(name: str) -> Sample:
        with tempfile.TemporaryDirectory() as empty:
            extra = {"MINIGRAD_CACHE": "0", "TORCHINDUCTOR_CACHE_DIR": empty, "TRITON_CACHE_DIR": empty,
                     "XDG_CACHE_HOME": empty, "TMPDIR": empty}
            answer = json.loads(session.child("-m", "tools.bench.worker", "cold", name, workload.name,
                                              str(session.settings.threads), extra=extra,
                                              timeout=2 * session.settings.timeout))
        error = relative_error(answer["loss"], expected)
        if error > workload.tolerance:
            raise Failed.off(error, workload.tolerance)
        session.versions.setdefault(name, answer["version"])
        return Sample(float(answer["seconds"]))

    return sample


def caches(folder: str | Path) -> dict[str, str]:
    """The variables that put every library's disk cache into ``folder``.

    >>> caches("/a")["MINIGRAD_CACHE_DIR"]
    '/a'
    """
    names = ("MINIGRAD_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR",
             "JAX_COMPILATION_CACHE_DIR")
    return {**dict.fromkeys(names, str(folder)), "MINIGRAD_CACHE": "1",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def _program_sampler(workload: Workload, session: Session) -> Sampler:
    """Each sample with caches of its own, empty at its start; in a row called cached, one for all of a library's."""
    path = session.reference(workload)
    expected = np.load(path)
    path.unlink()
    kept = session.folder / f"{workload.name}.caches"

    def sample(name: str) -> Sample:
        with tempfile.TemporaryDirectory() as empty:
            folder = Path(empty)
            if workload.kind == "cached":
                folder = kept / name
                folder.mkdir(parents=True, exist_ok=True)
            answer = json.loads(session.child("-m", "tools.bench.worker", "fresh", name, workload.name,
                                              str(session.settings.threads), extra=caches(folder)))
        error = relative_error(answer["value"], expected)
        if error > workload.tolerance:
            raise Failed.off(error, workload.tolerance)
        session.versions.setdefault(name, answer["version"])
        return Sample(float(answer["seconds"]), answer["figures"], answer["note"])

    return sample


@contextlib.contextmanager
def open_session(names: tuple[str, ...], settings: Settings) -> Iterator[Session]:
    """A session with its folder of caches and references; both are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        session = Session(names, settings, Path(folder))
        try:
            yield session
        finally:
            session.close()
