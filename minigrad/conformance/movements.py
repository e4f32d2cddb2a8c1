"""Stage: conformance. In: the movement ops. Out: cases for each op alone on each dtype, and for random chains of them,
with arithmetic at the end: index maps must compose.
Next: ``memory.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minigrad.conformance.case import Case, Program
from minigrad.conformance.sources import Source, rng_of
from minigrad.dtype import ALL, DType, float32, int32, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

SINGLE: dict[str, Callable[[Source], LazyBuffer]] = {
    "RESHAPE": lambda s: s.leaf((4, 33, 3)).reshape((33, 12)),
    "RESHAPE-scalar": lambda s: s.leaf((1, 1)).reshape(()),
    "RESHAPE-empty": lambda s: s.leaf((0, 5)).reshape((7, 0)),
    "RESHAPE-transposed": lambda s: s.leaf((6, 35)).permute((1, 0)).reshape((14, 15)),
    "PERMUTE": lambda s: s.leaf((3, 17, 5)).permute((2, 0, 1)),
    "PERMUTE-large": lambda s: s.leaf((129, 65)).permute((1, 0)),
    "EXPAND": lambda s: s.leaf((5, 1)).expand((3, 5, 17)),
    "EXPAND-empty": lambda s: s.leaf((1, 4)).expand((0, 4)),
    "PAD": lambda s: s.leaf((5, 7)).pad(((1, 2, 0), (0, 3, 2))),
    "PAD-empty": lambda s: s.leaf((0, 3)).pad(((2, 1, 0), (0, 0, 1))),
    "PAD-wide": lambda s: s.leaf((3,)).pad(((20, 20, 0),)),
    "SHRINK": lambda s: s.leaf((9, 1)).reshape((3, 3)).shrink(((1, 3), (0, 2))),
    "SHRINK-to-nothing": lambda s: s.leaf((9, 1)).reshape((3, 3)).shrink(((1, 1), (0, 3))),
    "FLIP": lambda s: s.leaf((3, 33)).flip((1,)),
    "FLIP-all": lambda s: s.leaf((3, 4, 5)).flip((0, 1, 2)),
    "STRIDE": lambda s: s.leaf((40, 1)).reshape((5, 8)).stride((2, 3)),
    "WINDOW": lambda s: s.leaf((2, 20)).window(((1, 3, 2, 1),)),
    "WINDOW-dilated": lambda s: s.leaf((2, 9, 11)).window(((1, 3, 2, 1), (2, 2, 1, 3))),
    "WINDOW-whole": lambda s: s.leaf((5,)).window(((0, 5, 1, 1),)),
}
CHAINS = 80


def movements() -> Iterator[Case]:
    """Single ops on every dtype, then chains."""
    for name, build in SINGLE.items():
        for dtype in ALL:
            yield Case("movement", name, dtype, partial(_single, name, build, dtype))
    for number in range(CHAINS):
        dtype = (float32, int32, uint8)[number % 3]
        yield Case("movement", f"chain-{number}", dtype, partial(_chain, number, dtype))


def _single(name: str, build: Callable[[Source], LazyBuffer], dtype: DType, device: str) -> Program:
    moved = build(Source(device, dtype, "plain", name))
    return Program([LazyBuffer(Op.CONTIGUOUS, (moved,), None, moved.shape, dtype, device)])


def _chain(number: int, dtype: DType, device: str) -> Program:
    rng = rng_of("chain", number)
    shape = tuple(int(n) for n in rng.integers(1, 7, int(rng.integers(1, 4))))
    x = Source(device, dtype, "plain", number).leaf(shape)
    for _ in range(int(rng.integers(2, 7))):
        x = move_at_random(x, rng)
    return Program([x.binary(Op.ADD, x.like(1))])


def move_at_random(x: LazyBuffer, rng: np.random.Generator) -> LazyBuffer:
    """A movement op that fits the node, with random arguments; results stay below some thousand elements."""
    shape, rank = x.shape, len(x.shape)
    op = str(rng.choice(["reshape", "permute", "flip", "shrink", "stride", "pad", "window", "expand"]))
    small = x.size <= 600
    if op == "reshape":
        return x.reshape(_factors(x.size, rng) if x.size else (0, 3))
    if op == "permute":
        return x.permute(tuple(int(a) for a in rng.permutation(rank)))
    if op == "flip":
        return x.flip(tuple(a for a in range(rank) if rng.random() < 0.5))
    if op == "shrink":
        box = []
        for n in shape:
            begin = int(rng.integers(0, n // 3 + 1))
            box.append((begin, int(rng.integers(max(begin, n - n // 3), n + 1))))
        return x.shrink(tuple(box))
    if op == "stride":
        return x.stride(tuple(int(rng.integers(1, 4)) for _ in shape))
    if op == "pad" and small:
        return x.pad(tuple((int(rng.integers(0, 3)), int(rng.integers(0, 3)), int(rng.integers(0, 2))) for _ in shape))
    if op == "window" and small and rank and min(shape) > 0:
        axis = int(rng.integers(0, rank))
        size = int(rng.integers(1, min(4, shape[axis]) + 1))
        dilation = int(rng.integers(1, 3)) if size > 1 and 2 * (size - 1) < shape[axis] else 1
        return x.window(((axis, size, int(rng.integers(1, 3)), dilation),))
    if op == "expand" and small:
        return x.expand((int(rng.integers(1, 4)), *shape))
    return x


def _factors(size: int, rng: np.random.Generator) -> tuple[int, ...]:
    """A random shape of that many elements."""
    shape: list[int] = []
    while size > 1 and len(shape) < 3:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        shape.append(int(rng.choice(divisors)))
        size //= shape[-1]
    return (*shape, size)
