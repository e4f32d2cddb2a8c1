"""Stage: explaining. In: ``with minigrad.explain("page.html"):`` around a part of a program. Out: the page, when the
block is over.
Next: ``__main__.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minigrad.explain.before import before
from minigrad.explain.dot import dot
from minigrad.explain.model import Report
from minigrad.explain.page import page
from minigrad.explain.perfetto import trace
from minigrad.explain.recording import Recorder
from minigrad.explain.report import report_of


class Explained:
    """What ``minigrad.explain`` gives; a notebook shows it. ``report`` is there when the block is over."""

    report: Report

    def html(self) -> str:
        """The page."""
        return page(self.report)

    def save(self, path: str | Path) -> None:
        """Write the page. If the name ends in ``.json``, the data alone; in ``.trace.json``, the timeline, for
        Perfetto; in ``.dot``, the graphs, for Graphviz."""
        path = Path(path)
        if path.name.endswith(".trace.json"):
            text = json.dumps(trace(self.report))
        elif path.suffix == ".dot":
            text = dot(self.report)
        else:
            text = json.dumps(self.report.plain(), indent=1) if path.suffix == ".json" else self.html()
        path.write_text(text, encoding="utf-8")

    def _repr_html_(self) -> str:
        """The page in a frame; notebooks call this."""
        text = self.html().replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe srcdoc="{text}" style="width: 100%; height: 900px; border: 0"></iframe>'


@contextmanager
def explain(path: str | Path | None = None, title: str | None = None, against: str | Path | None = None,
            ) -> Iterator[Explained]:
    """Record what a block runs, and write a page about it to ``path``, also if the block raises. A name that ends in
    ``.json`` gets the data alone, one in ``.trace.json`` the timeline, for Perfetto, one in ``.dot`` the graphs, for
    Graphviz. Without a path, ``save`` of what
    the block gives writes one later. ``against``: the data of another run, with whose times those of this one are
    shown; ``ValueError`` if the file is no such data.

    All graphs are compiled in the block (as by ``TIERS=0``), and the first time that calls come they are recorded, not
    replayed: both are what a longer run comes to. Kernels are timed one by one, as by ``inspect``.

    >>> import minigrad
    >>> with minigrad.explain() as explained:
    ...     y = minigrad.ones(3).exp().tolist()
    >>> [kernel.name for kernel in explained.report.kernels], len(explained.report.runs)
    (['exp_3'], 1)
    """
    explained, recorder = Explained(), Recorder()
    other = None if against is None else before(against)
    try:
        with recorder.recording():
            yield explained
    finally:
        explained.report = report_of(recorder, title or Path(sys.argv[0] or "minigrad").name)
        explained.report.before = other
        if path is not None:
            explained.save(path)
