"""Stage: tests. In: programs that ran. Out: a table of what was drawn and what came out, which is added to others and
written as JSON.
Next: ``coverage.py``."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tools.fuzz.program import Program


class Counts:
    """What was drawn: statements of each kind, dtypes of the Tensors made, settings; and failures of known kinds."""

    def __init__(self) -> None:
        self.programs, self.seconds = 0, 0.0
        self.drawn: dict[str, Counter[str]] = {name: Counter() for name in (
            "statements", "refused", "calls", "dtypes", "settings", "known")}
        self.reached: dict[str, Counter[str]] = {}
        self.failures: list[str] = []

    def add(self, program: Program, kind: str, failure: str) -> None:
        """Count a program, the known kind of its failure, and the text of another."""
        self.programs += 1
        for what in program.kinds:
            self.drawn["refused" if what.endswith(" (refused)") else "statements"][what.removesuffix(" (refused)")] += 1
        for line in program.lines:
            self.drawn["calls"].update(re.findall(r"\.(\w+)\(", line))
            self.drawn["dtypes"].update(re.findall(r"dtype=L\.(\w+)", line))
        self.drawn["settings"].update(program.drawn())
        if kind:
            self.drawn["known"][kind] += 1
        if failure:
            self.failures.append(failure)

    def merge(self, other: dict[str, Any]) -> None:
        """Add what ``record`` gave."""
        self.programs += other["programs"]
        self.seconds += other["seconds"]
        self.failures += other["failures"]
        for mine, theirs in ((self.drawn, other["drawn"]), (self.reached, other["reached"])):
            for name, found in theirs.items():
                counter = mine.setdefault(name, Counter())
                for what, count in found.items():  # not update(), which drops what is 0 in an empty one
                    counter[what] += count

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"programs": self.programs, "seconds": round(self.seconds, 1), "failures": self.failures,
                "drawn": self.drawn, "reached": self.reached}

    def last(self) -> str:
        """The last line of the table."""
        rate = f", {self.programs / self.seconds:.1f} a second of each process" if self.seconds else ""
        return (f"{self.programs} programs{rate}: {len(self.failures)} of them fail, and "
                f"{self.drawn['known'].total()} in a way that is known")

    def text(self) -> str:
        """A table: a line for each sort, the most frequent first."""
        rows = [f"{name:11}" + ", ".join(f"{what} {n}" for what, n in found.most_common())
                for name, found in self.drawn.items() if found]
        return "\n".join([*rows, self.last()])
