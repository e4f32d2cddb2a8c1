"""Stage: tests. In: one program, profiled by PyTorch and here. Out: tables of the same form and words, and PyTorch's
own recipe of its profiler runs as it is written.
Next: ``test_programs_against_torch.py``."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import minigrad

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]


def profiled(library: Any, **options: Any) -> Any:
    """The averages of a small program."""
    model = library.nn.Sequential(library.nn.Linear(20, 30), library.nn.ReLU(), library.nn.Linear(30, 2))
    activities = [library.profiler.ProfilerActivity.CPU]
    with library.profiler.profile(activities=activities, **options) as p, library.profiler.record_function("part"):
        model(library.ones(5, 20)).sum().backward()
    return p


def heads(table: str) -> list[str]:
    """The titles of a table's columns."""
    return re.split(r"\s{2,}", table.splitlines()[1].strip())


@pytest.mark.parametrize(("options", "grouping"), [
    ({}, {}), ({"profile_memory": True}, {}), ({"with_flops": True}, {}),
    ({"record_shapes": True}, {"group_by_input_shape": True}),
    ({"record_shapes": True, "profile_memory": True, "with_flops": True}, {"group_by_input_shape": True}),
])
def test_the_columns_are_pytorchs(options: dict[str, bool], grouping: dict[str, Any]) -> None:
    tables = [profiled(library, **options).key_averages(**grouping).table() for library in (torch, minigrad)]
    ours, theirs = [[re.sub(r"[KMG]?FLOPs", "FLOPs", head) for head in heads(table)] for table in tables]
    assert ours == theirs
    number = r"\d+\.\d{2}% +\d+\.\d{3}(us|ms|s) +"
    for table in tables:
        assert re.search(rf"^ +part +{number}{number}\d+\.\d{{3}}(us|ms|s) +", table, re.MULTILINE)
        assert re.search(r"^Self CPU time total: \d+\.\d{3}(us|ms|s)$", table, re.MULTILINE)


@pytest.mark.parametrize("key", ["cpu_time_total", "self_cpu_time_total", "cpu_time", "count", "flops",
                                 "cuda_time_total", "self_cpu_memory_usage", "cpu_memory_usage", "device_time_total",
                                 "key", "self_device_memory_usage", "input_shapes", "stack", "is_async",
                                 "cpu_time_str"])
def test_averages_have_pytorchs_sums(key: str) -> None:
    for library in (torch, minigrad):
        average = next(a for a in profiled(library).key_averages() if a.key == "part")
        assert hasattr(average, key.replace("cuda", "device")) and average.count == 1
    assert hasattr(next(iter(profiled(minigrad).key_averages())), key)


@pytest.mark.parametrize("steps", [
    {"wait": 1, "warmup": 1, "active": 2, "repeat": 2}, {"wait": 0, "warmup": 2, "active": 1, "skip_first": 3},
    {"wait": 2, "warmup": 0, "active": 1, "skip_first_wait": 1, "skip_first": 1}])
@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
def test_schedules_are_pytorchs(steps: dict[str, int]) -> None:
    ours, theirs = minigrad.profiler.schedule(**steps), torch.profiler.schedule(**steps)
    assert [ours(i).name for i in range(20)] == [theirs(i).name for i in range(20)]


RECIPE = '''
import torch
from torch.profiler import profile, ProfilerActivity, record_function

class Block(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(channels)
        self.second = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))

model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), Block(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                            torch.nn.Linear(8, 10))
inputs = torch.randn(2, 3, 16, 16)
with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
    with record_function("model_inference"):
        model(inputs)
print(prof.key_averages().table(sort_by="cpu_time_total", row_limit=10))
print(prof.key_averages(group_by_input_shape=True).table(sort_by="cpu_time_total", row_limit=10))
with profile(activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=True) as prof:
    model(inputs)
print(prof.key_averages().table(sort_by="self_cpu_memory_usage", row_limit=10))
prof.export_chrome_trace("trace.json")

def trace_handler(p):
    output = p.key_averages().table(sort_by="self_cpu_time_total", row_limit=10)
    print(output)
    p.export_chrome_trace("trace_" + str(p.step_num) + ".json")

with profile(activities=[ProfilerActivity.CPU], schedule=torch.profiler.schedule(wait=1, warmup=1, active=2),
             on_trace_ready=trace_handler) as p:
    for idx in range(8):
        model(inputs)
        p.step()
with profile(schedule=torch.profiler.schedule(wait=1, warmup=1, active=1, repeat=2), with_stack=True,
             on_trace_ready=torch.profiler.tensorboard_trace_handler("log")) as p:
    for idx in range(8):
        model(inputs).sum().backward()
        p.step()
'''


def test_pytorchs_recipe_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "recipe.py").write_text(RECIPE)
    found = []
    for name, command in (("theirs", ["recipe.py"]), ("ours", ["-m", "minigrad.torch", "recipe.py"])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.py").write_text(RECIPE)
        done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        tables = [part for part in done.stdout.split("Self CPU time total: ")[:-1]]
        assert "model_inference" in tables[0] and all("ProfilerStep*" in table for table in tables[3:])
        found.append((len(tables), sorted(p.name for p in folder.iterdir() if p.suffix == ".json"),
                      len(list((folder / "log").iterdir()))))
        rows = [line.split()[0] for line in tables[0].splitlines() if "%" in line and "Name" not in line]
        assert any("conv" in row for row in rows), rows
    assert found[0] == found[1] == (5, ["trace.json", "trace_4.json", "trace_8.json"], 2)


@pytest.mark.filterwarnings("ignore:.*export_memory_timeline:FutureWarning")
def test_memory_over_time_has_pytorchs_form(tmp_path: Path) -> None:
    """In both the parameters are there all along, and after a step as many gradients and twice as much state."""
    for library in (torch, minigrad):
        model = library.nn.Linear(300, 200, bias=False)
        optimizer = library.optim.Adam(model.parameters())
        x = library.ones(50, 300)
        options = {"record_shapes": True, "profile_memory": True, "with_stack": True}
        with library.profiler.profile(activities=[library.profiler.ProfilerActivity.CPU], **options) as p:
            for _ in range(2):
                model(x).sum().backward()
                optimizer.step()
        p.export_memory_timeline(str(tmp_path / "timeline.json"), device="cpu")
        p.export_memory_timeline(str(tmp_path / "timeline.raw.json.gz"), device="cpu")
        times, sizes = json.loads((tmp_path / "timeline.json").read_text())
        parameter, state, gradient = [[row[i] for row in sizes] for i in (1, 2, 6)]
        assert {len(row) for row in sizes} == {9} and len(times) == len(sizes)
        assert abs(times[0] / 1e6 - time.time()) < 600
        assert parameter[0] == parameter[-1] == 240_000 and gradient[0] == state[0] == 0
        assert abs(state[-1] - 480_000) < 100 and gradient[-1] == 240_000, library
        raw = json.loads(gzip.decompress((tmp_path / "timeline.raw.json.gz").read_bytes()))
        assert [-1, 1, 240_000, 0] in raw and {len(change) for change in raw} == {4}
        assert {change[1] for change in raw} <= {1, 2, 3, 4}
        assert abs(raw[-1][0] / 1e9 - time.time()) < 600
