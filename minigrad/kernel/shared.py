"""Stage: GPUs' renderers and runtimes ask it. In: a kernel in the GPU form. Out: where its shared arrays lie, one
behind the other, and whether that is more than a program's text may declare, so that the launch has to give it.
Next: ``verify.py``."""

from __future__ import annotations

from minigrad.kernel.ir import SWIZZLED, Alloc, Kernel

DECLARED = 48 << 10
"""Bytes of shared memory that CUDA C++ may declare; more must be asked for at the launch."""


class SharedLayout:
    """``offsets``: bytes from the beginning, by the arrays' names; ``bytes``: of all; ``at_launch``: whether a launch
    gives them.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array, For
    >>> from minigrad.symbolic import num, var
    >>> tiles = [Alloc(Array(name, float32, 9001, "shared")) for name in "ab"]
    >>> layout = SharedLayout(Kernel("k", (), (), For(var("p", 0, 0), num(0), num(1), 1, "grid", (*tiles,))))
    >>> layout.offsets, layout.bytes, layout.at_launch
    ({'a': 0, 'b': 36016}, 72020, True)
    """

    def __init__(self, kernel: Kernel) -> None:
        self.offsets: dict[str, int] = {}
        self.bytes = 0
        self.alignment = 16
        for s in kernel.loop.body if kernel.loop.kind == "grid" else ():
            if isinstance(s, Alloc) and s.array.scope == "shared":
                alignment = 8 * SWIZZLED * s.array.dtype.size if s.array.swizzled else 16
                self.alignment = max(self.alignment, alignment)
                self.offsets[s.array.name] = -(-self.bytes // alignment) * alignment
                self.bytes = self.offsets[s.array.name] + s.array.size * s.array.dtype.size

    @property
    def at_launch(self) -> bool:
        return self.bytes > DECLARED or self.alignment > 16

    @property
    def launched(self) -> int:
        """Bytes that a launch gives."""
        return self.bytes if self.at_launch else 0
