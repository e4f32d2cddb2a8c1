"""Stage: tests of lower. In: plans with kernels that walk along an axis, in small blocks. Out: what NumPy gives,
wherever the blocks end, with rows that are masked out whole, and with sums relative to a maximum that grows late.
Next: ``test_steps.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import softmax
from minigrad.dtype import bool_, float32, float64
from minigrad.grad import vjp
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.kernel.interpret import interpret
from minigrad.kernel.verify import verify
from minigrad.lower import lower, outer
from minigrad.ops import Op
from minigrad.schedule import streaming
from minigrad.schedule.plan import schedule
from minigrad.schedule.spec import KernelSpec
from minigrad.target import AVX2, AVX512, SCALAR, Target

TARGETS = [replace(t, l2=1 << 8, small_work=0) for t in (SCALAR, AVX2, AVX512)]
"""Nothing fits the cache."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outer, "LENGTH", 8)
    monkeypatch.setattr(outer, "ROWS", 16)
    monkeypatch.setattr(streaming, "GROWTH_AGAIN", 2)


def computed(outputs: Sequence[LazyBuffer], values: Mapping[LazyBuffer, np.ndarray], target: Target,
             walks: int) -> list[np.ndarray]:
    """The outputs by the kernels of their plan, as many of which walk; iterations run backwards."""
    leaves = [n for n in toposort(outputs) if n.op == Op.BUFFER]
    made = schedule(outputs, leaves, set(), target)
    assert sum(isinstance(x.spec, KernelSpec) and x.spec.walk is not None for x in made.launches) == walks
    memory = {"leaf": [np.ascontiguousarray(values[n]).view(np.uint8).reshape(-1) for n in leaves],
              "output": [np.zeros(n, np.uint8) for n in made.output_bytes]}
    arena = np.zeros(made.arena_bytes, np.uint8)
    for launch in made.launches:
        lowered = lower(launch.spec, target)
        verify(lowered.kernel)
        arrays = []
        for array, place in zip(lowered.kernel.arrays, launch.places, strict=True):
            kind = arena[place.at:] if place.kind == "arena" else memory[place.kind][place.at]
            arrays.append(kind[:array.size * array.dtype.size].view(array.dtype.numpy))
        for at in reversed(range(lowered.iterations)):
            interpret(lowered.kernel, arrays, (), at, at + 1)
    return [memory[p.kind][p.at].view(o.dtype.numpy).reshape(o.shape)
            for p, o in zip(made.outputs, outputs, strict=True)]


def attention(q: LazyBuffer, k: LazyBuffer, v: LazyBuffer, mask: LazyBuffer | None = None) -> LazyBuffer:
    scores = matmul(q, k.permute((0, 2, 1)))
    if mask is not None:
        scores = mask.where(scores, scores.like(-np.inf))
    return matmul(softmax(scores, (2,)), v)


def leaves(rng: np.random.Generator, rows: int, keys: int, width: int = 3, dtype: object = float32,
           ) -> tuple[list[LazyBuffer], list[np.ndarray]]:
    shapes = [(2, rows, width), (2, keys, width), (2, keys, width), (2, rows, width)]
    arrays = [(3 * rng.standard_normal(s)).astype(dtype.numpy) for s in shapes]  # type: ignore[attr-defined]
    return [LazyBuffer(Op.BUFFER, (), None, s, dtype, "CPU") for s in shapes], arrays  # type: ignore[arg-type]


def wanted(q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray, mask: np.ndarray | bool = True,
           ) -> list[np.ndarray]:
    """Attention and its gradients, in float64."""
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    with np.errstate(invalid="ignore"):
        scores = np.where(mask, q @ k.swapaxes(1, 2), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        of_weights = g @ v.swapaxes(1, 2)
        of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdims=True))
    return [weights @ v, of_scores @ k, of_scores.swapaxes(1, 2) @ q, weights.swapaxes(1, 2) @ g]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("rows, keys", [(16, 16), (40, 24), (19, 29), (33, 17)])
def test_attention(rows: int, keys: int, target: Target, rng: np.random.Generator) -> None:
    nodes, arrays = leaves(rng, rows, keys)
    (got,) = computed([attention(*nodes[:3])], dict(zip(nodes, arrays, strict=True)), target, 1)
    np.testing.assert_allclose(got, wanted(*arrays)[0], 2e-5, 2e-6)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("rows, keys", [(16, 24), (19, 21)])
