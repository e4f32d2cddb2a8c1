"""Stage: tests of multiprocessing. In: Tensors that several processes use. Out: each sees what the others write, and
memory that one sends another is not copied.
Next: ``tests/unit/utils/test_drawing.py``."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import minigrad
import minigrad.multiprocessing as mp
from minigrad.multiprocessing.channel import channels
from minigrad.runtime.shared import SharedBuffer

fork = mp.get_context("fork")


def run(target, *args):
    process = fork.Process(target=target, args=args)
    process.start()
    process.join(20)
    return process.exitcode


def test_a_forked_process_writes_into_shared_memory():
    x = minigrad.zeros(4).share_memory_()
    row = x.reshape(2, 2)[1]
    plain = minigrad.zeros(4)

    def work():
        x.add_(1)
        row.mul_(5)
        plain.add_(1)

    assert run(work) == 0
    assert x.tolist() == [1.0, 1.0, 5.0, 5.0] and row.tolist() == [5.0, 5.0] and plain.tolist() == [0.0] * 4
    assert x.is_shared() and row.is_shared() and not plain.is_shared()
    assert (x + 1).tolist() == [2.0, 2.0, 6.0, 6.0]


def test_share_memory_moves_pending_values_and_views():
    x = minigrad.arange(3) * 2
    head = x[:2]
    y = x + 1
    assert x.share_memory_() is x and head.is_shared() and not y.is_shared()
    x.add_(10)
    assert head.tolist() == [10, 12] and y.tolist() == [1, 3, 5]
    address = x.data_ptr()
    assert x.share_memory_().data_ptr() == address
    assert not x.is_pinned()
    with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
        x.pin_memory()


def test_other_devices_are_not_shared():
    with pytest.raises(NotImplementedError, match="memory of the device NUMPY can't be shared"):
        minigrad.ones(2, device="NUMPY").share_memory_()


def test_a_parameter_is_trained_by_another_process():
    model = minigrad.nn.Linear(2, 1)
    for parameter in model.parameters():
        parameter.share_memory_()
    before = model.weight.detach().clone().tolist()

    def work():
        optimizer = minigrad.optim.SGD(model.parameters(), lr=0.5)
        model(minigrad.ones(1, 2)).sum().backward()
        optimizer.step()

    assert run(work) == 0
    np.testing.assert_allclose(model.weight.tolist(), np.array(before) - 0.5, rtol=1e-6)


def test_queues_share():
    there, back = fork.SimpleQueue(), fork.SimpleQueue()

    def work():
        x, again, view = there.get()
        assert x.is_shared() and x._storage is again._storage is view._storage
        x[0] = 7
        back.put(minigrad.ones(2))
        assert there.get() == "done"  # the memory is handed over by this process

    process = fork.Process(target=work)
    process.start()
    x = minigrad.zeros(3)
    there.put((x, x, x[1:]))
    assert back.get().tolist() == [1.0, 1.0]
    there.put("done")
    process.join(20)
    assert process.exitcode == 0 and x.tolist() == [7.0, 0.0, 0.0]


# --- channels


def test_a_channel_hands_memory_over():
    here, there = channels()
    x, big = minigrad.arange(3), minigrad.arange(50_000)
    here.send((x, big, big[10:12], big.share_memory_()[1:], np.arange(30_000.0)))
    a, b, part, view, array = there.receive()
    assert a.tolist() == [0, 1, 2] and b.sum().item() == big.sum().item() and part.tolist() == [10, 11]
    assert view._storage is b._storage and array[-1] == 29_999 and array.flags.writeable
    b[0] = 5
    assert big[0].item() == 5  # it was shared before it was sent
    own = minigrad.ones(50_000)
    here.send(own)
    got = there.receive()
    assert isinstance(got._storage.lazy.buffer, SharedBuffer)
    got.zero_()
    assert own.sum().item() == 50_000
    here.close()
    with pytest.raises(EOFError):
        there.receive()
    there.close()
    with pytest.raises(OSError):
        there.send(1)


def test_a_forked_process_does_not_keep_a_channel_open():
    here, there = channels()
    hold, release = channels()
    process = fork.Process(target=release.receive)
    process.start()
    here.close()
    assert there.ready(5.0)
    with pytest.raises(EOFError):
        there.receive()
    hold.send("go")
    process.join(20)
    there.close()
    hold.close()
    release.close()
    assert process.exitcode == 0


def test_a_message_is_no_pickle_of_its_own():
    from minigrad.dtype import float32
    from minigrad.multiprocessing.channel import _mapped

    with pytest.raises(RuntimeError, match="belongs to a message between processes"):
        _mapped(0, (1,), float32, False)


def test_tensors_on_a_tape_are_refused():
    here, there = channels()
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        here.send(minigrad.ones(2, requires_grad=True) * 2)
    here.close()
    there.close()


def test_no_room_for_shared_memory():
    with pytest.raises(MemoryError, match="bytes of shared memory"):
        SharedBuffer(1 << 60)


# --- spawn


def fill(i, x):
    x[i] = i + 1


def fail(i):
    if i == 1:
        raise ValueError("this one")


def leave(i, code):
    raise SystemExit(code)


def test_spawn_runs_in_all_processes():
    x = minigrad.zeros(3).share_memory_()
    assert mp.spawn(fill, args=(x,)) is None
    assert x.tolist() == [1.0, 0.0, 0.0]
    assert mp.start_processes(fill, args=(x,), nprocs=3, start_method="fork") is None
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_spawn_tells_errors():
    with pytest.raises(mp.ProcessRaisedException, match=r"(?s)-- Process 1 terminated with the following error:\n"
                                                        r"Traceback.*ValueError: this one") as caught:
        mp.start_processes(fail, nprocs=2, start_method="fork")
    assert caught.value.error_index == 1 and str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(mp.ProcessExitedException, match="process 0 terminated with exit code 3"):
        mp.start_processes(leave, args=(3,), start_method="fork")
    context = mp.start_processes(leave, args=(0,), join=False, start_method="fork")
    assert len(context.pids()) == 1
    while not context.join(1.0):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="SpawnContext is renamed to ProcessContext"):
            mp.SpawnContext([], [])


def test_sharing_strategies():
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy("file_system")
    mp.set_sharing_strategy("file_descriptor")
    with pytest.raises(AssertionError, match="invalid sharing strategy 'by_post'"):
        mp.set_sharing_strategy("by_post")
