"""Programs of views, writes, reads and copies give what PyTorch gives: values, strides, offsets, what shares memory."""

from __future__ import annotations

import random
from typing import Any

import pytest

import minigrad
from tests.unit.tensor.aliases import Program

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.sample(40)
@pytest.mark.parametrize("seed", range(200))
def test_random_program(seed: int) -> None:
    drawn = random.Random(seed)
    program = Program(drawn.randrange, clones=True).draw(20)

    def refused(write: Any) -> None:
        raise AssertionError("no program for both libraries writes what overlaps")

    program.run(torch, lambda x: None, refused)
    program.run(minigrad, minigrad.realize, refused)


def test_strides_of_axes_of_size_1() -> None:
    for view in (lambda x: x[None], lambda x: x[:, None, 1:], lambda x: x[..., None], lambda x: x.expand(1, 1, 4, 6),
                 lambda x: x.expand(2, 1, 4, 6), lambda x: x[None, None, 2], lambda x: x.unsqueeze(2)[:, :, 0],
                 lambda x: x[:1].expand(1, 6), lambda x: x[0, 0].expand(1), lambda x: x[:, :0].sum(0)[None],
                 lambda x: x.new_zeros(3, 0, 2), lambda x: x.new_zeros(3, 0, 2).view(0, 5)):
        a, b = view(torch.zeros(4, 6)), view(minigrad.zeros(4, 6))
        assert (tuple(a.shape), a.stride(), a.storage_offset()) == (tuple(b.shape), b.stride(), b.storage_offset())


def test_the_same_bytes_as_another_type() -> None:
    for old in ("int8", "int16", "float32", "int64"):
        for new in ("uint8", "int16", "int32", "float64"):
            for shape, cut in (((4, 8), slice(None)), ((2, 2, 8), slice(0, 1)), ((8,), slice(None))):
                a = torch.arange(8 * 4).to(getattr(torch, old)).reshape(-1)[:_size(shape)].reshape(shape)[cut]
                b = minigrad.arange(8 * 4).to(getattr(minigrad, old)).reshape(-1)[:_size(shape)].reshape(shape)[cut]
                x, y = a.view(getattr(torch, new)), b.view(getattr(minigrad, new))
                assert tuple(x.shape) == tuple(y.shape) and x.stride() == y.stride()
                assert x.numpy().tobytes() == y.numpy().tobytes() == (y * 1).numpy().tobytes()


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n
