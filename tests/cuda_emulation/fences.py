"""Stage: tests of GPU lowering. In: conformance cases. Out: their CUDA kernels as one program that runs each with every
array in a ``malloc`` of exactly its size, so that a sanitizer sees any access outside. It is ``conformance/fences.py``
for the GPU form. Next: ``conformance/test_cuda_emulation.py``."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from minigrad.kernel.ir import Kernel
from minigrad.render.cuda import render_cuda
from tests.conformance.fences import DRIVER
from tests.cuda_emulation.device import HEADER, STACKS, compiler, translation_unit

# Stacks are not watched: fibres have their own, which the sanitizer does not know.
FLAGS = ("-O0", "-g1", "-w", "-fsanitize=address", "-fno-sanitize-recover=all",
         "-fno-sanitize=vptr", "--param=asan-stack=0", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE")

ENTRY = """
extern "C" void {name}(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {{
  static char *stacks = static_cast<char *>(malloc({stacks}));
  if (const char *problem = emulate_{name}(arrays, scalars, begin, end, stacks)) {{
    fprintf(stderr, "kernel {name}: %s\\n", problem);
    exit(5);
  }}
}}
"""


def compile_program(kernels: Sequence[Kernel], folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile the kernels and the driver to ``folder/program``, for ``conformance.fences.run_program``."""
    names = [k.name for k in kernels]
    unit = translation_unit(render_cuda(kernels), {k.name: k.workgroup or 1 for k in kernels})
    (folder / "kernels.cpp").write_text(unit + "".join(ENTRY.format(name=n, stacks=STACKS) for n in names))
    heads = "".join(f"void {n}(void **, const int64_t *, int64_t, int64_t);\n" for n in names)
    driver = DRIVER.replace("@KERNELS@", ", ".join(names))
    (folder / "driver.cpp").write_text(f'#include <stdint.h>\n#include <string.h>\nextern "C" {{\n{heads}}}\n' + driver)
    files = [str(folder / "kernels.cpp"), str(folder / "driver.cpp")]
    return subprocess.run([compiler() or "c++", "-std=c++17", "-fpermissive", *FLAGS, f"-I{HEADER.parent}", *files,
                           "-o", str(folder / "program")], capture_output=True, text=True)
