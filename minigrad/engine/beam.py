"""Stage: realise, with BEAM=n. In: a launch whose kernel is new. Out: its loops by the fastest steps that a search has
found. The steps that lowering chooses are the beginning; of all that differ in one thing from the n fastest so far, the
n fastest go on, until none is faster or time is up. Each is timed on memory of the kernel's sizes, and its results are
compared with those of the first.
Next: ``compilation.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import numpy as np

from minigrad import config
from minigrad.engine.compilation import compile_kernels
from minigrad.engine.execute import grain_of
from minigrad.errors import CompileError, ScheduleError
from minigrad.kernel.ir import Array
from minigrad.kernel.length import instructions
from minigrad.lower import Lowered, lower
from minigrad.lower.neighbours import Chosen, neighbours
from minigrad.lower.steps import CHOSEN, Steps
from minigrad.runtime import cache
from minigrad.runtime.device import CompiledKernel, Device
from minigrad.runtime.native import Step
from minigrad.runtime.progress import Progress
from minigrad.schedule.spec import KernelSpec
from minigrad.target import Target

LONGEST = 640
"""Instructions of a kernel that is tried, at most: longer ones take long to compile."""

BETTER = 0.97
"""What a kernel's time must be of the first one's, so that it takes its place: less is noise."""

RUNS = 5
"""Times that a kernel is run; the middle one counts."""

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What a search has found for a kernel: seconds before and after, lists of steps that were tried, and the best."""

    kernel: str
    before: float
    after: float
    tried: int
    texts: Texts

    @property
    def gained(self) -> bool:
        """Whether it is faster than it was."""
        return self.after < self.before

    def __str__(self) -> str:
        return (f"{self.kernel}: {self.before * 1e6:.1f} µs, now {self.after * 1e6:.1f} µs; {self.tried} tried: "
                + " | ".join(self.texts))


@dataclass(frozen=True)
class Found:
    """A list of steps for each stage, the loops, and the seconds that they take."""

    texts: Texts
    lowered: Lowered
    seconds: float


def search(device: Device, spec: KernelSpec, structure: bytes, target: Target) -> Lowered:
    """The loops of a kernel by the steps that a search finds, or has found before in this or another process."""
    width, seconds = config.get("BEAM"), config.get("BEAM_SECONDS")
    plain = replace(target, beam=0)
    first = lower(spec, plain)
    if any(Chosen.read(line) is None for line in first.strategies) or (
            instructions(first.kernel) > LONGEST):
        return first
    here = device.name, plain, structure, width
    key = cache.key_of("beam", device.identity(), repr(plain), structure.hex(), str(width)) if device.identity() else ""
    if here not in _found:
        stored = cache.load(key) if key and config.get("CACHE") else None
        if stored is not None:
            _found[here] = tuple(json.loads(stored))
        else:
            hunt = _Search(device, spec, plain, first, width, perf_counter() + seconds)
            best = hunt.run()
            _found[here] = best.texts
            for call in tell:
                call(Report(spec.name, hunt.first.seconds, best.seconds, len(hunt.tried), best.texts))
            if key and config.get("CACHE"):
                cache.store(key, json.dumps(_found[here]).encode())
    texts = _found[here]
    return first if texts == _texts(first) else lower(spec, _with(plain, spec, texts))


tell: list[Callable[[Report], None]] = []
"""What is called after each search."""

_found: dict[Hashable, Texts] = {}
"""The steps that searches of this process have found, or read."""


def _texts(lowered: Lowered) -> Texts:
    found = [Chosen.read(line) for line in lowered.strategies]
    return tuple([CHOSEN if chosen is None else str(chosen.steps) for chosen in found])


def _together(texts: Texts, at: int, steps: Steps) -> Texts:
    """The texts with other steps in one place. All stages of a kernel run on as many threads."""
    threads = f"block({steps.number('block')})"
    others = texts if steps.number("block") is None else [re.sub(r"block\(\d+\)", threads, text) for text in texts]
    return (*others[:at], str(steps), *others[at + 1:])


def _with(target: Target, spec: KernelSpec, texts: Texts) -> Target:
    return replace(target, steps=(*target.steps, (spec.name, texts)))


