"""Stage: render. In: loop nests. Out: text that a compiler reads: ``render_llvm`` for the CPU device, ``render_c`` for
the CC device and for people. Read ``cstyle_ops.py``, ``cstyle.py`` and ``c.py`` first, then ``llvm_text.py`` to
``llvm.py``. Next room: ``runtime/``."""

from minigrad.render.c import render_c
from minigrad.render.llvm import render_llvm

__all__ = ["render_c", "render_llvm"]
