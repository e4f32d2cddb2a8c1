"""Stage: tests of lower. In: nodes that index, pad, gather and convert. Out: that their values arrive at the stores,
and that nothing outside an array is read. Next: ``test_map.py``."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.config import config
from minigrad.dtype import bfloat16, float16, float32, int16, int32, int64, uint32, uint64
from minigrad.errors import VerifyError
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.ir import Const
from minigrad.lower import lower
from minigrad.lower.axes import Names
from minigrad.lower.scalar import constant
from minigrad.ops import Op
from minigrad.target import AVX512
from tests.unit.lower.specs import buffer, check, run, spec_of


def test_names_skip_those_that_are_taken():
    names = Names(["i0", "i2"])
    assert [names.fresh("i") for _ in range(3)] == ["i1", "i3", "i4"]


@pytest.mark.parametrize(("value", "dtype", "want"), [
    (0.1, float16, 0.0999755859375), (0.1, bfloat16, 0.10009765625), (1e9, float16, float("inf")), (300, uint32, 300),
    (-1, uint32, 2**32 - 1), (40000, int16, 40000 - 65536)])
def test_constants_are_those_of_their_dtype(value, dtype, want):
    made = constant(value, dtype)
    assert isinstance(made, Const)
    assert made.value == want


def test_pad_guards_loads_and_shared_values_are_read_once(rng):
    a = buffer((3, 4))
    x = rng.standard_normal((3, 4)).astype("f")
    padded = a.unary(Op.NEG).pad(((1, 2, 1), (0, 3, 0)))
    want = np.zeros(padded.shape, "f")
    want[1:6:2, :4] = -x
    check([padded], {a: x}, [want])


def test_exp_of_nothing_is_not_seen_outside_a_pad(rng):
    a = buffer((5,))
    x = rng.standard_normal(5).astype("f")
    check([a.unary(Op.EXP).pad(((2, 2, 0),))], {a: x}, [np.pad(np.exp(x), 2)], 1e-6)


def test_all_movement_at_once(rng):
    a = buffer((6, 8))
    x = rng.standard_normal((6, 8)).astype("f")
    box = a.unary(Op.NEG).shrink(((1, 6), (0, 7)))
    node = box.flip((1,)).stride((2, 3)).permute((1, 0)).reshape((9, 1)).expand((9, 5))
    want = np.broadcast_to(-x[1:6, :7][:, ::-1][::2, ::3].T.reshape(9, 1), (9, 5))
    check([node], {a: x}, [want])


def test_strided_buffers(rng):
    a = buffer((3, 4), strides=(10, 2))
    x = rng.standard_normal(28).astype("f")
    want = np.lib.stride_tricks.as_strided(x, (3, 4), (40, 8))
    check([a.unary(Op.NEG)], {a: x}, [-want])


def test_index_arithmetic_folds_into_coordinates():
    i, j = (LazyBuffer.index((7, 13), axis, "CPU") for axis in (0, 1))
    rows, columns = np.indices((7, 13))
    check([i.binary(Op.LT, j)], {}, [rows < columns])
    check([i.like(2).binary(Op.MUL, i).binary(Op.ADD, j.binary(Op.MOD, j.like(3))).cast(float32)], {},
          [(2 * rows + columns % 3).astype("f")])
    check([i.binary(Op.EQ, j).where(i, j.unary(Op.NEG))], {}, [np.where(rows == columns, rows, -columns)])


def test_halves_compute_in_float32_and_round_at_each_op(rng):
    for dtype in (float16, bfloat16):
        a = buffer((9, 5), dtype)
        x = rng.standard_normal((9, 5)).astype(dtype.numpy)
        wide = x.astype("f")
        square = (wide * wide).astype(dtype.numpy)
        check([a.binary(Op.MUL, a).binary(Op.ADD, a)], {a: x}, [(square.astype("f") + wide).astype(dtype.numpy)], 0)
        check([a.binary(Op.MUL, a).unary(Op.ABS).cast(float32)], {a: x}, [np.abs(square.astype("f"))], 0)
        # a product that is summed is rounded as any, and so is the sum, before it is used
        total = square.astype("f").sum(1, keepdims=True).astype(dtype.numpy).astype("f")
        rounded = a.binary(Op.MUL, a).cast(float32).reduce(Op.SUM, (1,))
        check([rounded], {a: x}, [square.astype("f").sum(1, keepdims=True)], 1e-6)
        summed = a.binary(Op.MUL, a).reduce(Op.SUM, (1,)).cast(float32)
        check([summed.binary(Op.MUL, summed.like(3.0))], {a: x}, [total * np.float32(3)], 1e-6)
        check([LazyBuffer(Op.BITCAST, (a,), int16, a.shape, int16, "CPU")], {a: x}, [x.view("i2")])
        check([a.unary(Op.NEG).bitcast(int16)], {a: x}, [(-x).view("i2")])
        check([a.cast(float32)], {a: x}, [wide], 0)
        check([a.cast(float32).binary(Op.MUL, a.cast(float32).like(1.1)).cast(dtype).cast(float32)], {a: x},
              [(wide * np.float32(1.1)).astype(dtype.numpy).astype("f")], 0)


def test_gather_clamps_and_reports(rng):
    a, at = buffer((10, 20)), buffer((5,), int64)
    x, places = rng.standard_normal((10, 20)).astype("f"), np.array([3, 9, 0, 3, 7])
    node = a.gather([at])
    check([node], {a: x, at: places}, [x[places]])
    check([a.gather([at, at])], {a: x, at: places}, [x[places, places]])
    for bad in (10, -1, 2**40):
        wrong = places.copy()
        wrong[2] = bad
        got = run(spec_of(node, checks=[node]), {a: x, at: wrong})
        assert got["status"].tolist() == [1]
        np.testing.assert_array_equal(got[node][[0, 1, 3, 4]], x[places[[0, 1, 3, 4]]])


def test_gather_with_computed_index_and_pad(rng):
    a, at = buffer((10, 4)), buffer((5,), int64)
    x, places = rng.standard_normal((10, 4)).astype("f"), np.array([3, -1, 0, -10, 7])
    wrapped = at.binary(Op.LT, at.like(0)).where(at.binary(Op.ADD, at.like(10)), at)
    check([a.gather([wrapped]).pad(((1, 1, 0), (0, 0, 0)))], {a: x, at: places}, [np.pad(x[places], ((1, 1), (0, 0)))])
    check([a.gather([wrapped]).reduce(Op.SUM, (0,))], {a: x, at: places}, [x[places].sum(0, keepdims=True)])


def test_random_bits_are_threefry():
    """The first word of Threefry-2x32-20, here in plain Python."""
    def threefry(c0, c1, key):
        keys = [key & 0xFFFFFFFF, key >> 32]
        keys.append(keys[0] ^ keys[1] ^ 0x1BD11BDA)
        a, b = (c0 + keys[0]) % 2**32, (c1 + keys[1]) % 2**32
        for i in range(5):
            for r in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
                a = (a + b) % 2**32
                b = ((b << r | b >> 32 - r) % 2**32) ^ a
            a, b = (a + keys[(i + 1) % 3]) % 2**32, (b + keys[(i + 2) % 3] + i + 1) % 2**32
        return a, b

    assert threefry(0, 0, 0) == (0x6B200159, 0x99BA4EFE)  # the authors' test vector
    seed = (7 << 32) + 12345
    key = LazyBuffer.scalar(seed, uint64, "CPU")
    node = LazyBuffer(Op.RANDOM_BITS, (key,), None, (3, 17), uint32, "CPU")
    want = np.array([threefry(p, 0, seed)[0] for p in range(51)], "u4").reshape(3, 17)
    check([node], {}, [want], scalars=(seed,))


def test_what_has_no_memory_is_an_error():
    a = buffer((4,))
    node = a.unary(Op.NEG).scan(Op.SUM, 0).unary(Op.NEG)
    with pytest.raises(VerifyError, match="SCAN of shape \\(4,\\) has no memory in this kernel"):
        lower(spec_of(node), AVX512)


def test_ten_thousand_nodes_in_a_row():
    a = buffer((4,), int32)
    node = a
    for _ in range(10_000):
        node = node.binary(Op.ADD, a)
    with config(VERIFY=0):
        lowered = lower(spec_of(node), AVX512)
    assert lowered.iterations == 1
