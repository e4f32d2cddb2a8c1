"""Stage: front. In: log-probabilities of labels over time, and label sequences. Out: the formula of the CTC loss.
Next: ``adaptive.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minigrad.autograd.keeps import OWN
from minigrad.dtype import int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import Tensor, arange, composite, loop, maximum, where
from minigrad.tensor.function import Function

Values = Sequence[LazyBuffer]

# --- one step: a state is reached from itself, from the one before and, where labels differ, from the one before that


def _moved(x: LazyBuffer, by: int) -> LazyBuffer:
    """The states moved ``by`` places to the right, or to the left if it is negative; what comes in is 0."""
    rows, states = x.shape
    kept = min(abs(by), states)
    if by > 0:
        return x.shrink(((0, rows), (0, states - kept))).pad(((0, 0, 0), (kept, 0, 0)))
    return x.shrink(((0, rows), (kept, states))).pad(((0, 0, 0), (0, kept, 0)))


def _sources(alpha: LazyBuffer, skip: LazyBuffer) -> list[LazyBuffer]:
    """The ways into each state; -inf where there is none."""
    never = alpha.like(-math.inf)
    first = LazyBuffer.index(alpha.shape, 1, alpha.device).binary(Op.EQ, LazyBuffer.const(
        0, int64, alpha.shape, alpha.device))
    return [alpha, first.where(never, _moved(alpha, 1)), skip.where(_moved(alpha, 2), never)]


def _finite(x: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.EQ, x.like(-math.inf)).where(x.like(0.0), x)


def _reached(alpha: LazyBuffer, skip: LazyBuffer) -> LazyBuffer:
    """log of the sum of exp of the ways into each state."""
    ways = _sources(alpha, skip)
    peak = _finite(ways[0].binary(Op.MAXIMUM, ways[1]).binary(Op.MAXIMUM, ways[2]))
    first, *others = [way.binary(Op.SUB, peak).unary(Op.EXP) for way in ways]
    for other in others:
        first = first.binary(Op.ADD, other)
    return first.unary(Op.LOG).binary(Op.ADD, peak)


def _reached_gradient(inputs: Values, outputs: Values,
                      grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None, None]:
    """Each way gets its share exp(way - result), back at where it came from."""
    if grads[0] is None:
        return None, None
    out, result = _finite(outputs[0]), None
    for by, way in enumerate(_sources(*inputs)):
        part = grads[0].binary(Op.MUL, way.binary(Op.SUB, out).unary(Op.EXP))
        part = _moved(part, -by) if by else part
        result = part if result is None else result.binary(Op.ADD, part)
    return result, None


_REACHED = Function("ctc_step", _reached, "CtcStepBackward0", _reached_gradient)


# --- PyTorch's gradient


def _nothing(log_probability: LazyBuffer, live: LazyBuffer) -> LazyBuffer:
    return log_probability.like(0.0).reduce(Op.SUM, (0, 2)).reshape((log_probability.shape[1],))


def _probabilities(inputs: Values, outputs: Values,
                   grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None, None]:
    """exp of the log-probabilities, at the times that count."""
    x, live = inputs
    if grads[0] is None:
        return None, None
    times, rows, _ = x.shape
    g = grads[0].reshape((1, rows, 1)).expand(x.shape).binary(Op.MUL, x.unary(Op.EXP))
    return live.reshape((times, rows, 1)).expand(x.shape).where(g, g.like(0.0)), None


_NORMALISED = Function("ctc_normalised", _nothing, "CtcNormalisedBackward0", _probabilities)
"""0, with the gradient that the logarithm of the sum of probabilities would have. PyTorch adds it to the gradient of
the loss, which then is the one of scores before log_softmax; behind a log_softmax it cancels."""


# --- the loss


@composite(node="CtcLossBackward0", keeps=((OWN, 1),))
def ctc_loss(log_probability: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, *, blank: int,
             reduction: str, zero_infinity: bool) -> Tensor:
    """-log of the probability of all paths of log-probabilities (T, N, C) that spell the targets (N, S).

    The states are blank, first label, blank, second label … blank. (Graves et al. 2006, section 4.1)
    """
    x = log_probability
    (times, rows, _), size = x.shape, targets.shape[1]
    state = arange(2 * size + 1, device=x.device)
    label = state % 2 == 1
    if size:
        beyond = arange(size, device=x.device) >= target_lengths.unsqueeze(1)
        named = where(beyond, blank, targets)[:, state // 2 * (state < 2 * size)]
        labels = where(label, named, blank)
        before = labels[:, (state - 2) * (state >= 2)]
        skip = label & (state > 2) & (labels != before)
    else:
        labels = where(label, 0, blank).unsqueeze(0).expand(rows, 1)
        skip = (labels != labels)
    spoken = x.gather(2, labels.unsqueeze(0).expand(times, rows, 2 * size + 1))
    live = arange(times, device=x.device).unsqueeze(1) < input_lengths
    start = where((state == 0).unsqueeze(0).expand(rows, 2 * size + 1), 0.0, -math.inf).to(x.dtype)

    def step(states: list[Tensor], given: list[Tensor], constants: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (alpha,), (row, counts), (may_skip,) = states, given, constants
        return [where(counts.unsqueeze(1), _REACHED((alpha, may_skip)) + row, alpha)], []

    (alphas,), _ = loop(step, [start], [spoken, live], [skip])
    last = 2 * target_lengths.unsqueeze(1)
    ends = where((state == last) | (state == last - 1), alphas[times - 1], -math.inf)
    possible = ends.amax(1) > -math.inf  # no gradient comes from the loss of a target that is not
    loss = _NORMALISED((x, live)) - where(possible.unsqueeze(1), ends, 0.0).logsumexp(1)
    loss = where(possible, loss, math.inf)
    if zero_infinity:
        loss = where(loss == math.inf, 0.0, loss)
    if reduction == "mean":
        return (loss / maximum(target_lengths, target_lengths * 0 + 1).to(loss.dtype)).mean()
    return loss.sum() if reduction == "sum" else loss
