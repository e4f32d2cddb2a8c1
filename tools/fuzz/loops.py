"""Stage: tests. In: the statements of a program. Out: those of the body of a loop, and what they use that is another in
each round: so the calls of a round are replayed with other values, and sometimes with other calls among them.
Next: ``plainly.py``.

A statement ``if first: …`` runs in the first round only, so that its variable lives on; ``if odd: …`` in every third
one, ``if last: …`` in the last. ``fresh`` is ``L.tensor`` of other numbers in each round, ``number`` another number."""

from __future__ import annotations

import math
import re
from typing import Any

from tools.fuzz import values
from tools.fuzz.statements import BINARY, WRITES, Writer

NUMBER = re.compile(r"(?P<before>= v\d+ (?:[-+*/%<]|//|>=|==|!=) |L\.(?:" + "|".join(BINARY) + r")\(v\d+, |v\d+\.(?:"
                    + "|".join(WRITES) + r")\()(?P<number>-?[\d.e]+)(?P<after>\)?)$")
TRACKED = ".requires_grad_()"
SELDOM = ("special", "order", "index", "mask", "alias", "modes", "complex")
"""Features of which a loop has few, since their values differ in shape from round to round, or their calls are recorded
each time."""
CREATED = re.compile(r"(v\d+) = L\.tensor\(")
MADE = re.compile(r"(?:(?:with|if) .*?: )?(v\d+) = ")
ALONE = re.compile(r"for |with ")


def names_of_round(library: Any, number: int, rounds: int) -> dict[str, Any]:
    """What statements of a round use."""
    return {"first": number == 0, "odd": number % 3 == 1, "last": number == rounds - 1,
            "number": lambda n: n + number % 3, "fresh": lambda data, **options: library.tensor(
                varied(data, number), **options)}


def varied(data: Any, number: int) -> Any:
    """Nested lists with the same numbers in another order, finite floats a little larger or smaller; the same in round
    0.

    >>> varied([[1, 2], [3, 4]], 1), varied([[0.5, math.inf]], 3)
    ([[2, 3], [4, 1]], [[inf, 0.75]])
    """
    if not number:
        return data
    flat, sizes = data if isinstance(data, list) else [data], []
    while flat and isinstance(flat[0], list):
        sizes.append(len(flat[0]))
        flat = [item for part in flat for item in part]
    by = number % max(len(flat), 1)
    step = number * 7 % 5 / 4
    flat = [v + step if type(v) is float and math.isfinite(v) else v for v in (*flat[by:], *flat[:by])]
    for size in reversed(sizes):
        flat = [flat[i:i + size] for i in range(0, len(flat), size)]
    return flat if isinstance(data, list) else flat[0]


def inputs(w: Writer) -> list[str]:
    """What a loop begins with: some parameters, and data."""
    sizes = values.new_shape(w.rng, w.features)
    made = []
    for _ in range(w.rng.randint(2, 4)):
        some = sizes if w.rng.random() < 0.7 else values.new_shape(w.rng, w.features)
        kind = w.rng.choice(values.FLOATS) if "mixed" in w.features else "float64"
        made.append(f"{w.new()} = {values.tensor(w.rng, w.features, some, kind)}{w.rng.choice(('', TRACKED, TRACKED))}")
    return made


def looped(w: Writer, lines: list[str], kinds: list[str]) -> tuple[list[str], list[str]]:
    """The statements as the body of a loop, and their kinds: some tensors stay, all others get other numbers; some
    statements run in some rounds only. At the end often a step of training, and a look at what came out."""
    rng = w.rng
    body = []
    kept = []
    for line in lines:
        created = CREATED.match(line)
        if created is not None and rng.random() < (0.8 if line.endswith(TRACKED) else 0.2):
            kept.append(created[1])
            body.append(f"if first: {line}")
            continue
        line = NUMBER.sub(r"\g<before>number(\g<number>)\g<after>", line).replace("L.tensor(", "fresh(")
        if not ALONE.match(line) and rng.random() < 0.12:
            made = MADE.match(line)
            if made is None:
                line = f"if {rng.choice(('odd', 'odd', 'last'))}: {line}"
            elif made[1] not in w.tracked():  # PyTorch's tape knows versions of Tensors that are gone
                line = f"if first or odd: {line}"
        body.append(line)
    more = []
    tracked = [name for name in w.tracked() if _is_computed(w.variables[name])]
    if tracked and rng.random() < 0.8:
        more.append(f"{rng.choice(tracked)}.sum().abs().backward()")
        for name in kept:
            if name in w.tracked() and rng.random() < 0.8:
                more += [f"with L.no_grad(): {name}.sub_({name}.grad, alpha=0.25)", f"{name}.grad = None"]
    for name in kept:
        if rng.random() < 0.3:
            more.append(f"{name}.data.copy_(fresh({_text(w.variables[name].tolist())}))")
    if rng.random() < 0.8:
        more.append(f"look({w.any()})")
    return body + more, kinds + ["loop"] * len(more)


