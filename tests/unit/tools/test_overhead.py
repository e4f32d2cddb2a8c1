"""Stage: tests of ``tools/bench``: the rows of ``python -m tools.bench overhead`` with tiny sizes. Nothing is timed
here.
Next: ``tools/bench/overhead.py``."""

from __future__ import annotations

import doctest
import importlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tools.bench import cli, programs, report
from tools.bench.figures import Measured, relative_error
from tools.bench.floors import AtMost, FigureAtMost
from tools.bench.libraries import LIBRARIES
from tools.bench.measure import Failed, Settings, measure, open_session
from tools.bench.overhead import OVERHEAD
from tools.bench.suites import BY_NAME, SUITES
from tools.bench.worker import ONCE, Server, fresh, reference
from tools.bench.workloads import Workload

MOONS = partial(programs.moons_inputs, 3, (2, 3, 1))
# The rows that would take long: other inputs, and other arguments of their functions.
TINY = {
    "micrograd_first": (MOONS, {}), "micrograd_later": (MOONS, {"count": 1}), "micrograd_25": (MOONS, {"count": 1}),
    "micrograd_batches": (MOONS, {"batch": 2, "before": 1, "count": 1}), "chain_20000": (None, {"ops": 6}),
    "chain_20000_0d": (None, {"ops": 6}), "heat_5000": (partial(programs.heat_inputs, 8), {"count": 2}),
    "rnn_first": (partial(programs.rnn_inputs, 3), {}), "rnn_later": (partial(programs.rnn_inputs, 3), {}),
    "writes_3000": (partial(programs.list_inputs, 5), {}), "growing_cold": (partial(programs.growing_inputs, 2, 8), {}),
    "growing_cached": (partial(programs.growing_inputs, 2, 8), {}),
    "list_1000000": (partial(programs.list_inputs, 10), {}), "plan_1000": (None, {"small": 1, "large": 2}),
    "explain_xor": (None, {"count": 2}), "explain_mlp": (None, {"count": 1}), "explain_recorded": (None, {"count": 2}),
    "explain_off": (None, {"count": 2}),
}


def tiny(row: Workload) -> Workload:
    inputs, arguments = TINY.get(row.name, (None, {}))
    functions = {style: partial(f, **arguments) if arguments else f for style, f in row.functions.items()}
    return replace(row, inputs=inputs or row.inputs, functions=functions)


@pytest.mark.parametrize("name", ["overhead", "programs", "suites"])
def test_doctests(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"tools.bench.{name}")).failed == 0


def test_the_tables_are_whole() -> None:
    assert set(TINY) <= {row.name for row in OVERHEAD}
    assert all(BY_NAME[row.name] is row for suite in SUITES.values() for row in suite.workloads)
    for row in OVERHEAD:
        assert set(row.peers) <= {*SUITES["overhead"].peers}
        for name in ("minigrad", "numpy", *row.peers):
            assert callable(row.function(name, LIBRARIES[name].style)), (row.name, name)
    assert [row.name for row in OVERHEAD if not row.floors] == [
        "mlp_jit", "op_recorded", "op_recorded_tracked", "rnn_later"]


