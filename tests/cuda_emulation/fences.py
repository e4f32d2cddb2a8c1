"""Stage: tests of GPU lowering. In: conformance cases. Out: their CUDA kernels as one program that runs each with every
array in a ``malloc`` of exactly its size, so that a sanitizer sees any access outside. ``tools/sanitize`` does it for
the CPU's kernels, of programs that run; these are planned only. Next: ``conformance/test_cuda_emulation.py``."""

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
from minigrad.kernel.shared import SharedLayout
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.render.cuda import render_cuda
from minigrad.schedule.plan import Place, schedule
from minigrad.schedule.spec import StackedSpec
from minigrad.target import Target
from tests.cuda_emulation.device import HEADER, STACKS, compiler, translation_unit
from tools.sanitize.record import packed

# Stacks are not watched: fibres have their own, which the sanitizer does not know.
FLAGS = ("-O0", "-g1", "-w", "-fsanitize=address", "-fno-sanitize-recover=all",
         "-fno-sanitize=vptr", "--param=asan-stack=0", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE")

ENTRY = """
extern "C" void {name}(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {{
  static char *stacks = static_cast<char *>(malloc({stacks}));
  if (const char *problem = emulate_{name}(arrays, scalars, begin, end, stacks, {at_launch})) {{
    fprintf(stderr, "kernel {name}: %s\\n", problem);
    exit(5);
  }}
}}
"""


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
        arguments = [packed(s.dtype, values[s]) for s in _scalars(launch.spec)]
        out.append(_numbers(first + number, iterations[number], len(kernel.arrays), len(arguments)))
        for place, array in zip(launch.places, kernel.arrays, strict=True):
            out.append(_numbers(*_where(place, starts), array.size * array.dtype.size, int(array.written)))
        out += arguments
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


def compile_program(kernels: Sequence[Kernel], folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile the kernels and the driver to ``folder/program``, for ``run_program``."""
    names = [k.name for k in kernels]
    unit = translation_unit(render_cuda(kernels), {k.name: k.workgroup or 1 for k in kernels})
    (folder / "kernels.cpp").write_text(unit + "".join(
        ENTRY.format(name=k.name, stacks=STACKS, at_launch=SharedLayout(k).launched) for k in kernels))
    heads = "".join(f"void {n}(void **, const int64_t *, int64_t, int64_t);\n" for n in names)
    driver = DRIVER.replace("@KERNELS@", ", ".join(names))
    (folder / "driver.cpp").write_text(f'#include <stdint.h>\n#include <string.h>\nextern "C" {{\n{heads}}}\n' + driver)
    files = [str(folder / "kernels.cpp"), str(folder / "driver.cpp")]
    return subprocess.run([compiler() or "c++", "-std=c++17", "-fpermissive", *FLAGS, f"-I{HEADER.parent}", *files,
                           "-o", str(folder / "program")], capture_output=True, text=True)


def run_program(planned: Sequence[Planned], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it; results go to ``folder/results``."""
    (folder / "script").write_bytes(_numbers(len(planned)) + b"".join(b"".join(p.script) for p in planned))
    return subprocess.run([str(folder / "program"), str(folder / "script"), str(folder / "results")],
                          capture_output=True,
                          text=True, env={"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"})
