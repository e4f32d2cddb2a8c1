"""From loop nests to results, on both devices that compile them."""

import numpy as np
import pytest

from minigrad.dtype import float32
from minigrad.kernel.ir import Apply, Array, Const, For, Kernel, Load, Scalar, Store
from minigrad.runtime import cc
from minigrad.runtime.device import get_device
from minigrad.runtime.native import Step
from minigrad.symbolic import num, var


def scaled(name: str, n: int) -> Kernel:
    """``y = x * s + 1`` in float32."""
    x, y = Array("x", float32, n), Array("y", float32, n, written=True)
    i, s = var("i", 0, n - 1), Scalar("s", float32, 0)
    value = Apply("ADD", (Apply("MUL", (Load(x, i), s), float32), Const(1.0, float32)), float32)
    return Kernel(name, (x, y), (s,), For(i, num(0), num(n), 1, "parallel", (Store(y, i, value),)))


@pytest.mark.parametrize("name", ["CPU", "CC"])
def test_kernels_compile_and_run(name):
    if name == "CC" and cc.compiler() is None:
        pytest.skip("no C compiler")
    device = get_device(name)
    kernels = [scaled("first", 10), scaled("second", 1000)]
    programs = device.compile(kernels)
    assert [program.name for program in programs] == ["first", "second"]
    assert [program.kernel for program in programs] == kernels
    assert "first" in programs[0].source and programs[0].source == device.source(kernels)
    x, y = device.allocate(4000), device.allocate(4000)
    values = np.random.default_rng(0).random(1000, np.float32)
    x.copyin(values)
    native = device.native([Step(programs[0], (0, 1), (0,), 10), Step(programs[1], (1, 1), (1,), 1000, 50)], 2, "dd")
    y.copyin(values)
    native.run([x.address, y.address], [3.0, 0.5])
    expected = values.copy()
    expected[:10] = values[:10] * np.float32(3) + np.float32(1)
    assert np.array_equal(y.as_numpy(float32, (1000,)), expected * np.float32(0.5) + np.float32(1))
