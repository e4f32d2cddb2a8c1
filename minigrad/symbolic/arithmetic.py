"""Stage: behind the operators ``+ - * // %``. In: expressions in normal form. Out: one in normal form, with its range.
Sums, quotients and remainders stand in one file because they need each other: a quotient splits sums, and a
sum puts quotient and remainder back together. Each rule is a row of ``rules.py``, named here in brackets.
Next: ``condition.py``."""

from __future__ import annotations

from functools import lru_cache
from math import gcd

from minigrad.symbolic.expression import Sym, define, find, intern, num
from minigrad.symbolic.kinds import FLOORDIV, MOD, NUM, PRODUCT, SUM

Terms = tuple[tuple[Sym, int], ...]
WIDE = 1 << 62  # a shift that makes a numerator non-negative must not push it out of an int64


def affine(e: Sym) -> tuple[Terms, int]:
    """``e`` as (terms, constant): e = sum of coefficient*term + constant; no term is a sum or a constant."""
    kind = e.kind
    if kind == SUM:
        return e.args
    if kind == NUM:
        return (), e.args[0]
    return ((e, 1),), 0


def _rank(item: tuple[Sym, int]) -> str:
    return item[0].rank


def from_terms(terms: dict[Sym, int], constant: int) -> Sym:
    """The sum of coefficient*term + constant. No coefficient is 0; the dict belongs to this function."""
    if len(terms) > 1:
        for t in terms:
            if t.kind == FLOORDIV or t.kind == MOD:
                whole = _recombine(terms, constant)
                if whole is not None:
                    return whole
                break
        key = (tuple(sorted(terms.items(), key=_rank)), constant)
    elif not terms:
        return num(constant)
    else:
        key = (tuple(terms.items()), constant)
        if constant == 0 and key[0][0][1] == 1:
            return key[0][0][0]
    return _sum(key)


def _sum(args: tuple[Terms, int]) -> Sym:
    found = find((SUM, args))
    if found is not None:
        return found
    terms, lo = args
    hi = lo
    for t, c in terms:
        if c > 0:
            lo += c * t.lo
            hi += c * t.hi
        else:
            lo += c * t.hi
            hi += c * t.lo
        if t.lo == t.hi:  # [fixed-term] a variable with one value is a constant
            return from_terms({u: k for u, k in terms if u is not t}, args[1] + c * t.lo)
    return intern(SUM, args, lo, hi)


def scale(e: Sym, k: int) -> Sym:
    """``k*e`` for an int k."""
    if k == 1:
        return e
    terms, constant = affine(e)
    if k == 0 or not terms:
        return num(k * constant)
    key = (tuple([(t, c * k) for t, c in terms]), constant * k)  # same order, and nothing new to recombine
    if len(terms) == 1 and key[0][0][1] == 1 and key[1] == 0:
        return terms[0][0]
    return _sum(key)


def shift(e: Sym, n: int) -> Sym:
    """``e + n`` for an int n."""
    if n == 0:
        return e
    terms, constant = affine(e)
    constant += n
    if not terms:
        return num(constant)
    if constant == 0 and len(terms) == 1 and terms[0][1] == 1:
        return terms[0][0]
    key = (terms, constant)
    return _sum(key)


def combine(a: Sym, b: Sym, k: int) -> Sym:
    """``a + k*b``: [collect] equal terms add their coefficients."""
    if b.kind == NUM:
        return shift(a, k * b.args[0])
    if a.kind == NUM:
        return shift(scale(b, k), a.args[0])
    if a.kind == SUM:
        total, constant = dict(a.args[0]), a.args[1]
    else:
        total, constant = {a: 1}, 0
    if b.kind == SUM:
        constant += k * b.args[1]
        for t, c in b.args[0]:
            c = total.get(t, 0) + k * c
            if c:
                total[t] = c
            else:
                total.pop(t, None)
        return from_terms(total, constant)
    c = total.get(b, 0) + k
    if c:
        total[b] = c
    else:
        total.pop(b, None)
    return from_terms(total, constant)


@define("+")
@lru_cache(maxsize=1 << 13)
def add(a: Sym, b: Sym) -> Sym:
    """``a + b``. Equal terms become one, and constants are added: i + i + 1 + 2 → 2*i + 3."""
    return combine(a, b, 1)


