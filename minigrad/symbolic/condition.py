"""Stage: behind ``<``, ``eq``, ``both``, ``minimum``, ``maximum``. In: expressions in normal form. Out: one in normal
form; a condition is an expression that is 0 or 1. Each rule is a row of ``rules.py``, named here in brackets.
Next: ``query.py``."""

from __future__ import annotations

from functools import lru_cache, reduce
from math import gcd

from minigrad.symbolic.arithmetic import Terms, affine, apart, combine, from_terms, scale, shift
from minigrad.symbolic.expression import Sym, as_sym, define, digest, intern, num
from minigrad.symbolic.kinds import AND, EQUAL, FLOORDIV, LESS, MAX, MIN, NUM


def _steps(terms: Terms) -> list[int]:
    """The coefficient sizes worth splitting by, largest first."""
    return sorted({abs(c) for _, c in terms if abs(c) != 1}, reverse=True)


def _sides(terms: Terms, constant: int) -> tuple[Sym, Sym]:
    """``terms + constant`` as left - right without negative coefficients; the constant goes where it is
    not negative, and never beside nothing but itself."""
    left, right = {t: c for t, c in terms if c > 0}, {t: -c for t, c in terms if c < 0}
    on_right = not right or (bool(left) and constant < 0)
    return from_terms(left, 0 if on_right else constant), from_terms(right, -constant if on_right else 0)


@define("<")
@lru_cache(maxsize=1 << 12)
def less(a: Sym, b: Sym) -> Sym:
    """1 where a < b, else 0. [cancel] common terms are gone: it is ``a - b < 0`` that is simplified."""
    d = combine(a, b, -1)
    while True:
        if d.hi < 0:  # [less-range]
            return num(1)
        if d.lo >= 0:
            return num(0)
        terms, constant = affine(d)
        t, c = terms[0]
        if len(terms) == 1 and abs(c) == 1 and t.kind == FLOORDIV and t.args[1].kind == NUM:  # [less-quotient]
            x, n = t.args[0], t.args[1].args[0]
            # t < -constant is x < -constant*n; -t < -constant is x >= (constant + 1)*n
            d = shift(x, constant * n) if c > 0 else shift(scale(x, -1), (constant + 1) * n - 1)
            continue
        smaller = _divide_away(d, terms)
        if smaller is None:
            break
        d = smaller
    if len(terms) == 1 and abs(c) == 1 and t.lo == 0 and t.hi == 1:  # [less-of-condition]
        return negate(t) if c > 0 else t if is_condition(t) else _less_node(terms, constant)
    return _less_node(terms, constant)


def _less_node(terms: Terms, constant: int) -> Sym:
    return intern(LESS, _sides(terms, constant), 0, 1)


def _divide_away(d: Sym, terms: Terms) -> Sym | None:
    """[less-factor] d < 0 is d//g < 0 for every g > 0: the smaller d//g where it is exact, or None."""
    g = gcd(*[c for _, c in terms])
    if g > 1:
        parts = apart(d, g)
        return None if parts is None else parts[0]
    for g in _steps(terms):
        parts = apart(d, g)
        if parts is not None:
            return parts[0]
    return None


def is_condition(e: Sym) -> bool:
    """Whether ``e`` is a comparison or a conjunction."""
    return e.kind in (LESS, EQUAL, AND)


def negate(condition: Sym) -> Sym:
    """1 - condition, as a condition.

    >>> from minigrad.symbolic import negate, var
    >>> i = var("i", 0, 9)
    >>> negate(i < 3)
    2 < i
    """
    if condition.kind == LESS:
        return less(condition.args[1], shift(condition.args[0], 1))
    return eq(condition, 0)


def eq(a: Sym | int, b: Sym | int) -> Sym:
    """1 where a == b, else 0. (``a == b`` on Syms asks whether they are the same expression.)

    >>> from minigrad.symbolic import eq, var
    >>> i, j = var("i", 0, 7), var("j", 0, 3)
    >>> eq(i + 2, j), eq(2*i, 5), eq(4*i + j, 9)
    (i + 2 == j, 0, j == 1 && i == 2)
    """
    return _equal(combine(as_sym(a), as_sym(b), -1))


