"""Memory shared with PyTorch and JAX by DLPack: writes of either side show in both, views keep their strides, and the
memory outlives whoever made it. What minigrad gives for an array is what PyTorch gives for it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16",
          "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    mine = minigrad.ones(shape, dtype=getattr(minigrad, dtype))
    theirs = torch.from_dlpack(mine)
    assert theirs.dtype is getattr(torch, dtype) and tuple(theirs.shape) == shape
    back = minigrad.from_dlpack(theirs)
    assert back.dtype is mine.dtype and back.shape == mine.shape
    if mine.numel():
        assert theirs.data_ptr() == mine.data_ptr() == back.data_ptr()
        theirs.zero_()
        assert not mine.any().item() and not back.any().item()
        mine.fill_(1)
        assert theirs.float().sum().item() == mine.numel()


VIEWS = ["x", "x[1:]", "x[:, 1::2]", "x.T", "x[1:, ::3].T", "x[2]", "x[:, None]", "x[:1].expand(4, 6)",
         "x.unfold(1, 3, 2)", "x[1:1]"]


@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str) -> None:
    """A view exports the same strides and the same place in its memory as PyTorch's does."""
    mine, theirs = minigrad.arange(24.0).reshape(4, 6), torch.arange(24.0).reshape(4, 6)
    v, w = eval(view, {"x": mine}), eval(view, {"x": theirs})
    got = torch.from_dlpack(v)
    assert got.tolist() == w.tolist() and got.stride() == torch.from_dlpack(w).stride()
    if got.numel():
        assert got.data_ptr() - mine.data_ptr() == w.data_ptr() - theirs.data_ptr()
    taken = minigrad.from_dlpack(w)
    assert taken.tolist() == w.tolist()
    if w.numel() and "expand" not in view and "unfold" not in view:
        got += 100
        taken.add_(100)
        assert mine.tolist() == theirs.tolist()


def test_errors_are_pytorchs() -> None:
    for make in (lambda t: t.ones(2, requires_grad=True).__dlpack__(), lambda t: t.ones(2).__dlpack__(stream="x"),
                 lambda t: t.ones(2).__dlpack__(dl_device=(2, 0), copy=False)):
        with pytest.raises(Exception) as mine:
            make(minigrad)
        with pytest.raises(Exception) as theirs:
            make(torch)
        assert type(mine.value) is type(theirs.value) and str(mine.value) == str(theirs.value)
    with pytest.raises(BufferError, match="require gradient"):
        torch.from_dlpack(minigrad.ones(2, requires_grad=True))
    with pytest.raises((BufferError, RuntimeError), match="require"):
        minigrad.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="DLPack"):
        minigrad.from_dlpack(torch.ones(2).to(torch.float8_e4m3fn))


def test_pytorch_outlives_minigrad() -> None:
    mine = minigrad.arange(1000.0) * 2
    theirs = torch.from_dlpack(mine)
    del mine
    gc.collect()
    minigrad.realize([minigrad.full((1000,), -1.0) + i for i in range(4)])
    assert theirs[:3].tolist() == [0, 2, 4] and theirs.sum().item() == 999000
    dropped = threading.Thread(target=lambda held: held.pop(), args=([theirs],))
    del theirs
    dropped.start()
    dropped.join()


def test_minigrad_outlives_pytorch() -> None:
    theirs = torch.arange(1000.0) * 2
    mine = minigrad.from_dlpack(theirs)
    later = mine + 1
    del theirs
    gc.collect()
    fill = [torch.full((1000,), -1.0) for _ in range(4)]
    assert mine.sum().item() == 999000 and later[0].item() == 1 and len(fill) == 4


def test_a_chain_of_libraries() -> None:
    a = np.zeros(4, np.float32)
    last = np.from_dlpack(torch.from_dlpack(minigrad.from_dlpack(torch.from_dlpack(a))))
    last[0] = 5
    assert a.tolist() == [5, 0, 0, 0]
    a[1] = 6
    assert last.tolist() == [5, 6, 0, 0]


def test_a_gradient_flows_beside_shared_memory() -> None:
    theirs = torch.ones(3)
    x = minigrad.from_dlpack(theirs).requires_grad_()
    (x * x).sum().backward()
    with minigrad.no_grad():
        x -= 0.5 * x.grad
    assert theirs.tolist() == [0, 0, 0] and x.grad.tolist() == [2, 2, 2]


def test_utils_capsules() -> None:
    mine = minigrad.ones(2)
    theirs = torch.utils.dlpack.from_dlpack(minigrad.utils.dlpack.to_dlpack(mine))
    theirs[0] = 3
    again = minigrad.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(theirs))
    assert mine.tolist() == again.tolist() == [3, 1]


def test_the_interpreter_ends_with_shared_tensors() -> None:
    program = ("import minigrad, torch\n"
               "kept = [torch.from_dlpack(minigrad.ones(3)), minigrad.from_dlpack(torch.ones(3))]\n"
               "torch.kept = kept; minigrad.kept = kept; print('end')")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "end", done.stderr


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    for dtype in ("float32", "bfloat16", "int32", "uint8", "bool"):
        mine = minigrad.ones(2, 3, dtype=getattr(minigrad, dtype))
        theirs = jax.dlpack.from_dlpack(mine)
        assert str(theirs.dtype) == dtype and theirs.shape == (2, 3) and bool(theirs.all())
        back = minigrad.from_dlpack(theirs)
        assert back.dtype is mine.dtype and back.tolist() == mine.tolist()
        assert back.data_ptr() == theirs.unsafe_buffer_pointer()
    made = jax.numpy.arange(1000.0)
    mine = minigrad.from_dlpack(made)
    del made, theirs
    gc.collect()
    assert mine.sum().item() == 499500
