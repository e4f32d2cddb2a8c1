"""Stage: render. In: loop nests. Out: text that a compiler reads: ``render_llvm`` for the CPU device, ``render_c`` for
the CC device and for people, ``render_opencl`` and ``render_cuda`` for theirs.
Next: ``cstyle_ops.py``."""

from minigrad.render.c import render_c
from minigrad.render.cuda import render_cuda
from minigrad.render.llvm import render_llvm
from minigrad.render.opencl import render_opencl

__all__ = ["render_c", "render_cuda", "render_llvm", "render_opencl"]
