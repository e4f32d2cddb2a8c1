"""Stage: tests. In: programs inside ``profile``. Out: their kernels, the blocks that they named, the lines and the
memory of each, and the files that other programs draw.
Next: ``tests/unit/testing/test_testing.py``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad import nn
from minigrad.autograd.profiler import profile as old_profile
from minigrad.engine import records
from minigrad.explain.recording import collecting
from minigrad.profiler import (
    EventList,
    FunctionEvent,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
)


def kernels(p: Any) -> list[Any]:
    """The events of kernels."""
    return [e for e in p.events() if e.kind == "kernel"]


def test_kernels_and_named_blocks(tmp_path: Path) -> None:
    x = minigrad.ones(64, 64)
    with profile() as p:
        for _ in range(3):
            with record_function("my block"):
                (x @ x).sum().item()
    averages = {e.key: e for e in p.key_averages()}
    block, item = averages["my block"], averages["minigrad::item"]
    assert block.count == 3 and item.count == 3
    assert len(kernels(p)) >= 3 and all(e.cpu_parent.name == "minigrad::item" for e in kernels(p))
    inside = sum(e.duration for e in kernels(p))
    assert inside <= item.cpu_time_total <= block.cpu_time_total
    assert p.total_average().self_cpu_time_total == pytest.approx(block.cpu_time_total, rel=0.01)
    table = p.key_averages().table(sort_by="cpu_time_total", row_limit=1)
    assert "my block" in table and "# of Calls" in table and kernels(p)[0].name not in table


def test_a_replayed_loop_is_seen_as_it_runs() -> None:
    x = minigrad.rand(100).realize()
    found = []
    for _ in range(8):
        with profile() as p:
            x.exp().sum().item()
        found.append([e.name for e in kernels(p)])
    assert len(found[-1]) >= 1 and not records and not collecting
    with profile() as p, minigrad.inspect() as seen:
        for _ in range(8):
            x.exp().sum().item()
    assert seen.replayed and {e.key: e.count for e in p.key_averages()}["minigrad::item"] == 8


def test_what_the_host_computes(tmp_path: Path) -> None:
    x = minigrad.rand(300).realize()
    with profile(with_stack=True) as p, minigrad.inspect() as seen:
        for _ in range(4):
            x.argsort().tolist()
        minigrad.fft.fft(x).abs().tolist()
    found = {e.key: e for e in p.key_averages()}
    assert found["argsort"].count == 4 and found["fft_c2c"].count == 1 and seen.host_calls == 5
    assert 0 < found["argsort"].cpu_time_total <= found["minigrad::tolist"].cpu_time_total
    event = next(e for e in kernels(p) if e.name == "argsort")
    assert event.stack == [f"{Path(__file__).name}({line_of('x.argsort()')}): argsort"]


def line_of(text: str) -> int:
    """The number of the first line of this file that has the text."""
    return next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if text in line)


def test_the_steps_of_a_schedule() -> None:
    seen: list[dict[str, int]] = []
    with profile(schedule=schedule(wait=1, warmup=1, active=2, repeat=2),
                 on_trace_ready=lambda p: seen.append({e.key: e.count for e in p.key_averages()})) as p:
        for i in range(11):
            with record_function("step"):
                minigrad.rand(50 + i).sum().item()
            p.step()
    assert [one["step"] for one in seen] == [2, 2] and [one["ProfilerStep*"] for one in seen] == [2, 2]
    assert [one["minigrad::item"] for one in seen] == [2, 2]
    assert [e.name for e in p.events() if e.kind == "block"] == ["ProfilerStep#6", "step", "ProfilerStep#7", "step"]


def test_rounds_can_be_kept_together() -> None:
    with pytest.warns(UserWarning, match="won't be using warmup"):
        plan = schedule(wait=0, warmup=0, active=1)
    with profile(schedule=plan, acc_events=True) as p:
        for _ in range(3):
            minigrad.rand(50).sum().item()
            p.step()
    assert {e.key: e.count for e in p.key_averages()}["minigrad::item"] == 3


@pytest.mark.parametrize("steps", [{"wait": -1, "warmup": 0, "active": 1}, {"wait": 0, "warmup": 0, "active": 0}])
def test_schedules_that_cannot_be(steps: dict[str, int]) -> None:
    with pytest.raises(AssertionError, match="Invalid profiler schedule"):
        schedule(**steps)


def test_lines_of_the_program(tmp_path: Path) -> None:
    model = nn.Linear(20, 30)
    with profile(with_stack=True, record_shapes=True, with_modules=True) as p:
        h = model(minigrad.ones(5, 20))
        h = h.tanh()
        h.sum().backward()
    stacks = {line for e in kernels(p) for line in e.stack}
    first = min(int(line.split("(")[1].split(")")[0]) for line in stacks if "Linear" in line)
    assert {f"test_profiler.py({first}): Linear", f"test_profiler.py({first + 1}): tanh",
            f"test_profiler.py({first}): Linear (backward)"} <= stacks
    assert any([20, 30] in e.input_shapes or [30, 20] in e.input_shapes for e in kernels(p))
    assert all(abs(sum(e.shares) - 1) < 1e-6 for e in kernels(p) if e.stack)
    assert any(e.modules == ["Linear"] for e in kernels(p))
    table = p.key_averages(group_by_input_shape=True, group_by_stack_n=5).table()
    assert "Source Location" in table and "Input Shapes" in table and f"({first + 1}): tanh" in table
    assert len(p.key_averages(group_by_stack_n=1)) >= len(p.key_averages())
    p.export_stacks(str(tmp_path / "stacks.txt"), "self_cpu_time_total")
    lines = (tmp_path / "stacks.txt").read_text().splitlines()
    assert any(line.startswith("test_profiler.py") and ";" in line and int(line.split()[-1]) > 0 for line in lines)
    with pytest.raises(ValueError, match="metric should be one of"):
        p.export_stacks(str(tmp_path / "stacks.txt"), "time")


def test_memory_and_operations() -> None:
    x = minigrad.ones(1000, 10).realize()
    with profile(profile_memory=True, with_flops=True) as p:
        y = (x + 1).tanh().sum(1).realize()
        del y
        x.exp().sum().item()
    average = {e.key: e for e in p.key_averages()}
    made = average["minigrad::realize"]
    assert (made.cpu_memory_usage, made.self_cpu_memory_usage) == (4000, 0)
    assert average["[memory]"].self_cpu_memory_usage == -4000
    assert average["sum_1000"].self_cpu_memory_usage == 4000 and average["sum_1000"].flops >= 20_000
    table = p.key_averages().table(sort_by="self_cpu_memory_usage")
    assert "Self CPU Mem" in table and "3.91 KB" in table and "-3.91 KB" in table and "Total KFLOPs" in table
    assert "Mem" not in EventList(p.events()).table()


def test_what_modules_give_is_computed() -> None:
    model, x = nn.Linear(4, 3), minigrad.ones(2, 4)
    with profile() as p:
        model(x)
    assert len(kernels(p)) == 1
    with profile() as p:
        held = model(x)
        used = model(x) + 1
    assert len(kernels(p)) >= 1 and held.shape == (2, 3)
    with minigrad.inspect() as seen:
        held.tolist()
    assert seen.launches == 0
    with minigrad.inspect() as seen:
        used.tolist()
        model(x)
    assert seen.launches == 1  # outside a profile only what is read


def test_activities() -> None:
    def run(*activities: ProfilerActivity) -> Any:
        with profile(activities=activities) as p, record_function("a"):
            minigrad.rand(9).sum().item()
        return {e.kind for e in p.events()}

    assert "kernel" in run(ProfilerActivity.CPU) and run(ProfilerActivity.CUDA) == {"block"}
    for wrong in ([], [3]):
        with pytest.raises(ValueError, match="values of ProfilerActivity"):
            profile(activities=wrong)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_trace(tmp_path: Path, name: str) -> None:
    with profile(with_stack=True, profile_memory=True) as p, record_function("part"):
        y = minigrad.rand(9).exp().realize()
    p.add_metadata("who", "me")
    p.add_metadata_json("list", "[1, 2]")
    p.export_chrome_trace(str(tmp_path / name))
    path = tmp_path / name
    data = json.loads(gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_text())
    events = {e["name"]: e for e in data["traceEvents"]}
    assert (data["who"], data["list"], y.shape) == ("me", [1, 2], (9,))
    assert {events[n]["cat"] for n in ("part", "minigrad::realize", "[memory]")} == {
        "user_annotation", "cpu_op", "cpu_instant_event"}
    kernel = next(e for e in data["traceEvents"] if e.get("cat") == "kernel")
    assert "test_profiler.py" in kernel["args"]["Call stack"]
    assert events["part"]["ts"] <= kernel["ts"] <= kernel["ts"] + kernel["dur"] <= (
        events["part"]["ts"] + events["part"]["dur"] + 1)


def test_traces_for_tensorboard(tmp_path: Path) -> None:
    for packed in (False, True):
        with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path / "log"), "me", packed)):
            minigrad.ones(3).tolist()
    assert sorted(p.name.split(".", 2)[2] for p in (tmp_path / "log").iterdir()) == [
        "pt.trace.json", "pt.trace.json.gz"]


def test_tables() -> None:
    events = EventList([FunctionEvent("k" * 80, 0.0, 3e6, "CPU"),
                        FunctionEvent("gpu", 0.0, 5e3, "CUDA", kind="kernel")])
    table = events.table(header="A title", time_unit="ms")
    assert "A title" in table and "3000.000ms" in table and "Self CUDA %" in table and f"{'k' * 52}..." in table
    assert "Self CUDA time total: 5.000ms" in table and "only display top-level" in events.table(
        top_level_events_only=True)
    assert EventList([]).table() == ""
    with pytest.raises(AttributeError, match="has no attribute 'nonsense': sort_by is such as"):
        events.table(sort_by="nonsense")
    with pytest.raises(ValueError, match="time_unit is one of s, ms, us"):
        events.table(time_unit="h")


def test_the_older_way() -> None:
    with old_profile(True, use_cuda=False, record_shapes=True) as p:
        minigrad.rand(9).sum().item()
    assert "Input Shapes" in str(p.key_averages(group_by_input_shape=True)) and "minigrad::item" in str(p)


def test_nothing_is_left_when_a_block_raises() -> None:
    call = nn.Module.__call__
    with pytest.raises(ZeroDivisionError), profile(with_stack=True):
        _ = 1 // 0
    assert not records and not collecting and nn.Module.__call__ is call
