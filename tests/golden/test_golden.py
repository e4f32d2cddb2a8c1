"""Stage: golden tests. In: the programs of ``programs.py``. Out: the printed form of each stage is what its file holds,
``<program>/<n>-<stage>.txt``. ``pytest tests/golden --update-golden`` rewrites the files: read the difference before
you keep it. All is for the named Target AVX2, so the machine does not matter. Next: ``docs/tour.md`` shows some."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minigrad.graph.show import show as show_graph
from minigrad.kernel.ir import Kernel
from minigrad.kernel.show import show as show_kernel
from minigrad.lower import lower
from minigrad.render import render_c, render_cuda, render_llvm, render_opencl
from minigrad.schedule.order import launches
from minigrad.schedule.plan import Assembly, grouped, schedule
from minigrad.schedule.show import show as show_plan
from minigrad.schedule.simplify import simplify
from minigrad.schedule.split import split_reductions
from minigrad.target import AVX2, CUDA, GPU, Target

FOLDER = Path(__file__).parent
LLVM = ("chain", "linear")
GPU_TEXTS = ("softmax", "dense", "attention")


def _load_programs():
    """The file beside this one; pytest's import mode puts no test folder on the path."""
    name = "golden_programs"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / "programs.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


programs = _load_programs()
NAMES = [*programs.GRAPHS, *programs.FRONTS]


def program(name: str, monkeypatch: pytest.MonkeyPatch):
    """The program of that name as a graph."""
    if name in programs.GRAPHS:
        return programs.GRAPHS[name]()
    return programs.catch(programs.FRONTS[name], monkeypatch)


def stages(name: str, graph) -> dict[str, str]:
    """The text of each stage, by file name. The scheduler's steps are taken one by one, as ``schedule`` takes them,
    to have ``Materialised.why`` too."""
    simple, names = simplify(graph.outputs)
    stored, grouping, groups = grouped(split_reductions(simple, AVX2), (), AVX2)
    order = launches(groups, AVX2)
    plan = Assembly(grouping, stored, order, graph.leaves, graph.dead, names).plan()
    lowered = [lower(launch.spec, AVX2) for launch in plan.launches]
    kernels = [x.kernel for x in lowered]
    loops = ["\n".join([*(f"strategy: {line}" for line in x.strategies), show_kernel(x.kernel)]) for x in lowered]
    texts = {
        "1-recorded.txt": show_graph(graph.outputs),
        "2-simplified.txt": show_graph(simple),
        "3-schedule.txt": show_plan(plan, stored.why),
        "4-loops.txt": "\n\n".join(loops),
        "5-c.txt": render_c(kernels),
    }
    if name in LLVM:
        texts["6-llvm.txt"] = render_llvm(kernels, AVX2)
    if name in GPU_TEXTS:
        texts["7-opencl.txt"] = render_opencl(gpu_kernels(graph, GPU))
        texts["8-cuda.txt"] = render_cuda(gpu_kernels(graph, CUDA))
    return {file: text.rstrip("\n") + "\n" for file, text in texts.items()}


def gpu_kernels(graph, target: Target) -> list[Kernel]:
    """The kernels of a program on a GPU."""
    plan = schedule(graph.outputs, graph.leaves, graph.dead, target)
    return [lower(launch.spec, target).kernel for launch in plan.launches]


@pytest.mark.parametrize("name", GPU_TEXTS)
@pytest.mark.parametrize("target", [GPU, CUDA], ids=["gpu", "cuda"])
def test_one_kernel_on_a_gpu(name: str, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(gpu_kernels(program(name, monkeypatch), target)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_stages(name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for file, text in stages(name, program(name, monkeypatch)).items():
        golden(f"{name}/{file}", text)


@pytest.mark.parametrize("name", NAMES)
def test_steps_one_by_one_are_what_schedule_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = program(name, monkeypatch)
    whole = show_plan(schedule(graph.outputs, graph.leaves, graph.dead, AVX2))
    kept = (FOLDER / name / "3-schedule.txt").read_text(encoding="utf-8")
    said = [line for line in whole.splitlines() if not line.startswith("    ") or line.lstrip().startswith("stage")]
    assert [line for line in said if line not in kept.splitlines()] == []


def test_no_file_is_left_over() -> None:
    known = {f"{name}/{file}" for name in NAMES for file in
             ("1-recorded.txt", "2-simplified.txt", "3-schedule.txt", "4-loops.txt", "5-c.txt")}
    known |= {f"{name}/6-llvm.txt" for name in LLVM}
    known |= {f"{name}/{file}" for name in GPU_TEXTS for file in ("7-opencl.txt", "8-cuda.txt")}
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.txt")}
    assert found == known


@pytest.mark.parametrize("where", [0, 100, -2])
def test_a_changed_letter_is_found(where: int, golden: Callable[[str, str], None], request: pytest.FixtureRequest,
                                   ) -> None:
    if request.config.getoption("--update-golden"):
        pytest.skip("it would write the wrong letter")
    text = (FOLDER / "chain" / "4-loops.txt").read_text(encoding="utf-8")
    golden("chain/4-loops.txt", text)
    letter = "#" if text[where] != "#" else "%"
    with pytest.raises(AssertionError):
        golden("chain/4-loops.txt", text[:where] + letter + text[where:][1:])


AGAIN = """
import hashlib, random, runpy, sys
import pytest
sys.path.insert(0, {root!r})
waste = [bytearray(random.randrange(1, 4000)) for _ in range(random.randrange(20000))]
test = runpy.run_path({test!r})
for name in test["NAMES"]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        texts = test["stages"](name, test["program"](name, monkeypatch))
    print(name, hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest())
"""


def test_text_does_not_depend_on_addresses_or_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes, with other hash seeds and other addresses, print the same."""
    code = AGAIN.format(root=str(FOLDER.parents[1]), test=str(FOLDER / "test_golden.py"))
    printed = set()
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        printed.add(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert len(printed) == 1
    assert "chain " in printed.pop()
