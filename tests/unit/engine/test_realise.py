"""Stage: tests of realise. In: graphs. Out: values in memory; what is written over what; and after an error everything
is as it was. Next: ``test_chains.py``."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minigrad import config
from minigrad.conformance.sources import indexes, leaf
from minigrad.dtype import float32, int64
from minigrad.engine import inspect, leaf_from_numpy, plans, realise, to_numpy, wrap_numpy
from minigrad.errors import CompileError
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.cpu import CpuDevice


def _leaf(*shape: int, device: str = "CPU") -> LazyBuffer:
    return leaf(np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape), float32, device)


def _value(node: LazyBuffer) -> np.ndarray:
    realise([node])
    return to_numpy(node)


def test_realised_values_are_left_alone() -> None:
    x = _leaf(3)
    buffer = x.buffer
    with inspect() as seen:
        realise([x, x])
        realise([])
    assert x.buffer is buffer and seen.launches == 0


def test_every_owned_value_on_the_way_is_stored_and_others_are_not() -> None:
    x = _leaf(3)
    kept, passing = x.unary(Op.NEG), x.unary(Op.ABS)
    kept.owners += 1
    y = kept.binary(Op.ADD, passing)
    with inspect() as seen:
        realise([y])
    assert kept.buffer is not None and passing.buffer is None and seen.launches == 1
    assert to_numpy(kept).tolist() == [-0.0, -1, -2]
    with inspect() as seen:
        realise([kept.unary(Op.NEG)])
    assert seen.launches == 1 and seen.native_calls == 1


def test_the_same_node_asked_for_twice_and_equal_nodes() -> None:
    x = _leaf(3)
    y = x.unary(Op.NEG)
    z = x.unary(Op.NEG)
    realise([y, y, z])
    assert y.buffer is not z.buffer and to_numpy(y).tolist() == to_numpy(z).tolist()


def test_a_dead_leaf_is_overwritten_and_a_live_one_is_not() -> None:
    y = _leaf(1000).unary(Op.NEG)
    address = y.srcs[0].buffer.address
    realise([y])
    assert y.buffer.address == address and to_numpy(y)[5] == -5
    x = _leaf(1000)
    x.owners += 1
    y = x.unary(Op.NEG)
    realise([y])
    assert y.buffer is not x.buffer and to_numpy(x)[5] == 5


def test_rows_in_the_middle_of_a_buffer_that_nobody_else_has() -> None:
    y = _leaf(6, 8).shrink(((2, 4), (0, 8))).unary(Op.NEG)
    np.testing.assert_array_equal(_value(y), -np.arange(16, 32.0).reshape(2, 8))


def test_an_array_of_the_users_is_never_written_over() -> None:
    array = np.arange(1000, dtype=np.float32)
    y = wrap_numpy(array, float32, "CPU").unary(Op.NEG)
    realise([y])
    assert array[5] == 5 and to_numpy(y)[5] == -5
    strided = wrap_numpy(array[::2], float32, "CPU").unary(Op.NEG)
    assert _value(strided)[5] == -10


def test_swapping_two_buffers() -> None:
    a, b = _leaf(100), _leaf(100).binary(Op.MUL, _leaf(100))
    realise([b])
    swapped = [b.binary(Op.MUL, b.like(2.0)), a.binary(Op.MUL, a.like(2.0))]
    del a, b
    realise(swapped)
    assert to_numpy(swapped[0])[3] == 18 and to_numpy(swapped[1])[3] == 6


def test_graphs_across_devices() -> None:
    x = _leaf(4)
    there = x.unary(Op.NEG).copy_to("NUMPY")
    back = there.binary(Op.MUL, there.like(3.0)).copy_to("CPU").binary(Op.ADD, x)
    assert _value(back).tolist() == [0, -2, -4, -6]
    assert there.buffer is not None and there.device == "NUMPY"
    both = [x.unary(Op.ABS), _leaf(4, device="NUMPY").unary(Op.ABS)]
    realise(both)
    assert [b.buffer.device for b in both] == ["CPU", "NUMPY"]


def test_host_nodes_run_between_kernels() -> None:
    x = _leaf(5).flip((0,)).unary(Op.NEG)
    order = LazyBuffer(Op.HOST, (x,), ("argsort", (0, True)), (5,), int64, "CPU")
    assert _value(x.gather([order])).tolist() == [-0.0, -1, -2, -3, -4]


def test_an_index_out_of_range_changes_nothing() -> None:
    x = _leaf(6, 2)
    at = indexes(np.array([1, 6]), "CPU")
    bystander = x.unary(Op.NEG)
    bad = x.scatter(x.like(0.0).shrink(((0, 2), (0, 2))), [at], "set")
    del x
    for _ in range(2):
        with pytest.raises(IndexError, match=r"dimension 0 is not in 0 … 5, the tensor has shape \[6, 2\]"):
            realise([bystander, bad])
        assert bystander.buffer is None and bad.buffer is None
    good = bystander.srcs[0].gather([indexes(np.array([5]), "CPU")])
    assert _value(good).tolist() == [[10, 11]] and _value(bystander)[5].tolist() == [-10, -11]


def test_a_compiler_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plans.clear()

    def refuse(self: CpuDevice, kernels: object) -> list[object]:
        raise CompileError("out of order")

    x = _leaf(71)
    y = x.unary(Op.NEG).binary(Op.MUL, x)
    with monkeypatch.context() as patch:
        patch.setattr(CpuDevice, "compile", refuse)
        with pytest.raises(CompileError, match="out of order"):
            realise([y])
        assert y.buffer is None and y.op == Op.MUL and not plans.families
    assert _value(y)[3] == -9


def test_no_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _leaf(73)
    x.owners += 1
    realise([x.unary(Op.NEG)])
    y = x.unary(Op.NEG)

    class NoMemory:
        def __init__(self, device: str, nbytes: int) -> None:
            raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr("minigrad.runtime.device.Buffer", NoMemory)
        with pytest.raises(MemoryError):
            realise([y])
    assert y.op == Op.NEG and _value(y)[3] == -3


def test_inspect_says_what_ran() -> None:
    x = _leaf(300, 200)
    with inspect() as outer, inspect() as seen:
        realise([x.binary(Op.MUL, x).reduce(Op.SUM, (1,)).unary(Op.SQRT)])
    assert (seen.launches, seen.native_calls, seen.plan_hits + seen.plan_misses) == (1, 1, 1)
    (kernel,) = seen.kernels
    assert kernel.device == "CPU" and kernel.seconds > 0
    assert kernel.bytes >= 300 * 200 * 4 and kernel.flops >= 2 * 300 * 200
    assert f"void {kernel.name}(" in kernel.source and kernel.stages
    assert repr(kernel).startswith(f"<{kernel.name} on CPU: ")
    assert outer.launches == 1
    realise([x.unary(Op.NEG)])
    assert outer.launches == 1, "the block is over"


def test_threads_may_realise_at_once() -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(25):
                x = leaf_from_numpy(np.full(50 + i % 3, number, np.float32), float32, "CPU")
                y = x.binary(Op.MUL, x.like(float(i))).binary(Op.ADD, x)
                realise([y])
                assert (to_numpy(y) == number * (i + 1)).all()
        except BaseException as error:  # a thread's failure is the test's
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


@pytest.mark.parametrize("device", ["CPU", "NUMPY"])
def test_kernels_of_a_device_that_does_not_run_them(device: str) -> None:
    y = _leaf(3, device=device).unary(Op.NEG)
    with inspect(device="CUDA", run=False) as seen:
        assert _value(y).tolist() == [0, -1, -2]
    kernel, = seen.kernels
    assert "__global__" in kernel.source and kernel.device == "CUDA" and kernel.seconds is None and not seen.launches
    with pytest.raises(ValueError, match=r"inspect\(run=False\) needs the device"), inspect(run=False):
        pass


def test_debug_says_when_there_is_no_machine_code(capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    with config.config(DEBUG=7):
        _value(_leaf(3).unary(Op.NEG))
        shown = capsys.readouterr().out
    monkeypatch.setattr(CpuDevice, "assembly", lambda self, text: "")
    with config.config(DEBUG=7):
        _value(_leaf(3).unary(Op.NEG))
    assert "--- assembly\n" in shown and "does not show any" not in shown
    assert "--- assembly\n(device CPU does not show any)" in capsys.readouterr().out


def test_what_is_wanted_outlives_the_runs_before_a_host_op():
    x = leaf_from_numpy(np.array([3.0, 1.0, 2.0], np.float32), float32, "CPU")
    doubled = x.binary(Op.ADD, x)
    more = doubled.binary(Op.MUL, doubled)
    order = LazyBuffer(Op.HOST, (more,), ("argsort", (0, False)), (3,), int64, "CPU")
    realise([order, doubled])
    assert to_numpy(order).tolist() == [1, 2, 0]
    assert to_numpy(doubled).tolist() == [6.0, 2.0, 4.0]
