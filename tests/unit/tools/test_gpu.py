"""Stage: tests of the tools. In: nothing. Out: that ``tools.gpu`` runs to its end without a card: on the emulation,
with a part that fails, with one that hangs, and with no time. Next: ``test_overhead.py``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.cuda_emulation.device import compiler
from tools import gpu
from tools.bench import report
from tools.bench.cli import measure_all
from tools.bench.figures import Measured
from tools.bench.gpu import GPU, TINY
from tools.bench.libraries import LIBRARIES
from tools.bench.measure import Settings, environment
from tools.bench.suites import BY_NAME, SUITES


def test_without_a_card_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu, "missing", lambda device: f"device {device} is not available: there is no NVIDIA driver")
    assert gpu.main([]) == 2
    assert capsys.readouterr().err == (
        "nothing can be run on device CUDA here.\ndevice CUDA is not available: there is no NVIDIA driver\n")


def test_a_missing_device_is_found() -> None:
    assert gpu.missing("CPU") is None
    assert "NOSUCH" in str(gpu.missing("NOSUCH"))


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_it_runs_on_the_emulation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(f"# A page\n\n{gpu.BEGIN}\nold\n{gpu.END}\n\nMore.\n")
    assert gpu.main(["--device", "CUDA_EMULATION", "--quick", "--threads", "1", "--page", str(page),
                     "--only", "^xor$|tiny_sum_all|matmul_64_bf16"]) == 0
    text, printed = page.read_text(), capsys.readouterr().out
    assert "4 of 4 right" in printed
    assert text.startswith("# A page\n") and text.endswith("\n\nMore.\n") and "old" not in text
    assert "no card: device CUDA_EMULATION." in text and "- xor: 4 of 4 right" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["tiny_sum_all", "matmul_64_bf16"]
    assert "GFLOP/s" in rows[1] and "Failed" not in text and "Left out" not in text


def test_failures_are_printed_whole_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = gpu.Outcome()
    crash = "import sys; print('line one'); print('the last words', file=sys.stderr); sys.exit(3)"
    gpu.run_part(gpu.Part("crash", (sys.executable, "-c", crash), 20), "CPU", 20, outcome)
    gpu.run_part(gpu.Part("absent", ("false",), 20, ("a_module_that_is_not_there",)), "CPU", 20, outcome)
    start = time.monotonic()
    hang = "import time; print('begun', flush=True); time.sleep(60)"
    gpu.run_part(gpu.Part("hang", (sys.executable, "-c", hang), 20), "CPU", 1.5, outcome)
    assert time.monotonic() - start < 20
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("FAILED crash:\n", "line one\n", "the last words\n", "exit code 3"))
    assert outcome.parts["crash"] == "failed" and outcome.parts["hang"].startswith("stopped after 2 s, nothing had")
    assert outcome.left_out == {"absent": "a_module_that_is_not_there not installed"}


def test_a_row_that_fails_has_its_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measured(rows, names, settings, limits, done):
        run = report.Run("", {}, {"libraries": list(names)})
        run.rows[rows[0].name] = {names[0]: Measured(reason="CompileError: short", text="the whole\nlog"),
                                  names[1]: Measured(reason="out of memory")}
        done(run, rows[0].name)
        return run

    monkeypatch.setattr(gpu, "measure_all", measured)
    outcome = gpu.Outcome()
    gpu.run_rows(GPU[:2], ("minigrad-cuda", "torch-cuda"), Settings(), outcome)
    printed = capsys.readouterr().out
    assert "FAILED chain, minigrad-cuda:\nthe whole\nlog\n" in printed and "torch-cuda: out of memory" in printed
    assert outcome.left_out == {"softmax": "no time was left"}
    text = gpu.table(outcome, "a card")
    assert "Failed:\n\n- chain, minigrad-cuda: log" in text and "Left out:\n\n- softmax: no time was left" in text


def test_no_row_is_begun_when_the_time_is_up() -> None:
    assert measure_all(TINY[:1], ("minigrad",), Settings(end=time.monotonic() + 1), limits=False).rows == {}


def test_the_table_has_ratios_and_rates() -> None:
    run = report.Run("", {}, {"libraries": ["minigrad-cuda", "torch-cuda"]}, {"torch-cuda": "2.13"})
    run.rows["matmul_4096_bf16"] = {"minigrad-cuda": Measured({0: 0.0002}), "torch-cuda": Measured({0: 0.0003})}
    text = gpu.table(gpu.Outcome(run=run), "a card")
    assert "| `matmul_4096_bf16` | 200 us | 300 us | 1.50 | 6.87e+05 GFLOP/s |" in text
    assert report.row_lines("matmul_4096_bf16", run)[2].split()[1:6] == ["300", "us", "+-", "0%", "x1.50"]


def test_every_size_and_kind_is_a_row() -> None:
    assert {f"matmul_{n}_{kind}" for n in (1024, 2048, 4096, 8192) for kind in ("bf16", "f16", "tf32", "f32")} < {
        row.name for row in GPU}
    assert SUITES["gpu"].base == "minigrad-cuda" and all(BY_NAME[row.name] is row for row in (*GPU, *TINY))


def test_only_libraries_of_gpus_see_them(tmp_path: Path) -> None:
    assert {name for name, library in LIBRARIES.items() if library.gpu} == {"minigrad-cuda", "torch-cuda"}
    assert environment(2, tmp_path)["CUDA_VISIBLE_DEVICES"] == ""
    assert environment(2, tmp_path, gpu=True).get("CUDA_VISIBLE_DEVICES") != ""
