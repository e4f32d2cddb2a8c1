"""Stage: tests. In: kernels. Out: that their text reads as it should. Next: ``test_walk.py``."""

from __future__ import annotations

from minigrad.dtype import bool_, float64, int32, int64
from minigrad.kernel.ir import Alloc, Apply, Array, Barrier, Const, If, Index, Load, Store
from minigrad.kernel.show import show, show_statement, show_value
from minigrad.symbolic import eq, var
from tests.unit.render.samples import F, f, gather, guarded, kernel, matmul, op, out, softmax_like

SOFTMAX = """\
kernel softmax_like(x: float32[240], y: float32[240] written, scale: float32, shift: int64)
  parallel i in 0..6:
    register top: float32[8] by 8 lanes = -inf
    register total: float32[8] by 8 lanes = 0.0
    scratch scratch: float32[40]
    serial k in 0..40 by 8:
      vector l in 0..8:
        top[l] = max(top[l], x[40*i + k + l])
    most = fold MAXIMUM of top
    serial k2 in 0..40 by 8:
      vector l in 0..8:
        #1 = (x[40*i + k2 + l] - most) * scale
        e = 1.0 / fma(#1, #1, float32(shift))
        scratch[k2 + l] = e
        total[l] = total[l] + e
    sum = fold ADD of total
    serial k3 in 0..40 by 8:
      vector l in 0..8:
        y[40*i + k3 + l] = scratch[k3 + l] / sum"""

MATMUL = """\
kernel matmul(a: float32[192], b: float32[1536], c: float32[512] written)
  parallel i in 0..4:
    register acc: float32[128] by 16 lanes = 0.0
    serial k in 0..24:
      vector l in 0..16:
        unroll r in 0..4:
          unroll v in 0..2:
            acc[32*r + 16*v + l] = fma(a[96*(i/2) + 24*r + k], b[64*k + 32*(i % 2) + 16*v + l], acc[32*r + 16*v + l])
    vector l in 0..16:
      unroll r in 0..4:
        unroll v in 0..2:
          c[256*(i/2) + 64*r + 32*(i % 2) + 16*v + l] = acc[32*r + 16*v + l]"""


def test_a_kernel_reads_as_a_loop_nest():
    assert show(softmax_like()) == SOFTMAX
    assert show(matmul()) == MATMUL


def test_guards_and_data_dependent_indices():
    assert " - 19] if 0 < i && " in show(guarded())
    assert "index at (0..4) = max(min(index[i], 4), 0)" in show(gather())


def test_branches_barriers_and_stores_under_a_guard():
    i, x = var("i", 0, 3), out("x", 4)
    s = Array("s", F, 4, "shared")
    text = show(kernel("k", (x,), i, 4, Alloc(s), Barrier(), If(Index(eq(i, 1), bool_), (
        Store(x, i, f(1.0), i < 3),), (Store(x, i, Load(s, i)),))))
    assert text.splitlines()[2:] == ["    shared s: float32[4]", "    barrier", "    if [i == 1]:",
                                     "      x[i] = 1.0 if i < 3", "    else:", "      x[i] = s[i]"]


def test_values_have_as_few_parentheses_as_reading_allows():
    a, b, c = f(1.5), f(-2.0), f(3.0)
    assert show_value(op("MUL", op("ADD", a, c), c)) == "(1.5 + 3.0) * 3.0"
    assert show_value(op("ADD", op("ADD", a, c), op("ADD", a, c))) == "1.5 + 3.0 + (1.5 + 3.0)"
    assert show_value(op("MUL", a, b)) == "1.5 * (-2.0)"
    assert show_value(op("NEG", op("SUB", a, c))) == "-(1.5 - 3.0)"
    both = op("AND", op("LT", a, c, dtype=bool_), op("EQ", a, c, dtype=bool_))
    assert show_value(both) == "(1.5 < 3.0) & (1.5 == 3.0)"
    assert show_value(Apply("CAST", (Const(True, bool_),), float64)) == "float64(True)"
    assert show_value(Apply("BITCAST", (Const(7, int32),), F)) == "bitcast_float32(7)"


def test_a_value_used_twice_is_written_once():
    twice = op("ADD", Load(out("x", 4), var("i", 0, 3)), f(1.0))
    assert show_value(op("MUL", twice, twice)) == "#1 * #1 where #1 = x[i] + 1.0"
    for _ in range(10_000):
        twice = op("MUL", twice, twice)
    assert len(show_statement(Store(out("x", 4), var("i", 0, 3), twice)).splitlines()) == 10_001


def test_integers_print_as_integers():
    assert show_value(op("SHL", Const(5, int64), Const(2, int64))) == "5 << 2"
