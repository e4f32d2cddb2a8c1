"""Stage: tests of ``tools/bench``: its table, its statistics, its floors and what it writes. Nothing is timed here.
Next: ``tools/bench/README.md``."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.bench import cli, picture, report
from tools.bench.disturbance import Snapshot, others_share
from tools.bench.figures import Measured, duration, median_difference, median_ratio, relative_error, repetitions
from tools.bench.floors import AtMost, Over, Ratio
from tools.bench.libraries import LIBRARIES, PEERS, Library
from tools.bench.measure import Failed, Session, Settings, Worker, measure, shuffled
from tools.bench.models import MODELS
from tools.bench.suites import BY_NAME
from tools.bench.worker import Server, make_call, reference
from tools.bench.workloads import WORKLOADS, Workload, normal

ROOT = Path(__file__).resolve().parents[3]
MODULES = ("campaign", "cli", "convolutions", "disturbance", "drawing", "drawn_models", "figures", "floors",
           "gradients", "large", "layers", "libraries", "limits", "measure", "memory", "models", "narrow", "operations",
           "picture", "report", "sequences",
           "training", "windows", "worker", "workloads")
SMALL = Workload("small", "x.sum()", inputs=normal((3, 4)), functions={
    "numpy": lambda lib, x: x.sum(), "pytorch": lambda lib, x: x.sum()}, work=12, unit="flops", peers=("numpy",))


def samples(*seconds: float) -> Measured:
    return Measured(dict(enumerate(seconds)))


def make_run() -> report.Run:
    machine = {"processor": "a processor", "cores": 2, "threads": 2, "python": "3.11"}
    return report.Run("2026-01-02T03:04:05", machine, {"libraries": ["minigrad", "numpy", "torch"]},
                      {"minigrad": "0.1", "numpy": "2.4"}, {"copy_GBps": 30.0, "fma_GFLOPs": 200.0},
                      {"matmul_1024": {"minigrad": samples(0.010, 0.011), "numpy": samples(0.009, 0.011)},
                       "chain": {"minigrad": samples(0.004, 0.004), "torch": samples(0.12, 0.16),
                                 "torch.compile": Measured(reason="no compiler")},
                       "import": {"minigrad": Measured(reason="not built"), "numpy": samples(0.1)}})


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"tools.bench.{name}"))
    assert outcome.failed == 0


# --- statistics ---------------------------------------------------------------------------------------------------

def test_ratio_is_the_median_of_rounds_not_the_ratio_of_medians() -> None:
    slow_neighbour = samples(10.0, 2.0, 2.2), samples(10.0, 1.0, 1.0)
    assert median_ratio(*slow_neighbour) == 2.0
    assert median_difference(*slow_neighbour) == 1.0


def test_only_rounds_in_which_both_ran_are_paired() -> None:
    assert median_ratio(Measured({0: 4.0, 5: 9.0}), Measured({0: 2.0, 1: 1.0})) == 2.0
    assert median_ratio(Measured({0: 4.0}), Measured({1: 2.0})) is None
    assert median_difference(Measured(), samples(1.0)) is None


def test_measured_without_samples() -> None:
    assert Measured().median is None and Measured().spread is None


def test_relative_error_sees_nan_and_shapes() -> None:
    assert relative_error(np.array([1.0, np.nan]), np.array([1.0, 1.0])) == float("inf")
    assert relative_error(np.zeros((2, 1)), np.zeros(2)) == float("inf")
    assert relative_error(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0
    assert relative_error(np.array([0.0, 100.1]), np.array([0.0, 100.0])) == pytest.approx(1e-3)


@pytest.mark.parametrize(("seconds", "expected"), [
    (9.99e-6, "9.99 us"), (9.996e-6, "10.0 us"), (99.96e-6, "100 us"), (999.6e-6, "1.00 ms"), (0.9996, "1.00 s"),
    (72.0, "72.00 s"), (None, "-")])
def test_duration(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


def test_repetitions_fill_the_target() -> None:
    assert repetitions(0.0, 0.3) == 3_000_000
    assert repetitions(0.1, 0.25) == 2
    assert repetitions(100.0, 0.25) == 1


def test_others_share() -> None:
    before = Snapshot(0.0, 100.0, 50.0)
    assert others_share(before, Snapshot(1.0, 102.0, 52.0), 2) == 0.0
    assert others_share(before, Snapshot(1.0, 102.0, 51.0), 2) == 0.5
    assert others_share(None, before, 2) == others_share(before, before, 2) == 0.0


def test_order_is_shuffled_and_seeded() -> None:
    names = list("abcdef")
    orders = [shuffled(names, Settings(), "chain", number) for number in range(5)]
    assert all(sorted(order) == names for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert orders == [shuffled(names, Settings(), "chain", number) for number in range(5)]
    assert orders != [shuffled(names, Settings(seed=1), "chain", number) for number in range(5)]


# --- floors -------------------------------------------------------------------------------------------------------

def test_floors_decide() -> None:
    row = {"minigrad": samples(1.0, 1.0), "numpy": samples(0.8, 0.8)}
    assert Ratio("numpy", 0.7).verdict(row).passed is True
    assert Ratio("numpy", 0.9).verdict(row).passed is False
    assert AtMost(1.0).verdict(row).passed is True
    assert AtMost(0.99).verdict(row).passed is False
    assert Over("numpy", 0.25).verdict(row).passed is True
    assert Over("numpy", 0.15).verdict(row).passed is False
    row["numpy"].others = {0: 0.5, 1: 0.5}
    assert "disturbed" in AtMost(1.0).verdict({"minigrad": row["numpy"]}).text
    assert "disturbed" in Ratio("numpy", 0.7).verdict(row).text
    row["numpy"].others = {0: 0.5, 1: 0.0}
    assert Over("numpy", 0.15).verdict(row).text == "at most 150 ms over numpy: 200 ms"


def test_a_missing_peer_leaves_a_floor_open_and_a_missing_minigrad_fails_it() -> None:
    open_floor = Ratio("torch", 1.0).verdict({"minigrad": samples(1.0), "torch": Measured(reason="not installed")})
    assert open_floor.passed is None and open_floor.word == "----" and "not installed" in open_floor.text
    assert Ratio("torch", 1.0).verdict({"minigrad": samples(1.0)}).passed is None
    failed = Ratio("torch", 1.0).verdict({"minigrad": Measured(reason="no conv2d"), "torch": samples(1.0)})
    assert failed.passed is False and "no conv2d" in failed.text


def test_the_issues_floors_are_in_the_table() -> None:
    floors = {w.name: [floor.promise() for floor in w.floors] for w in WORKLOADS if w.floors}
    assert floors == {
        "chain": ["torch/minigrad at least 1.00", "torch.compile/minigrad at least 1.00"],
        "softmax": ["torch/minigrad at least 1.00", "torch.compile/minigrad at least 1.00"],
        "matmul_16": ["at most 5 us"],
        "matmul_512": ["numpy/minigrad at least 0.70"], "matmul_1024": ["numpy/minigrad at least 0.70"],
        "matmul_2048": ["numpy/minigrad at least 0.70"], "xor_step": ["torch/minigrad at least 0.67"],
        "mlp_cold": ["at most 1 s"], "import": ["at most 50 ms over numpy"]}
    assert all(BY_NAME[name].quick for name in floors)


# --- the table ----------------------------------------------------------------------------------------------------

def test_every_row_has_a_function_for_every_library_it_measures() -> None:
    for workload in WORKLOADS:
        assert set(workload.peers) <= set(PEERS)
        if workload.kind != "import":
            for name in ("minigrad", "numpy", *workload.peers):
                assert callable(workload.function(name, LIBRARIES[name].style)), (workload.name, name)


@pytest.mark.parametrize("name", ["xor_step", "mlp_step"])
def test_references_learn(name: str) -> None:
    losses = reference(BY_NAME[name])
    assert losses.dtype == np.float64 and losses[-1] < losses[0]


@pytest.mark.parametrize("name, rows, labels", [("xor", 4, 4), ("mlp", 4, 4), ("cnn", 4, 4), ("lstm", 3, 96),
                                                pytest.param("gpt", 1, 64, marks=pytest.mark.slow)])
def test_hand_written_gradients_match_central_differences(name: str, rows: int, labels: int) -> None:
    gradient = MODELS[name].gradient
    x, y, *weights = [a.astype(np.float64) if a.dtype == np.float32 else a for a in MODELS[name].inputs()]
    x, y = x[:rows], y[:labels]
    _, gradients = gradient(x, y, weights)
    for w, g in zip(weights, gradients, strict=True):
        position = np.unravel_index(np.abs(g).argmax(), g.shape)
        step, saved = 1e-6, w[position]
        w[position] = saved + step
        above, _ = gradient(x, y, weights)
        w[position] = saved - step
        below, _ = gradient(x, y, weights)
        w[position] = saved
        assert g[position] == pytest.approx((above - below) / (2 * step), rel=1e-5)


# --- a worker, in this process and in its own -----------------------------------------------------------------------

def test_a_wrong_result_is_reported_and_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BY_NAME, "small", SMALL)
    right = tmp_path / "right.npy"
    np.save(right, reference(SMALL))
    server = Server(Library())
    assert server.prepare("small", str(right))["error"] < 1e-6
    assert server.run(3, warm=True)["seconds"] > 0
    server.release()
    np.save(right, reference(SMALL) + 1)
    assert "wrong result" in server.prepare("small", str(right))["reason"]
    assert server.run(3, warm=True) == {"reason": "nothing is prepared"}


def test_steps_return_their_losses() -> None:
    call = make_call(BY_NAME["xor_step"], Library(), BY_NAME["xor_step"].inputs())
    assert call() > call() > 0


def test_a_worker_answers_reports_and_dies(tmp_path: Path) -> None:
    worker = Worker("numpy", Settings(), tmp_path)
    try:
        with pytest.raises(Failed, match="nothing is prepared"):
            worker.request(30, do="run", times=1, warm=False)
        with pytest.raises(Failed, match="KeyError: 'nothing'"):
            worker.request(30, do="prepare", workload="nothing", reference="")
        with pytest.raises(Failed, match="no answer within 0 s"):
            worker.answer(0)  # nothing was asked, so it is silent
        assert not worker.alive
    finally:
        worker.kill()


def test_a_library_that_is_not_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(Library):
        name, module_name = "absent", "a_package_that_is_not_there"

    monkeypatch.setitem(LIBRARIES, "absent", Absent)
    session = Session(("absent",), Settings(), tmp_path)
    with pytest.raises(Failed, match="a_package_that_is_not_there is not installed"):
        session.worker("absent")
    row = Workload("import", "", "import", peers=("absent",))
    assert measure(row, session)["absent"].reason == "a_package_that_is_not_there is not installed"


# --- what is written ------------------------------------------------------------------------------------------------

def test_text_names_times_ratios_shares_and_reasons() -> None:
    run = make_run()
    text = report.text(run)
    assert "multiply-adds in C, GFLOP/s              200.0" in text
    assert "not measured: no compiler" in text and "not measured: not built" in text
    numpy_line = next(line for line in report.row_lines("matmul_1024", run) if "numpy" in line)
    assert "10.0 ms" in numpy_line and "x0.95" in numpy_line and "215 GFLOP/s, 107%" in numpy_line
    assert "x35.00" in text


def test_a_disturbed_sample_and_a_note_are_marked() -> None:
    run = make_run()
    run.rows["chain"]["torch"].others = {0: 0.5, 1: 0.0}
    run.rows["chain"]["minigrad"].note = "plain loop"
    text = "\n".join(report.row_lines("chain", run))
    assert "(disturbed in 1 of 2)" in text and "(plain loop)" in text


def test_floors_text_and_check() -> None:
    lines = report.floors_text(make_run()).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["PASS", "matmul_1024:"], ["PASS", "chain:"], ["----", "chain:"], ["FAIL", "import:"]]


def test_markdown_table() -> None:
    lines = report.markdown(make_run()).splitlines()
    assert lines[0] == "| workload | minigrad | numpy | torch | best peer / minigrad |"
    assert lines[1] == "|---|---|---|---|---|"
    assert lines[2].endswith("| 10.5 ms | 10.0 ms |  | 0.95 |")
    assert lines[4].endswith("| - | 100 ms |  | - |")
    assert all(line.count("|") == 6 for line in lines[:5])
    assert "fma GFLOP/s 200" in lines[-1]


def test_json_holds_every_sample_and_is_json() -> None:
    value = json.loads(json.dumps(report.as_json(make_run())))
    numpy = value["rows"]["matmul_1024"]["libraries"]["numpy"]
    assert numpy["samples"] == {"0": 0.009, "1": 0.011} and numpy["median"] == pytest.approx(0.010)
    assert numpy["ratio"] == pytest.approx(0.95)
    assert value["rows"]["import"]["floors"][0]["passed"] is False
    assert value["versions"]["numpy"] == "2.4" and value["machine"]["cores"] == 2


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = make_run()
    assert picture.baseline(run, "chain") == "minigrad" and picture.baseline(run, "import") == "numpy"
    assert picture.draw(run, tmp_path / "a.png") is None
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    run.rows = {}
    assert picture.draw(run, tmp_path / "b.png") == "no picture: nothing was measured"


def test_arguments_that_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--peers", "torhc"]) == 2
    assert "unknown peer torhc" in capsys.readouterr().err
    assert cli.main(["--only", "nothing"]) == 2
    assert "no workload matches 'nothing'" in capsys.readouterr().err
    assert cli.main(["--only", "("]) == 2


@pytest.mark.parametrize("how", [["-m", "tools.bench"], ["tools/bench"]])
def test_both_ways_in(how: list[str]) -> None:
    done = subprocess.run([sys.executable, *how, "--list", "--only", "^matmul_(64|256)$"], cwd=ROOT, timeout=60,
                          capture_output=True, text=True, check=True)
    assert done.stdout == "matmul_64      a @ b, 64x64\nmatmul_256     a @ b, 256x256\n"
