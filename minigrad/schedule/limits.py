"""Stage: schedule. In: a sum of products, or how much a run has to do. Out: whether that is so much that the scheduler
treats it in another way. The engine goes by the same numbers, also where nothing is scheduled: this file loads no other
of the room.
Next: ``relative.py``."""

from __future__ import annotations

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.target import BLOCK_K

GROWTH = 2
"""How many times larger than its operands a product is that is not stored, if it is computed once."""

GROWTH_DEEP = 8
"""The same for sums of ``BLOCK_K`` products; where they are longer, in proportion."""

WORK_FIRM = 1 << 29
"""Scalar operations, about a twentieth of a second, for which Ctrl-C waits once a run has begun to overwrite leaves."""

WORK_PER_COPIED_BYTE = 16
"""A run that overwrites leaves and takes longer works on with copies of them kept, if it has so much to do for each of
their bytes: then the copies take a twentieth of its time at most."""


def has_grown(node: LazyBuffer) -> bool:
    """Whether a sum of products is so much larger than its operands that it need not be stored."""
    if not node.size:
        return False
    depth, growth = node.srcs[0].size // node.size, node.size / max(1, operand_size(node))
    return growth >= GROWTH and depth <= BLOCK_K * max(1.0, growth / GROWTH_DEEP)


def operand_size(node: LazyBuffer) -> int:
    """Elements of the two factors of a sum of products, before they are repeated."""
    product, total = node.srcs[0], 0
    while product.op == Op.CAST:
        product = product.srcs[0]
    if product.op != Op.MUL:
        return node.size
    for factor in product.srcs:
        while factor.op in (Op.CAST, Op.RESHAPE, Op.PERMUTE, Op.EXPAND):
            factor = factor.srcs[0]
        total += factor.size
    return total