def test_gradients(rows: int, keys: int, dtype: object, rng: np.random.Generator) -> None:
    nodes, arrays = leaves(rng, rows, keys, dtype=dtype)
    out = attention(*nodes[:3])
    outputs = [out, *vjp([out], [nodes[3]], nodes[:3], [True] * 3)]
    found = computed(outputs, dict(zip(nodes, arrays, strict=True)), TARGETS[2], 4)  # type: ignore[arg-type]
    tolerance = 2e-4 if dtype is float32 else 1e-12
    for got, want in zip(found, wanted(*arrays), strict=True):
        np.testing.assert_allclose(got, want, tolerance, tolerance / 10)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_blocks_that_are_masked_out_do_no_harm(target: Target, rng: np.random.Generator) -> None:
    """The maximum is -inf through whole blocks, at the beginning, in between, or always: then the row is NaN."""
    nodes, arrays = leaves(rng, 20, 40)
    mask = rng.random((2, 20, 40)) < 0.5
    mask[:, 3, :24] = False
    mask[:, 4, 8:32] = False
    mask[1, 5] = False
    node = LazyBuffer(Op.BUFFER, (), None, mask.shape, bool_, "CPU")
    values = {**dict(zip(nodes, arrays, strict=True)), node: mask}
    (got,) = computed([attention(*nodes[:3], node)], values, target, 1)
    want = wanted(*arrays, mask)[0]
    assert np.isnan(got[1, 5]).all() and np.isnan(want[1, 5]).all()
    np.testing.assert_allclose(got, want, 2e-5, 2e-6)


def test_a_maximum_that_grows_late_scales_what_there_is(rng: np.random.Generator) -> None:
    nodes, arrays = leaves(rng, 18, 32)
    arrays[1] *= np.linspace(1, 60, 32)[:, None].astype(np.float32)
    (got,) = computed([attention(*nodes[:3])], dict(zip(nodes, arrays, strict=True)), TARGETS[1], 1)
    np.testing.assert_allclose(got, wanted(*arrays)[0], 1e-4, 1e-5)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_shows(value: float, rng: np.random.Generator) -> None:
    nodes, arrays = leaves(rng, 18, 32)
    arrays[0][0, 5, 0] = value
    arrays[1][:, :, 0] = np.abs(arrays[1][:, :, 0])
    (got,) = computed([attention(*nodes[:3])], dict(zip(nodes, arrays, strict=True)), TARGETS[1], 1)
    assert np.isnan(got[0, 5]).all() and np.isfinite(np.delete(got[0], 5, 0)).all() and np.isfinite(got[1]).all()


def causal(q: LazyBuffer, k: LazyBuffer, v: LazyBuffer, ahead: int, added: bool = False) -> LazyBuffer:
    """Attention of row i to keys up to i + ahead."""
    scores = matmul(q, k.permute((0, 2, 1)))
    row, key = (LazyBuffer.index(scores.shape, axis, "CPU") for axis in (1, 2))
    seen = key.binary(Op.LT, row.binary(Op.ADD, row.like(ahead + 1)))
    if added:
        scores = scores.binary(Op.ADD, seen.where(scores.like(0.0), scores.like(-np.inf)))
    else:
        scores = seen.unary(Op.NOT).where(scores.like(-np.inf), scores)
    return matmul(softmax(scores, (2,)), v)


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("ahead", [0, 9, -20])
def test_blocks_that_a_mask_hides_are_left_out(ahead: int, added: bool, rng: np.random.Generator) -> None:
    """Nothing of them is read: what is not a number there does no harm. A row that sees nothing is NaN."""
    nodes, arrays = leaves(rng, 48, 48)
    mask = np.tril(np.ones((48, 48), bool), ahead)
    outputs = [causal(*nodes[:3], ahead, added)]
    spoiled = arrays[2].copy()
    spoiled[:, 8 * ((15 + ahead) // 8 + 1):] = np.nan  # after the last block that one of the first 16 rows sees
    (got,) = computed(outputs, dict(zip(nodes, [*arrays[:2], spoiled, arrays[3]], strict=True)), TARGETS[2], 1)
    want = wanted(*arrays, mask)[0]
    np.testing.assert_allclose(got[:, :16], want[:, :16], 2e-5, 2e-6)
    assert np.isnan(want[:, 0]).all() == (ahead < 0) and np.isnan(got[:, 47]).all()


@pytest.mark.parametrize("rows, keys", [(16, 24), (19, 21)])
def test_gradients_through_a_mask(rows: int, keys: int, rng: np.random.Generator) -> None:
    nodes, arrays = leaves(rng, rows, keys)
    out = causal(*nodes[:3], 0)
    outputs = [out, *vjp([out], [nodes[3]], nodes[:3], [True] * 3)]
    found = computed(outputs, dict(zip(nodes, arrays, strict=True)), TARGETS[2], 4)  # type: ignore[arg-type]
    for got, want in zip(found, wanted(*arrays, np.tril(np.ones((rows, keys), bool))), strict=True):
        np.testing.assert_allclose(got, want, 2e-4, 2e-5)
