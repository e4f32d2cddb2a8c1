"""Stage: tests. In: statements. Out: measurements, in which what the statement leaves pending has been computed.
Next: ``tests/torch/``."""

from __future__ import annotations

import pytest

import minigrad
from minigrad.utils.benchmark import Compare, Language, Measurement, TaskSpec, Timer


def test_results_are_computed_in_each_run() -> None:
    x = minigrad.ones(10)
    for stmt in ("x + 1", "y = x + 1"):
        with minigrad.inspect() as seen:
            found = Timer(stmt, globals={"x": x}).timeit(10)
        assert found.number_per_run == 10 and found.median > 0
        assert seen.launches >= 10


def test_measurement() -> None:
    found = Measurement(10, [1.0, 2.0, 6.0, 2.0], TaskSpec("x", "pass", label="mine"))
    assert (found.median, found.mean) == (0.2, 0.275)
    assert "mine" in repr(found) and "Median: 200.00 ms" in repr(found) and found.has_warnings
    assert (found.label, found.num_threads, found.env) == ("mine", 1, None)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = found.nothing
    with pytest.raises(TypeError, match="should be a TaskSpec"):
        Measurement(1, [1.0], "x")  # type: ignore[arg-type]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="Only a|only a"):
        Timer(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Invalid language `fortran`"):
        Timer(language="fortran")
    with pytest.raises(NotImplementedError, match="c\\+\\+"):
        Timer(language=Language.CPP)
    with pytest.raises(SyntaxError):
        Timer("x +")
    with pytest.raises(ValueError, match="instance of `Measurement`"):
        Compare([3])  # type: ignore[list-item]


def test_setups_run_before() -> None:
    timer = Timer("a + b", setup="b = 2", global_setup="a = 1", description="numbers", env="here", num_threads=2)
    found = timer.blocked_autorange(min_run_time=0.01)
    assert (found.description, found.env, found.num_threads) == ("numbers", "here", 2)
    assert "setup: b = 2" in repr(found) and "2 threads" in repr(found)
    with minigrad.config(THREADS=1):
        assert Timer("print(minigrad.config.get('THREADS'))", globals={"minigrad": minigrad}).timeit(1)


def test_colours_are_those_of_the_best_and_the_worst() -> None:
    def took(seconds: float, row: str, column: str) -> Measurement:
        return Measurement(1, [seconds], TaskSpec("", "", label="sum", sub_label=row, description=column))

    compare = Compare([took(1.0, "a", "x"), took(9.0, "b", "x"), took(3.0, "a", "y"), took(3.2, "b", "y")])
    assert "\033" not in str(compare)
    compare.colorize()
    green, red = str(compare).split("\033[92m")[1:], str(compare).split("\033[31m")[1:]
    assert [part[4:11].split("\033")[0].strip() for part in green] == ["1.0", "3.0"] and len(red) == 1
    compare.colorize(rowwise=True)
    assert [part[4:11].split("\033")[0].strip() for part in str(compare).split("\033[92m")[1:]] == ["1.0", "3.2"]
