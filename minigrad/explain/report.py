"""Stage: explaining. In: a ``Recorder``. Out: its ``Report``: the time, operations and bytes of each kernel divided
among the lines of the program that it comes from.
Next: ``kernels.py``."""

from __future__ import annotations

import linecache
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from minigrad import config
from minigrad.engine.debug import machine_limits
from minigrad.explain.graphs import graphs
from minigrad.explain.kernels import describe, kernels_of
from minigrad.explain.log import Ran
from minigrad.explain.model import Block, File, Kernel, Line, Owner, Plan, Report, Run
from minigrad.explain.neighbours import why_apart
from minigrad.explain.recording import Recorder
from minigrad.explain.sites import Site
from minigrad.explain.texts import Texts
from minigrad.graph.origins import Origins
from minigrad.runtime.device import get_device

MEASURABLE = 2e-5
"""Seconds of a launch from which on its speed says something about the machine."""

AROUND = 3
"""Lines of a file that are shown before the first and after the last that something comes from, at least."""


def report_of(recorder: Recorder, title: str) -> Report:
    """The data of a page."""
    return _Writer(recorder).report(title)


class _Writer:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.files: dict[str, int] = {}
        self.kernels: list[Kernel] = []
        self.plans: list[Plan] = []
        self.texts = Texts()

    def report(self, title: str) -> Report:
        recorder = self.recorder
        with recorder.origins.noted(), recorder.origins.apart():
            for ran in recorder.graphs:
                self.plans.append(self._plan(ran))
        owners: dict[tuple[int, int, str, str], int] = {}
        threads: dict[int, int] = {}
        runs = []
        for m in recorder.moments:
            held = [(owners.setdefault((*self.place(site), site.phase, site.call), len(owners)), count)
                    for site, count in m.owners]
            runs.append(Run(m.at, m.graph, m.how, *self.place(m.site), m.site.call, list(m.seconds), m.held, held,
                            threads.setdefault(m.thread, len(threads))))
        blocks = [Block(b.name, b.at, b.seconds, threads.setdefault(b.thread, len(threads))) for b in recorder.named]
        lines = self._lines()
        return Report(title, recorder.seconds, sum([k.seconds for k in self.kernels]), self._limits(), _settings(),
                      self._sources(lines, runs), lines, self.kernels, self.plans, runs,
                      self.texts.codes([k.seconds for k in self.kernels], [k.code for k in self.kernels]),
                      Counter(recorder.recorded).most_common(), [Owner(*owner) for owner in owners], blocks,
                      recorder.left_out)

    def place(self, site: Site) -> tuple[int, int]:
        """The position of a site's file, -1 for none, and its line."""
        if not site.file:
            return -1, 0
        return self.files.setdefault(site.file, len(self.files)), site.number

    def _limits(self) -> dict[str, float]:
        """What this machine reaches: by NumPy, or by one of the kernels, if that is more."""
        long = [k for k in self.kernels if k.seconds >= MEASURABLE * k.launches > 0]
        best = {"gflops": max([k.flops * k.launches / k.seconds for k in long], default=0.0) / 1e9,
                "gbytes": max([k.bytes * k.launches / k.seconds for k in long], default=0.0) / 1e9}
        return {name: max(float(value), best[name]) for name, value in machine_limits().items()}

    # --- plans and kernels

    def _plan(self, ran: Ran) -> Plan:
        number, first = len(self.plans), len(self.kernels)
        details, made = ran.details, kernels_of(ran, number)
        found = Plan(ran.device, ran.executable.tier, ran.nodes, 0, 0, 0, 0, 0, (first, first + len(made)), ran.how,
                     ran.seconds, ran.difference, ran.runs)
        if details is not None:
            plan = details.plan
            found.outputs, found.output_bytes, found.arena_bytes = (
                len(plan.outputs), sum(plan.output_bytes), plan.arena_bytes)
            found.reused_bytes, found.donated_bytes = plan.between_bytes - plan.arena_bytes, plan.donated_bytes
            graphs(found, details.results, self.origins, self.place)
            found.apart = [why_apart(a, b) for a, b in pairwise(plan.launches)]
            for kernel, detailed in zip(made, details.kernels, strict=True):
                kernel.code = self.texts.add(detailed)
        for position, kernel in enumerate(made):
            describe(kernel, ran, position, self.origins, self.place)
        self.kernels += made
        return found

    @property
    def origins(self) -> Origins:
        """Where nodes come from."""
        return self.recorder.origins

    # --- lines

    def _lines(self) -> list[Line]:
        """What each line costs, in the order of files and lines."""
        found: dict[tuple[int, int], Line] = {}
        for position, kernel in enumerate(self.kernels):
            seen = set()
            for part in kernel.parts:
                if part.file < 0:
                    continue
                line = found.setdefault((part.file, part.number), Line(part.file, part.number))
                seconds = kernel.seconds * part.share
                if part.phase == "forward":
                    line.forward += seconds
                else:
                    line.backward += seconds
                line.flops += kernel.flops * kernel.launches * part.share
                line.bytes += kernel.bytes * kernel.launches * part.share
                if (part.file, part.number) not in seen:
                    seen.add((part.file, part.number))
                    line.launches += kernel.launches
                    line.kernels.append(position)
        return [found[key] for key in sorted(found)]

    def _sources(self, lines: Sequence[Line], runs: Sequence[Run]) -> list[File]:
        """The parts of the program's files that are shown."""
        numbers: dict[int, set[int]] = {i: set() for i in self.files.values()}
        for file, number in [(x.file, x.number) for x in lines] + [(x.file, x.number) for x in runs]:
            if file >= 0:
                numbers[file].add(number)
        return [_file(path, numbers[i]) for path, i in self.files.items()]


def _file(path: str, numbers: set[int]) -> File:
    """A file from before the first line that counts to after the last; whole, if it is not much longer."""
    text = [line.rstrip("\n") for line in linecache.getlines(path)]
    first, last = max(1, min(numbers) - AROUND), min(len(text), max(numbers) + AROUND)
    if len(text) <= 2 * (last - first + 1) + 100:
        first, last = 1, len(text)
    return File(_short(path), first, text[first - 1:last])


def _short(path: str) -> str:
    """A path as seen from the current folder, if it is below it."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return path


def _settings() -> dict[str, str]:
    """What the page says of the machine and the settings."""
    target = get_device("CPU").target
    changed = {name: str(config.get(name)) for name, setting in config.SETTINGS.items()
               if config.get(name) != setting.default}
    return {"Python": sys.version.split()[0], "vectors": f"{target.vector_bytes} bytes", **changed}
