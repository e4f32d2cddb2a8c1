"""Stage: tests. In: a program that fails, and what differs. Out: the kind of difference, if it is one that is meant.
``docs/fuzzing.md`` has the same list; a test compares the two.
Next: ``__main__.py``.

A kind is recognised by what it describes, never by words in the program alone. Either the reference's run is changed so
that it does what is done here, and then the difference must be gone; or the reference's own result is shown to depend
on what the kind says is open; or the Tensors of the statement are looked at."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from tools.fuzz.changes import (
    COPIES,
    OTHER_KERNELS,
    OTHER_SLOPES,
    READ_BEFORE,
    ROW_MAJOR,
    UNREFUSED,
    UNTRACKED,
    UNWRITTEN,
)
from tools.fuzz.failure import CHANGED, WAYS, Failure, began, depends, is_of_another_way, is_of_our_operands
from tools.fuzz.histories import is_asked_for_nothing, leads_nowhere
from tools.fuzz.loops import NAME
from tools.fuzz.program import (
    Change,
    Mismatch,
    Program,
    compare_all,
    difference,
    has_gradient,
    numbers,
    run,
    step,
)
from tools.fuzz.statements import ROUNDED

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7, "complex128": 2.0**-52,
           "complex64": 2.0**-23}
ARRAY = re.compile(r"L\.from_numpy\((v\d+)\.detach\(\)\.numpy\(\)\)|(v\d+)\.detach\(\)\.numpy\(\)")
UNSEEN = re.compile(r"(v\d+)\.data(?=\.\w+_\()")
ANY_LINE = re.compile("")


@dataclass(frozen=True)
class Known:
    """A kind of difference that is meant. ``holds`` tells it from all others; ``change`` makes the reference do what is
    done here; ``part`` is a part of it: where other kernels have been put in, what another kind is about may not be."""

    name: str
    why: str
    holds: Callable[[Failure], bool] = lambda failure: False
    change: Change | None = None
    part: Change | None = None


def known(failure: Failure, differing: list[Mismatch]) -> str:
    """The name of the kind that a failure is of, or nothing. ``differing``: all that differs in that run."""
    program, reference, library = failure.program, failure.reference, failure.library
    kind = _direct(failure)
    if kind and (failure.mismatch.raised is not None  # else all other values that differ must be of a kind
                 or all(_direct(replace(failure, mismatch=other)) for other in differing[1:])):
        return kind
    before = list(map(str, differing))
    changing = [(row.name, change) for row in KNOWN for change in (row.change, row.part)
                if change is not None and change not in failure.changes]
    for name, change in changing:
        changes = (*failure.changes, change)
        left = compare_all(program, reference, library, changes)
        if not left or (list(map(str, left)) != before
                        and known(replace(failure, mismatch=left[0], changes=changes), left)):
            return name
    for (name, one), (_, other) in combinations(changing, 2):
        if not compare_all(program, reference, library, (*failure.changes, one, other)):
            return name
    return ""


def _direct(failure: Failure) -> str:
    """The name of the kind of this very mismatch, or nothing."""
    return next((kind.name for kind in KNOWN if kind.holds(failure)), "")


def kind_of(program: Program, reference: Any, library: Any) -> str | None:
    """The name of the kind if a program fails in a way that is known, "" if in another way, None if it does not."""
    differing = compare_all(program, reference, library)
    if not differing:
        return None
    kind = known(Failure(program, differing[0], reference, library), differing)
    if not kind and program.jit and differing[0].place == "one_round()":  # without jit it shows which statement raises
        return kind_of(replace(program, jit=False), reference, library) or ""
    return kind


# --- what the reference's own result depends on


CANCELS = re.compile(r"\b(?:v\d+|t)\b(?=\.(?:var|std)\()|(?:" + "|".join([
    rf"(?<=\.{name}\()" for name in ("layer_norm", "cdist", "cosine_similarity", "cross", "renorm", "pow")])
    + r")(?:v\d+|t)\b")
"""What is shaken: operands of functions in which large numbers cancel."""


def _moving(move: Callable[[Any, float], Any], lines: re.Pattern[str] = ROUNDED) -> Change:
    """Move what each statement gives that two libraries may round in two ways, or that of other ``lines``."""
    def after(line: str, variables: dict[str, Any]) -> None:
        found = CHANGED.match(line)
        if found is None or not lines.search(line):
            return
        value: Any = variables.get(found[1])  # the first time it may not have run
        unit = EPSILON.get(str(getattr(value, "dtype", None)).rpartition(".")[2])
        if unit is not None:
            try:
                move(value.data, unit)  # behind the tape's back
            except RuntimeError:  # its elements share memory
                return

    return Change(after=after)


def _moving_gradients(factor: float) -> Change:
    """Move the gradients that a backward gives."""
    def after(line: str, variables: dict[str, Any]) -> None:
        if ".backward(" in line:
            for value in variables.values():
                if not hasattr(value, "requires_grad"):  # None, before there is a gradient
                    continue
                if has_gradient(value) and value.grad is not None and not value.grad.is_sparse:
                    value.grad.data.mul_(1 + factor * EPSILON.get(str(value.grad.dtype).rpartition(".")[2], 0.0))

    return Change(after=after)


def _shaking(k: int) -> Change:
    """Where all elements are equal but their sum is rounded, their distances from the mean are, and those of equal rows
    from each other are roots of roundings: they move apart."""
    return Change(lambda line: CANCELS.sub(rf"shaken(\g<0>, {k})", line))


def _apart(bit: int, sign: int) -> Change:
    """Elements become a bit smaller or larger, as a bit of their number says: what is equal is so no longer."""
    def move(t: Any, unit: float) -> None:
        turns = 1 - 2 * (np.arange(t.numel()).reshape(tuple(t.shape)) >> bit & 1)
        t.mul_(1 + 4 * unit * sign * t.new_tensor(turns))

    return _moving(move)


ROUNDINGS = (
    _moving_gradients(16.0), _moving_gradients(-16.0), _moving(lambda t, unit: t.mul_(1 + 4 * unit)),
    _moving(lambda t, unit: t.mul_(1 - 4 * unit)), _moving(lambda t, unit: t.mul_(t.abs() > 4096 * unit)),
    _moving(lambda t, unit: t.mul_(t.abs() > 4 * unit)),
    _moving(lambda t, unit: t.masked_fill_(t.abs() <= 4096 * unit, 0.0)),
    _moving(lambda t, unit: t.mul_(1 - 2 * (t.abs() <= 4096 * unit))), _apart(0, 1), *[_shaking(k) for k in range(12)])
TIES = tuple([_apart(bit, sign) for bit in range(11) for sign in (1, -1)])
"""Of any two elements one becomes larger than the other: their numbers differ in some bit."""


def _with_parts(real: float, imag: float) -> Change:
    """Complex numbers that are not finite become this one."""
    def move(t: Any, unit: float) -> None:
        if t.is_complex():
            t.masked_fill_(~t.abs().isfinite(), complex(real, imag))

    return _moving(move)


def _with_zeros(real: float, imag: float) -> Change:
    """A part of complex numbers that is 0, but for roundings, becomes this 0."""
    def move(t: Any, unit: float) -> None:
        if t.is_complex():
            least = t.abs() * 4096 * unit
            for part, zero in ((t.real, real), (t.imag, imag)):
                part.masked_fill_(part.abs() <= least, zero)

    return _moving(move, ANY_LINE)


def _with_nan(sign: float) -> Change:
    """Any NaN gets this sign."""
    def move(t: Any, unit: float) -> None:
        if not t.is_complex():
            t.copy_(t.copysign(sign).where(t.isnan(), t))

    return _moving(move, ANY_LINE)



PARTS = (
    _with_nan(1.0), _with_nan(-1.0), *[_with_zeros(a, b) for a in (0.0, -0.0) for b in (0.0, -0.0)],
    *[_with_parts(a, b) for a in (math.inf, math.nan, 1.0) for b in (math.inf, math.nan, 1.0) if (a, b) != (1.0, 1.0)])


# --- what Tensors are


def _memory(t: Any) -> np.ndarray[Any, Any]:
    """For each element where it lies."""
    places: np.ndarray[Any, Any] = np.zeros((), dtype=np.int64)
    for size, stride in zip(t.shape, t.stride(), strict=True):
        places = places[..., None] + np.arange(size) * stride
    return places.reshape(-1)


def _repeats(t: Any) -> bool:
    places = _memory(t)
    return len(np.unique(places)) < len(places)


def _is_half(failure: Failure) -> bool:
    """Our words, and a float16 Tensor in the statement, or what is one here and another in the reference, if that is
    known; or the reference refuses a complex32, which we do not need."""
    ours, *theirs = failure.mismatch.raised or (failure.mismatch.how,)
    if not ours and "not implemented for 'ComplexHalf'" in "".join(theirs):
        return True
    anywhere = failure.program.jit or failure.mismatch.raised is None  # of the round, or of what led to a value
    statement = str(failure.program) if anywhere else failure.mismatch.place
    if not ours.startswith("NotImplementedError") or "complex32 is a name only" not in ours:
        return False
    halves = "L.float16" in statement or any(
        str(t.dtype).rpartition(".")[2] in ("float16", "complex32") for t in failure.tensors())
    return halves or _is_half_here(failure)


def _is_half_here(failure: Failure) -> bool:
    """Whether what the statement names differs in its dtype, which is float16 here, in another known way."""
    named = NAME.findall(failure.mismatch.place)
    others = [other for other in compare_all(failure.program, failure.reference, failure.library, failure.changes)
              if other.place in named and other.how.startswith("dtype float16, ")]
    return bool(others) and all([is_of_another_way(replace(failure, mismatch=other)) for other in others])


SUMS = re.compile(r"(v\d+|\(v\d+ \* v\d+\.detach\(\)\))\.sum\(\)\.abs\(\)")
SIGNS = [Change(lambda line, sign=sign: SUMS.sub(rf"settled(\1, {sign}).abs()", line))  # type: ignore[misc]
         for number in (0, 1, -1) for sign in (f"{number}", f"{number} if last else None")]


def _is_of_a_sign(failure: Failure) -> bool:
    """Nothing differs in this place if a sum with which a backward begins, of which roundings are all that is left, has
    another sign, in all rounds or the last; or that is so of all that began to differ."""
    def depends_on_signs(failure: Failure) -> bool:
        return failure.mismatch.raised is None and any(
            all([other.place != failure.mismatch.place for other in compare_all(
                failure.program, failure.reference, failure.library, (*failure.changes, sign))]) for sign in SIGNS)

    if failure.mismatch.raised is not None or not SUMS.search(str(failure.program)):
        return False
    return depends_on_signs(failure) or (bool(first := began(failure)) and all(map(depends_on_signs, first)))


def _is_repeated(failure: Failure) -> bool:
    """We refuse to write, the reference does not, and some elements of a Tensor in the statement are one in memory. Or
    one of the two says that an operand overlaps what is written, and there are no elements. Or the reference refuses a
    backward, after a fill_() or zero_() of such a Tensor, whose gradient it writes in the same way."""
    ours, theirs = failure.mismatch.raised or ("", "")
    if "written-to tensor refer to a single memory location" in ours + theirs and not (ours and theirs):
        return not any(t.numel() for t in failure.tensors())
    if "more than one element of the written-to tensor" in theirs and "backward(" in failure.mismatch.place:
        variables, _ = run(failure.program, failure.reference, changes=failure.changes, steps=failure.mismatch.at)
        filled = [variables.get(name) for name in FILLED.findall(str(failure.program))]
        return any([_repeats(t) for t in filled if isinstance(t, failure.reference.Tensor)])
    return "more than one element of the written-to tensor" in ours and not theirs and any(
        _repeats(t) for t in failure.tensors())


FILLED = re.compile(r"(v\d+)\.(?:zero_|fill_)\(")


def _is_not_run(failure: Failure) -> bool:
    """The reference refuses the statement as we do if its operands are contiguous and have more elements."""
    ours, theirs = failure.mismatch.raised or ("", "")
    if "can't be cast to the desired output type" in theirs and not ours:
        return any(not t.numel() for t in failure.tensors())
    if "not implemented for" not in ours or theirs:
        return False
    for least in (1, 2, 3):
        operands, line = failure.before(), EMPTY.sub(partial(_filled, least), failure.mismatch.place)
        for name, value in operands.items():
            if isinstance(value, failure.reference.Tensor):
                sizes = tuple(max(n, least) for n in value.shape)
                operands[name] = value.new_ones(sizes) if value.numel() < 2 else value.contiguous()
        found = step(line, failure.scope(), operands)
        if found.startswith("NotImplementedError") and found.split()[-1] == ours.split()[-1]:  # the dtype
            return True
    return False


EMPTY = re.compile(r"L\.zeros\((\([\d, ]*\)), ")


def _filled(least: int, found: re.Match[str]) -> str:
    """A Tensor without elements gets some."""
    sizes = tuple(max(int(n), least) for n in re.findall(r"\d+", found[1]))
    return f"L.ones({sizes}, "


def _is_internal(failure: Failure) -> bool:
    """The reference fails in a check of itself, or of a library that it calls, as for a transform of nothing."""
    ours, theirs = failure.mismatch.raised or ("", "")
    return not ours and any([words in theirs for words in (
        "please report a", "INTERNAL ASSERT FAILED", "MKL FFT error", "on an invalid python storage",
        "ZeroTensors are immutable")])


def _lacks_derivative(failure: Failure) -> bool:
    """The reference has no derivative of an op's derivative, and says so; there is one here."""
    ours, theirs = failure.mismatch.raised or ("", "")
    return not ours and LACKING.match(theirs) is not None


