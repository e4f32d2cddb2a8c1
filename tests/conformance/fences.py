"""Stage: tests of devices. In: conformance cases. Out: their kernels as one C program that runs each with every array
in a ``malloc`` of exactly its size, so that a sanitizer sees any access outside, and their results. Next:
``test_fences.py``."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minigrad.conformance import Case
from minigrad.dtype import DType
from minigrad.engine.real import real
from minigrad.engine.shorten import shortened
from minigrad.engine.walk import walk
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.kernel.ir import Kernel
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.render.c import render_c
from minigrad.runtime.cc import compiler
from minigrad.schedule.plan import Place, schedule
from minigrad.schedule.spec import StackedSpec
from minigrad.target import Target

SANITIZE = ("-O0", "-g", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
WARN = ("-O2", "-Wall", "-Werror")

DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
typedef void kernel_function(void **, const int64_t *, int64_t, int64_t);
static kernel_function *const kernels[] = {@KERNELS@};
static FILE *script;
static int64_t number(void) {
  int64_t n;
  if (fread(&n, 8, 1, script) != 1) exit(3);
  return n;
}
static char *block(int64_t size, int filled) {
  char *p = malloc(size);
  if (filled) { if (size && fread(p, 1, size, script) != (size_t)size) exit(4); }
  else memset(p, 0xA5, size);
  return p;
}
/* Places are counted over leaves, outputs, the arena and the status words. */
int main(int argc, char **argv) {
  script = fopen(argv[1], "rb");
  FILE *results = fopen(argv[2], "wb");
  for (int64_t plans = number(); plans > 0; plans--) {
    int64_t count = number();
    char **home = malloc(count * sizeof(char *));
    for (int64_t i = 0; i < count; i++) { int64_t size = number(); home[i] = block(size, (int)number()); }
    for (int64_t launches = number(); launches > 0; launches--) {
      kernel_function *kernel = kernels[number()];
      int64_t iterations = number(), n = number(), m = number();
      void **arrays = malloc(n * sizeof(void *));
      int64_t *scalars = malloc(m * 8), (*how)[4] = malloc(n * sizeof *how);
      for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < 4; k++) how[i][k] = number(); /* home, offset, size, written */
        arrays[i] = malloc(how[i][2]);
        memcpy(arrays[i], home[how[i][0]] + how[i][1], how[i][2]);
      }
      for (int64_t i = 0; i < m; i++) scalars[i] = number();
      /* in two pieces, as two threads would run it */
      kernel(arrays, scalars, 0, iterations / 2);
      kernel(arrays, scalars, iterations / 2, iterations);
      for (int64_t i = 0; i < n; i++) {
        if (how[i][3]) memcpy(home[how[i][0]] + how[i][1], arrays[i], how[i][2]);
        free(arrays[i]);
      }
      free(arrays); free(scalars); free(how);
    }
    for (int64_t outputs = number(); outputs > 0; outputs--) {
      int64_t place = number();
      fwrite(home[place], 1, number(), results);
    }
    for (int64_t i = 0; i < count; i++) free(home[i]);
    free(home);
  }
  fclose(results);
  fclose(script);
  return 0;
}
"""


@dataclass
class Planned:
    """A case with its kernels; ``script`` tells the driver how to run them."""

    case: Case
    outputs: list[tuple[tuple[int, ...], DType]]
    kernels: list[Kernel]
    script: list[bytes] = field(default_factory=list)


def plan_case(case: Case, target: Target, first: int) -> Planned | None:
    """The case's kernels, numbered from ``first``; None for a case that runs on the host in part."""
    outputs = list(case.build("CPU").outputs)
    if any(n.op in (Op.HOST, Op.COPY) for n in toposort(outputs)):
        return None
    pending = walk(outputs)
    parts = real(pending)
    stand_ins = {n: LazyBuffer(Op.BUFFER, (), n.arg, n.shape, n.dtype, n.device) for n in parts.leaves}
    scalars = {n: LazyBuffer(Op.SCALAR, (), None, (), n.dtype, n.device) for n in parts.scalars}
    plan = schedule(parts.results, list(stand_ins.values()), set(), target, stand_ins | scalars)
    plan.launches = shortened(plan.launches, lambda launch: lower(launch.spec, target))
    lowered = [lower(launch.spec, target) for launch in plan.launches]
    kernels = [replace(x.kernel, name=f"k{first + i}_{x.kernel.name}") for i, x in enumerate(lowered)]
    made = Planned(case, [(o.shape, o.dtype) for o in outputs], kernels)
    plan.outputs = [plan.outputs[pending.results.index(o)] for o in outputs]  # in the case's order
    made.script = _script(made, plan, pending.leaves, {scalars[n]: n.value for n in parts.scalars},
                          [x.iterations for x in lowered], first)
    return made