class _Search:
    def __init__(self, device: Device, spec: KernelSpec, target: Target, first: Lowered, width: int,
                 until: float) -> None:
        self.device, self.spec, self.target, self.width, self.until = device, spec, target, width, until
        random = np.random.default_rng(0)
        self.memory = [_contents(random, array) for array in first.kernel.arrays]
        self.buffers = [device.allocate(max(1, x.nbytes)) for x in self.memory]
        self.letters = "".join("d" if s.dtype.is_float else "Q" if s.dtype.kind == "u" else "q"
                               for s in first.kernel.scalars)
        self.tried = {_texts(first)}
        (program,) = compile_kernels(device, [first.kernel])
        self.wanted = self.results(first, program)
        self.first_program = program
        self.first = Found(_texts(first), first, self.time(first, program))

    def run(self) -> Found:
        """The fastest that was found; the first, if none is clearly faster."""
        beam, best = [self.first], self.first
        with Progress(max(0.0, self.until - perf_counter()), f"searching loops of {self.spec.name}", "s") as self.bar:
            while perf_counter() < self.until:
                found = [made for one in beam for made in self.around(one)]
                beam = sorted([*beam, *found], key=lambda made: made.seconds)[:self.width]
                if not found or beam[0].seconds >= best.seconds:
                    break
                best = beam[0]
        return best if best is self.first or self.is_faster(best) else self.first

    def around(self, one: Found) -> list[Found]:
        """What differs in one thing, and computes the same."""
        made: list[tuple[Texts, Lowered]] = []
        for at, line in enumerate(one.lowered.strategies):
            chosen = Chosen.read(line)
            assert chosen is not None
            for steps in neighbours(chosen, self.target):
                texts = _together(one.texts, at, steps)
                if texts in self.tried:
                    continue
                self.tried.add(texts)
                try:
                    lowered = lower(self.spec, _with(self.target, self.spec, texts))
                except ScheduleError:
                    continue
                if instructions(lowered.kernel) <= LONGEST:
                    made.append((texts, lowered))
        found = []
        before = perf_counter()
        for texts, lowered in made:
            now = perf_counter()
            self.bar.step(now - before, f", {len(self.tried)} tried")
            if now > self.until:
                break
            before = now
            try:
                (program,) = compile_kernels(self.device, [lowered.kernel])
            except CompileError:
                continue
            if _same(self.wanted, self.results(lowered, program)):
                found.append(Found(texts, lowered, self.time(lowered, program)))
        return found

    def is_faster(self, other: Found) -> bool:
        """Whether it is faster than the first when they take turns."""
        (program,) = compile_kernels(self.device, [other.lowered.kernel])
        pairs = [(self.time(other.lowered, program, 1), self.time(self.first.lowered, self.first_program, 1))
                 for _ in range(2 * RUNS)]
        return median([new / old for new, old in pairs]) < BETTER

    def results(self, lowered: Lowered, program: CompiledKernel) -> list[np.ndarray]:
        """What the kernel writes."""
        for buffer, contents in zip(self.buffers, self.memory, strict=True):
            buffer.copyin(contents)
        self.call(lowered, program)
        found = []
        for buffer, contents, array in zip(self.buffers, self.memory, lowered.kernel.arrays, strict=True):
            if array.written:
                found.append(np.empty_like(contents))
                buffer.copyout(found[-1])
        return found

    def call(self, lowered: Lowered, program: CompiledKernel) -> float:
        """One run; its seconds."""
        step = Step(program, tuple(range(len(self.buffers))), tuple(range(len(self.letters))), lowered.iterations,
                    grain_of(lowered.iterations, lowered.work), lowered.work)
        native = self.device.native([step], len(self.buffers), self.letters)
        return native.run_timed([b.address for b in self.buffers], [1] * len(self.letters))[0]

    def time(self, lowered: Lowered, program: CompiledKernel, runs: int = RUNS) -> float:
        """The seconds of a run; small kernels run often."""
        once = min(self.call(lowered, program) for _ in range(2))
        return median(min(self.call(lowered, program) for _ in range(max(1, min(20, int(2e-4 / once)))))
                      for _ in range(runs))


def _contents(random: np.random.Generator, array: Array) -> np.ndarray:
    """Numbers between 1 and 2; integers are 0, which are indices of everything, and bools are both."""
    dtype = array.dtype
    if dtype.is_float:
        return random.uniform(1, 2, array.size).astype(dtype.numpy)
    if dtype.kind == "b":
        return random.integers(0, 2, array.size).astype(dtype.numpy)
    return np.zeros(array.size, dtype.numpy)


def _same(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> bool:
    """Whether results differ by roundings at most."""
    for a, b in zip(wanted, found, strict=True):
        a, b = a.astype(np.float64), b.astype(np.float64)
        scale = np.abs(a[np.isfinite(a)]).max(initial=1.0)
        if not np.allclose(a, b, rtol=1e-3, atol=1e-4 * scale, equal_nan=True):
            return False
    return True
