"""Reads `(a @ b + c).relu().sum()` through every DEBUG level: run `python examples/read_kernels.py [level ...]`.

The same output comes from any program of yours: `DEBUG=4 python your_program.py`.
"""

import sys
import textwrap

import minigrad

LEVELS = {
    1: """One line for each run of a graph: how many kernels it has, and whether its plan was in the cache. Nothing
        ran while a, b and c were combined: the sum was only recorded, and `.item()` asks for it.""",
    2: """One line for each kernel: its name, its shape, its time, and how close to the machine's limits it came.
        A product and a sum that look like four operations in the program need not be four kernels.""",
    3: """The loop nest of each kernel and the strategy that chose it. Read it as Python: every loop says what kind it
        is (parallel, serial, vector, unroll), every store says where. Beside it: why operations share a kernel.""",
    4: """The same loop nest as C. This is what the CC device compiles, and the CPU device computes the same bits.""",
    5: """The graph before and after simplification: each line is one operation with its shape. Look for what
        disappeared: broadcasts, reshapes and constants cost nothing at run time.""",
    6: """The LLVM IR the CPU device hands to llvmlite: here the vector loops have become vectors.""",
    7: """The machine code at last. Look for the fused multiply-add (vfmadd on x86, fmla on ARM).""",
}


def show(level: int) -> None:
    text = textwrap.fill(" ".join(LEVELS[level].split()), width=100)
    print(f"\n{'=' * 100}\nDEBUG={level}\n{text}\n{'-' * 100}", flush=True)
    a, b, c = minigrad.rand(8, 16), minigrad.rand(16, 32), minigrad.rand(32)
    # A level prints what the ones below it print, too.
    with minigrad.config(DEBUG=level):
        total = (a @ b + c).relu().sum().item()
    print(f"{'-' * 100}\nthe sum is {total:.4f}", flush=True)


if __name__ == "__main__":
    minigrad.manual_seed(0)
    for chosen in [int(argument) for argument in sys.argv[1:]] or LEVELS:
        show(chosen)
