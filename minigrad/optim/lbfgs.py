"""Stage: front. In: Parameters and a function that computes the loss. Out: L-BFGS, with or without a line search.
Next: ``_stateless.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from minigrad.autograd import enable_grad, no_grad
from minigrad.optim.optimizer import Optimizer, ParamsT
from minigrad.tensor import Tensor, cat, composite, known, realize, scalar, update

_MEMORY = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")
"""The names in the state, in PyTorch's order."""


@composite
def flat(parts: list[Tensor]) -> Tensor:
    """All elements in one vector."""
    return cat([part.reshape(-1) for part in parts])


@composite
def moved(params: list[Tensor], direction: Tensor, size: Tensor) -> tuple[Tensor, ...]:
    """The parameters, ``size`` times the direction further on."""
    made, begin = [], 0
    for param in params:
        part = direction[begin:begin + param.numel()].reshape(param.shape)
        made.append((param + size * part).to(param.dtype))
        begin += param.numel()
    return tuple(made)


@composite
def last_step(grad: Tensor, before: Tensor, direction: Tensor, size: Tensor) -> tuple[Tensor, ...]:
    """What the last step tells: the change y of the gradient, the step s, y . s and y . y."""
    change, step = grad - before, direction * size
    return change, step, (change * step).sum(), (change * change).sum()


