"""Stage: front. In: an optimizer. Out: schedulers that raise and lower the learning rate, and the momentum the other
way.
Next: ``chained.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, floor, pi
from typing import Any

from minigrad.optim.lr_scheduler.base import LRScheduler, Rate, check_optimizer, each_group, put, saved_callable
from minigrad.optim.optimizer import Optimizer


class _MomentumScheduler(LRScheduler):
    """A scheduler that may change the momentum, too: the first of the betas, if there are some."""

    cycle_momentum: bool
    use_beta1: bool

    def _find_momentum(self, optimizer: Optimizer) -> None:
        """``ValueError`` if the optimizer has none."""
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.use_beta1 = "betas" in optimizer.defaults

    def _begin_momentum(self, optimizer: Optimizer, most: list[float], least: list[float]) -> None:
        """Start from the largest momentum, and note both in the groups."""
        for group, high, low in zip(optimizer.param_groups, most, least, strict=True):
            self._put_momentum(group, high)
            group["max_momentum"] = high
            group["base_momentum"] = low

    def _put_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class CyclicLR(_MomentumScheduler):
    """lr goes from ``base_lr`` to ``max_lr`` in ``step_size_up`` steps and back in ``step_size_down``, again and again.

    The height of a cycle is scaled by 1 (``mode="triangular"``), 1 / 2^(cycle - 1) ("triangular2"), gamma^step
    ("exp_range"), or ``scale_fn`` of the cycle or step (``scale_mode="cycle"`` or "iterations"). The momentum goes from
    ``max_momentum`` to ``base_momentum`` meanwhile. ``ValueError`` for another mode, or an optimizer without momentum.
    (Smith 2017; https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CyclicLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = CyclicLR(optimizer, 0.0, 1.0, step_size_up=2, cycle_momentum=False)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000,
                 step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
                 scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
                 cycle_momentum: bool = True, base_momentum: Any = 0.8, max_momentum: Any = 0.9,
                 last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = each_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                put(group, "lr", lr)
        self.max_lrs = each_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in _SCALES and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._find_momentum(optimizer)
            self.base_momentums = each_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = each_group("max_momentum", optimizer, max_momentum)
            if last_epoch == -1:
                self._begin_momentum(optimizer, self.max_momentums, self.base_momentums)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The factor of the height, of the cycle or step."""
        return _SCALES[self.mode](x, self.gamma) if self._scale_fn_custom is None else self._scale_fn_custom(x)

    def get_lr(self) -> list[Rate]:
        """The learning rates of the step ``last_epoch``; the momentum is changed, too."""
        self._warn_outside_step()
        cycle = floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = cycle if self.scale_mode == "cycle" else self.last_epoch
        rates = [low + (high - low) * share * self.scale_fn(scale)
                 for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]
        if self.cycle_momentum:
            for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums,
                                        strict=True):
                self._put_momentum(group, high - (high - low) * share * self.scale_fn(scale))
        return rates

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of a callable object its attributes, of a function nothing."""
        function = self._scale_fn_custom
        return {**self._saved("_scale_fn_custom"),
                "_scale_fn_custom": None if function is None else saved_callable(function)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_scale_fn_custom"})
        saved = state_dict["_scale_fn_custom"]
        if saved is not None:
            self._scale_fn_custom.__dict__.update(saved)


_SCALES: dict[str, Callable[[float, float], float]] = {
    "triangular": lambda x, gamma: 1.0,
    "triangular2": lambda x, gamma: 1 / (2.0 ** (x - 1)),
    "exp_range": lambda x, gamma: gamma**x,
}


class OneCycleLR(_MomentumScheduler):
    """lr goes from max_lr / div_factor to ``max_lr`` in the first ``pct_start`` of all steps, then to
    max_lr / div_factor / final_div_factor; with ``three_phase`` it first comes down as it went up.

    There are ``total_steps``, or ``epochs * steps_per_epoch``; ``ValueError`` in the step after the last. It moves
    along a cosine or a line (``anneal_strategy="linear"``), the momentum from ``max_momentum`` to ``base_momentum`` and
    back meanwhile.
    (Smith, Topin 2018; https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5, momentum=0.9)
    >>> OneCycleLR(optimizer, max_lr=1.0, total_steps=10, div_factor=4.0).get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, max_lr: Any, total_steps: int | None = None, epochs: int | None = None,
                 steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos",
                 cycle_momentum: bool = True, base_momentum: Any = 0.85, max_momentum: Any = 0.95,
                 div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
                 last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _count_steps(total_steps, epochs, steps_per_epoch)
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        if anneal_strategy not in _WAYS:
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_func_type = anneal_strategy
        max_lrs = each_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, highest in zip(optimizer.param_groups, max_lrs, strict=True):
                group["initial_lr"] = highest / div_factor
                group["max_lr"] = highest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._find_momentum(optimizer)
            most = each_group("max_momentum", optimizer, max_momentum)
            least = each_group("base_momentum", optimizer, base_momentum)
            if last_epoch == -1:
                self._begin_momentum(optimizer, most, least)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The learning rates of the step ``last_epoch``; the momentum is changed, too."""
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        begin = 0.0
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            begin = phase["end_step"]
        share, between = (step - begin) / (phase["end_step"] - begin), _WAYS[self._anneal_func_type]
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(between(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                self._put_momentum(group, between(group[phase["start_momentum"]], group[phase["end_momentum"]], share))
        return rates


def along_cosine(start: Any, end: Any, share: float) -> Any:
    """From ``start`` to ``end`` along half a wave of a cosine."""
    return end + (start - end) / 2.0 * (cos(pi * share) + 1)


def along_line(start: Any, end: Any, share: float) -> Any:
    """From ``start`` to ``end`` along a line."""
    return (end - start) * share + start


_WAYS: dict[str, Callable[[Any, Any, float], Any]] = {"cos": along_cosine, "linear": along_line}


def _count_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        if total_steps <= 0 or not isinstance(total_steps, int):
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return epochs * steps_per_epoch


def _phases(total: int, share: float, three: bool) -> list[dict[str, Any]]:
    """The last step of each phase, and which of the group's entries it goes between."""

    def phase(end: float, lrs: tuple[str, str], momenta: tuple[str, str]) -> dict[str, Any]:
        return {"end_step": end, "start_lr": lrs[0], "end_lr": lrs[1], "start_momentum": f"{momenta[0]}_momentum",
                "end_momentum": f"{momenta[1]}_momentum"}

    first = phase(float(share * total) - 1, ("initial_lr", "max_lr"), ("max", "base"))
    if not three:
        return [first, phase(total - 1, ("max_lr", "min_lr"), ("base", "max"))]
    return [first, phase(float(2 * share * total) - 2, ("max_lr", "initial_lr"), ("base", "max")),
            phase(total - 1, ("initial_lr", "min_lr"), ("max", "max"))]
