"""Stage: between recording and scheduling; index maps, guards and loop bounds are written in it. In: integers and
variables with ranges. Out: expressions in normal form, simplified as they are built, with bounds on their value.
Next: ``kinds.py``.

    >>> from minigrad.symbolic import var
    >>> row, column = var("row", 0, 63), var("column", 0, 15)
    >>> flat = 16*row + column
    >>> flat//16, flat % 16, flat//128, flat.hi, flat < 1024
    (row, column, row/8, 1023, 1)

The grammar: every expression is a ``Sym`` e with a kind and args, and these are all the kinds.

    e.kind       e.args                      value
    ---------    ------------------------    --------------------------------------------------------
    "num"        (n,)                        n, a Python int
    "var"        (name, lo, hi)              run-time value in lo..hi
    "sum"        (terms, constant)           constant + c0*t0 + c1*t1 + ..., terms = ((t0, c0), (t1, c1), ...)
    "product"    (f0, f1, ...)               f0*f1*...
    "floordiv"   (a, b)                      the floor of a/b
    "mod"        (a, b)                      a - b*floor(a/b)
    "less"       (a, b)                      1 if a < b else 0
    "equal"      (a, b)                      1 if a == b else 0
    "and"        (p0, p1, ...)               1 if all of them are 1 else 0
    "min"        (a0, a1, ...)               the least
    "max"        (a0, a1, ...)               the greatest

where, in the normal form,

    constant, coefficients c   Python ints; c is not 0, may be negative; a sum of one term has constant != 0 or c != 1
    terms t, factors f         Syms, none a num or a sum (factors: none a product); terms are in a canonical order
    product, and, min, max     two or more args
    floordiv, mod by a num     the divisor is positive, and the numerator has lo >= 0 (unless it does not fit in
                               62 bits), so C's / and % are the floor and its remainder: test ``a.lo >= 0``
    floordiv, mod by a Sym     any signs; the divisor is never 0 in a correct program
    less                       at most one side has a constant part, not negative beside other terms
    and                        its args are "less" and "equal" only
    condition                  a "less", "equal", "and", or a num 0 or 1; it may also be a term of a sum

So a renderer is one recursive function. This one writes C for int64_t; ``children(e)`` walks without caring for kinds:

    def c(e):
        a = e.args
        if e.kind in ("num", "var"):
            return str(a[0])
        if e.kind == "sum":
            return "(" + " + ".join([f"{k}*{c(t)}" for t, k in a[0]] + [str(a[1])]) + ")"
        if e.kind in ("min", "max"):
            return functools.reduce(lambda x, y: f"{e.kind}({x}, {y})", map(c, a))
        sign = {"product": "*", "floordiv": "/", "mod": "%", "less": "<", "equal": "==", "and": "&&"}[e.kind]
        return "(" + sign.join(map(c, a)) + ")"

Equal normal forms are one object: ``a is b`` (and ``==``, a dict, a set) compares expressions for the price of a
pointer. The normal form decides most equalities of index maps, not all: two expressions that are not the same
object may still be equal everywhere.
"""

from minigrad.symbolic.condition import both, conjuncts, eq, is_condition, maximum, minimum, negate
from minigrad.symbolic.expression import Sym, as_sym, num, var
from minigrad.symbolic.kinds import KINDS
from minigrad.symbolic.query import children, coefficient, evaluate, inside, linear, split, substitute, variables
from minigrad.symbolic.text import text

__all__ = [
    "KINDS",
    "Sym",
    "as_sym",
    "both",
    "children",
    "coefficient",
    "conjuncts",
    "eq",
    "evaluate",
    "inside",
    "is_condition",
    "linear",
    "maximum",
    "minimum",
    "negate",
    "num",
    "split",
    "substitute",
    "text",
    "var",
    "variables",
]
