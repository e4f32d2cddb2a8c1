"""Stage: tests of what happens when memory, the compiler, a launch or a file fails. In: the programs of
``tools/faults.py``. Out: the same process computes right afterwards, and files are whole. ``python tools/faults.py``
takes each call in turn. Next: ``tools/faults.py``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import minigrad
from minigrad.config import config
from minigrad.errors import LaunchError
from tools import faults

KINDS = [(program, kind) for program, kind in (
    (faults.first_plan, "compile"), (faults.first_plan, "cache"), (faults.views, "launch"), (faults.higher, "launch"),
    (faults.convolution, "memory"), (faults.jitted_step, "memory"), (faults.save, "files"), (faults.load, "files"))]


@pytest.mark.parametrize("program, kind", KINDS, ids=[f"{p.__name__}-{k}" for p, k in KINDS])
def test_after_a_failure_everything_is_right(program: faults.Program, kind: str, tmp_path: Path) -> None:
    lines: list[str] = []
    with config(TIERS=0 if kind in ("compile", "cache") else 2):
        assert not faults.table([program], [kind], 3, lines.append), lines
    assert any(["none" not in line for line in lines])


@pytest.mark.slow
@pytest.mark.parametrize("tiers, kinds, most", [(0, ["compile", "link", "cache"], 2),
                                                (2, ["memory", "launch", "files"], 6)])
def test_after_any_failure_everything_is_right(tiers: int, kinds: list[str], most: int) -> None:
    lines: list[str] = []
    with config(TIERS=tiers):
        assert not faults.table(faults.PROGRAMS, kinds, most, lines.append), "\n".join(lines)


def test_what_could_not_be_computed_was_not_written() -> None:
    x = minigrad.tensor([1.0, 2.0])
    with faults.failing("launch", 0), suppress(LaunchError):
        x.mul_(3)
        x.tolist()
    assert x.tolist() in ([1.0, 2.0], [3.0, 6.0])
    assert x.add_(1).tolist() in ([2.0, 3.0], [4.0, 7.0])


def test_the_tool_sees_a_wrong_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "forget", lambda: None)
    answers = iter([[1], [2]])
    assert faults.check(lambda place: next(answers), "memory", -1, [1], str(tmp_path))[1] == "a wrong result afterwards"


def test_the_tool_sees_lost_memory(tmp_path: Path) -> None:
    kept: list[minigrad.Tensor] = []

    def program(place: str) -> list[float]:
        x = minigrad.zeros(3000) + len(kept)
        kept.append(x)
        return [x.sum().item()]

    with faults.only_new_garbage():
        assert faults.growth(program, "files", str(tmp_path)) > 4096


@pytest.mark.slow
def test_a_process_begins_though_a_file_can_not_be_opened() -> None:
    lines: list[str] = []
    assert not faults.imported(60, lines.append), "\n".join(lines)
    assert "the same result" in lines[-1]
