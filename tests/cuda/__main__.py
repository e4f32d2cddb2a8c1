"""Stage: tests of the CUDA device. In: the command line. Out: the whole conformance suite compiled, or a sample of it:
``python -m tests.cuda --sample 3 --architecture sm_90``. Next: ``test_compile.py``."""

from __future__ import annotations

import argparse
import sys
from time import perf_counter

from minigrad.conformance import cases
from minigrad.runtime import nvrtc
from tests.cuda.compiling import kernels_of, refusals


def main() -> int:
    """Prints a line for each compiler, and what is refused; 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuda", description=__doc__)
    parser.add_argument("--sample", type=int, help="cases of each op; all without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--architecture", default="sm_80")
    options = parser.parse_args()
    chosen = cases(options.sample, options.seed)
    kernels = kernels_of(chosen)
    print(f"{len(chosen)} cases, {len(kernels)} kernels")
    refused = 0
    for compiler in ("nvrtc", "nvcc"):
        if compiler not in nvrtc.compilers():
            print(f"{compiler}: skipped, it is not installed")
            continue
        start = perf_counter()
        found = list(refusals(kernels, compiler, options.architecture))
        refused += len(found)
        print(*found, sep="\n\n", end="\n" if found else "")
        print(f"{compiler}: {len(kernels) - len(found)} of {len(kernels)} kernels compile for {options.architecture} "
              f"without a word, {perf_counter() - start:.0f} s")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
