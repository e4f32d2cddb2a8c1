"""Stage: beside the house. In: one run. Out: a PNG of every library's time relative to one of them, row by row.
Needs matplotlib. Next: ``cli.py``."""

from __future__ import annotations

from pathlib import Path

from tools.bench.figures import duration, median_ratio
from tools.bench.libraries import LIBRARIES
from tools.bench.report import Run

MARKERS = {"minigrad": "D", "numpy": "s", "torch": "o", "torch.compile": "^", "jax": "v", "tinygrad": "P",
           "minigrad-opencl": "d", "minigrad-cuda": "d", "torch-cuda": "o"}
COLOURS = {"minigrad": "black", "numpy": "tab:blue", "torch": "tab:red", "torch.compile": "tab:orange",
           "jax": "tab:green", "tinygrad": "tab:purple", "minigrad-opencl": "tab:gray", "minigrad-cuda": "tab:olive",
           "torch-cuda": "tab:brown"}


def baseline(run: Run, row: str) -> str | None:
    """The library the others are compared with: minigrad, or while it is not measured the row's first that is.

    >>> baseline(Run("", {}, {}, rows={"chain": {}}), "chain") is None
    True
    """
    columns = run.rows[row]
    return next((name for name in LIBRARIES if name in columns and columns[name].samples), None)


def draw(run: Run, path: Path) -> str | None:
    """Write the picture. Returns why not where matplotlib is missing or nothing was measured, else None."""
    try:
        import matplotlib
    except ImportError:
        return "no picture: matplotlib is not installed"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in run.rows if baseline(run, row)]
    if not rows:
        return "no picture: nothing was measured"
    figure, axes = pyplot.subplots(figsize=(10, 1.6 + 0.42 * len(rows)), layout="constrained")
    drawn: set[str] = set()
    labels = []
    for height, row in enumerate(rows):
        columns, base = run.rows[row], baseline(run, row)
        assert base is not None
        labels.append(f"{row}  ({'' if base == 'minigrad' else base + ' '}{duration(columns[base].median)})")
        for name, column in columns.items():
            ratio = median_ratio(column, columns[base])
            if ratio is not None:
                axes.plot(ratio, height, MARKERS[name], color=COLOURS[name], markersize=8, alpha=0.85,
                          label=None if name in drawn else name)
                drawn.add(name)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", which="both", linewidth=0.3)
    axes.grid(axis="y", linewidth=0.3, linestyle=":")
    axes.set_xlabel("time relative to minigrad's, or to the library named in the row (right of the line: slower)")
    axes.set_title(f"{run.machine['processor']}, {run.machine['threads']} threads, {run.date[:10]}", fontsize=10)
    figure.legend(loc="outside upper center", ncols=len(drawn))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return None
