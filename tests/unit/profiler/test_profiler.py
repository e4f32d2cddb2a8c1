"""Stage: tests. In: a program inside ``profile``. Out: its kernels, the blocks that it named, a trace file.
Next: ``tests/unit/testing/test_testing.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import minigrad
from minigrad.profiler import profile, record_function, schedule


def test_kernels_and_named_blocks(tmp_path: Path) -> None:
    x = minigrad.ones(64, 64)
    with profile() as p:
        for _ in range(3):
            with record_function("my block"):
                (x @ x).sum().item()
    averages = {e.key: e for e in p.key_averages()}
    assert averages["my block"].count == 3
    kernels = [e for e in p.events() if e.device]
    assert len(kernels) >= 3
    assert sum([e.duration for e in kernels]) <= averages["my block"].cpu_time_total
    assert p.total_average().self_cpu_time_total == pytest.approx(averages["my block"].cpu_time_total, rel=0.01)
    table = p.key_averages().table(sort_by="cpu_time_total", row_limit=1)
    assert "my block" in table and "# of Calls" in table and kernels[0].name not in table
    p.export_chrome_trace(str(tmp_path / "trace.json"))
    assert len(json.loads((tmp_path / "trace.json").read_text())["traceEvents"]) == len(p.events())


def test_schedule() -> None:
    seen: list[int] = []
    with profile(schedule=schedule(wait=1, warmup=1, active=2, repeat=1),
                 on_trace_ready=lambda p: seen.append(len([e for e in p.events() if e.name == "step"]))) as p:
        for _ in range(8):
            with record_function("step"):
                pass
            p.step()
    assert seen == [2]


def test_what_is_not_there() -> None:
    with pytest.raises(NotImplementedError, match="with_stack"):
        profile(with_stack=True)