@composite
def backwards(q: Tensor, change: Tensor, step: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """One round of the first loop: a = (s . q) / (y . s);  q <- q - a y."""
    share = (step * q).sum() * inverse
    return q - share * change, share


@composite
def forwards(r: Tensor, change: Tensor, step: Tensor, inverse: Tensor, share: Tensor) -> Tensor:
    """One round of the second loop: r <- r + s (a - (y . r) / (y . s))."""
    return r + step * (share - (change * r).sum() * inverse)


class LBFGS(Optimizer):
    """L-BFGS: steps along -H g, where the inverse Hessian H is estimated from the last ``history_size`` steps.

    ``step(closure)`` makes up to ``max_iter`` iterations, and calls ``closure``, which computes the loss and the
    gradients, up to ``max_eval`` times (max_iter * 5 / 4 by default); it returns the first loss. An iteration moves by
    ``lr``, or with ``line_search_fn="strong_wolfe"`` by what a search along the direction finds. It ends early if no
    gradient is larger than ``tolerance_grad``, or a step or its gain is at most ``tolerance_change``. One group only.
    (Nocedal, Wright 2006, chapters 3 and 7; https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html)

    >>> from minigrad import nn, tensor
    >>> p = nn.Parameter(tensor([3.0, -4.0]))
    >>> optimizer = LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (p * p).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    tensor(25., grad_fn=<SumBackward0>)
    >>> p.detach().abs().max() < 1e-5
    tensor(True)
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
                                      tolerance_change=tolerance_change, history_size=history_size,
                                      line_search_fn=line_search_fn))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]  # PyTorch's, too, needs one
        """Up to ``max_iter`` iterations; returns the loss that ``closure`` gave first."""
        if len(self.param_groups) != 1:
            raise AssertionError(f"Expected exactly one param_group, but got {len(self.param_groups)}")
        group, state = self.param_groups[0], self.state[self._params[0]]
        closure = enable_grad()(closure)
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = closure()
        point = _Point(float(first_loss), self._flat_grad())
        state["func_evals"] += 1
        if point.largest() <= group["tolerance_grad"]:
            return first_loss
        memory = {name: state.get(name) for name in _MEMORY}
        evaluations = 1
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            self._turn(state, memory, point.grad, group["history_size"])
            before = memory["prev_loss"] = point.loss
            size: float = known(group["lr"])
            if state["n_iter"] == 1:
                size *= min(1.0, 1.0 / float(point.grad.abs().sum()))
            memory["t"] = size
            slope = point.slope(memory["d"])
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            point, size, used = self._walk(closure, group, memory["d"], size, point, slope, evaluations, last)
            memory["t"] = size
            evaluations += used
            state["func_evals"] += used
            if (last or evaluations >= group["max_eval"] or point.largest() <= group["tolerance_grad"]
                    or float(memory["d"].abs().max()) * abs(size) <= group["tolerance_change"]
                    or abs(point.loss - before) < group["tolerance_change"]):
                break
        state.update(memory)
        return first_loss

    def _flat_grad(self) -> Tensor:
        return flat([p.new_zeros(p.shape) if p.grad is None else p.grad.detach() for p in self._params]).realize()

    def _turn(self, state: dict[str, Any], memory: dict[str, Any], grad: Tensor, history_size: int) -> None:
        """The direction of the next step, from the gradient and the memory of earlier ones, which takes in the last."""
        if state["n_iter"] == 1:
            memory.update(d=(-grad).realize(), old_dirs=[], old_stps=[], ro=[], H_diag=1, prev_flat_grad=grad)
            return
        changes, steps, inverses = memory["old_dirs"], memory["old_stps"], memory["ro"]
        change, step, product, square = last_step(grad, memory["prev_flat_grad"], memory["d"],
                                                  _number(memory["t"], grad))
        inverse, scale = 1.0 / product, product / square
        realize(change, step, product, inverse, scale)
        if float(product) > 1e-10:
            if len(changes) == history_size:
                for kept in (changes, steps, inverses):
                    kept.pop(0)
            changes.append(change)
            steps.append(step)
            inverses.append(inverse)
            memory["H_diag"] = scale
        shares = state.setdefault("al", [None] * history_size)
        q = -grad
        for i in reversed(range(len(changes))):
            q, shares[i] = backwards(q, changes[i], steps[i], inverses[i])
            realize(q, shares[i])  # so that each round has the same plan
        r = (q * memory["H_diag"]).realize()
        for i in range(len(changes)):
            r = forwards(r, changes[i], steps[i], inverses[i], shares[i]).realize()
        memory.update(d=r, prev_flat_grad=grad)

    def _walk(self, closure: Callable[[], Any], group: dict[str, Any], direction: Tensor, size: float, point: _Point,
              slope: float, evaluations: int, last: bool) -> tuple[_Point, float, int]:
        """Move along the direction: where that leads, how far it was, and how often ``closure`` was called."""
        start = [p.detach().clone() for p in self._params]
        realize(*start)

        def move(far: float) -> None:
            update(self._params, list(moved(start, direction, _number(far, direction))))

        def evaluate(far: float) -> _Point:
            move(far)
            loss = float(closure())
            return _Point(loss, self._flat_grad())

        name = group["line_search_fn"]
        if name is not None:
            if name != "strong_wolfe":
                raise RuntimeError("only 'strong_wolfe' is supported")
            point, size, used = strong_wolfe(evaluate, size, direction, point, slope,
                                             most=group["max_eval"] - evaluations)
            move(size)
            return point, size, used
        if last:  # nobody asks for the loss there
            move(size)
            return point, size, 0
        return evaluate(size), size, 1


def _number(value: float, like: Tensor) -> Tensor:
    return scalar(float(value), like.dtype, like.device)


class _Point:
    """Where the loss was computed, along the direction: the loss and the gradient, a vector."""

    def __init__(self, loss: float, grad: Tensor) -> None:
        self.loss, self.grad = loss, grad

    def largest(self) -> float:
        """The largest element of the gradient."""
        return float(self.grad.abs().max())

    def slope(self, direction: Tensor) -> float:
        """How the loss changes along the direction."""
        return float((self.grad * direction).sum())


class _Tried:
    """A point of a line search: how far along the direction (``t``), with the loss ``f`` and the ``slope`` there."""

    def __init__(self, t: float, point: _Point, slope: float) -> None:
        self.t, self.point, self.f, self.slope = t, point, point.loss, slope


def strong_wolfe(evaluate: Callable[[float], _Point], t: float, direction: Tensor, start: _Point, slope: float, *,
                 most: int, c1: float = 1e-4, c2: float = 0.9, tolerance: float = 1e-9) -> tuple[_Point, float, int]:
    """Search along a direction for a point at which the loss has fallen by c1 of what the slope promised and the slope
    by c2: first outwards for an interval that has one, then inside. The point, how far it is, and the evaluations.
    ``most``: rounds; ``tolerance``: of the interval. (Nocedal, Wright 2006, algorithms 3.5 and 3.6)"""
    origin = before = _Tried(0.0, start, slope)
    reach = float(direction.abs().max())

    def tried(t: float) -> _Tried:
        point = evaluate(t)
        return _Tried(t, point, point.slope(direction))

    now, calls, rounds = tried(t), 1, 0
    bracket, done = [origin, now], False
    while rounds < most:
        if now.f > start.loss + c1 * now.t * slope or (rounds > 1 and now.f >= before.f):
            bracket = [before, now]
            break
        if abs(now.slope) <= -c2 * slope:
            bracket, done = [now], True
            break
        if now.slope >= 0:
            bracket = [before, now]
            break
        t = interpolated(before, now, (now.t + 0.01 * (now.t - before.t), now.t * 10))
        before, now = now, tried(t)
        calls, rounds = calls + 1, rounds + 1
    else:
        bracket = [origin, now]

    stuck = False
    low = 0 if bracket[0].f <= bracket[-1].f else 1
    while not done and rounds < most:
        if abs(bracket[1].t - bracket[0].t) * reach < tolerance:
            break
        t, stuck = _inside(bracket, interpolated(bracket[0], bracket[1]), stuck)
        now = tried(t)
        calls, rounds = calls + 1, rounds + 1
        if now.f > start.loss + c1 * t * slope or now.f >= bracket[low].f:
            bracket[1 - low] = now
            low = 0 if bracket[0].f <= bracket[1].f else 1
        else:
            if abs(now.slope) <= -c2 * slope:
                done = True
            elif now.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
                bracket[1 - low] = bracket[low]
            bracket[low] = now
    best = bracket[low]
    return best.point, best.t, calls


def _inside(bracket: list[_Tried], t: float, stuck: bool) -> tuple[float, bool]:
    """``t``, moved away from an end of the interval that it is close to if that happened before, or if it is outside;
    and whether it is close."""
    ends = [tried.t for tried in bracket]
    least, most = min(ends), max(ends)
    margin = 0.1 * (most - least)
    if min(most - t, t - least) >= margin:
        return t, False
    if not stuck and least < t < most:
        return t, True
    return (most - margin if abs(t - most) < abs(t - least) else least + margin), False


def interpolated(a: _Tried, b: _Tried, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within bounds (those of the points)."""
    least, most = bounds or (min(a.t, b.t), max(a.t, b.t))
    left, right = (a, b) if a.t <= b.t else (b, a)
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2.0
    d2 = sqrt(square)
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return min(max(t, least), most)
