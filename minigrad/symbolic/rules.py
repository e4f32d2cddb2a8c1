"""Stage: for readers and tests. In: nothing. Out: ``RULES``, one row for each simplification of ``arithmetic.py`` and
``condition.py``, where it stands under the same name in brackets. A row's example is its test.
Next: ``minigrad/target.py``."""

from __future__ import annotations

from typing import NamedTuple

EXAMPLE_RANGES = {"i": (0, 7), "j": (0, 3), "k": (0, 9), "c": (-4, 3), "z": (0, 0), "N": (1, 9)}


class Rule(NamedTuple):
    """``pattern`` becomes ``replacement`` where ``condition`` holds; k, n, m, g are integer constants, the rest
    expressions. ``before`` is Python, over the variables of ``EXAMPLE_RANGES``; ``after`` is the text of the result."""

    name: str
    pattern: str
    condition: str
    replacement: str
    why: str
    before: str
    after: str


RULES = (
    # sums and products
    Rule("collect", "k*x + m*x", "", "(k + m)*x", "equal terms meet, and cancel", "2*i + j - i - j", "i"),
    Rule("fixed-term", "v", "v.lo == v.hi, v in a sum or product", "v.lo",
         "a loop of one turn adds nothing to an index", "i + 5*z", "i"),
    Rule("distribute", "(x + y)*w", "", "x*w + y*w", "terms can only be collected when no sum hides them",
         "(i + 1)*N - N", "N*i"),
    Rule("idempotent", "p*p", "0 <= p <= 1", "p", "a guard applied twice is applied once", "(i < 3)*(i < 3)", "i < 3"),
    # quotients; // is the floor of the quotient
    Rule("split", "g*y + r", "0 <= r < g", "quotient by g is y, remainder is r",
         "ranges, not shapes, show that a flat index comes apart into coordinates", "(4*i + j)//4", "i"),
    Rule("quotient-range", "x//n", "x.lo//n == x.hi//n", "x.lo//n", "one value is a constant", "(i + 8)//8", "1"),
    Rule("quotient-split", "(n*y + r)//n", "", "y + r//n", "the stride goes outside, the rest gets simpler",
         "(4*i + k)//4", "i + k/4"),
    Rule("quotient-factor", "(g*y + r)//(g*n)", "0 <= r < g", "y//n", "smaller numbers, fewer variables",
         "(6*i + 4*k + 3)//8", "(3*i + 2*k + 1)/4"),
    Rule("quotient-part", "((n + k)*y + r)//n", "(k*y + r).lo//n == (k*y + r).hi//n", "y + (k*y + r).lo//n",
         "a diagonal is read at one coordinate", "(5*j)//4", "j"),
    Rule("quotient-of-remainder", "(x % (n*m))//n", "", "(x//n) % m",
         "remainders go outside, where they can meet quotients", "(k % 6)//3", "(k/3) % 2"),
    Rule("quotient-of-quotient", "(x//n + y)//m", "no other quotient or remainder in y", "(x + n*y)//(n*m)",
         "one division is cheaper than two, and has one form", "(k//3)//2", "k/6"),
    Rule("non-negative", "x//n", "x.lo < 0 or x.lo >= n", "(x + k*n)//n - k, so that 0 <= x.lo + k*n < n",
         "C rounds towards zero; where the numerator is not negative that is the floor", "c//3", "(c + 6)/3 - 2"),
    # remainders
    Rule("remainder-range", "x % n", "x.lo//n == x.hi//n", "x - n*(x.lo//n)", "it is in one period", "(i + 8) % 8",
         "i"),
    Rule("remainder-split", "(k*y + r) % n", "|k| >= n", "((k mod n)*y + r) % n", "whole periods add nothing",
         "(13*k + j) % 12", "(j + k) % 12"),
    Rule("remainder-of-remainder", "(k*(x % m) + y) % n", "k*m is a multiple of n", "(k*x + y) % n",
         "the inner remainder only takes away whole periods", "(k % 6 + i) % 3", "(i + k) % 3"),
    Rule("remainder-factor", "(g*y + r) % (g*n)", "0 <= r < g", "g*(y % n) + r",
         "smaller numbers; r leaves the remainder", "(6*i + 4) % 8", "2*((3*i + 2) % 4)"),
    Rule("remainder-near", "(k*y + r) % n", "k > n/2, and it is then in one period", "(k - n)*y + r, shifted",
         "a flipped axis comes back as a stride of -1", "(7*i + 7) % 8", "7 - i"),
    Rule("size-split", "(w*N + r)//N", "", "w + r//N", "a run-time size divides like a constant one; so for %",
         "(N*i + j)//N", "i + j/N"),
    # quotient and remainder together, also scaled
    Rule("join", "n*(x//n) + x % n", "", "x", "a reshape there and back is nothing", "3*(k//3) + k % 3", "k"),
    Rule("join-remainders", "n*((x//n + y) % m) + x % n", "", "(x + n*y) % (n*m)", "two merged axes are one axis",
         "2*((k//2) % 3) + k % 2", "k % 6"),
    Rule("remainder-from-quotient", "x - n*(x//n)", "", "x % n", "one operation for three", "k - 3*(k//3)", "k % 3"),
    # comparisons
    Rule("cancel", "x + w < y + w", "", "x < y", "it is the difference that decides; so for ==", "i + j < 5 + j",
         "i < 5"),
    Rule("less-range", "x < y", "(x - y).hi < 0, or (x - y).lo >= 0", "1, or 0",
         "a guard that always holds costs nothing", "4*i + j < 32", "1"),
    Rule("less-factor", "g*y + r < 0", "0 <= r < g", "y < 0", "a guard on a flat index is a guard on its outer axis",
         "4*i + j < 12", "i < 3"),
    Rule("less-quotient", "x//n < k", "", "x < k*n", "no division in a guard", "k//3 < 2", "k < 6"),
    Rule("less-of-condition", "0 < p; p < 1", "p is a condition", "p; its negation",
         "a condition is a number that is 0 or 1", "0 < (i < 3)", "i < 3"),
    Rule("equal-range", "x == y", "0 is not in the range of x - y", "0", "they are never equal", "eq(i, j + 8)", "0"),
    Rule("equal-factor", "g*y == k", "k is a multiple of g, or not", "y == k/g, or 0", "smaller numbers, or an answer",
         "eq(2*i, 4*k + 1)", "0"),
    Rule("equal-split", "g*y + r == k", "r.hi - r.lo < g", "both(r == ..., y == ...)",
         "a diagonal mask on a flat index becomes one on its axes", "eq(4*i + j, 4*k)", "j == 0 && i == k"),
    Rule("equal-of-condition", "p == 1; p == 0", "p is a condition", "p; its negation", "as less-of-condition",
         "eq(i < 3, 0)", "2 < i"),
    # conjunctions, minimum and maximum
    Rule("and-one", "both(1, p)", "", "p", "it holds anyway", "both(i < 99, i < 3)", "i < 3"),
    Rule("and-duplicate", "both(p, p)", "", "p", "once is enough", "both(i < 3, 2*i < 5)", "i < 3"),
    Rule("and-implied", "both(x < k, x < m)", "k <= m", "x < k", "the tighter bound decides", "both(i < 5, i < 3)",
         "i < 3"),
    Rule("and-contradiction", "both(x < k, m < x)", "k - m < 2", "0", "no integer lies between",
         "both(i < 4, 3 < i)", "0"),
    Rule("min-implied", "min(x, y)", "x - y is never positive", "x", "ranges decide; so for max",
         "minimum(i, i + j, 9)", "i"),
)  # fmt: skip
