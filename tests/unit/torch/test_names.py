"""Stage: tests. In: what is PyTorch's alone: ``torch.compile``, settings, devices that are not here. Out: it does what
programs expect of it.
Next: ``tests/unit/torch/test_classes.py``."""

from __future__ import annotations

from typing import Any

import pytest

import minigrad
from minigrad import nn
from minigrad.errors import ValueNeeded
from minigrad.torch import accelerator, compiler, distributed, hub, jit, names, settings
from minigrad.torch.version import TorchVersion


def test_a_compiled_function_is_jitted_and_one_that_asks_for_values_runs_as_it_is() -> None:
    called: list[int] = []

    @compiler.compile
    def double(x: Any) -> Any:
        called.append(1)
        return x * 2

    with pytest.warns(UserWarning, match="changes a Python variable|called"):
        for i in range(6):
            assert double(minigrad.full((2,), float(i))).tolist() == [2.0 * i] * 2

    @compiler.compile
    def branches(x: Any) -> Any:
        return x if x.sum() > 0 else -x

    assert [branches(minigrad.full((2,), v)).tolist() for v in (1.0, -1.0, 2.0)] == [[1.0] * 2, [1.0] * 2, [2.0] * 2]
    with pytest.raises(ValueNeeded):
        compiler.compile(lambda x: x if x.sum() > 0 else -x, fullgraph=True)(minigrad.ones(2))
    with pytest.raises(RuntimeError, match="Expected a callable"):
        compiler.compile(3)


def test_a_compiled_module_wraps_the_module() -> None:
    plain = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    compiled = compiler.compile(plain)
    assert list(compiled.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]
    assert compiled._orig_mod is plain and isinstance(compiled, nn.Module)
    x = minigrad.ones(1, 2)
    assert compiled(x).tolist() == plain(x).tolist()
    compiled(x).sum().backward()
    assert plain[0].weight.grad is not None
    assert compiled.eval().training is False and plain.training is False


def test_the_cpu_has_one_stream() -> None:
    stream, event = names.find("Stream")(), names.find("Event")(enable_timing=True)
    with stream as entered:
        assert entered == names.find("Stream")("cpu") and hash(entered) == hash(stream) and stream.query()
    stream.synchronize()
    stream.wait_event(event)
    assert event.query() and repr(stream) == "torch.Stream device_type=cpu, device_index=-1, stream_id=0"
    assert repr(event) == "torch.Event device_type=cpu, device_index=-1, event_flag=1, event_id=0"
    for call in (stream.record_event, event.record, lambda: stream.wait_stream(stream)):
        with pytest.raises(RuntimeError, match="cpu backend doesn't support events."):
            call()
    with pytest.raises(ValueError, match="Both events must be created with argument 'enable_timing=True'."):
        event.elapsed_time(names.find("Event")())
    with pytest.raises(ValueError, match="Both events must be recorded before calculating elapsed time."):
        event.elapsed_time(event)
    with pytest.raises(RuntimeError, match="minigrad has one stream on cuda devices"):
        names.find("Stream")("cuda")


def test_threads_and_precision_are_settings() -> None:
    with minigrad.config.config(THREADS=2):  # at its end the setting is what it was
        settings.set_num_threads(1)
        assert settings.get_num_threads() == minigrad.config.get("THREADS") == 1
    with pytest.raises(RuntimeError, match="expects a positive integer"):
        settings.set_num_threads(0)
    settings.set_float32_matmul_precision("high")
    assert minigrad.backends.cuda.matmul.allow_tf32 is True
    settings.set_float32_matmul_precision("highest")
    assert minigrad.backends.cuda.matmul.allow_tf32 is False
    with pytest.raises(RuntimeError, match="Invalid precision"):
        settings.set_float32_matmul_precision("low")


def test_versions_compare() -> None:
    version = TorchVersion("2.13.0+minigrad")
    assert version >= "2.0" and version > (1, 13) and version < "10.0" and version != "2.13.0"
    assert not version < "2.13" and tuple(map(int, version.split("+")[0].split("."))) == (2, 13, 0)


def test_names_that_need_no_tensors() -> None:
    assert names.find("float32") is minigrad.float32 and names.find("config") is names.MISSING
    assert names.find("relu_")(minigrad.tensor([-1.0])).tolist() == [0.0]
    assert names.find("typename")(minigrad.ones(1)) == "torch.FloatTensor"
    assert not accelerator.is_available() or accelerator.device_count()
    assert distributed.get_world_size() == 1 and not distributed.is_initialized()
    assert jit.script(nn.ReLU()) is not None and jit.trace(lambda x: x + 1, minigrad.ones(1))(1) == 2
    with pytest.raises(NotImplementedError, match="downloads nothing"):
        hub.load("owner/repository", "model")
    with pytest.raises(NotImplementedError, match="one process"):
        distributed.init_process_group("gloo")
