"""Stage: tests. In: a random generator. Out: shapes, dtypes, numbers and operands, as the text of a program.
Next: ``statements.py``."""

from __future__ import annotations

import math
from random import Random
from typing import Any

FLOATS = ("float64", "float64", "float32", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")
COMPLEX = ("complex128", "complex64")
SIZES = (0, 1, 1, 2, 2, 3, 4, 5, 7)
LARGE = ((33, 37), (40, 24), (65, 17), (4, 300), (1030,), (3, 17, 19), (32, 32), (5, 128), (130, 9))
"""Shapes for which kernels have tiles, chunks, and parts for several threads. Their outer products still fit."""

LITERAL = 343
"""Elements of a Tensor that are written out."""

SPECIAL = ("nan", "inf", "-inf", "-0.0", "0.0", "1e20", "-1e-20", "300.0")


def shape(rng: Random, dims: int | None = None) -> tuple[int, ...]:
    """Up to three dimensions, seldom an empty one."""
    dims = rng.choice((0, 1, 1, 2, 2, 2, 3)) if dims is None else dims
    return tuple(max(s, 1) if rng.random() < 0.9 else s for s in (rng.choice(SIZES) for _ in range(dims)))


def new_shape(rng: Random, features: set[str]) -> tuple[int, ...]:
    """As ``shape``, or a large one."""
    return rng.choice(LARGE) if "large" in features and rng.random() < 0.5 else shape(rng)


def dtype(rng: Random, features: set[str]) -> str:
    """A name of a dtype; mostly float64, so that rounding hides nothing."""
    if "complex" in features and rng.random() < 0.4:
        return rng.choice(COMPLEX)
    if "mixed" not in features:
        return "float64"
    return rng.choice(FLOATS if rng.random() < 0.6 else WHOLE)


def number(rng: Random, kind: str, features: set[str]) -> str:
    """One number of a dtype, as text: a multiple of 1/4, an integer near a limit, a special value."""
    if kind == "bool":
        return rng.choice(("True", "False"))
    if kind.startswith(("int", "uint")):
        low, high = (0, 255) if kind == "uint8" else (-128, 127)
        return str(rng.choice((low, high, 0, 1)) if "special" in features and rng.random() < 0.2 else
                   rng.randint(max(low, -6), 6))
    if kind.startswith("complex"):
        return f"complex({rng.randint(-8, 8) / 4}, {rng.randint(-8, 8) / 4})"
    if "special" in features and rng.random() < 0.15:
        text = rng.choice(SPECIAL)
        return f"float('{text}')" if text.lstrip("-") in ("nan", "inf") else text
    return str(rng.randint(-16, 16) / 4)


def literal(rng: Random, sizes: tuple[int, ...], kind: str, features: set[str]) -> str:
    """Nested lists of numbers; without elements, a call that has the shape.

    >>> literal(Random(0), (2,), "bool", set())
    '[False, False]'
    """
    if not sizes:
        return number(rng, kind, features)
    return "[" + ", ".join(literal(rng, sizes[1:], kind, features) for _ in range(sizes[0])) + "]"


def tensor(rng: Random, features: set[str], sizes: tuple[int, ...] | None = None, kind: str | None = None) -> str:
    """A call that makes a Tensor."""
    sizes = new_shape(rng, features) if sizes is None else sizes
    kind = dtype(rng, features) if kind is None else kind
    if not math.prod(sizes):
        return f"L.zeros({sizes}, dtype=L.{kind})"
    if "large" in features and math.prod(sizes) > LITERAL:
        return f"L.tensor(many({sizes}, '{kind}', {rng.randint(1, 99)}), dtype=L.{kind})"
    return f"L.tensor({literal(rng, sizes, kind, features)}, dtype=L.{kind})"


def many(sizes: tuple[int, ...], kind: str, first: int) -> Any:
    """Nested lists of numbers of a dtype, as many as there are elements.

    >>> many((2, 3), "float64", 1), many((3,), "complex64", 2)
    ([[1.5, 0.25, 2.0], [0.0, 4.0, -1.0]], [(0.25+0.25j), (2+2j), 0j])
    """
    numbers = [(first + i) * ((first + i) ** 2 + 21) % 33 for i in range(math.prod(sizes))]
    if kind == "bool":
        flat: list[Any] = [n % 2 == 0 for n in numbers]
    elif kind.startswith(("int", "uint")):
        flat = [n % 13 - 6 * (kind != "uint8") for n in numbers]
    else:
        flat = [(n - 16) / 4 * (1 + 1j if kind.startswith("complex") else 1) for n in numbers]
    for size in sizes[:0:-1]:
        flat = [flat[i:i + size] for i in range(0, len(flat), size)]
    return flat


def places(rng: Random, sizes: tuple[int, ...], size: int) -> str:
    """A Tensor of indices into an axis."""
    if not math.prod(sizes) or not size:
        return f"L.zeros({sizes}, dtype=L.int64)"
    return f"L.tensor({_indices(rng, sizes, size)})"


def _indices(rng: Random, sizes: tuple[int, ...], size: int) -> str:
    if not sizes:
        return str(rng.randrange(size))
    return "[" + ", ".join(_indices(rng, sizes[1:], size) for _ in range(sizes[0])) + "]"


def dimension(rng: Random, x: Any) -> int:
    """One of x's dimensions, counted from either end."""
    return rng.randint(-x.ndim, x.ndim - 1) if x.ndim else rng.choice((0, -1))


def dimensions(rng: Random, x: Any) -> str:
    """One of x's dimensions, or a tuple of them."""
    if not x.ndim or rng.random() < 0.6:
        return str(dimension(rng, x))
    chosen = rng.sample(range(x.ndim), rng.randint(1, x.ndim))
    return str(tuple(d - x.ndim if rng.random() < 0.3 else d for d in chosen))


def a_slice(rng: Random, size: int) -> str:
    """A slice of an axis, seldom empty or out of range."""
    start, stop = (rng.choice(("", str(rng.randint(-size - 1, size + 1)))) for _ in range(2))
    step = rng.choice(("", "", ":2", ":3"))
    return f"{start}:{stop}{step}"


def index(rng: Random, x: Any) -> str:
    """What stands in brackets: slices, integers, None, an ellipsis, lists, masks."""
    parts: list[str] = []
    for size in x.shape[:rng.randint(0, x.ndim)]:
        roll = rng.random()
        if roll < 0.45:
            parts.append(a_slice(rng, size))
        elif roll < 0.65 and size:
            parts.append(str(rng.randint(-size, size - 1)))
        elif roll < 0.8 and size:
            count = rng.randint(1, 3)
            parts.append(f"L.tensor({[rng.randint(-size, size - 1) for _ in range(count)]})")
        elif roll < 0.9:
            parts.append(f"L.tensor({[rng.random() < 0.5 for _ in range(size)]}, dtype=L.bool)")
        else:
            parts.append(":")
    if rng.random() < 0.15:
        parts.insert(rng.randint(0, len(parts)), "None")
    if rng.random() < 0.15:
        parts.insert(rng.randint(0, len(parts)), "...")
    return ", ".join(parts) or "..."
