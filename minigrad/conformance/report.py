"""Stage: conformance. In: results. Out: a table of families, and each failure with the smallest program that shows it
and its kernel.
Next: ``coverage.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from minigrad.conformance.check import Result

SHOWN = 3
"""Failures of a family that are shown in full; of the others a line."""


class Report:
    """Counts results as they come; ``text`` is the table, ``failures`` the rest."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.families: list[str] = []
        self.failed: list[Result] = []
        self.skipped: Counter[str] = Counter()

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.case.family not in self.families:
                self.families.append(result.case.family)
            self.counts[result.case.family, result.status] += 1
            if result.status == "failed":
                self.failed.append(result)
            elif result.status == "skipped":
                self.skipped[result.reason] += 1

    @property
    def ok(self) -> bool:
        """Whether nothing failed and something passed."""
        return not self.failed and any(status == "passed" for _, status in self.counts)

    def text(self) -> str:
        """The table.

        >>> print(Report().text())
        family         passed  skipped   failed
        total               0        0        0
        """
        lines = [f"{'family':<12}{'passed':>9}{'skipped':>9}{'failed':>9}"]
        for family in [*self.families, "total"]:
            row = [sum(n for (f, s), n in self.counts.items() if s == status and family in (f, "total"))
                   for status in ("passed", "skipped", "failed")]
            lines.append(f"{family:<12}{row[0]:>9}{row[1]:>9}{row[2]:>9}")
        lines += [f"skipped {n}: {reason}" for reason, n in self.skipped.items()]
        return "\n".join(lines)

    def failures(self) -> str:
        """Each failure: the first of a family with program and source, smallest first."""
        lines: list[str] = []
        for family in self.families:
            some = [r for r in self.failed if r.case.family == family]
            some.sort(key=lambda r: (len(r.program), len(r.source)))
            for number, result in enumerate(some):
                lines.append(f"FAILED {result.case}: {result.reason}")
                if number < SHOWN:
                    lines += [_indented(result.program), _indented(result.source)]
        return "\n".join(line for line in lines if line)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
