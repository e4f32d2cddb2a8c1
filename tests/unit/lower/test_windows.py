"""Stage: tests of lower. In: convolutions of all geometries. Out: that a copy of what windows cover, each place once,
gives NumPy's sums; which operands have windows. Next: ``test_stages.py``."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Alloc
from minigrad.kernel.walk import statements
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.target import AVX2, AVX512
from tests.unit.lower.specs import buffer, check, fetched, spec_of
from tests.unit.lower.test_steps import given


def convolution(n, c, sizes, filters, taps, padding, dilation):
    """A convolution's node, its image and its filters."""
    a, w = buffer((n, c, *sizes)), buffer((filters, c, *taps))
    axes = range(2, 2 + len(sizes))
    padded = a.pad(((0, 0, 0), (0, 0, 0), *(((padding, padding, 0),) * len(sizes))))
    window = padded.window(tuple((axis, k, 1, dilation) for axis, k in zip(axes, taps, strict=True)))
    _, _, *places = window.shape[:2 + len(sizes)]
    order = (0, *axes, 1, *range(2 + len(sizes), 2 + 2 * len(sizes)))
    left = window.permute(order).reshape((n, 1, *places, c, *taps)).expand((n, filters, *places, c, *taps))
    right = w.reshape((1, filters, *(1 for _ in places), c, *taps)).expand(left.shape)
    summed = tuple(range(2 + len(sizes), 3 + 2 * len(sizes)))
    return left.binary(Op.MUL, right).reduce(Op.SUM, summed).reshape((n, filters, *places)), a, w


def wanted(x, y, padding, dilation):
    """The same by NumPy, tap by tap."""
    x = np.pad(x.astype("f8"), ((0, 0), (0, 0), *(((padding, padding),) * (x.ndim - 2))))
    places = [size - dilation * (k - 1) for size, k in zip(x.shape[2:], y.shape[2:], strict=True)]
    total = 0.0
    for tap in product(*map(range, y.shape[2:])):
        part = x[(slice(None), slice(None), *(slice(t * dilation, t * dilation + p)
                                              for t, p in zip(tap, places, strict=True)))]
        total = total + np.einsum("nc...,oc->no...", part, y[(slice(None), slice(None), *tap)])
    return total


@pytest.mark.sample(10)
@pytest.mark.parametrize("sizes", [(9, 20), (30, 7), (33,), (5, 6, 9)], ids=str)
@pytest.mark.parametrize("taps", [1, 2, 3])
@pytest.mark.parametrize(("padding", "dilation"), [(0, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions(sizes, taps, padding, dilation, channels, rng):
    node, a, w = convolution(2, channels, sizes, 13, (taps,) * len(sizes), padding, dilation)
    x, y = rng.standard_normal(a.shape).astype("f"), rng.standard_normal(w.shape).astype("f")
    check([node], {a: x, w: y}, [wanted(x, y, padding, dilation).astype("f")], 1e-4, native=True)


@pytest.mark.parametrize("target", [AVX2, AVX512])
@pytest.mark.parametrize(("sizes", "taps"), [((40, 40), (3, 3)), ((64,), (5,)), ((12, 12, 24), (3, 1, 3))])
def test_what_windows_cover_is_copied_once(sizes, taps, target):
    node, _, _ = convolution(4, 8, sizes, 16, taps, 1, 1)
    (note,) = lower(spec_of(node), target).strategies
    assert "keep(b, window)" in note


@pytest.mark.parametrize(("sizes", "taps"), [((100_000,), (3,)), ((2, 60_000), (2, 3)), ((3, 2000, 3), (3, 3, 3))])
def test_copies_fit_the_cache(sizes, taps):
    """However long a row is: scratch lies on a thread's stack."""
    node, _, _ = convolution(2, 64, sizes, 64, taps, 1, 1)
    lowered = lower(spec_of(node), AVX512)
    scratch = sum(x.array.size * x.array.dtype.size for x in statements([lowered.kernel.loop]) if isinstance(x, Alloc))
    assert 0 < scratch <= AVX512.l2


def test_windows_apart_are_not_copied_whole():
    """Each tap reads far from the next."""
    node, _, _ = convolution(4, 8, (70, 70), 16, (2, 2), 0, 36)
    (note,) = lower(spec_of(node), AVX512).strategies
    assert "window" not in note


@pytest.mark.parametrize(("steps", "first"), [
    ("split(x2, 1)", []),
    ("split(x2, 6)", [(0, c, y) for c in range(8) for y in range(5)]),
    ("split(r0, 4)", [(0, c, y) for c in range(4) for y in range(12)]),
    ("split(x2, 6), split(r0, 3)", [(0, c, y) for c in range(3) for y in range(5)]),
    ("", [(0, c, y) for c in range(8) for y in range(12)])])
def test_what_the_next_copy_reads_is_fetched(steps, first):
    """While what the windows cover is worked on, each line of the next block's, panel's or image's; of memory that
    does not fit the cache. What only the first copy reads is not."""
    node, _, _ = convolution(2, 8, (12, 16), 8, (3, 3), 1, 1)
    made = f"multiply(x1, 4, x3, 16), lanes(x3, 16), join(x2, x3), keep(b, window), {steps}"
    target = replace(AVX512, l2=0, steps=(("*", (made,)),))
    lines = {(e // 1536, e // 192 % 8, e // 16 % 12) for e in fetched(lower(spec_of(node), target).kernel)}
    assert {(n, c, y) for n in range(2) for c in range(8) for y in range(12)}.difference(first) <= lines
    assert not first or (0, 1, 3) not in lines, "only the first copy reads it"
    assert not fetched(lower(spec_of(node), replace(target, l2=1 << 20)).kernel)


@pytest.mark.parametrize("where", ["scratch", "window"])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_given_steps(where, rows, rng):
    node, a, w = convolution(2, 2, (9, 17), 5, (3, 3), 1, 1)
    x, y = rng.standard_normal(a.shape).astype("f"), rng.standard_normal(w.shape).astype("f")
    steps = f"multiply(x1, 4, x3, 16), lanes(x3, 8), join(x2, x3), split(x2, {rows}), keep(b, {where})"
    check([node], {a: x, w: y}, [wanted(x, y, 1, 1).astype("f")], 1e-4, targets=given(steps))


@pytest.mark.parametrize(("steps", "why"), [
    ("multiply(x1, 4, x3, 16), lanes(x3, 8), keep(b, window)", "among those that join"),
    ("multiply(x1, 4, x3, 16), lanes(x3, 8), join(x0, x3), keep(b, window)", "among those that join"),
    ("multiply(x1, 4, x3, 16), lanes(x3, 8), join(x2, x3), keep(b, window), split(r2, 2)", "is cut"),
    ("multiply(x1, 4, x3, 16), lanes(x3, 8), join(x2, x3), keep(a, window)", "can keep")])
def test_what_cannot_be_is_refused(steps, why):
    node, _, _ = convolution(2, 3, (17, 17), 13, (3, 3), 1, 1)
    target = given(steps)[0]
    with pytest.raises(ScheduleError, match=why):
        lower(spec_of(node), target)
