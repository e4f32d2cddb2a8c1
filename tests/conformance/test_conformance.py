"""Stage: tests of devices. In: a seeded sample of the conformance suite. Out: each device computes it as the reference
does; and the suite itself finds what is wrong. ``pytest -m slow`` takes a larger sample, ``python -m
minigrad.conformance`` all of it. Next: ``test_sanitizers.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from hashlib import sha256

import numpy as np
import pytest

import minigrad
from minigrad import conformance
from minigrad.conformance import VERSION, Case, Program, cases, check
from minigrad.conformance.__main__ import main
from minigrad.conformance.case import difference
from minigrad.conformance.coverage import coverage, ops
from minigrad.conformance.report import Report
from minigrad.conformance.sources import SHAPES, VIEWS, Source
from minigrad.dtype import ALL, bfloat16, bool_, float32, float64, int32
from minigrad.errors import CompileError, VerifyError
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.verify import verify
from minigrad.ops import MEMORY, MOVEMENT, REDUCE_OPS, SCALAR_OPS, Op
from minigrad.runtime.cpu import CpuDevice
from minigrad.runtime.device import devices, register_device
from minigrad.runtime.opencl import OpenCLDevice
from minigrad.target import Target

SAMPLE = [("CPU", 1, 1), ("CC", 1, 3), ("OPENCL", 1, 2), ("OPENCL_GPU", 1, 2),
          ("CPU_AROUND", 1, 3),
          *[pytest.param(*sample, marks=pytest.mark.slow) for sample in (
              ("CPU", 5, 1), ("CPU_AROUND", 2, 1), ("CC", 2, 1), ("OPENCL", 2, 1), ("OPENCL_GPU", 2, 1))]]
"""Device, cases of each op, and every how many-th of them: ``test_sanitizers.py`` compiles the same C as CC does."""


class GpuForm(OpenCLDevice):
    """The OPENCL device, made to take the kernels of GPUs and to use memory of its own."""

    name = "OPENCL_GPU"
    form = "gpu"


register_device("OPENCL_GPU", GpuForm, "the OPENCL device as if it were a GPU")


class NoCaches(CpuDevice):
    """The CPU device, as if it had no caches: all stores that may go around them do."""

    name = "CPU_AROUND"

    @cached_property
    def target(self) -> Target:  # type: ignore[override]
        return replace(super().target, l3=1)


register_device("CPU_AROUND", NoCaches, "the CPU device, whose stores go around the caches")


def sample_name(count: int, every: int) -> str:
    return f"{count} of each op" if every == 1 else f"{count} of one op in {every}"


@pytest.mark.parametrize("device, count, every", SAMPLE)
def test_device_agrees_with_the_reference(device: str, count: int, every: int, seed: int,
                                          sampled: Callable[[str], None]) -> None:
    reason = next(d.reason for d in devices() if d.name == device)
    if reason:
        pytest.skip(reason)
    chosen = cases(count, seed)[seed % every::every]
    report = Report()
    report.add(check(chosen, device))
    sampled(f"conformance {device}: {len(chosen)} of {len(cases())} cases, {sample_name(count, every)}, seed {seed}")
    assert report.ok, report.failures()


def test_the_suite_covers_the_grammar() -> None:
    """Every scalar op, every reduction, every op of movement and memory."""
    every = cases()
    assert len({str(c) for c in every}) == len(every)
    # to build a case of training is to train, and what it builds is a leaf
    seen = {n.op for c in cases(3) if c.family != "training" for n in toposort(c.build("NUMPY").outputs)}
    assert seen >= set(SCALAR_OPS) | set(REDUCE_OPS) | MOVEMENT | MEMORY - {Op.COPY} | {
        Op.CONST, Op.SCALAR, Op.INDEX, Op.RANDOM_BITS, Op.BUFFER, Op.FUNCTION, Op.OUTPUT}
    names = " ".join(c.name for c in every)
    assert all(view in names for view in VIEWS)


def test_every_op_is_tried_with_every_dtype_or_there_is_a_reason() -> None:
    """On each device; the reasons come from the table of scalar ops and from what a device has, from nowhere else."""
    every = cases()
    for info in devices():
        if info.reason:
            continue
        rows = coverage(every, info.name)
        assert {(r.family, r.op, r.dtype) for r in rows} == {(f, o, d) for f, o in ops() for d in ALL}
        forgotten = [f"{r.family} {r.op} {r.dtype.name} on {info.name}" for r in rows if not r.cases and not r.reason]
        assert not forgotten, forgotten
        for row in rows:
            assert not row.reason or row.dtype is float64 or (
                row.family == "elementwise" and row.dtype.kind not in SCALAR_OPS[row.op].kinds), row
    fewer = [c for c in every if not (c.family == "reduce" and c.name.startswith("SUM-") and c.dtype is bool_)]
    assert [(r.op, r.dtype) for r in coverage(fewer, "CPU") if not r.cases and not r.reason] == [(Op.SUM, bool_)]


def test_sums_and_products_of_bools_are_any_and_all() -> None:
    x = LazyBuffer.const(True, bool_, (3,), "CPU")
    assert [x.reduce(op, (0,)).op for op in (Op.SUM, Op.PROD)] == [Op.MAX, Op.MIN]
    assert [x.scan(op, 0).arg[0] for op in (Op.SUM, Op.PROD)] == [Op.MAX, Op.MIN]
    for node in (LazyBuffer(Op.SUM, (x,), (0,), (1,), bool_, "CPU"), LazyBuffer(Op.SCAN, (x,), (Op.SUM, 0), (3,), bool_,
                                                                                "CPU")):
        with pytest.raises(VerifyError, match="SUM is not for bool"):
            verify([node])


def test_samples_are_seeded_and_reach_everything() -> None:
    assert [str(c) for c in cases(2, 5)] == [str(c) for c in cases(2, 5)] != [str(c) for c in cases(2, 6)]
    counts = Counter(f"{c.family}/{c.name.split('-')[0]}" for c in cases(2, 5))
    assert set(counts.values()) <= {1, 2} and len(counts) > 150


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_views_have_the_shape_they_are_asked_for(view: str, shape: tuple[int, ...]) -> None:
    made = Source("NUMPY", bfloat16, "edge", 0).view(view, shape)
    assert made.shape == shape and made.dtype is bfloat16


def _program(value: float, device: str) -> Program:
    x = Source(device, int32, "plain", 0).leaf((40,))
    total = x.binary(Op.ADD, x.like(1)).binary(Op.MUL, x)
    return Program([total], [total.binary(Op.ADD, total.like(value))])


def _wrong(name: str, value: float = 1) -> Case:
    return Case("planted", name, int32, partial(_program, value))


def test_a_wrong_result_is_found_among_right_ones() -> None:
    planted = [_wrong(f"right-{i}", 0) for i in range(5)]
    planted.insert(3, _wrong("wrong"))
    results = list(check(planted, "CPU"))
    assert [r.case.name for r in results if r.status == "failed"] == ["wrong"]
    failed = next(r for r in results if r.status == "failed")
    assert "40 of 40 differ" in failed.reason and "MUL(" in failed.program and "void mul_40" in failed.source


def test_the_smallest_failing_part_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that cannot multiply: of a longer program the report shows the product alone."""
    from minigrad.runtime.cpu import CpuDevice

    source = CpuDevice.source

    def broken(self, kernels):
        text = source(self, kernels)
        if re.search(r"= mul (<\d+ x )?i32", text):
            raise CompileError("no multiplication today")
        return text

    monkeypatch.setattr(CpuDevice, "source", broken)

    def build(device: str) -> Program:
        x = Source(device, int32, "plain", "smallest").leaf((41,))
        return Program([x.unary(Op.NEG).binary(Op.MUL, x).unary(Op.ABS)])

    with minigrad.config(CACHE=0):
        (result,) = check([Case("planted", "product", int32, build)], "CPU")
    assert result.status == "failed" and "no multiplication today" in result.reason
    assert result.program.splitlines()[-1].startswith("%2 = MUL(") and "<- output" in result.program