@define("-")
@lru_cache(maxsize=1 << 13)
def subtract(a: Sym, b: Sym) -> Sym:
    """``a - b``, a sum with each term of b times -1, so equal terms cancel."""
    return combine(a, b, -1)


@define("*")
@lru_cache(maxsize=1 << 13)
def multiply(a: Sym, b: Sym) -> Sym:
    """[distribute] a product of sums is a sum of products, so that equal terms can meet."""
    if b.kind == NUM:
        return scale(a, b.args[0])
    if a.kind == NUM:
        return scale(b, a.args[0])
    total = num(0)
    terms_a, constant_a = affine(a)
    terms_b, constant_b = affine(b)
    for t, c in terms_a:
        for u, k in terms_b:
            total = combine(total, _product(t, u), c * k)
        total = combine(total, t, c * constant_b)
    for u, k in terms_b:
        total = combine(total, u, k * constant_a)
    return shift(total, constant_a * constant_b)


def _factors(e: Sym) -> tuple[Sym, ...]:
    return e.args if e.kind == PRODUCT else (e,)


def _product(a: Sym, b: Sym) -> Sym:
    """The product of two terms: factors in order, a 0/1 factor once [idempotent]."""
    factors = list(_factors(a))
    for f in _factors(b):
        if not (f in factors and f.lo >= 0 and f.hi <= 1):
            factors.append(f)
    if len(factors) == 1:
        return factors[0]
    factors.sort(key=lambda f: f.rank)
    lo = hi = 1
    for f in factors:
        corners = (lo * f.lo, lo * f.hi, hi * f.lo, hi * f.hi)
        lo, hi = min(corners), max(corners)
    if lo == hi:
        return num(lo)
    fixed = next((f for f in factors if f.lo == f.hi), None)
    if fixed is not None:
        factors.remove(fixed)
        rest = factors[0]
        for f in factors[1:]:
            rest = multiply(rest, f)
        return scale(rest, fixed.lo)
    return intern(PRODUCT, tuple(factors), lo, hi)


# ---- quotient and remainder ------------------------------------------------------------------------------


def apart(e: Sym, g: int) -> tuple[Sym, Sym] | None:
    """[split] (y, r) with ``e == g*y + r`` and ``0 <= r < g`` for all values; None if ranges do not show it.
    Then e//g is y and e%g is r."""
    terms, constant = affine(e)
    lo = hi = constant
    whole, rest = {}, {}
    for t, c in terms:
        if c % g == 0:
            whole[t] = c // g
        else:
            rest[t] = c
            lo += c * (t.lo if c > 0 else t.hi)
            hi += c * (t.hi if c > 0 else t.lo)
    q = lo // g
    if hi // g != q:
        return None
    return from_terms(whole, q), from_terms(rest, constant - g * q)


def _divisors(terms: Terms, n: int) -> list[int]:
    """The divisors of n that are worth splitting by, largest first; neither 1 nor n."""
    found = {gcd(c, n) for _, c in terms}
    found.discard(1)
    found.discard(n)
    return sorted(found, reverse=True)


@define("//")
@lru_cache(maxsize=1 << 12)
def floordiv(a: Sym, b: Sym) -> Sym:
    """The floor of a/b. ``b`` must never be 0."""
    if b.kind != NUM:
        return _divide_by_expression(a, b)
    n = b.args[0]
    if n == 0:
        raise ZeroDivisionError(f"index expression `{a}` divided by zero")
    return _divide(a, n) if n > 0 else _divide(scale(a, -1), -n)


@define("%")
@lru_cache(maxsize=1 << 12)
def mod(a: Sym, b: Sym) -> Sym:
    """``a - b*(a//b)``: the remainder has the sign of b. ``b`` must never be 0."""
    if b.kind != NUM:
        return _remainder_by_expression(a, b)
    n = b.args[0]
    if n == 0:
        raise ZeroDivisionError(f"index expression `{a}` modulo zero")
    return _remainder(a, n) if n > 0 else scale(_remainder(scale(a, -1), -n), -1)


def _base(e: Sym, n: int) -> int:
    """The q for which e - q*n starts in [0, n), so that C's / and % are right without a fix-up. [non-negative]"""
    q = e.lo // n
    return q if e.hi - q * n < WIDE else affine(e)[1] // n


