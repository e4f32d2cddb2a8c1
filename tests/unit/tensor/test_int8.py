"""Products of bytes: every way to write them gives NumPy's sums, and those of matrices use the machine's instruction
for four products, where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor
from minigrad.engine import inspect
from minigrad.nn import functional as F
from minigrad.runtime.llvm import host_target

RNG = np.random.default_rng(0)
A, B = RNG.integers(-128, 128, (40, 130)).astype("i1"), RNG.integers(-128, 128, (130, 70)).astype("i1")
A[0], B[:, 0] = -128, -128
U = RNG.integers(0, 256, (40, 130)).astype("u1")
WIDE, UNSIGNED = A.astype("i8") @ B.astype("i8"), U.astype("i8") @ B.astype("i8")
SCALE, BIAS = RNG.random(70).astype("f"), RNG.random(70).astype("f")
BATCH = RNG.integers(-128, 128, (3, 40, 130)).astype("i1")


def t(x: np.ndarray) -> Tensor:
    return minigrad.tensor(x)


FORMS: dict[str, tuple[Callable[[], Tensor], np.ndarray]] = {
    "_int_mm": (lambda: minigrad._int_mm(t(A), t(B)), WIDE),
    "_int_mm, uint8": (lambda: minigrad._int_mm(t(U), t(B)), UNSIGNED),
    "int": (lambda: t(A).int() @ t(B).int(), WIDE),
    "of int8": (lambda: t(A) @ t(B), WIDE.astype("i1")),
    "mixed": (lambda: t(U).int() @ t(B).int(), UNSIGNED),
    "transposed": (lambda: t(np.ascontiguousarray(A.T)).T.int() @ t(np.ascontiguousarray(B.T)).T.int(), WIDE),
    "a slice": (lambda: t(A)[1:, 3:].int() @ t(B)[3:].int(), A[1:, 3:].astype("i8") @ B[3:].astype("i8")),
    "linear": (lambda: (t(A).int() @ t(B.T.copy()).T.int()) * t(SCALE) + t(BIAS), (WIDE * SCALE + BIAS)),
    "F.linear": (lambda: F.linear(t(A).int(), t(B.T.copy()).int()), WIDE),
    "einsum": (lambda: minigrad.einsum("ij,jk->ik", t(A).int(), t(B).int()), WIDE),
    "batched": (lambda: t(BATCH).int() @ t(B).int(), BATCH.astype("i8") @ B.astype("i8")),
    "batches": (lambda: t(BATCH).int() @ t(BATCH).int().mT,
                BATCH.astype("i8") @ BATCH.astype("i8").swapaxes(1, 2)),
    "of bools": (lambda: (t(A) > 5).int() @ t(B).int(), (A > 5).astype("i8") @ B.astype("i8")),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form(name: str) -> None:
    form, want = FORMS[name]
    with minigrad.config(TIERS=0), inspect() as seen:
        got = form().numpy()
    if got.dtype.kind == "f":
        np.testing.assert_allclose(got, want, 1e-6)
    else:
        assert np.array_equal(got, want)
    if "int8" in host_target().dots and minigrad.tensor(0).device.type == "cpu":
        assert any("word(r0)" in stage for kernel in seen.kernels for stage in kernel.stages)


@pytest.mark.parametrize("form", [
    lambda: t(A).int() @ t(B[:, 1]).int(), lambda: t(A[1]).int() @ t(B).int(),
    lambda: t(A[1]).int().dot(t(B[:, 1]).int()),
    lambda: t(A[:3]).int() @ t(B).int(), lambda: t(A).long() @ t(B).long(), lambda: (t(A).short() * 4) @ t(B).short()])
def test_other_products_of_bytes(form: Callable[[], Tensor]) -> None:
    got = form()
    want: Any = {(40,): WIDE[:, 1], (70,): WIDE[1], (): WIDE[1, 1], (3, 70): WIDE[:3]}.get(got.shape, WIDE)
    want = want * 4 if got.dtype is minigrad.int16 else want
    assert np.array_equal(got.numpy(), want.astype(got.numpy().dtype))


@pytest.mark.parametrize(("a", "b", "message"), [
    (A, A, r"self.size\(1\) needs to match mat2.size\(0\) but got 130 and 40"),
    (A[0], B, "Expected self to be of dimension 2 but got 1"),
    (A, B[None], "Expected mat2 to be of dimension 2 but got 3"),
    (A.astype("f"), B, "Expected self dtype to be int8 or uint8 but got float"),
    (U, B.view("u1"), "Expected mat2 dtype to be of type int8 but got unsigned char"),
    (A, B.astype("i4"), "Expected mat2 dtype to be of type int8 but got int")])
def test_what_int_mm_refuses(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        minigrad._int_mm(t(a), t(b))
