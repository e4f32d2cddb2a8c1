"""Stage: tests. In: a program that fails, shortened, and what differs. Out: the kind of difference, if it is one that
is meant. ``docs/fuzzing.md`` has the same list; a test compares the two.
Next: ``__main__.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A kind of difference that is meant. ``lines`` finds a statement of the program, ``problem`` what differs."""

    name: str
    why: str
    lines: str
    problem: str = ""


ROUNDED_AWAY = "a step after a rounding"

KNOWN: tuple[Known, ...] = (
    Known("conjugates are copies", "PyTorch marks a conjugate and shares its memory; here it is a pending value "
          "(docs/complex.md).", r"\.(conj|mH|resolve_conj|H|adjoint)\b", r"^v\d+(\.grad)?: "),
    Known("a refusal that depends on values", "Where PyTorch's kernel does not run, as on tensors without elements, "
          "it does not refuse the dtype either.",
          r"\.(mode|cummax|cummin|softmin|softmax|log_softmax|einsum|tensordot)\(",
          r"NotImplementedError.*, not no error"),
    Known("complex numbers of half types", "complex32 is a name only.", "", r"complex32|ComplexHalf"),
    Known("memory that overlaps", "PyTorch refuses to write where an operand lies too, since it reads while it writes, "
          "and lets index_put_ write into repeated elements with a warning; here values are read first, and repeated "
          "elements are never written.", "", r"single memory location"),
    Known("views made under no_grad", "PyTorch 2.13 says that they require a gradient; its documentation says that "
          "nothing made there does.", "no_grad", "requires_grad False"),
    Known("errors that depend on values", "They come when values are needed: of an integer divided by 0, of a "
          "masked_scatter() with too few elements.", r"fmod|remainder|floor_divide|//|%|masked_scatter",
          "no error, not RuntimeError: (ZeroDivisionError|Number of elements of source)|IndexError when it is read"),
    Known("products of complex numbers that come to one place", "scatter_reduce() and index_reduce() do not multiply "
          "them: NotImplementedError.", r"'prod'", r"NotImplementedError: .*come to one place"),
    Known("the layout of results", "PyTorch keeps the order of an operand's dimensions in memory, and nonzero() gives "
          "columns; here results are in row-major order.", r"nonzero|where|as_strided|view_as_complex|reshape|view",
          r"view size is not compatible|with stride 1, not no error|must have a stride|^v\d+: "),
    Known("infinite complex numbers", "Which part of a product or quotient is NaN depends on how it is written; "
          "PyTorch's own vectorised and scalar kernels differ.", r"\.(angle|real|imag|view_as_real|abs)\b",
          r"^v\d+: \S+ at \S+.*, not -?(nan|inf)|^v\d+: -?(nan|inf) at"),
)


def known(lines: list[str], problem: str) -> str:
    """The name of the kind that a failure is of, or nothing.

    >>> known(["v0 = L.ones(2)"], "v0: shape (3,), not (2,)")
    ''
    """
    for kind in KNOWN:
        if re.search(kind.problem, problem) and any(re.search(kind.lines, line) for line in lines):
            return kind.name
    return ""
