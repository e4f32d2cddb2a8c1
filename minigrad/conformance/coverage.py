"""Stage: conformance. In: the grammar of ops, the cases. Out: for each op, dtype and device how many cases there are,
or why there is none: a pair that is merely forgotten is found.
Next: ``__main__.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minigrad.conformance.case import Case
from minigrad.dtype import ALL, DType, float64
from minigrad.ops import COMPLEX_OPS, MOVEMENT, REDUCE_OPS, SCALAR_OPS, SCATTER_MODES, Op
from minigrad.runtime.device import get_device


@dataclass(frozen=True)
class Row:
    """An op and a dtype on a device: ``cases`` of them are drawn, or ``reason`` says why none."""

    family: str
    op: str
    dtype: DType
    cases: int
    reason: str


def ops() -> Iterator[tuple[str, str]]:
    """The family and the name of each op of the grammar that has a dtype of its own; those that make complex numbers or
    take them apart are in their family."""
    for row in SCALAR_OPS.values():
        if row.name not in COMPLEX_OPS:
            yield "elementwise", row.name
    for family in ("reduce", "scan"):
        for name in REDUCE_OPS:
            yield family, name
    for mode in SCATTER_MODES:
        yield "scatter", mode
    for name in sorted(MOVEMENT):
        yield "movement", name
    yield from (("gather", "GATHER"), ("assign", "ASSIGN"), ("memory", Op.CONTIGUOUS), ("memory", Op.COPY),
                ("source", Op.CONST), ("source", Op.SCALAR))


def coverage(cases: Iterable[Case], device: str) -> list[Row]:
    """A row for each op and dtype. Complex types have a family of their own, ``complex_numbers.py``.

    >>> from minigrad.conformance import cases
    >>> from minigrad.dtype import bool_
    >>> rows = coverage(cases(), "CPU")
    >>> [r.reason for r in rows if (r.op, r.dtype) == ("SHL", bool_)]
    ['SHL is not for bool']
    >>> [r for r in rows if not r.cases and not r.reason]
    []
    """
    drawn = Counter((c.family, _op_of(c), c.dtype) for c in cases)
    has_float64 = get_device(device).target.float64
    rows = []
    for family, op in ops():
        for dtype in ALL:
            reason = why_not(family, op, dtype)
            if dtype is float64 and not has_float64:
                reason = f"device {device} has no float64"
            rows.append(Row(family, op, dtype, 0 if reason else drawn[family, op, dtype], reason))
    return rows


def _op_of(case: Case) -> str:
    """The op that a case is about: it opens the name, but where all cases of a family are of one op."""
    return {"gather": "GATHER", "assign": "ASSIGN"}.get(case.family) or case.name.split("-")[0]


def why_not(family: str, op: str, dtype: DType) -> str:
    """Why there is nothing to draw; empty if there must be something. Only the table of scalar ops may say so: all
    other ops take every dtype. (The sum of bools is whether any is true, their product whether all are.)"""
    if family != "elementwise" or dtype.kind in SCALAR_OPS[op].kinds:
        return ""
    return f"{op} is not for {dtype.name}"


def text(rows: Iterable[Row]) -> str:
    """The rows as a table: the number of cases, and - where there is a reason for none.

    >>> from minigrad.dtype import bool_
    >>> print(text([Row("scan", "SUM", bool_, 3, ""), Row("elementwise", "SHL", bool_, 0, "not for bool")]))
    scan SUM                  bool:3
    elementwise SHL           bool:-
    """
    lines: dict[str, list[str]] = {}
    for row in rows:
        shown = "-" if row.reason else str(row.cases)
        lines.setdefault(f"{row.family} {row.op}", []).append(f"{row.dtype.name}:{shown}")
    return "\n".join(f"{name:<25} {' '.join(found)}" for name, found in lines.items())