LACKING = re.compile(r"NotImplementedError: the derivative for '_\w+_backward' is not implemented")


def _reached_more(failure: Failure) -> bool:
    """A backward raises in both, after one of them has added to the gradient of a leaf; without it nothing differs."""
    name, _, gradient = failure.mismatch.place.partition(".")
    program, count = failure.program, len(failure.program.lines)
    if not gradient or failure.mismatch.raised is not None or program.jit:
        return False
    both = zip(run(program, failure.library)[1], failure.theirs()[1], strict=True)
    stopped = [i for i, (a, b) in enumerate(both) if a and b and ".backward(" in program.lines[i % count]]
    left = [line for n, line in enumerate(program.lines) if n not in [i % count for i in stopped]]
    if not stopped or compare_all(replace(program, lines=left), failure.reference, failure.library, failure.changes):
        return False

    def reached(library: Any, changes: tuple[Change, ...], at: int) -> bool:
        before, after = [run(program, library, changes=changes, steps=n)[0][name].grad for n in (at, at + 1)]
        return bool(difference(after, before)[0])

    return any([reached(failure.library, (), at) != reached(failure.reference, failure.changes, at) for at in stopped])


def _comes_late(failure: Failure) -> bool:
    """The reference raises; we do so as soon as values are known: with the same words, or the elements that a
    masked_scatter() lacks are found missing. Where there are rows, they are taken one by one: together they have no
    values yet."""
    ours, theirs = failure.mismatch.raised or ("", "")
    if ours or not theirs:
        return False

    def look(line: str, variables: dict[str, Any]) -> None:
        for name in variables:
            late.add(step(f"{name}.tolist()", {}, variables))

    late: set[str] = set()
    for changes in ((Change(after=look),), (Change(after=look), WAYS[0])):
        _, raised = run(failure.program, failure.library, changes=changes, steps=failure.mismatch.at + 1)
        late.add(raised[-1])
    return theirs in late or ("Number of elements of source < number of ones in mask" in theirs
                              and any(words.startswith("IndexOutOfRange") for words in late))


