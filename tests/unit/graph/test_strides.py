"""What strides say, against NumPy: which elements are one, and which movement ops see the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.dtype import BY_NAME, uint8, uint32
from minigrad.engine import leaf_from_numpy, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.reference import evaluate, move
from minigrad.graph.strides import composed, overlaps, reach, strided_steps
from minigrad.ops import Op

AXES = st.lists(st.tuples(st.sampled_from([0, 1, 1, 2, 3, 4]), st.sampled_from([0, 1, 2, 3, 4, 6, 7, 12, 13])),
                max_size=4)


@settings(max_examples=400)
@given(axes=AXES, offset=st.integers(0, 6), rest=st.sampled_from([0, 0, 1, 3, 10]))
def test_steps_see_what_a_window_sees(axes, offset: int, rest: int) -> None:
    shape, strides = tuple([n for n, _ in axes]), tuple([s for _, s in axes])
    memory = np.arange(max(1, offset + reach(shape, strides) + rest))
    want = np.zeros(shape, int) if 0 in shape else np.ndarray(shape, int, memory, offset * 8, [s * 8 for s in strides])
    got = memory
    steps = strided_steps(memory.size, shape, strides, offset)
    for op, arg in steps:
        got = move(op, arg, got)
    assert np.array_equal(got, want)
    repeated = np.unique(want).size < want.size
    assert overlaps(shape, strides) == repeated
    assert repeated or all([op != Op.EXPAND for op, _ in steps])


@settings(max_examples=400)
@given(axes=AXES, steps=AXES, offset=st.integers(0, 6))
def test_a_window_of_a_value_is_one_of_its_memory(axes, steps, offset: int) -> None:
    """Or it is none, and then some step carries over from one axis of the value to the next."""
    shape, strides = tuple([n for n, _ in axes]), tuple([s for _, s in axes])
    memory = np.arange(1 + reach(shape, strides))
    value = np.zeros(shape, int) if 0 in shape else np.ndarray(shape, int, memory, 0, [s * 8 for s in strides])
    window = tuple([n for n, _ in steps]), tuple([s for _, s in steps]), offset
    if offset + reach(*window[:2]) > value.size or (0 in shape and 0 not in window[0]):
        return
    found = composed(window, shape, strides)
    if found is None or 0 in window[0]:
        return
    flat = np.ascontiguousarray(value).reshape(-1)
    want = np.ndarray(window[0], int, flat, offset * 8, [s * 8 for s in window[1]])
    got = np.ndarray(found[0], int, memory, found[2] * 8, [s * 8 for s in found[1]])
    assert np.array_equal(got, want)


@pytest.mark.parametrize("realised", [False, True])
@pytest.mark.parametrize("old", ["bool", "uint8", "int16", "float32", "int64", "float64"])
@pytest.mark.parametrize("new", ["bool", "int8", "uint16", "int32", "float32", "uint64", "float64"])
def test_the_same_bytes_as_another_type(old: str, new: str, realised: bool) -> None:
    source, target = [BY_NAME[n] for n in (old, new)]
    array = (np.arange(48) % 2 == 0 if old == "bool" else np.arange(-20, 28).astype(source.numpy)).reshape(3, 16)
    want = (array.view(np.uint8) != 0).reshape(3, -1) if new == "bool" else array.view(target.numpy)
    leaf = leaf_from_numpy(array, source, "CPU")
    x = leaf if realised else LazyBuffer(Op.CONTIGUOUS, (leaf,), None, leaf.shape, leaf.dtype, "CPU")
    y = x.bitcast(target)
    assert y.shape == want.shape and (y.buffer is not None) == (realised and (target is source or new != "bool"))
    if not realised:
        assert evaluate([y], lambda node: to_numpy(node))[0].tobytes() == want.tobytes()
        realise([y])
    elif y.buffer is None:
        realise([y])
    assert to_numpy(y).tobytes() == want.tobytes()


def test_part_of_memory_that_is_no_whole_element_is_computed() -> None:
    leaf = leaf_from_numpy(np.arange(24, dtype=np.uint8).reshape(4, 6), uint8, "CPU")
    for x in (leaf.shrink(((0, 4), (1, 5))), leaf.shrink(((0, 4), (0, 4)))):
        y = x.bitcast(uint32)
        assert y.buffer is None  # it begins, or its rows do, between two elements
        realise([y])
        assert to_numpy(y).tobytes() == np.ascontiguousarray(to_numpy(x)).tobytes()
