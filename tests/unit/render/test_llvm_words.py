"""Stage: tests. In: values that put neighbours in memory together in words. Out: that one load reads a word, where it
may, and that the word is the same. Next: ``test_opencl.py``."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.dtype import DType, int8, int16, uint8, uint16, uint32
from minigrad.kernel.ir import Apply, Array, Const, Kernel, Load, Store, Value
from minigrad.kernel.verify import verify
from minigrad.ops import Op
from minigrad.render import render_llvm
from minigrad.symbolic import Sym, both, var
from tests.unit.render.harness import TARGETS, compile_llvm
from tests.unit.render.samples import kernel, loop, out

I, L = var("i", 0, 3), var("l", 0, 15)
WORDS = 64


def word(array: Array, places: list[Sym], shifts: list[int], guard: Sym | None = None) -> Value:
    """Elements at places, shifted left, as one word; of two bytes those of int16."""
    made: Value | None = None
    for place, shift in zip(places, shifts, strict=True):
        part: Value = Load(array, place, guard)
        if len(shifts) == 2 and array.dtype.size == 1:
            part = Apply(Op.BITCAST, (Apply(Op.CAST, (part,), int16),), uint16)
        elif array.dtype.kind == "i":
            part = Apply(Op.BITCAST, (part,), uint8)
        part = Apply(Op.CAST, (part,), uint32)
        part = Apply(Op.SHL, (part, Const(shift, uint32)), uint32) if shift else part
        made = part if made is None else Apply(Op.OR, (made, part), uint32)
    assert made is not None
    return made


def of_vectors(array: Array, value: Value) -> Kernel:
    y, at = out("y", WORDS, uint32), 16 * I + L
    return verify(kernel("words", (array, y), I, 4, loop("vector", L, 16, Store(y, at, value))))


def run(made: Kernel, memory: np.ndarray, target) -> np.ndarray:
    got = np.zeros(WORDS, np.uint32)
    compile_llvm([made], target)[0]([memory, got], (), 0, 4)
    return got


def places(dtype: DType, order: range | list[int], apart: int = 0) -> list[Sym]:
    """The elements of the words of a vector, ``apart`` elements from lane to lane, which are as many as a word has."""
    count = 4 // dtype.size
    return [(16 * I + L) * (apart or count) + n for n in order]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize(("dtype", "order", "apart", "loads"), [
    (int8, [0, 1, 2, 3], 0, "load <16 x i32>"), (uint8, [0, 1, 2, 3], 0, "load <16 x i32>"),
    (uint16, [0, 1], 0, "load <16 x i32>"), (uint16, [1, 0], 0, "@llvm.fshl"), (int8, [0, 1, 2, 3], 6, "load i32"),
    (uint8, [3, 2, 1, 0], 0, "i8>"), (uint8, [0, 1, 3, 2], 0, "i8>")])
def test_words_of_neighbours(dtype, order, apart, loads, target, rng):
    array = Array("x", dtype, 6 * WORDS)
    bits = 8 * dtype.size
    made = of_vectors(array, word(array, places(dtype, order, apart), list(range(0, 32, bits))))
    text = render_llvm([made], target)
    assert loads in text and (" x i32>, ptr" in text or "load i32" in text) == ("i8>" not in loads)
    memory = rng.integers(0, 1 << bits, 6 * WORDS).astype(f"u{dtype.size}")
    at = np.arange(WORDS) * (apart or 4 // dtype.size)
    want = sum(memory[at + n].astype(np.uint32) << np.uint32(shift) for n, shift in zip(order, range(0, 32, bits)))
    assert np.array_equal(run(made, memory.view(dtype.numpy), target), want)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", [int8, uint8])
def test_bytes_are_widened_to_their_part_of_a_word(dtype, target, rng):
    array = Array("x", dtype, 2 * WORDS)
    made = of_vectors(array, word(array, [(16 * I + L) * 2 + n for n in (0, 1)], [0, 16]))
    text = render_llvm([made], target)
    assert "load <32 x i8>" in text and ("sext" if dtype is int8 else "zext") + " <32 x i8>" in text
    memory = rng.integers(dtype.min, dtype.max + 1, 2 * WORDS).astype(dtype.numpy)
    assert np.array_equal(run(made, memory, target), memory.astype("<i2").view("<u4"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("guard", [I < 2, both(I < 3, L < 7), I < 3])
def test_a_guard_of_all_lanes_leaves_the_word_whole(guard, target, rng):
    """Where it is false, nothing is read: the array ends before."""
    array = Array("x", int8, 192)
    made = of_vectors(array, word(array, places(int8, [0, 1, 2, 3]), [0, 8, 16, 24], guard))
    assert ("load <16 x i32>" in render_llvm([made], target)) == (guard is not both(I < 3, L < 7))
    memory = rng.integers(-128, 128, 256).astype(np.int8)  # what is past the end is there, but not zero
    there = {I < 2: 32, I < 3: 48}.get(guard)
    want = memory.view(np.uint32).copy()
    if there is None:
        want = np.where((np.arange(64) % 16 < 7) & (np.arange(64) < 48), want, 0)
    else:
        want[there:] = 0
    assert np.array_equal(run(made, memory, target), want)


def test_other_words_are_put_together(rng):
    """Of two arrays, of parts that overlap, or that leave a gap."""
    a, b = Array("a", uint8, 256), Array("b", uint8, 256)
    at = places(uint8, [0, 1, 2, 3])
    y = out("y", WORDS, uint32)
    mixed = Apply(Op.OR, (word(a, at[:2], [0, 8]), word(b, at[2:], [16, 24])), uint32)
    for value in (mixed, word(a, at, [0, 8, 16, 16]), word(a, at[:3], [0, 8, 16]), word(a, at, [0, 8, 16, 32])):
        made = kernel("words", (a, b, y), I, 4, loop("vector", L, 16, Store(y, 16 * I + L, value)))
        assert "load <16 x i32>" not in render_llvm([made], TARGETS[-1])
