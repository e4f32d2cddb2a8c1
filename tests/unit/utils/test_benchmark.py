"""Stage: tests. In: statements. Out: measurements, in which what the statement leaves pending has been computed.
Next: ``tests/torch/``."""

from __future__ import annotations

import minigrad
from minigrad.utils.benchmark import Measurement, Timer


def test_results_are_computed_in_each_run() -> None:
    x = minigrad.ones(10)
    for stmt in ("x + 1", "y = x + 1"):
        with minigrad.inspect() as seen:
            found = Timer(stmt, globals={"x": x}).timeit(10)
        assert found.number_per_run == 10 and found.median > 0
        assert seen.launches >= 10


def test_measurement() -> None:
    found = Measurement(10, [1.0, 2.0, 6.0, 2.0], label="mine")
    assert (found.median, found.mean) == (0.2, 0.275)
    assert "mine" in repr(found) and "Median: 200.00 ms" in repr(found)