def _is_kept(failure: Failure) -> bool:
    """Values differ, and the reference refuses a backward if a Tensor writes, as the tape sees, what an array wrote, or
    what ``.data`` wrote where there are arrays."""
    def refused(changes: tuple[Change, ...]) -> set[int]:
        _, raised = run(failure.program, failure.reference, changes=changes)
        return {i for i, words in enumerate(raised) if "has been modified by an inplace operation" in words}

    by_tensor = Change(lambda line: UNSEEN.sub(r"\1.detach()", ARRAY.sub(
        lambda found: f"{found[1] or found[2]}.detach()", line)))
    return failure.mismatch.raised is None and ARRAY.search(str(failure.program)) is not None and bool(
        refused((*failure.changes, by_tensor)) - refused(failure.changes))


def _is_product(failure: Failure) -> bool:
    """Our words for a product of complex numbers, and one in the statement."""
    ours, theirs = failure.mismatch.raised or ("", "")
    return ours.endswith("complex numbers that come to one place are not multiplied") and not theirs and any(
        t.is_complex() for t in failure.tensors())


def _is_turned(failure: Failure) -> bool:
    """What logcumsumexp() gives, off by multiples of 2 pi i."""
    place, wrong, ours = failure.mismatch.place, failure.mismatch.wrong, failure.mismatch.ours
    made = [line for line in failure.program.lines if (found := CHANGED.match(line)) and found[1] == place]
    if wrong is None or ours is None or ours.dtype.kind != "c" or not made or ".logcumsumexp(" not in made[-1]:
        return False
    theirs = numbers(run(failure.program, failure.reference, changes=failure.changes)[0][place])
    apart = (ours - theirs)[wrong] / (2 * math.pi)
    return bool((np.abs(apart - 1j * np.round(apart.imag)) < 1e-3).all())


