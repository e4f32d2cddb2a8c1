"""Stage: measuring. In: measurements. Out: ``Compare``, a table of them: a row for what was measured, a column for each
way of doing it.
Next: ``timer.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import pairwise

from minigrad.utils.benchmark.measurement import (
    Measurement,
    digits_of,
    ordered_unique,
    select_unit,
    trim_sigfig,
    unit_to_english,
)

END = "\033[0m"
BEST, GOOD, BAD, WORST = "\033[92m\033[1m", "\033[34m", "\033[2m\033[91m", "\033[31m\033[1m"
"""What turns a terminal's text green and bold, blue, faint red, red and bold."""

EQUAL, NEAR, FAR, FARTHEST = 1.01, 1.1, 2.0, 5.0
"""Times the best: up to where a time is as good, and nearly so; from where on it is bad, and worst."""


class Colorize(Enum):
    """Among which times the best is looked for."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


class Compare:
    """A table of measurements for each ``label``: the ``sub_label`` says the row, the ``description`` the column;
    ``env`` and the number of threads divide rows further. Times of the same are merged; a cell is their median.

    >>> from minigrad.utils.benchmark import TaskSpec
    >>> def took(seconds, row, column):
    ...     return Measurement(1, [seconds], TaskSpec("", "", label="sum", sub_label=row, description=column))
    >>> found = Compare([took(1e-5, "small", "loop"), took(3e-6, "small", "numpy"), took(2e-3, "large", "loop")])
    >>> print("\\n".join([line.rstrip() for line in str(found).splitlines()]))
    [------------ sum -------------]
                 |   loop   |  numpy
    1 threads: ---------------------
          small  |    10.0  |    3.0
          large  |  2000.0  |
    <BLANKLINE>
    Times are in microseconds (us).
    """

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trims = self._warns = False
        self._colours = Colorize.NONE

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements. ``ValueError`` for what is none."""
        results = list(results)
        for one in results:
            if not isinstance(one, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(one)} instead.")
        self._results += results

    def trim_significant_figures(self) -> None:
        """Show only digits that can be trusted."""
        self._trims = True

    def colorize(self, rowwise: bool = False) -> None:
        """Colour the best and the worst of each column, or row, for a terminal."""
        self._colours = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Show beside noisy times how far their quartiles are apart, in percent of the median."""
        self._warns = True

    def print(self) -> None:
        """Print the table."""
        print(str(self))

    def __str__(self) -> str:
        results = Measurement.merge(self._results)
        labels = ordered_unique([m.label for m in results])
        return "\n".join([self._table([m for m in results if m.label == label]) for label in labels])

    def _table(self, results: Sequence[Measurement]) -> str:
        """The table of one label."""
        unit, size = select_unit(min([m.median for m in results]))
        columns = ordered_unique([m.description for m in results])
        keys = ordered_unique([_row(m) for m in results])
        keys.sort(key=lambda key: key[:2])
        cells = {(_row(m), m.description): m for m in results}
        texts = {column: _column([cells.get((key, column)) for key in keys], size, self._trims, self._warns)
                 for column in columns}
        widths = {column: max(map(len, [column or "", *texts[column]])) for column in columns}
        environments = max([len(f"({env})  ") for _, env, _ in keys if env], default=0)
        names = [(f"({key[1]})" if key[1] and key[:2] != before[:2] else "").ljust(environments) + key[2]
                 for before, key in pairwise([(0, "", ""), *keys])]  # of rows of one environment the first names it
        indent = " " * (2 if environments else 6)
        first = max([len(indent + name) for name in names])
        heads = [(column or "").center(widths[column]) for column in columns]
        head = "  |  ".join([" " * first, *heads])
        title = f" {results[0].label or ''} ".center(len(head) - 2, "-")
        lines, threads = [f"[{title}]", head], 0
        for i, (key, name) in enumerate(zip(keys, names, strict=True)):
            if key[0] != threads:
                threads = key[0]
                lines.append(f"{threads} threads: ".ljust(len(head), "-"))
            shown = [self._coloured(texts[column][i].rjust(widths[column]), cells, key, column, columns, keys)
                     for column in columns]
            lines.append("  |  ".join([(indent + name).ljust(first), *shown]))
        lines += ["", f"Times are in {unit_to_english(unit)}s ({unit})."]
        if self._warns and any([m.has_warnings for m in results]):
            lines.append("(! XX%) Measurement has high variance, where XX is the IQR / median * 100.")
        return "\n".join([*lines, ""])

    def _coloured(self, text: str, cells: dict[tuple[Row, str | None], Measurement], key: Row, column: str | None,
                  columns: Sequence[str | None], keys: Sequence[Row]) -> str:
        """The text of a cell, in the colour of its time beside the best of its row or column."""
        here = cells.get((key, column))
        if here is None or self._colours is Colorize.NONE:
            return text
        others = ([cells.get((key, c)) for c in columns] if self._colours is Colorize.ROWWISE else
                  [cells.get((k, column)) for k in keys])
        times = here.median / min([m.median for m in others if m is not None])
        colour = (BEST if times <= EQUAL else GOOD if times <= NEAR else WORST if times >= FARTHEST else
                  BAD if times >= FAR else "")
        return f"{colour}{text}{END}" if colour else text


Row = tuple[int, str, str]


def _row(m: Measurement) -> Row:
    """The threads, the environment and the name of a measurement's row."""
    return m.num_threads, m.task_spec.env or "", m.as_row_name


def _column(found: Sequence[Measurement | None], size: float, trims: bool, warns: bool) -> list[str]:
    """The texts of a column's cells: numbers with as many decimals in all, and the warnings."""
    there = [m for m in found if m is not None]
    times = [m.median / size for m in there]
    figures = [m.significant_figures for m in there]
    decimals = min(1, digits_of(times, figures)) if trims else 1
    texts = []
    for m in found:
        if m is None:
            texts.append("")
            continue
        time = trim_sigfig(m.median / size, m.significant_figures) if trims else m.median / size
        warning = f" (! {m.iqr / m.median * 100:.0f}%)" if warns and m.has_warnings else ""
        texts.append(f"{time:.{decimals}f}{warning}")
    longest = max([len(t) - t.index("(!") + 1 for t in texts if "(!" in t], default=0)
    return [t if "(!" in t or not t else t + " " * longest for t in texts]