def _numbers(*values: int) -> bytes:
    return struct.pack(f"={len(values)}q", *values)


def _script(made: Planned, plan, leaves: Sequence[LazyBuffer], values: dict[LazyBuffer, float], iterations: list[int],
            first: int) -> list[bytes]:
    homes: list[bytes] = []
    for leaf in leaves:
        size = _extent(leaf) * leaf.dtype.size
        homes.append(_numbers(size, 1) + (ctypes.string_at(leaf.buffer.address + leaf.offset, size) if size else b""))
    homes += [_numbers(size, 0) for size in plan.output_bytes]
    homes += [_numbers(plan.arena_bytes, 0), _numbers(8 * len(plan.checks), 1) + bytes(8 * len(plan.checks))]
    out = [_numbers(len(homes)), *homes, _numbers(len(plan.launches))]
    starts = {"leaf": 0, "output": len(leaves), "arena": len(homes) - 2, "status": len(homes) - 1}
    for number, (launch, kernel) in enumerate(zip(plan.launches, made.kernels, strict=True)):
        arguments = [_bits(s.dtype, values[s]) for s in _scalars(launch.spec)]
        out.append(_numbers(first + number, iterations[number], len(kernel.arrays), len(arguments)))
        for place, array in zip(launch.places, kernel.arrays, strict=True):
            out.append(_numbers(*_where(place, starts), array.size * array.dtype.size, int(array.written)))
        out += [_numbers(a) for a in arguments]
    out.append(_numbers(len(plan.outputs)))
    for place, (shape, dtype) in zip(plan.outputs, made.outputs, strict=True):
        out.append(_numbers(_where(place, starts)[0], int(np.prod(shape)) * dtype.size))
    return out


def _where(place: Place, starts: dict[str, int]) -> tuple[int, int]:
    start = starts[place.kind]
    return (start + place.at, place.offset) if place.kind in ("leaf", "output") else (start, place.at)


def _extent(leaf: LazyBuffer) -> int:
    """Elements from the first to the last that the leaf reaches."""
    return 0 if 0 in leaf.shape else 1 + sum((n - 1) * s for n, s in zip(leaf.shape, leaf.strides, strict=True))


def _scalars(spec) -> list[LazyBuffer]:
    specs = spec.parts if isinstance(spec, StackedSpec) else (spec,)
    return list(dict.fromkeys(s for part in specs for s in part.scalars))


def _bits(dtype: DType, value: float) -> int:
    """The 8 bytes of a run-time number, as an int64."""
    code = "d" if dtype.is_float else "Q" if dtype.kind == "u" else "q"
    return int(struct.unpack("=q", struct.pack(f"={code}", value))[0])


def compile_program(planned: Sequence[Planned], folder: Path, flags: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Compile all kernels and the driver to ``folder/program``."""
    kernels = [k for p in planned for k in p.kernels]
    driver = DRIVER.replace("@KERNELS@", ", ".join(k.name for k in kernels) or "0")
    source = folder / "program.c"
    source.write_text(render_c(kernels) + driver)
    return gcc([*flags, "-ffp-contract=off", str(source), "-o", str(folder / "program"), "-lm"])


def run_program(planned: Sequence[Planned], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it; results go to ``folder/results``."""
    (folder / "script").write_bytes(_numbers(len(planned)) + b"".join(b"".join(p.script) for p in planned))
    return subprocess.run([str(folder / "program"), str(folder / "script"), str(folder / "results")],
                          capture_output=True,
                          text=True, env={"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"})


def results(planned: Sequence[Planned], folder: Path) -> dict[Case, list[np.ndarray]]:
    """What the program computed."""
    data, position = (folder / "results").read_bytes(), 0
    found: dict[Case, list[np.ndarray]] = {}
    for p in planned:
        found[p.case] = []
        for shape, dtype in p.outputs:
            size = int(np.prod(shape)) * dtype.size
            found[p.case].append(np.frombuffer(data[position:position + size], dtype.numpy).reshape(shape))
            position += size
    assert position == len(data)
    return found


def gcc(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = compiler()
    assert command is not None
    return subprocess.run([*command, *arguments], capture_output=True, text=True)


def same_bits(a: np.ndarray, b: np.ndarray, dtype: DType) -> bool:
    """Equal to the bit; one NaN is as good as another."""
    if dtype.is_float:
        nan_a, nan_b = np.isnan(a.astype(np.float64)), np.isnan(b.astype(np.float64))
        if not np.array_equal(nan_a, nan_b):
            return False
        a, b = np.where(nan_a, 0, a), np.where(nan_b, 0, b)
    return np.ascontiguousarray(a, dtype.numpy).tobytes() == np.ascontiguousarray(b, dtype.numpy).tobytes()
