"""Stage: schedule, lower and tests ask these. In: expressions. Out: their variables and coefficients, their value, or
the expression with variables replaced.
Next: ``rules.py``, the simplifications one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce

from minigrad.symbolic.arithmetic import affine, combine, from_terms, shift
from minigrad.symbolic.condition import both, eq, maximum, minimum
from minigrad.symbolic.expression import Sym, as_sym
from minigrad.symbolic.kinds import AND, EQUAL, FLOORDIV, LESS, MAX, MIN, MOD, NUM, PRODUCT, SUM, VAR

_BUILD: dict[str, Callable[..., Sym]] = {
    PRODUCT: lambda *factors: reduce(lambda a, b: a * b, factors),
    FLOORDIV: lambda a, b: a // b,
    MOD: lambda a, b: a % b,
    LESS: lambda a, b: a < b,
    EQUAL: eq,
    AND: both,
    MIN: minimum,
    MAX: maximum,
}


def children(e: Sym) -> tuple[Sym, ...]:
    """The expressions directly inside ``e``; of a sum, its terms.

    >>> from minigrad.symbolic import children, var
    >>> i, j = var("i", 0, 7), var("j", 0, 3)
    >>> children(4*i + j + 1), children(i//3), children(i)
    ((i, j), (i, 3), ())
    """
    if e.kind == SUM:
        return tuple([t for t, _ in e.args[0]])
    return () if e.kind in (NUM, VAR) else e.args


def inside(roots: Iterable[Sym]) -> Iterator[Sym]:
    """The roots and every expression in them, each once.

    >>> from minigrad.symbolic import inside, var
    >>> i = var("i", 0, 7)
    >>> sorted(e.kind for e in inside([i//3 + i]))
    ['floordiv', 'num', 'sum', 'var']
    """
    waiting = list(roots)
    seen: set[Sym] = set()
    while waiting:
        e = waiting.pop()
        if e not in seen:
            seen.add(e)
            yield e
            waiting += children(e)


def variables(e: Sym) -> tuple[Sym, ...]:
    """The variables in ``e``, each once, by name.

    >>> from minigrad.symbolic import var, variables
    >>> i, j = var("i", 0, 7), var("j", 0, 3)
    >>> variables((j + i)//3 + i)
    (i, j)
    """
    if e.kind == VAR:
        return (e,)
    if e._variables is None:
        found = {v for child in children(e) for v in variables(child)}
        e._variables = tuple(sorted(found, key=lambda v: v.args))
    return e._variables


def substitute(e: Sym, values: Mapping[Sym, Sym | int]) -> Sym:
    """``e`` with each variable that ``values`` names replaced, at once, and simplified again.

    A value should stay in its variable's range: what was simplified away because of the range stays
    away, so where a value leaves the range the result means nothing (as under a guard that is false there).

    >>> from minigrad.symbolic import substitute, var
    >>> i, j, k = var("i", 0, 31), var("j", 0, 3), var("k", 0, 7)
    >>> substitute(i//4 + i % 4, {i: 4*k + j}), substitute(i//4, {i: 9})
    (j + k, 2)
    """
    return _substitute(e, {key: as_sym(value) for key, value in values.items()})


def _substitute(e: Sym, memo: dict[Sym, Sym]) -> Sym:
    done = memo.get(e)
    if done is not None:
        return done
    if memo.keys().isdisjoint(variables(e)):
        out = e
    elif e.kind == SUM:
        terms, constant = e.args
        kept = {t: c for t, c in terms if memo.keys().isdisjoint(variables(t))}
        out, added = from_terms(kept, constant), 0
        for t, c in terms:
            if t not in kept:
                new = _substitute(t, memo)
                if new.kind == NUM:
                    added += c * new.args[0]
                else:
                    out = combine(out, new, c)
        out = shift(out, added)
    else:
        out = _BUILD[e.kind](*[_substitute(a, memo) for a in e.args])
    memo[e] = out
    return out


def evaluate(e: Sym, values: Mapping[str, int]) -> int:
    """The value of ``e`` where each variable, by name, has the given value. KeyError for one that is missing.

    >>> from minigrad.symbolic import evaluate, var
    >>> i = var("i", 0, 31)
    >>> evaluate(i//4 + 10*(i % 4), {"i": 6})
    21
    """
    kind, args = e.kind, e.args
    if kind == NUM:
        return int(args[0])
    if kind == VAR:
        if args[0] not in values:
            raise KeyError(f"evaluate(): no value for the variable {args[0]!r}; got values for {sorted(values)}")
        return values[args[0]]
    if kind == SUM:
        return sum([c * evaluate(t, values) for t, c in args[0]], args[1])
    got = [evaluate(a, values) for a in args]
    if kind in (MIN, MAX):
        return min(got) if kind == MIN else max(got)
    if kind == AND:
        return int(all(got))
    if kind == PRODUCT:
        return reduce(lambda a, b: a * b, got)
    a, b = got
    return a // b if kind == FLOORDIV else a % b if kind == MOD else int(a < b if kind == LESS else a == b)


def linear(e: Sym) -> tuple[dict[Sym, int], int]:
    """``e`` as ({term: coefficient}, constant); a term is any node but a sum or a constant.

    >>> from minigrad.symbolic import linear, var
    >>> i, j = var("i", 0, 31), var("j", 0, 3)
    >>> linear(4*j + i//3 + 7)
    ({j: 4, i/3: 1}, 7)
    """
    terms, constant = affine(e)
    return dict(terms), constant


def split(e: Sym, v: Sym) -> tuple[int, Sym] | None:
    """(coefficient, rest) with ``e = coefficient*v + rest`` and ``rest`` free of ``v``; (0, e) if ``v`` is not in
    ``e``; None where ``v`` stands inside a quotient, a remainder, a comparison or a product with another variable.

    >>> from minigrad.symbolic import split, var
    >>> i, j = var("i", 0, 31), var("j", 0, 3)
    >>> split(4*j + i//3 + 7, j), split(i + 1, j), split(i//3, i)
    ((4, i/3 + 7), (0, i + 1), None)
    """
    c = coefficient(e, v)
    return None if c is None else (c, combine(e, v, -c) if c else e)


def coefficient(e: Sym, v: Sym) -> int | None:
    """The coefficient of ``split``.

    >>> from minigrad.symbolic import coefficient, var
    >>> i, j = var("i", 0, 31), var("j", 0, 3)
    >>> coefficient(4*j + i, j), coefficient(i, j), coefficient(i % 4 + i, i)
    (4, 0, None)
    """
    found = 0
    for t, c in affine(e)[0]:
        if t is v:
            found = c
        elif v in variables(t):
            return None
    return found