@lru_cache(maxsize=1 << 12)
def _equal(d: Sym) -> Sym:
    """The condition d == 0."""
    if d.lo > 0 or d.hi < 0:  # [equal-range]
        return num(0)
    terms, constant = affine(d)
    if not terms:
        return num(1)
    g = gcd(*[c for _, c in terms])
    if constant % g:  # [equal-factor]
        return num(0)
    if g > 1:
        return _equal(from_terms({t: c // g for t, c in terms}, constant // g))
    for g in _steps(terms):  # [equal-split] g*y + rest == -constant has one candidate for rest if its range is < g
        rest = from_terms({t: c for t, c in terms if c % g}, 0)
        if rest.hi - rest.lo < g:
            only = rest.lo + (-constant - rest.lo) % g
            y = from_terms({t: c // g for t, c in terms if c % g == 0}, (constant + only) // g)
            return both(_equal(shift(rest, -only)), _equal(y))
    t, c = terms[0]
    if c < 0:
        terms, constant = tuple([(t, -c) for t, c in terms]), -constant
    if len(terms) == 1 and is_condition(t):  # [equal-of-condition]
        if constant == -1:
            return t
        if t.kind == LESS:
            return negate(t)
        if t.kind == EQUAL and is_condition(t.args[0]) and t.args[1] is num(0):
            inner: Sym = t.args[0]
            return inner
    return intern(EQUAL, _sides(terms, constant), 0, 1)


def conjuncts(condition: Sym) -> tuple[Sym, ...]:
    """What must all hold where a condition holds.

    >>> from minigrad.symbolic import both, conjuncts, var
    >>> i = var("i", 0, 99)
    >>> conjuncts(both(i < 5, 2 < i)), conjuncts(i < 5)
    ((i < 5, 2 < i), (i < 5,))
    """
    return condition.args if condition.kind == AND else (condition,)


def both(*conditions: Sym | int) -> Sym:
    """1 where every condition holds, else 0; 1 of none.

    >>> from minigrad.symbolic import both, var
    >>> i = var("i", 0, 99)
    >>> both(i < 9, i < 5, 2 < i), both(i < 5, 7 < i), both()
    (i < 5 && 2 < i, 0, 1)
    """
    kept: dict[Sym, None] = {}
    limits: dict[Terms, tuple[int, Sym]] = {}  # of terms + constant < 0, for each terms: the largest constant
    for one in map(as_sym, conditions):
        if one.lo < 0 or one.hi > 1:
            raise ValueError(f"both() takes conditions, which are 0 or 1; got `{one}` with values {one.lo} to {one.hi}")
        parts = conjuncts(one)
        for c in parts:
            if c.hi == 0:
                return c
            if not is_condition(c):
                c = less(num(0), c)
            if c.lo == 1 or c in kept:  # [and-one], [and-duplicate]
                continue
            if c.kind == LESS:
                terms, constant = affine(combine(c.args[0], c.args[1], -1))
                tightest = limits.get(terms)
                if tightest is not None:
                    if tightest[0] >= constant:  # [and-implied]
                        continue
                    del kept[tightest[1]]
                limits[terms] = constant, c
                other = limits.get(tuple([(t, -k) for t, k in terms]))
                # T < -constant and T > other[0] leave no integer [and-contradiction]
                if other is not None and other[0] + constant >= -1:
                    return num(0)
            kept[c] = None
    if len(kept) < 2:
        return next(iter(kept), num(1))
    return intern(AND, tuple(sorted(kept, key=lambda c: c.rank)), 0, 1)


def minimum(*values: Sym | int) -> Sym:
    """The least of the values (at least one).

    >>> from minigrad.symbolic import minimum, var
    >>> i = var("i", 0, 9)
    >>> minimum(i, 4), minimum(i + 1, 10), minimum(i, i + 2, 5)
    (min(i, 4), i + 1, min(i, 5))
    """
    return reduce(_least, [as_sym(v) for v in values])


def maximum(*values: Sym | int) -> Sym:
    """The greatest of the values (at least one).

    >>> from minigrad.symbolic import maximum, var
    >>> i = var("i", 0, 9)
    >>> maximum(i - 3, 0), maximum(i, -1)
    (max(i - 3, 0), i)
    """
    return reduce(_greatest, [as_sym(v) for v in values])


def _parts(e: Sym, kind: str) -> tuple[Sym, ...]:
    return e.args if e.kind == kind else (e,)


def _rank(e: Sym) -> tuple[bool, int]:
    """Constants last."""
    return e.kind == NUM, digest(e)


def _least(a: Sym, b: Sym) -> Sym:
    kept = list(_parts(a, MIN))
    for y in _parts(b, MIN):
        # [min-implied] drop y if some x <= y always; drop each x that is >= y always
        if any(combine(x, y, -1).hi <= 0 for x in kept):
            continue
        kept = [x for x in kept if combine(x, y, -1).lo < 0] + [y]
    if len(kept) == 1:
        return kept[0]
    return intern(MIN, tuple(sorted(kept, key=_rank)), min(x.lo for x in kept), min(x.hi for x in kept))


def _greatest(a: Sym, b: Sym) -> Sym:
    kept = list(_parts(a, MAX))
    for y in _parts(b, MAX):
        if any(combine(x, y, -1).lo >= 0 for x in kept):
            continue
        kept = [x for x in kept if combine(x, y, -1).hi > 0] + [y]
    if len(kept) == 1:
        return kept[0]
    return intern(MAX, tuple(sorted(kept, key=_rank)), max(x.lo for x in kept), max(x.hi for x in kept))