def _divide(e: Sym, n: int) -> Sym:
    q = e.lo // n
    if e.hi // n == q:  # [quotient-range]
        return num(q)
    if n == 1:
        return e
    terms, constant = affine(e)
    whole = {t: c // n for t, c in terms if c % n == 0}
    if whole:  # [quotient-split]
        rest = from_terms({t: c for t, c in terms if c % n}, constant)
        return combine(from_terms(whole, 0), _divide(rest, n), 1)
    for g in _divisors(terms, n):  # [quotient-factor]
        parts = apart(e, g)
        if parts is not None:
            return _divide(parts[0], n // g)
    if any(abs(c) > n for _, c in terms):  # [quotient-part]
        part = {t: abs(c) // n * (1 if c > 0 else -1) for t, c in terms if abs(c) > n}
        rest = from_terms({t: c - part.get(t, 0) * n for t, c in terms}, constant)
        if rest.hi // n == rest.lo // n:
            return shift(from_terms(part, 0), rest.lo // n)
    if e.kind == MOD and e.args[1].kind == NUM and e.args[1].args[0] % n == 0:  # [quotient-of-remainder]
        return _remainder(_divide(e.args[0], n), e.args[1].args[0] // n)
    inner = [(t, c) for t, c in terms if t.kind == FLOORDIV or t.kind == MOD]
    if len(inner) == 1 and inner[0][1] == 1 and inner[0][0].kind == FLOORDIV:  # [quotient-of-quotient]
        quotient = inner[0][0]
        x, m = quotient.args
        if m.kind == NUM:
            return _divide(combine(x, combine(e, quotient, -1), m.args[0]), m.args[0] * n)
    q = _base(e, n)
    e = shift(e, -q * n)
    return shift(intern(FLOORDIV, (e, num(n)), e.lo // n, e.hi // n), q)


def _remainder(e: Sym, n: int) -> Sym:
    q = e.lo // n
    if e.hi // n == q:  # [remainder-range]
        return shift(e, -q * n)
    if n == 1:
        return num(0)
    terms, constant = affine(e)
    changed, total = False, num(constant)
    for t, c in terms:
        k = c % n if c > 0 else -(-c % n)  # [remainder-split]
        if t.kind == MOD and t.args[1].kind == NUM and k * t.args[1].args[0] % n == 0:  # [remainder-of-remainder]
            t, changed = t.args[0], True
        changed = changed or k != c
        total = combine(total, t, k)
    if changed:
        return _remainder(total, n)
    for g in _divisors(terms, n):  # [remainder-factor]
        parts = apart(e, g)
        if parts is not None:
            return combine(parts[1], _remainder(parts[0], n // g), g)
    near = from_terms({t: c if 2 * abs(c) <= n else c - n if c > 0 else c + n for t, c in terms}, constant)
    q = near.lo // n
    if near.hi // n == q:  # [remainder-near]
        return shift(near, -q * n)
    e = shift(e, -_base(e, n) * n)
    return intern(MOD, (e, num(n)), 0, n - 1)


def _divide_by_expression(a: Sym, b: Sym) -> Sym:
    """Division by a run-time size: [size-split] terms that hold it as a factor come out; the rest is bounded."""
    if b.lo == b.hi:
        return floordiv(a, num(b.lo))
    if a is b:
        return num(1)
    if b.lo > 0 and a.lo >= 0 and a.hi < b.lo:
        return num(0)
    whole, rest = _take_factor(a, b)
    if rest is not a:
        return combine(whole, floordiv(rest, b), 1)
    divisors = [d for d in (b.lo, b.hi, -1, 1) if d and b.lo <= d <= b.hi]
    corners = [x // d for x in (a.lo, a.hi) for d in divisors]  # a quotient is monotone between these
    lo, hi = min(corners), max(corners)
    return num(lo) if lo == hi else intern(FLOORDIV, (a, b), lo, hi)


def _remainder_by_expression(a: Sym, b: Sym) -> Sym:
    if b.lo == b.hi:
        return mod(a, num(b.lo))
    a = _take_factor(a, b)[1]
    if a is b:
        return num(0)
    if b.lo > 0 and a.lo >= 0 and a.hi < b.lo:
        return a
    lo, hi = min(b.lo + 1, 0), max(b.hi - 1, 0)
    if a.lo >= 0 and b.lo > 0:
        hi = min(hi, a.hi)
    return num(lo) if lo == hi else intern(MOD, (a, b), lo, hi)


def _take_factor(a: Sym, b: Sym) -> tuple[Sym, Sym]:
    """(w, r) with ``a == w*b + r``: the terms of ``a`` that hold the factor ``b``, and the others."""
    terms, constant = affine(b)
    if len(terms) != 1 or constant:
        return num(0), a
    (size, multiple), whole, gone = terms[0], num(0), []
    for t, c in affine(a)[0]:
        factors = list(_factors(t))
        for f in _factors(size):
            if f not in factors or c % multiple:
                break
            factors.remove(f)
        else:
            gone.append(t)
            quotient = num(c // multiple)
            for f in factors:
                quotient = multiply(quotient, f)
            whole = combine(whole, quotient, 1)
    return (whole, _rest(dict(affine(a)[0]), affine(a)[1], tuple(gone))) if gone else (whole, a)


# ---- putting quotient and remainder together ----------------------------------------------------------------


def _recombine(terms: dict[Sym, int], constant: int) -> Sym | None:
    """The sum with one pair of quotient and remainder joined, or None. Every join leaves fewer terms."""
    for t, k in terms.items():
        if t.kind == FLOORDIV and t.args[1].kind == NUM:
            whole = _join_at_quotient(terms, constant, t, k)
        elif t.kind == MOD and t.args[1].kind == NUM:
            whole = _join_below(terms, constant, t, k)
            if whole is None:
                whole = _join_above(terms, constant, t, k)
        else:
            continue
        if whole is not None:
            return whole
    return None


def _join_at_quotient(terms: dict[Sym, int], constant: int, t: Sym, k: int) -> Sym | None:
    """For k*t with t = x//n: its remainder completes x, or x becomes a remainder."""
    x, n = t.args[0], t.args[1].args[0]
    if k % n:
        return None
    c = k // n
    inner, offset = affine(x)
    if all(terms.get(u) == -c * m for u, m in inner):  # [remainder-from-quotient] x - n*(x//n) -> x%n
        rest = _rest(terms, constant + c * offset, (t, *[u for u, _ in inner]))
        return combine(rest, mod(x, t.args[1]), -c)
    if all(u.kind != MOD for u in terms):
        return None
    parts, offset = affine(mod(x, t.args[1]))
    if len(parts) == 1 and terms.get(parts[0][0]) == c * parts[0][1]:  # [join] n*(x//n) + x%n -> x
        return combine(_rest(terms, constant - c * offset, (t, parts[0][0])), x, c)
    return None


def _join_above(terms: dict[Sym, int], constant: int, t: Sym, k: int) -> Sym | None:
    """For k*t with t = x%n: [join] the quotient (x//n)*n completes it."""
    x, n = t.args
    above = k * n.args[0]
    if all(c % above for u, c in terms.items() if u is not t):
        return None
    parts, offset = affine(floordiv(x, n))
    if len(parts) == 1 and terms.get(parts[0][0]) == above * parts[0][1]:
        return combine(_rest(terms, constant - above * offset, (t, parts[0][0])), x, k)
    return None


def _join_below(terms: dict[Sym, int], constant: int, t: Sym, k: int) -> Sym | None:
    """For k*t with t = (x//n + y)%m: [join-remainders] (t*n + x%n) is (x + n*y)%(n*m)."""
    e, m = t.args[0], t.args[1].args[0]
    for q, one in affine(e)[0]:
        if q.kind != FLOORDIV or one != 1 or q.args[1].kind != NUM:
            continue
        x, n = q.args[0], q.args[1].args[0]
        if k % n:
            continue
        parts, offset = affine(mod(x, q.args[1]))
        if len(parts) == 1 and terms.get(parts[0][0]) == k // n * parts[0][1]:
            whole = mod(combine(x, combine(e, q, -1), n), num(n * m))
            return combine(_rest(terms, constant - k // n * offset, (t, parts[0][0])), whole, k // n)
    return None


def _rest(terms: dict[Sym, int], constant: int, without: tuple[Sym, ...]) -> Sym:
    return from_terms({t: c for t, c in terms.items() if t not in without}, constant)
