"""Stage: tests of lower. In: elementwise kernels over many spaces. Out: that the strategy ``map`` stores every
element, by the loops it promises. Next: ``test_rows.py``."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad.dtype import bool_, float32, float64, uint8
from minigrad.kernel.show import show
from minigrad.lower import lower
from minigrad.lower.nest import Axis, parts, share
from minigrad.ops import Op
from minigrad.runtime import llvm
from minigrad.symbolic import var
from minigrad.target import AVX512
from tests.unit.lower.specs import buffer, check, spec_of


@pytest.mark.parametrize("extent", [1, 3, 4, 8, 15, 16, 17, 63, 64, 100, 1000])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("unroll", [1, 4])
def test_parts_cover_an_extent_once(extent, lanes, unroll):
    at = 0
    for part in parts(extent, lanes, unroll):
        assert part.start == at
        at += part.count * part.unroll * part.lanes
    assert at == extent


@pytest.mark.parametrize("work", [1, 100, 10**6])
@pytest.mark.parametrize("sizes", [(5,), (4096, 4096), (3, 1000, 7), (100000,), (1, 1)])
def test_shares_cover_a_space(sizes, work):
    s = share([Axis(var("x", 0, n - 1), n) for n in sizes], work)
    points = s.block
    for axis in s.axes[s.cut + 1:]:
        points *= axis.size
    assert s.extent * points >= np.prod(sizes)
    assert s.extent >= 16 or np.prod(sizes) * work < 10**6 or np.prod(sizes) < 16


@pytest.mark.parametrize("shape", [(), (1,), (7,), (185,), (3, 1, 5), (40, 33), (2, 3, 4, 5)])
def test_elementwise(shape, rng):
    a, b = buffer(shape), buffer(shape)
    x, y = (rng.standard_normal(shape).astype("f") for _ in range(2))
    check([a.binary(Op.ADD, b).binary(Op.MUL, a)], {a: x, b: y}, [(x + y) * x])


def test_contiguous_axes_become_one():
    a = buffer((30, 40))
    text = show(lower(spec_of(a.unary(Op.NEG)), AVX512).kernel)
    assert "out0[16*v0 + l0]" in text


def test_vectors_of_a_long_chain_stand_side_by_side(rng):
    a, few, pairs = buffer((1000,)), buffer((255,)), buffer((500, 2))
    long = a.unary(Op.SIN).unary(Op.EXP)
    apart = pairs.unary(Op.NEG).shrink(((0, 500), (0, 1))).unary(Op.SIN)
    for node, lanes in ((a.unary(Op.NEG), 16), (long, 64), (few.unary(Op.SIN), 16), (apart, 16)):
        assert f"lanes(x0, {lanes})" in " ".join(lower(spec_of(node), AVX512).strategies), lanes
    x = rng.standard_normal(1000).astype("f")
    check([long], {a: x}, [np.exp(np.sin(x))], native=True)


def test_broadcast_operands(rng):
    a, row, column = buffer((20, 37)), buffer((37,)), buffer((20, 1))
    x, r, c = rng.standard_normal((20, 37)).astype("f"), rng.standard_normal(37).astype("f"), np.ones((20, 1), "f")
    node = a.binary(Op.ADD, row.reshape((1, 37)).expand((20, 37))).binary(Op.MUL, column.expand((20, 37)))
    check([node], {a: x, row: r, column: c}, [(x + r) * c])


@pytest.mark.parametrize("shape", [(3, 5), (17, 50), (64, 64), (130, 20)])
def test_transpose_in_tiles(shape, rng):
    a = buffer(shape)
    x = rng.standard_normal(shape).astype("f")
    check([a.permute((1, 0)).unary(Op.NEG)], {a: x}, [-x.T])
    check([a.permute((1, 0)).unary(Op.NEG)], {a: x}, [-x.T], native=True)


def test_axes_are_split_where_a_reshape_divides_them(rng):
    a = buffer((2, 6, 32))
    x = rng.standard_normal((2, 6, 32)).astype("f")
    node = a.reshape((2, 6, 2, 16)).permute((0, 2, 1, 3)).reshape((2, 192))
    check([node], {a: x}, [x.reshape(2, 6, 2, 16).transpose(0, 2, 1, 3).reshape(2, 192)])
    assert "%" not in show(lower(spec_of(node), AVX512).kernel)


def test_several_outputs_and_types(rng):
    a = buffer((9, 21), float64)
    x = rng.standard_normal((9, 21))
    check([a.unary(Op.NEG), a.binary(Op.LT, a.like(0.0)), a.cast(uint8)], {a: x},
          [-x, x < 0, np.clip(np.trunc(x), 0, 255).astype("u1")])


def test_empty_spaces_run_no_iteration():
    a = buffer((3, 0), bool_)
    lowered = lower(spec_of(a.unary(Op.NOT)), AVX512)
    assert lowered.iterations == 0


def test_large_work_is_divided_and_small_is_not():
    for n, few, many in ((1000, 1, 1), (1 << 22, 16, 10_000)):
        assert few <= lower(spec_of(buffer((n,)).unary(Op.NEG)), AVX512).iterations <= many


def test_the_number_of_iterations_does_not_change_results(rng):
    a = buffer((700, 301))
    x = rng.standard_normal((700, 301)).astype("f")
    check([a.binary(Op.MUL, a)], {a: x}, [x * x], native=True)


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_transposes_are_short_texts(dtype, monkeypatch):
    """Whichever side is read or written across: squares have a bounded side, and only what is stored in order is
    written out."""
    sizes = []
    emit = llvm._emit
    monkeypatch.setattr(llvm, "_emit", lambda text, *rest: sizes.append(len(text)) or emit(text, *rest))
    with minigrad.config(CACHE=0, TIERS=0, VERIFY=0):
        for shape in ((100, 70), (64, 128)):
            x = minigrad.arange(shape[0] * shape[1], dtype=getattr(minigrad, dtype)).reshape(shape)
            x.realize()
            read, written = x.T + 1, minigrad.zeros(shape, dtype=x.dtype)
            written.T.copy_(read)
            assert (written == x + 1).all() and (x + 1 == read.T).all()
    assert sizes
    assert max(sizes) < 64 << 10


@pytest.mark.parametrize("columns", range(2, 9))
@pytest.mark.parametrize("dtype", [float32, float64, uint8, bool_])
def test_short_rows_are_stored_in_one_piece(columns, dtype, rng):
    """Whole vectors of what lanes across them make, of 69 rows, of which the last are fewer."""
    a, b, c = buffer((69, columns), dtype), buffer((69, 1), dtype), buffer((1, columns), dtype)
    x, y, z = ((rng.standard_normal(node.shape) * 9).astype(dtype.numpy) for node in (a, b, c))
    op, numpy = (Op.OR, np.logical_or) if dtype is bool_ else (Op.ADD, np.add)
    both = b.expand(a.shape).binary(op, c.expand(a.shape))
    check([a.binary(op, both)], {a: x, b: y, c: z}, [numpy(x, numpy(y, z))], native=True)
    (note,) = lower(spec_of(a.binary(op, both)), AVX512).strategies
    if dtype is float32 and columns not in (4, 8):
        assert f"split(x1, {columns}), unroll(x1, {columns})" in note


def test_what_is_read_and_stored_turned(rng):
    """One operand lies as the result does, the other as its columns do."""
    a, b = buffer((100, 3)), buffer((3, 100))
    x, y = rng.standard_normal((100, 3)).astype("f"), rng.standard_normal((3, 100)).astype("f")
    check([a.binary(Op.MUL, b.permute((1, 0)))], {a: x, b: y}, [x * y.T], native=True)


@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_lanes_some_elements_apart(step, rng):
    """Each column of a matrix by itself, as LLVM runs it: the last column ends with the memory."""
    x = rng.standard_normal((64, step)).astype(np.float32)
    source = buffer(x.shape)
    for column in range(step):
        twice = source.binary(Op.ADD, source).shrink(((0, 64), (column, column + 1))).reshape((64,))
        check([twice], {source: x}, [2 * x[:, column]], native=True)