KNOWN: tuple[Known, ...] = (
    Known("conjugates are copies", "PyTorch marks a conjugate and shares its memory; here it is a pending value "
          "(docs/complex.md).", change=COPIES),
    Known("refusals that nobody means", "Where a kernel of PyTorch does not run, since there are no elements, or "
          "another runs, since an operand has one element or gaps, the dtype is not refused, or it alone is. An error "
          "whose words ask for a report, or call themselves internal, is PyTorch's alone, and so is that of kron() of "
          "an operand with gaps, of derivatives of a derivative, as cdist() has them, that it lacks, and of a leaf "
          "that has another shape by now than when the tape first saw it; or it ends the process, alone, too.",
          lambda failure: _is_not_run(failure) or _is_internal(failure) or _lacks_derivative(failure),
          UNREFUSED),
    Known("complex numbers that are not there", "complex32 is a name only; scatter_reduce() and index_reduce() do not "
          "multiply complex numbers: NotImplementedError.", lambda failure: _is_half(failure) or _is_product(failure)),
    Known("memory that overlaps", "PyTorch writes into elements that are one in memory, in no defined order, and warns "
          "in some cases; here they are never written, but by fill_() and zero_(), after which its backward may "
          "refuse. It reads operands, parts of what is written, while it writes; here they are read before. Gradients "
          "of two leaves may be one in memory, so that adding to one changes the other.",
          _is_repeated,
          READ_BEFORE),
    Known("what NumPy writes into memory that an op keeps", "PyTorch's backward reads it; here an op keeps the values "
          "that it had, also when `.data` changes memory that NumPy sees. Through a Tensor it is an error in both.",
          _is_kept),
    Known("gradients that lead nowhere", "PyTorch 2.13 says that a view made under no_grad requires a gradient, and "
          "an integer or bool in which a value was written that requires one; neither can have one. Of gradients "
          "whose own gradients are all 0, or which have no elements, one of the two may say that they require none, "
          "and raise where it is asked for them. In PyTorch what is written to a view, whose data was replaced before, "
          "still enters the history of its base, where nothing was written.",
          lambda failure: leads_nowhere(failure) or is_asked_for_nothing(failure),
          UNTRACKED),
    Known("errors that depend on values", "They come when values are needed: of an integer divided by 0, of a "
          "masked_scatter() with too few elements. PyTorch may have written some elements by then; here nothing is "
          "written. Which leaves have their gradients when a backward raises depends on its order.",
          lambda failure: _comes_late(failure) or _reached_more(failure), UNWRITTEN),
    Known("the layout of results", "PyTorch keeps the order of an operand's dimensions in memory; here results "
          "are in row-major order, also those of which local_response_norm() makes a view, and have memory of their "
          "own where max_pool1d(), avg_pool1d(), repeat_interleave() and linear() give a view of what they have "
          "computed.",
          change=ROW_MAJOR),
    Known("what PyTorch's kernels disagree about", "Its vectorised and scalar kernels differ: in which part of an "
          "infinite complex product or quotient is NaN, in the sign of a part that is 0 and of NaN, in gelu(inf) and "
          "the slope of hardshrink(nan), in layer_norm() of numbers whose squares overflow, as those of float16 do in "
          "local_response_norm() and that of a single number in normalize(), in the number to which pow() takes "
          "float32 ones, which may be a float64, in logcumsumexp() of complex numbers of which one is next to nothing, "
          "and in how many turns of 2 pi its angle has, which depends on the order of adding, in mode() of rows with "
          "NaN, which depends on where NaN is, in std() of complex numbers whose squares overflow, in which of equal "
          "elements sort(), topk(), kthvalue(), median(), nanmedian(), mode() and quantile() take, in prod() whose "
          "partial products overflow, or of one element, whose slope is on the tape unless that is 0, in slopes of "
          "digamma(), which have half of their digits, and of which polygamma(2, x) has the poles, of log_ndtr() far "
          "below 0, which have none, of logit() at -0.0, of float16, which overflow before they are multiplied, and "
          "of atan2(), hypot() and xlog1py() of two types; in slopes of slopes, which are NaN at 0 of sinc(), "
          "copysign(), angle(), sgn() and cosine_similarity(), of NaN in renorm(), and far above it of mish(); in "
          "sinc() of floats whose product with pi is infinite, digamma() near its poles, gelu() far below 0 and "
          "slopes of bfloat16 convolutions with NaN; the gradients that autograd.grad gives without a graph, from "
          "those with one; and the derivatives that torch.func gives, in forward mode and in rows, from those that "
          "autograd.grad gives: ours are one or the other, or quotients of differences.",
          lambda failure: _is_turned(failure) or is_of_another_way(failure) or depends(failure, PARTS),
          OTHER_KERNELS, OTHER_SLOPES),
    Known("a step after a rounding", "A step such as `floor`, `==` or `argmax` of a number that the two libraries "
          "round in two ways: PyTorch's own result changes when its functions are moved by a few units in the last "
          "place, or if a sum that cancels has another sign, or it is ours if the step is made from what stood here.",
          lambda failure: _is_of_a_sign(failure) or depends(failure, ROUNDINGS, TIES) or is_of_our_operands(failure)),
)
