"""Stage: tests. In: measurements of the same times, made by PyTorch's benchmark and here. Out: the same statistics,
words and tables.
Next: ``test_profiler_against_torch.py``."""

from __future__ import annotations

from typing import Any

import pytest

import minigrad
from minigrad.utils import benchmark as ours

torch = pytest.importorskip("torch")
import torch.utils.benchmark as theirs  # noqa: E402

STEADY, NOISY = [1.0, 1.02, 0.99, 1.01], [1.0, 2.0, 3.0, 4.0]


def measured(library: Any, seconds: float, shape: list[float] = STEADY, **about: Any) -> Any:
    """A measurement of four blocks."""
    about = {"stmt": "x", "setup": "pass", **about}
    return library.Measurement(10, [10 * seconds * t for t in shape], library.TaskSpec(**about))


CASES = {
    "labelled": (1e-5, STEADY, {"label": "mul", "sub_label": "1x1", "description": "a*b"}),
    "noisy": (0.1, NOISY, {"label": "mul"}),
    "doubtful": (1e-3, [1.0, 1.1, 1.3, 1.0, 1.2], {"stmt": "f(x)", "setup": "x = 3", "num_threads": 4}),
    "long": (2e-9, [1.0, 1.5], {"stmt": "a\nb", "setup": "c\nd", "sub_label": "z"}),
    "one": (3.0, [1.0], {"description": "what", "env": "there"}),
}


@pytest.mark.parametrize(("seconds", "shape", "about"), CASES.values(), ids=CASES)
def test_measurements(seconds: float, shape: list[float], about: dict[str, Any]) -> None:
    a, b = (measured(library, seconds, shape, **about) for library in (ours, theirs))
    assert repr(a).split("\n")[1:] == repr(b).split("\n")[1:]
    for name in ("title", "env", "as_row_name", "significant_figures", "has_warnings", "stmt", "label"):
        assert getattr(a, name) == getattr(b, name), name
    assert a.meets_confidence() == b.meets_confidence() and a.task_spec.summarize() == b.task_spec.summarize()
    for name in ("median", "mean", "iqr"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-18)


def table(library: Any, *how: str, env: bool = False) -> str:
    """A table of several rows, columns and numbers of threads."""
    def took(row: str, column: str, seconds: float, threads: int = 1, shape: list[float] = STEADY) -> Any:
        return measured(library, seconds, shape, label="mul", sub_label=row, description=column, num_threads=threads,
                        env="branch" if env and column == "mm" else "main" if env else None)

    rows = [took("1x1", "a*b", 1e-5), took("1x1", "mm", 2.34567e-5), took("64x64", "a*b", 1.5e-4),
            took("64x64", "mm", 9.3e-3), took("64x64", "mm", 9.6e-3, 4), took("1x1", "mm", 9.6e-6, 4),
            took("odd", "mm", 2e-3, 1, NOISY)]
    compare = library.Compare(rows[:6] if env else rows)
    for name in how:
        getattr(compare, name)()
    return str(compare)


@pytest.mark.parametrize("how", [(), ("highlight_warnings",)])
def test_tables(how: tuple[str, ...]) -> None:
    assert table(ours, *how) == table(theirs, *how)


def test_tables_of_two_environments() -> None:
    assert table(ours, env=True) == table(theirs, env=True)


def test_merging() -> None:
    found = [library.Measurement.merge([measured(library, t, label=w) for t, w in ((1.0, "a"), (2.0, "b"), (3.0, "a"))])
             for library in (ours, theirs)]
    assert [[(m.label, m.number_per_run, m.times) for m in many] for many in found[:1]] == [
        [(m.label, m.number_per_run, m.times) for m in many] for many in found[1:]]


@pytest.mark.parametrize("value", [3e-9, 1e-6, 2.5e-5, 1e-3, 0.5, 1.0, 70.0])
def test_units(value: float) -> None:
    assert ours.select_unit(value) == theirs.select_unit(value)
    assert ours.unit_to_english(ours.select_unit(value)[0]) == theirs.unit_to_english(theirs.select_unit(value)[0])
    for n in (1, 2, 4):
        assert ours.trim_sigfig(value * 1.23456, n) == pytest.approx(theirs.trim_sigfig(value * 1.23456, n))


def test_what_a_fuzzer_gives() -> None:
    """Whatever is drawn, it looks the same, and lies in memory in the same way."""
    for make, library in ((ours, minigrad), (theirs, torch)):
        sides = [make.FuzzedParameter(name, 2, 6, "uniform") for name in "ij"]
        scale = make.FuzzedParameter("scale", 0.5, 2.0, "uniform")
        x = make.FuzzedTensor("x", ("i", "j"), steps=(1, "i"), probability_contiguous=0.5, dtype=library.float64)
        fuzzer = make.Fuzzer([sides, scale], [x], [lambda p: p["i"] != 3], seed=0)
        transposed = []
        for tensors, said, sizes in fuzzer.take(40):
            (i, j, scaled), about, made = sizes.values(), said["x"], tensors["x"]
            assert list(sizes) == ["i", "j", "scale"] and i != 3 and isinstance(scaled, float)
            assert tuple(made.shape) == (i, j) and made.dtype is library.float64
            transposed.append(about["order"].tolist() == [1, 0])
            assert made.stride() == ((1, i * i) if transposed[-1] else (j * i, i))
            assert list(about) == ["numel", "order", "steps", "is_contiguous", "dtype"]
            assert (about["numel"], about["steps"], about["is_contiguous"]) == (i * j, (1, i), made.is_contiguous())
            assert about["dtype"] == str(made.dtype)
        assert 0.6 < 1 - fuzzer.rejection_rate < 1 and True in transposed and False in transposed
    assert repr(ours.ParameterAlias("n")) == repr(theirs.ParameterAlias("n"))
