"""Stage: conformance. In: cases and a device. Out: a Result for each. Many cases are computed in one plan, which is
fast and makes them meet each other in kernels; when a plan fails it is halved until the guilty cases are found.
Next: ``report.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minigrad.conformance.case import Case, Program, difference
from minigrad.dtype import DType, float64
from minigrad.engine import inspect, realise, to_numpy
from minigrad.errors import UnsupportedDType
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.reference import evaluate
from minigrad.graph.show import show
from minigrad.graph.verify import verify
from minigrad.ops import Op
from minigrad.runtime.device import get_device

BATCH = 24
"""Cases in one plan."""


@dataclass
class Result:
    """``status``: passed, failed or skipped; ``reason``: why not passed, in a line; ``program`` and ``source``: of a
    failed case, the smallest failing part of its graph, and its kernels."""

    case: Case
    status: str
    reason: str = ""
    program: str = ""
    source: str = ""


class _Built:
    """A case on a device, with what the reference makes of it."""

    def __init__(self, case: Case, device: str) -> None:
        self.case = case
        self.program = case.build(device)
        self.outputs = list(self.program.outputs)
        self.dtypes = [o.dtype for o in self.outputs]
        verify(self.outputs)
        self.want: list[np.ndarray] = []
        self.scales: list[np.ndarray | None] = [None] * len(self.outputs)
        if case.raises is None:
            self._evaluate()

    def _evaluate(self) -> None:
        program = self.program
        expected = list(program.expected if program.expected is not None else self.outputs)
        scales = list(program.scales or ())
        values = evaluate(expected + scales, to_numpy)
        self.want = [np.array(v) for v in values[:len(expected)]]
        if scales:
            self.scales = [np.array(v) for v in values[len(expected):]]
        # from here on only the outputs hold the graph: what they alone read is dead once it is computed
        self.program = Program([], None, None, program.ulps, program.scale_ulps, program.signed_zero)

    def problem(self) -> str:
        """What is wrong with the realised outputs."""
        for number, output in enumerate(self.outputs):
            text = difference(to_numpy(output), self.want[number], self.dtypes[number], self.program,
                              self.scales[number])
            if text:
                return f"output {number}: {text}" if len(self.outputs) > 1 else text
        return ""


def check(cases: Sequence[Case], device: str, batch: int = BATCH) -> Iterator[Result]:
    """Compute the cases on the device, in plans of ``batch`` cases, and compare with the reference."""
    together: list[Case] = []
    has_float64 = get_device(device).target.float64
    for case in cases:
        if case.dtype is float64 and not has_float64:
            yield Result(case, "skipped", f"device {device} has no float64")
            continue
        if case.alone or case.raises is not None:
            yield _alone(case, device)
            continue
        together.append(case)
        if len(together) == batch:
            yield from _batch(together, device)
            together = []
    yield from _batch(together, device)


def _batch(cases: list[Case], device: str) -> Iterator[Result]:
    pending = [cases] if cases else []
    while pending:
        some = pending.pop()
        if len(some) == 1:
            yield _alone(some[0], device)
            continue
        problems = _problems(some, device)
        if problems is None:
            half = len(some) // 2
            pending += [some[half:], some[:half]]
            continue
        for case in some:
            if case not in problems:
                yield Result(case, "passed")
                continue
            result = _alone(case, device)
            if result.status == "passed":
                group = _smallest_company(case, some, device)
                names = ", ".join(str(c) for c in group if c is not case)
                result = Result(case, "failed", f"{problems[case]} (only in one plan with {names})",
                                *_evidence([n for c in group for n in c.build(device).outputs]))
            yield result


def _problems(cases: Sequence[Case], device: str) -> dict[Case, str] | None:
    """What is wrong with each case that is wrong when they are one plan; None if the plan raises."""
    try:
        built = [_Built(case, device) for case in cases]
        realise([o for b in built for o in b.outputs])
        found = {b.case: b.problem() for b in built}
    except Exception:
        return None
    return {case: text for case, text in found.items() if text}


def _smallest_company(case: Case, cases: list[Case], device: str) -> list[Case]:
    """A smaller list of cases with which this one still fails."""
    group = list(cases)
    size = len(group) // 2
    while size:
        for at in range(0, len(group), size):
            fewer = [c for i, c in enumerate(group) if c is case or not at <= i < at + size]
            if len(fewer) < len(group):
                problems = _problems(fewer, device)
                if problems is None or case in problems:
                    group = fewer
                    break
        else:
            size //= 2
    return group


def _alone(case: Case, device: str) -> Result:
    """One case in a plan of its own."""
    try:
        built = _Built(case, device)
    except Exception as error:
        return Result(case, "failed", f"building it raises {_line(error)}")
    if case.raises is not None:
        return _raising(built)
    try:
        realise(built.outputs)
        problem = built.problem()
    except UnsupportedDType:
        return Result(case, "skipped", f"device {device} has no float64, which the program has inside")
    except Exception as error:
        problem = f"raises {_line(error)}"
    return Result(case, "failed", problem, *_smallest_part(case, device)) if problem else Result(case, "passed")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _raising(built: _Built) -> Result:
    """Realising must raise, leave the outputs unrealised and every leaf as it was."""
    case, raises = built.case, built.case.raises
    assert raises is not None
    leaves = [n for n in toposort(built.outputs) if n.op == Op.BUFFER]
    before = [to_numpy(leaf).copy() for leaf in leaves]
    try:
        realise(built.outputs)
    except raises:
        same = all(np.array_equal(to_numpy(leaf), b) for leaf, b in zip(leaves, before, strict=True))
        if all(o.buffer is None for o in built.outputs) and same:
            return Result(case, "passed")
        return Result(case, "failed", f"after the {raises.__name__} something has changed", show(built.outputs))
    except Exception as error:
        return Result(case, "failed", f"raises {_line(error)}, expected {raises.__name__}", show(built.outputs))
    return Result(case, "failed", f"does not raise {raises.__name__}",
                  show(case.build(built.outputs[0].device).outputs))


def _smallest_part(case: Case, device: str) -> tuple[str, str]:
    """The first node of the graph, in order, that comes out wrong by itself, with its sources in memory if it is wrong
    then too; then its graph and kernels."""
    program = case.build(device)
    count = len(toposort(program.outputs))
    if program.expected is None and count <= 60:
        for position in range(count):
            node, program = _node(case, device, position)
            if node.op not in (Op.BUFFER, Op.FUNCTION) and _differs(node, program):
                node, program = _node(case, device, position)
                apart = _sources_realised(node) and _differs(node, program)
                node, _ = _node(case, device, position)
                if apart:
                    _sources_realised(node)
                return _evidence([node])
    return _evidence(list(case.build(device).outputs))


def _node(case: Case, device: str, position: int) -> tuple[LazyBuffer, Program]:
    """A node of the case's graph, built anew."""
    program = case.build(device)
    return toposort(program.outputs)[position], program


def _sources_realised(node: LazyBuffer) -> bool:
    """Whether its sources could be computed."""
    try:
        realise(node.srcs)
    except Exception:
        return False
    return True


def _differs(node: LazyBuffer, program: Program) -> bool:
    dtype: DType = node.dtype
    loose = Program([], None, None, program.ulps + 4 * bool(program.scales), 0.0, program.signed_zero)
    try:
        want = np.array(evaluate([node], to_numpy)[0])
        realise([node])
        return bool(difference(to_numpy(node), want, dtype, loose, None))
    except Exception:
        return True


def _evidence(outputs: list[LazyBuffer]) -> tuple[str, str]:
    """The graph as text and the source of its kernels, if they can be made."""
    text = show(outputs)
    with inspect() as seen:
        try:
            realise(outputs)
        except Exception as error:
            return text, str(error)
    return text, "\n".join(k.source for k in seen.kernels)