@pytest.mark.parametrize("row", [tiny(row) for row in OVERHEAD if row.kind in ONCE], ids=lambda row: row.name)
@pytest.mark.parametrize("library", ["minigrad", "micrograd"])
def test_programs_give_what_numpy_gives(row: Workload, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library not in ("minigrad", *row.peers):
        return
    pytest.importorskip(library)
    monkeypatch.setitem(BY_NAME, row.name, row)
    answer = json.loads(json.dumps(fresh(library, row.name, 1)))
    assert relative_error(answer["value"], reference(row)) <= row.tolerance
    assert answer["seconds"] > 0
    assert all(value >= 0 for value in answer["figures"].values())


@pytest.mark.parametrize("row", [tiny(row) for row in OVERHEAD if row.kind not in ONCE], ids=lambda row: row.name)
def test_rows_are_prepared_and_run(row: Workload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import minigrad

    monkeypatch.setitem(BY_NAME, row.name, row)
    np.save(tmp_path / "reference.npy", reference(row))
    server = Server(LIBRARIES["minigrad"]())
    if row.name.endswith("_jit") and not hasattr(minigrad, "jit"):
        with pytest.raises(NotImplementedError, match="minigrad has no jit yet"):
            server.prepare(row.name, str(tmp_path / "reference.npy"))
        return
    answer = server.prepare(row.name, str(tmp_path / "reference.npy"))
    assert "reason" not in answer, answer
    assert server.run(2, warm=False)["seconds"] > 0


def test_gradients_of_the_numpy_network_match_central_differences() -> None:
    arrays = [a.astype(np.float64) for a in programs.moons_inputs(5, (2, 4, 1))]
    numpy = LIBRARIES["numpy"]()

    def loss(weights: list[np.ndarray]) -> float:
        return next(programs.numpy_scalar_steps(numpy, [*arrays[:2], *weights], 0))

    before = [a.copy() for a in arrays[2:]]
    after = [a.copy() for a in arrays[2:]]
    steps = programs.numpy_scalar_steps(numpy, [*arrays[:2], *after], 0)
    next(steps)
    second = next(steps)
    moved = []
    for w in before:  # the first step's rate is 1: the weights after it are the weights minus the gradient
        gradient = np.zeros_like(w)
        for index in np.ndindex(w.shape):
            saved = w[index]
            w[index] = saved + 1e-6
            above = loss(before)
            w[index] = saved - 1e-6
            gradient[index] = (above - loss(before)) / 2e-6
            w[index] = saved
        moved.append(w - gradient)
    assert loss(moved) == pytest.approx(second, rel=1e-6)


def test_fresh_processes_caches_and_time_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NumPy as the only library, so that it takes a second."""
    row = replace(BY_NAME["heat_5000"], peers=("numpy",))
    with open_session(("numpy",), Settings(rounds=1)) as session:
        column = measure(row, session)["numpy"]
        assert len(column.samples) == 1 and column.median and column.median > 0
        cached = measure(replace(row, kind="cached"), session)["numpy"]
        assert list(cached.samples) == [0]
        assert [path.name for path in session.folder.glob("*.caches/*")] == ["numpy"]

        def late(*arguments: str, **options: object) -> str:
            raise Failed.late(60)

        path = session.folder / "kept.npy"
        np.save(path, np.zeros(1))
        monkeypatch.setattr(session, "reference", lambda workload: path)
        monkeypatch.setattr(session, "child", late)
        stopped = measure(row, session)["numpy"]
    assert stopped.over == 60 and stopped.shown == "> 60 s"
    run = report.Run("2026-01-02", {"processor": "a", "cores": 2, "threads": 2, "python": "3"},
                     {"libraries": ["numpy"]}, rows={"heat_5000": {"minigrad": stopped, "numpy": column}})
    assert "> 60 s: no answer within 60 s" in report.text(run)
    assert "| > 60 s |" in report.markdown(replace(run, settings={"libraries": ["minigrad", "numpy"]}))
    assert "limits" not in report.text(run)


def test_figures_have_floors_and_are_printed() -> None:
    column = Measured({0: 0.2}, figures={"MB more memory": {0: 120.0}})
    floor = FigureAtMost("MB more memory", 100)
    assert floor.verdict({"minigrad": column}).text == "at most 100 MB more memory: 120"
    assert floor.verdict({"minigrad": column}).passed is False
    assert floor.verdict({"minigrad": Measured({0: 0.2})}).passed is None
    assert AtMost(0.25).verdict({"minigrad": column}).text == "at most 250 ms: 200 ms"
    run = report.Run("2026-01-02", {}, {"libraries": ["minigrad"]}, rows={"chain_20000": {"minigrad": column}})
    assert "120 MB more memory" in report.row_lines("chain_20000", run)[1]


def test_a_time_is_that_of_one_part() -> None:
    row = replace(BY_NAME["op_untracked"], peers=("numpy",))
    with open_session(("numpy",), Settings(rounds=1, target=0.01)) as session:
        column = measure(row, session)["numpy"]
    assert column.median and column.median < 50e-6  # an op, not a hundred


def test_rows_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["overhead", "--list", "--rows", "rnn_first,xor_jit"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["xor_jit", "rnn_first"]
    assert cli.main(["overhead", "--rows", "rnn"]) == 2
    assert "no row rnn; the rows are xor_plain" in capsys.readouterr().err
