"""Stage: the tape. In: an op whose derivative is recorded, for gradients of gradients. Out: which Tensors the entry of
that derivative watches: what the products read in PyTorch that its formula is made of.
Next: ``node.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from minigrad.autograd.keeps import OWN
from minigrad.autograd.mode import mode
from minigrad.autograd.watching import Kept, watched

if TYPE_CHECKING:
    from minigrad.grad import Backward

AGAIN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("AmaxBackward0", "AminBackward0", "AminmaxBackward0", "ClampBackward0", "ClampBackward1",
                     "ClampMinBackward0", "FmaxBackward0", "FminBackward0", "MaxBackward1", "MaximumBackward0",
                     "MedianBackward0", "MinBackward1", "MinimumBackward0", "NanToNumBackward0", "NansumBackward0",
                     "NextafterBackward0", "VarBackward0"), ("",)),
    **dict.fromkeys(("HardshrinkBackward0", "HardtanhBackward0", "LeakyReluBackward0", "SoftshrinkBackward0"), ("a!",)),
    **dict.fromkeys(("Log10Backward0", "Log1PBackward0", "Log2Backward0"), ("g*~a",)),
    **dict.fromkeys(("ReciprocalBackward0", "RsqrtBackward0"), ("y*y",)),
    **dict.fromkeys(("CumprodBackward0", "ProdBackward0", "ProdBackward1"), ("own y!",)),
    **dict.fromkeys(("FmodBackward1", "RemainderBackward1"), ("", "a! b!")),
    **dict.fromkeys(("IndexSelectBackward0", "TakeBackward0"), ("g!",)),
    **dict.fromkeys(("ConvolutionBackward0", "PreluBackward0"), ("a! b! g!",)),
    "AbsBackward0": ("g*~a a!",), "AddcdivBackward0": ("", "g*~c", "c*c"), "AddcmulBackward0": ("", "g*~c", "g*~b"),
    "Atan2Backward0": ("g*b a*a b*b", "g*~a a*a b*b"), "BinaryCrossEntropyBackward0": ("own", "g*~a"),
    "BinaryCrossEntropyWithLogitsBackward0": ("g*~a g*~b", "g*~a"), "DivBackward0": ("g*b b*b", "a*b b*b"),
    "LdexpBackward0": ("g*~b", "own"), "LogaddexpBackward0": ("g*~a g*~b",), "MseLossBackward0": ("g*~a g*~b a! b!",),
    "PowBackward0": ("g*~a a*a",), "ScatterAddBackward0": ("", "g!"), "SpecialLogNdtrBackward0": ("y! a*a",),
    "LinalgVectorNormBackward0": ("own g*~a a!",), "SpecialXlog1PyBackward0": ("g*~gb b*~gb", "g*a"),
    "XlogyBackward0": ("g*~gb b*~gb", "g*a ~ga*b b*b"),
}
"""For each operand (the last row is for all others) the products of its gradient's formula in PyTorch, where what they
read is not what minigrad's own formula does; of other ops it is ``OWN_FORMULA``. ``g*b``: of the gradient that came and
the second operand; a product reads a factor if the other one is tracked. ``~ab``: a factor that was computed from the
first two operands, which no Tensor of the program shows. ``y`` is the result, ``z`` the second one. ``a!`` is read in
any case, ``own``: and what minigrad's own formula reads."""

OWN_FORMULA = ("own",)
PLACES = {"a": 0, "b": 1, "c": 2, "y": -1, "z": -2, "g": OWN}


@cache
def _reads(rows: tuple[str, ...], operand: int) -> tuple[tuple[str, str], ...]:
    """What is read for an operand's gradient: letters, each with those of which one must be tracked, or ``"!"``.

    >>> _reads(AGAIN["Log1PBackward0"], 0), _reads(AGAIN["AbsBackward0"], 0)
    ((('g', 'a'),), (('g', 'a'), ('a', '!')))
    """
    found = []
    for product in rows[min(operand, len(rows) - 1)].split():
        if product == "own" or product[-1] == "!":
            found.append((product.rstrip("!"), "!"))
            continue
        factors = re.findall(r"(~?)(\w+)", product)
        found += [(mine, other) for (computed, mine), (_, other) in (factors, factors[::-1]) if not computed]
    return tuple(found)


def watch_again(op: Any, back: Backward, operands: Sequence[Any], outputs: Sequence[Any], results: Sequence[Any],
                ) -> None:
    """Have the entry of a recorded ``back`` of ``op`` watch what it reads: of what the op watches, as it was then, and
    of the gradients that came, which are the last of ``operands``. ``results``: what its ``outputs`` have become, for
    each operand of the op; where no slope leads anywhere, they have an entry of their own."""
    tracked = [(i, r._edge[0]) for i, r in enumerate(results) if r is not None and r._edge is not None]
    if mode.mutation or not tracked:
        return
    inputs, count = len(op.body.params), len(back.residuals)
    places = [at if at < inputs else inputs - 1 - at for at in back.residuals]
    before = {entry[3]: entry for entry in op.kept}
    letters = {letter for letter, place in PLACES.items() if place < 0 or (
        place < len(op.edges) and op.edges[place] is not None)}
    letters |= {"g"} if any([g._source() is not None for g in operands[count:]]) else set()
    recorded = next((o._edge[0] for o in outputs if o._edge is not None), None)
    for position, entry in tracked:
        rows = _reads(op.again, position)
        read = {letter for letter, others in rows if others == "!" or letters & set(others)}
        places_read = {PLACES[letter] for letter in read - {"own"}}
        numbers = {at for at in range(len(operands)) if (places[at] if at < count else OWN) in places_read}
        if "own" in read and recorded is not None:
            numbers |= {at for at in recorded.whole.residuals if at < len(operands)}
        kept = [_as_operand(before[places[at]], at) if at < count else watched(operands[at], at)
                for at in numbers if at >= count or places[at] in before]
        kept += [_as_operand(before[place], OWN) for place in places_read - set(places) if place in before]
        if recorded is None:
            kept = [(*k[:3], OWN, *k[4:]) for k in kept]
        (recorded or entry).kept += tuple(kept)


def _as_operand(entry: Kept, at: int) -> Kept:
    """What an op watches, as operand ``at`` of its derivative. Of a result its memory counts, also when the Tensor has
    other memory since."""
    storage, counter, edits, position, tensor, version, steps = entry
    there = tensor if position >= 0 else lambda: seen if (
        (seen := tensor()) is not None and seen._storage is storage()) else None
    return storage, counter, edits, at, there, version, steps