def test_errors_that_do_not_come_are_failures() -> None:
    case = Case("planted", "quiet", int32, partial(_program, 0), raises=IndexError, alone=True)
    (result,) = check([case], "CPU")
    assert result.status == "failed" and result.reason == "does not raise IndexError"


def test_differences() -> None:
    exact, loose = Program([]), Program([], ulps=2)
    one, next_one = np.float32([1.0]), np.nextafter(np.float32([1.0]), np.float32(2))
    assert difference(one, next_one, float32, exact, None) and not difference(one, next_one, float32, loose, None)
    zeros = np.float32([0.0]), np.float32([-0.0])
    assert difference(*zeros, float32, exact, None) and not difference(*zeros, float32, Program([], signed_zero=False),
                                                                       None)
    nan, inf = np.float32([np.nan]), np.float32([np.inf])
    assert not difference(nan, -nan, float32, exact, None)
    assert difference(inf, nan, float32, loose, None) and difference(inf, -inf, float32, loose, None)
    assert difference(inf, np.float32([3e38]), float32, loose, np.float32([np.inf]))
    assert "shape" in difference(one, np.float32([[1.0]]), float32, exact, None)


def test_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "minigrad.conformance", "CPU", "--only", "^movement/FLIP-all"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"CPU: 13 cases of suite {VERSION} in " in done.stdout
    assert "total              13        0        0" in done.stdout


KNOWN = {1: "68285bcd4841bb63", 2: "6a8590365406c8aa"}
"""A digest of the names of the cases of each version of the suite."""


def test_the_cases_of_a_version_stay() -> None:
    """Where this fails, cases were added or renamed: give the new ones ``since``, raise VERSION, and add its digest."""
    assert max(KNOWN) == VERSION
    for suite, digest in KNOWN.items():
        names = "\n".join(sorted(map(str, cases(suite=suite))))
        assert sha256(names.encode()).hexdigest().startswith(digest), f"suite {suite}"


def test_a_backend_is_held_to_the_suite_that_it_names(monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    first = cases(1)[0]
    later = replace(first, name="LATER", since=2)
    monkeypatch.setattr(conformance, "_all", lambda seed: [first, later])
    assert cases(suite=1) == [first] and cases(suite=2) == [first, later]
    with pytest.raises(SystemExit) as ended:
        main(["CPU", "--suite", "7"])
    assert ended.value.code == 2 and "argument --suite: invalid choice: 7" in capsys.readouterr().err
    assert main(["CPU", "--suite", "1"]) == 0 and "CPU: 1 cases of suite 1 in" in capsys.readouterr().out


def test_other_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["CPU", "--only", "^movement/FLIP-all/int8", "--each"]) == 0
    assert capsys.readouterr().out.startswith(
        f"movement/FLIP-all/int8\nCPU: 1 cases of suite {VERSION} in ")
    with pytest.raises(SystemExit) as ended:
        main(["CPU", "--only", "("])
    assert ended.value.code == 2 and "not a regular expression" in capsys.readouterr().err
    assert main(["NOSUCH"]) == 2 and "Expected one of" in capsys.readouterr().err
    assert main(["CPU", "--only", "^nothing$"]) == 2, "an empty run proves nothing"
    assert "no case has a name in which '^nothing$' is found" in capsys.readouterr().err