CALL = re.compile(r"\b(?:fresh|number)\(")
NAME = re.compile(r"\bv\d+\b")
COMPUTED = re.compile(r"\bv\d+\b|\bt\.")
"""What a round computes: a variable, or the argument of a function that is transformed."""
KEPT = re.compile(r"if first: (v\d+) = ")


def jitted(lines: list[str]) -> list[str]:
    """The same loop, whose round is a function under ``jit``: what a round gets anew are its arguments, what stays from
    round to round it finds around it, and it returns what it has computed. It looks at no values.

    >>> print(*jitted(["if first: v1 = L.ones(2)", "v2 = v1 * fresh([1.0, 2.0])", "look(v2)"]), sep="\\n")
    if first: v1 = L.ones(2)
    if first:
     def around(v1):
      def one_round(a0):
       v2 = v1 * a0
       return detached(v2),
      return one_round
     one_round = L.jit(around(v1))
    v2, = one_round(fresh([1.0, 2.0]))
    """
    kept = [line for line in lines if KEPT.match(line)]
    names = ", ".join([line.split()[2] for line in kept])
    arguments: list[str] = []
    body = [_with_arguments(line, arguments) for line in lines if line not in kept and "look(" not in line]
    made = "".join(f"{found[1]}, " for line in body if (found := MADE.match(line))).rstrip()
    returned = re.sub(r"v\d+", r"detached(\g<0>)", made)
    given = {name: name for name in ("odd", "last") if any(line.startswith(f"if {name}: ") for line in body)}
    given |= {f"a{i}": text for i, text in enumerate(arguments)}
    inside = "\n".join(f"   {line}" for line in [*body, f"return {returned or '()'}"])
    whole = (f"if first:\n def around({names}):\n  def one_round({', '.join(given)}):\n{inside}\n  return one_round\n"
             f" one_round = L.jit(around({names}))")
    call = f"one_round({', '.join(given.values())})"
    return [*kept, whole, f"{made} = {call}" if made else call]


def in_each_round(line: str) -> str:
    """A statement without a condition that makes its variable one of an earlier round."""
    if line.startswith("if first or odd: ") or (line.startswith("if first: ") and len({*NAME.findall(line)}) > 1):
        return line.partition(": ")[2]
    return line


def _with_arguments(line: str, arguments: list[str]) -> str:
    """The line with names for calls of ``fresh`` and ``number``, which join the arguments. A number that takes the
    dtype of what is computed is the same in each round.

    >>> _with_arguments("v2 = L.func.grad(lambda t: (t * fresh(2, dtype=t.dtype) * fresh(3.0)).sum())(v1)", [])
    'v2 = L.func.grad(lambda t: (t * L.tensor(2, dtype=t.dtype) * a0).sum())(v1)'
    """
    while (found := CALL.search(line)) is not None:
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(line[end], 0)
            end += 1
        text = line[found.start():end]
        if COMPUTED.search(text):
            line = f"{line[:found.start()]}L.tensor({line[found.end():]}"
            continue
        arguments.append(text)
        line = f"{line[:found.start()]}a{len(arguments) - 1}{line[end:]}"
    return line


def _is_computed(t: Any) -> bool:
    """Whether a gradient flows on; not of one that must not be asked, since its base was changed in place."""
    try:
        return t.grad_fn is not None
    except RuntimeError:
        return False


def _text(data: Any) -> str:
    return re.sub(r"-?\b(?:nan|inf)\b", lambda found: f"float('{found[0]}')", str(data))
