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
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, NoReturn

from minigrad import config
from minigrad.tensor import Tensor, realize

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


@dataclass
class Measurement:
    """``raw_times``: seconds of each block of ``number_per_run`` runs; ``times``: seconds of a run."""

    number_per_run: int
    raw_times: list[float]
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    num_threads: int = 1
    stmt: str = ""

    @property
    def times(self) -> list[float]:
        """Seconds of a run, block by block."""
        return [t / self.number_per_run for t in self.raw_times]

    def _at(self, share: float) -> float:
        times = sorted(self.times)
        return times[0] if len(times) == 1 else quantiles(times, n=100, method="inclusive")[round(share * 100) - 1]

    @property
    def median(self) -> float:
        """The median of ``times``.

        >>> Measurement(10, [1.0, 2.0, 6.0]).median
        0.2
        """
        return self._at(0.5)

    @property
    def mean(self) -> float:
        """The mean of ``times``."""
        return sum(self.times) / len(self.times)

    @property
    def iqr(self) -> float:
        """The distance from the first to the third quartile."""
        return self._at(0.75) - self._at(0.25)

    @property
    def has_warnings(self) -> bool:
        """Whether the times differ so much that they say little."""
        return self.iqr / self.median > 0.1

    @property
    def title(self) -> str:
        """What was measured."""
        return self.label or self.stmt

    def __repr__(self) -> str:
        scale, unit = next(((s, u) for s, u in _UNITS if self.median >= s), _UNITS[-1])
        head = f"<{type(self).__module__}.Measurement>\n{self.title}"
        more = "".join([f": {part}" for part in (self.sub_label, self.description) if part])
        runs = len(self.raw_times)
        threads = f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}"
        size = (f"{runs} measurement{'s' if runs > 1 else ''}, {self.number_per_run} runs "
                f"{'per measurement' if runs > 1 else ''}, {threads}")
        middle = f"  {self.median / scale:.2f} {unit}" if runs == 1 else (
            f"  Median: {self.median / scale:.2f} {unit}\n  IQR:    {self.iqr / scale:.2f} {unit} "
            f"({self._at(0.25) / scale:.2f} to {self._at(0.75) / scale:.2f})")
        return f"{head}{more}\n{middle}\n  {size}"


class Timer:
    """Measures a statement, which sees ``globals``, on ``num_threads`` threads. ``NotImplementedError`` for C++.

    >>> timer = Timer("x + 1", globals={"x": Tensor([1.0, 2.0])})
    >>> timer.timeit(10).median > 0
    True
    """

    def __init__(self, stmt: str = "pass", setup: str = "pass", global_setup: str = "",
                 timer: Callable[[], float] = timeit.default_timer, globals: dict[str, Any] | None = None,
                 label: str | None = None, sub_label: str | None = None, description: str | None = None,
                 env: str | None = None, num_threads: int = 1, language: Any = "python") -> None:
        if str(getattr(language, "name", language)).lower() not in ("python", "py", "0"):
            raise NotImplementedError("torch.utils.benchmark.Timer(language='c++') is not there")
        self._globals = {**(globals or {}), "__minigrad_compute": _compute}
        self._stmt, self._threads, self._clock = stmt, num_threads, timer
        self._about = {"label": label, "sub_label": sub_label, "description": description,
                       "num_threads": num_threads, "stmt": stmt}
        self._setup = setup
        self._text = _computing(stmt)

    def _block(self, number: int) -> float:
        """Seconds of so many runs."""
        inner = timeit.Timer(self._text, self._setup, timer=self._clock, globals=self._globals)
        with config.config(THREADS=self._threads):
            return inner.timeit(number)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One block of ``number`` runs, after a few to warm up."""
        self._block(max(number // 100, 2))
        return Measurement(number, [self._block(number)], **self._about)  # type: ignore[arg-type]

    def blocked_autorange(self, callback: Callable[[int, float], Any] | None = None,
                          min_run_time: float = 0.2) -> Measurement:
        """Blocks so long that reading the clock costs nothing, until they took ``min_run_time`` seconds together."""
        number = self._enough(min_run_time)
        times: list[float] = []
        while sum(times) < min_run_time:
            times.append(self._block(number))
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, **self._about)  # type: ignore[arg-type]

    def adaptive_autorange(self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
                           callback: Callable[[int, float], Any] | None = None) -> Measurement:
        """Blocks until the quartiles are within ``threshold`` of the median, or ``max_run_time`` seconds are over."""
        number = self._enough(min_run_time)
        times: list[float] = []
        while True:
            times.append(self._block(number))
            if callback is not None:
                callback(number, times[-1])
            found = Measurement(number, times, **self._about)  # type: ignore[arg-type]
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
