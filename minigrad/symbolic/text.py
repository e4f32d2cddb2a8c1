"""Stage: printing, for people. In: an expression. Out: C-like text with as few parentheses as reading allows.
``/`` and ``%`` in it are floor division and its remainder; for text that a compiler reads, see ``render``.
Next: ``expression.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.symbolic.kinds import AND, EQUAL, FLOORDIV, LESS, MAX, MIN, MOD, NUM, PRODUCT, SUM, VAR

if TYPE_CHECKING:
    from minigrad.symbolic.expression import Sym

# How tightly the text of a kind holds together: 4 = one word, 3 = a product, 2 = a sum, 1 = a comparison.
_TIGHT = {NUM: 4, VAR: 4, MIN: 4, MAX: 4, PRODUCT: 3, FLOORDIV: 3, MOD: 3, SUM: 2, LESS: 1, EQUAL: 1, AND: 0}
_SIGN = {FLOORDIV: "/", MOD: " % ", LESS: " < ", EQUAL: " == ", AND: " && ", PRODUCT: "*"}


def text(e: Sym) -> str:
    """The expression as C-like text: largest stride first, constant last.

    >>> from minigrad.symbolic import text, var
    >>> i, j = var("i", 0, 7), var("j", 0, 9)
    >>> text(j + 4*i), text((j + 3)//4), text(7 - i), text(2*(j % 8) < i)
    ('4*i + j', '(j + 3)/4', '7 - i', '2*(j % 8) < i')
    """
    kind, args = e.kind, e.args
    if kind == NUM:
        return str(args[0])
    if kind == VAR:
        return str(args[0])
    if kind == SUM:
        return _sum_text(e)
    if kind in (MIN, MAX):
        return f"{kind}({', '.join(map(text, args))})"
    tight = 1 if kind == AND else 2 if kind in (LESS, EQUAL) else 4
    return _SIGN[kind].join(_inside(a, tight) for a in args)


def _inside(e: Sym, tight: int) -> str:
    """The text of ``e``, in parentheses unless it holds together at least this tightly."""
    held = 3 if e.kind == NUM and e.args[0] < 0 else _TIGHT[e.kind]
    if e.kind == SUM and len(e.args[0]) == 1 and e.args[1] == 0:
        held = 3  # 4*i is printed as a product
    return text(e) if held >= tight else f"({text(e)})"


def _sum_text(e: Sym) -> str:
    terms, constant = e.args
    pieces = []
    for term, c in sorted(terms, key=lambda item: (item[1] < 0, -abs(item[1]))):
        size = abs(c)
        whole = _inside(term, 3) if size == 1 else f"{size}*{_inside(term, 3 if term.kind == PRODUCT else 4)}"
        pieces.append((c < 0, whole))
    if constant:
        at = 0 if constant > 0 and pieces[0][0] else len(pieces)
        pieces.insert(at, (constant < 0, str(abs(constant))))
    out = ("-" if pieces[0][0] else "") + pieces[0][1]
    return out + "".join((" - " if negative else " + ") + whole for negative, whole in pieces[1:])
