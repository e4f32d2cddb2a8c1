"""Stage: measuring. In: a statement as text, and the names that it needs. Out: how many seconds a run of it takes.
minigrad computes when values are needed: a Tensor that the statement gives, or assigns to a name at its end, is
computed in each run, as it is in PyTorch.
Next: ``minigrad/utils/tensorboard/``.

https://docs.pytorch.org/docs/stable/benchmark_utils.html
"""

from __future__ import annotations

import ast
import textwrap
import timeit
from collections.abc import Callable
from enum import Enum
from typing import Any, NoReturn

from minigrad import config
from minigrad.tensor import Tensor, realize
from minigrad.utils.benchmark.measurement import Measurement, TaskSpec


class Language(Enum):
    """In what a statement is written."""

    PYTHON = 0
    CPP = 1


class Timer:
    """Measures a statement, which sees ``globals``, on ``num_threads`` threads; ``setup`` and ``global_setup`` run
    before. ``timer`` reads the clock, in seconds. ``label``, ``sub_label``, ``description`` and ``env`` say what it is,
    for ``Compare``.

    ``SyntaxError`` for a statement that is none, ``ValueError`` for one that is no text and for an unknown language,
    ``NotImplementedError`` for C++.

    >>> timer = Timer("x + 1", globals={"x": Tensor([1.0, 2.0])})
    >>> timer.timeit(10).median > 0
    True
    """

    def __init__(self, stmt: str = "pass", setup: str = "pass", global_setup: str = "",
                 timer: Callable[[], float] = timeit.default_timer, globals: dict[str, Any] | None = None,
                 label: str | None = None, sub_label: str | None = None, description: str | None = None,
                 env: str | None = None, num_threads: int = 1, language: Language | str = Language.PYTHON) -> None:
        if not isinstance(stmt, str):
            raise ValueError(f"Currently only a `str` stmt is supported. Got {type(stmt).__name__}.")
        if language in (Language.CPP, "cpp", "c++"):
            raise NotImplementedError("torch.utils.benchmark.Timer(language='c++') is not there")
        if language not in (Language.PYTHON, "py", "python"):
            raise ValueError(f"Invalid language `{language}`.")
        stmt, setup = textwrap.dedent(stmt).strip(), textwrap.dedent(setup).strip()
        self._globals = {**(globals or {}), "__minigrad_compute": _compute}
        self._threads, self._clock = num_threads, timer
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env, num_threads)
        self._setup = "\n".join([global_setup, setup]).strip() or "pass"
        self._text = _computing(stmt)

    def _block(self, number: int) -> float:
        """Seconds of so many runs."""
        inner = timeit.Timer(self._text, self._setup, timer=self._clock, globals=self._globals)
        with config.config(THREADS=self._threads):
            return inner.timeit(number)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One block of ``number`` runs, after a few to warm up.

        >>> Timer().timeit(100).number_per_run
        100
        """
        self._block(max(number // 100, 2))
        return Measurement(number, [self._block(number)], self._task_spec)

    def blocked_autorange(self, callback: Callable[[int, float], Any] | None = None,
                          min_run_time: float = 0.2) -> Measurement:
        """Blocks so long that reading the clock costs nothing, until they took ``min_run_time`` seconds together.
        ``callback`` is given the runs and the seconds of each.

        >>> sum(Timer().blocked_autorange(min_run_time=0.01).raw_times) >= 0.01
        True
        """
        number = self._enough(min_run_time)
        times: list[float] = []
        while sum(times) < min_run_time:
            times.append(self._block(number))
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, self._task_spec)

    def adaptive_autorange(self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
                           callback: Callable[[int, float], Any] | None = None) -> Measurement:
        """Blocks until the quartiles are within ``threshold`` of the median, or ``max_run_time`` seconds are over.

        >>> len(Timer().adaptive_autorange(max_run_time=0.05).times) > 0
        True
        """
        number = self._enough(min_run_time)
        times: list[float] = []
        while True:
            times.append(self._block(number))
            if callback is not None:
                callback(number, times[-1])
            found = Measurement(number, times, self._task_spec)
            if sum(times) >= max_run_time or (sum(times) >= min_run_time and len(times) > 3 and
                                              found.iqr < threshold * found.median):
                return found

    def _enough(self, seconds: float) -> int:
        """Runs in a block: about a hundredth of the time, at most a million."""
        number = 1
        while True:
            took = self._block(number)
            if took > max(1e-4, seconds / 1000) or number >= 1_000_000:
                return number
            number *= 10

    def collect_callgrind(self, *args: Any, **options: Any) -> NoReturn:
        """``NotImplementedError``: instructions are not counted."""
        raise NotImplementedError("torch.utils.benchmark.Timer.collect_callgrind is not there: instructions are not "
                                  "counted")


def _compute(*values: Any) -> None:
    """Have the values that are Tensors computed."""
    tensors = [v for v in values if isinstance(v, Tensor)]
    if tensors:
        realize(*tensors)


def _computing(stmt: str) -> str:
    """The statement, and the computation of its result.

    >>> _computing("y = x + 1")
    'y = x + 1\\n__minigrad_compute(y)'
    """
    tree = ast.parse(textwrap.dedent(stmt))
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        call = ast.Call(ast.Name("__minigrad_compute", ast.Load()), [last.value], [])
        tree.body[-1] = ast.Expr(call)
    elif isinstance(last, ast.Assign | ast.AugAssign):
        targets = last.targets if isinstance(last, ast.Assign) else [last.target]
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        tree.body += ast.parse(f"__minigrad_compute({', '.join(names)})").body
    return ast.unparse(tree)
