"""Stage: front. In: the formula of one parameter's step, and the parameters, gradients and state of an optimizer. Out:
one update of all parameters, recorded as one composite and run as one plan; after some steps, a program.
Next: ``sgd.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd import enable_grad, no_grad
from minigrad.dtype import DType, accumulator, float32, float64
from minigrad.lazily import importing
from minigrad.optim.optimizer import Optimizer, _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from minigrad.tensor import (
    Tensor,
    agreed,
    capturing,
    composite,
    counted,
    get_default_dtype,
    hold,
    known,
    realize,
    scalar,
    scalars,
    update,
    view_as_complex,
    view_as_real,
    zeros_like,
)

if TYPE_CHECKING:
    from minigrad.jit.update import Update

ASKED_ANEW = frozenset(("lr", "step", "weight_decay", "_constants", "_new_state", "_opt_called", "_program",
                        "_stepping", "_steps"))
"""What ``minigrad.jit`` need not watch of an optimizer in whose ``__jit_free__`` this is: ``_arguments`` and
``counted`` read and count it at each call, or it is a cache. A class that reads it in another way, like one that a user
makes of ``SGD``, does not have it: then it is watched, and a change is recorded."""

FIRST_STEPS = 16
"""Steps in the ordinary way, before the update becomes a program."""


MOST_CONSTANTS = 1024
"""Run-time arguments that are kept from step to step."""


class Batch:
    """Parameters of a group whose step is one call of the formula: they share device, dtype, the names of their state
    tensors (None for one that is left out), and the numbers in their state. ``first``: their state was just made."""

    __slots__ = ("device", "dtype", "first", "grads", "numbers", "params", "slots", "states", "tensors")

    def __init__(self, param: Tensor, first: bool, slots: tuple[str | None, ...], numbers: tuple[float, ...]) -> None:
        self.device, self.dtype = param.device.name, param.dtype
        self.first, self.slots, self.numbers = first, slots, numbers
        self.params: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.states: list[dict[str, Any]] = []
        self.tensors: list[list[Tensor]] = [[] for _ in slots]

    def add(self, param: Tensor, state: dict[str, Any]) -> None:
        """Take in a parameter with its gradient and its state."""
        self.params.append(param)
        self.grads.append(param.grad)  # type: ignore[arg-type]
        self.states.append(state)
        for name, tensors in zip(self.slots, self.tensors, strict=True):
            if name is not None:
                tensors.append(state[name])


def for_each(states: int) -> Callable[[Callable[..., Any]], Callable[..., tuple[Tensor, ...]]]:
    """Make a composite over lists of the ``formula`` of one parameter's step.

    ``formula(param, grad, *states, *numbers, **static)`` gives the new parameter and as many new states (None for one
    that is left out). Half types are computed in float32 and rounded at the end; complex numbers as two real ones. The
    composite takes lists of parameters, gradients and of each state (None for one that is left out), the numbers, and
    ``maximize``; it returns all new parameters, then all that the first state becomes, and so on."""

    def decorate(formula: Callable[..., Any]) -> Callable[..., tuple[Tensor, ...]]:
        def over_lists(params: list[Tensor], grads: list[Tensor], *rest: Any, maximize: bool,
                       **static: Any) -> tuple[Tensor, ...]:
            lists, numbers = rest[:states], rest[states:]
            new: list[list[Tensor]] = [[] for _ in range(states + 1)]
            for position, (param, grad) in enumerate(zip(params, grads, strict=True)):
                old = [param, *[None if tensors is None else tensors[position] for tensors in lists]]
                grad = _wide(_parts(grad))
                first, *others = [None if t is None else _wide(_parts(t)) for t in old]
                values = formula(first, -grad if maximize else grad, *others, *numbers, **static)
                for results, value, before in zip(new, values if states else (values,), old, strict=True):
                    if before is not None:
                        value = view_as_complex(value) if before.is_complex() else value
                        results.append(value.to(before.dtype))
            return tuple(chain.from_iterable(new))

        return composite(update_wrapper(over_lists, formula))

    return decorate


def _parts(tensor: Tensor) -> Tensor:
    return view_as_real(tensor) if tensor.is_complex() else tensor


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(accumulator(tensor.dtype))


def number_dtype() -> DType:
    """The dtype of the numbers in the state."""
    return float64 if get_default_dtype() is float64 else float32


def rounded(value: float) -> float:
    """A number of the state as its tensor holds it."""
    return float(value if number_dtype() is float64 else np.float32(value))


class CompositeOptimizer(Optimizer):
    """An optimizer whose step is one run. A class made of it says how:

    ``_update``: the composite of ``for_each``. ``_slots``: the names of the state tensors that it takes, in its order;
    ``_initial``: what each is at first. ``_scalars``: the names of the numbers in the state, 0-d tensors as in
    PyTorch; ``_first_numbers`` and ``_next_numbers``: what they are. ``_numbers``: the run-time arguments, of these
    numbers before the step; ``_static``: what the composite is traced for.
    """

    _update: Callable[..., tuple[Tensor, ...]]
    _scalars: tuple[str, ...] = ("step",)
    _changing = 0
    """How many of the run-time arguments, from the first on, change with every step."""

    def _prepare(self) -> None:
        super()._prepare()
        self._constants: dict[tuple[int, int, DType, str], tuple[float, Tensor]] = {}
        self._new_state: list[Tensor] = []
        self._program: Update | None = None
        self._steps = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for entries in self.state.values():
            self._make_tensors(entries)

    def _make_tensors(self, entries: dict[str, Any]) -> None:
        """The numbers of a parameter's state are tensors, also where somebody put Python's numbers there."""
        for name in self._scalars:
            if name in entries and not isinstance(entries[name], Tensor):
                entries[name] = scalar(float(entries[name]), number_dtype(), "CPU")

    # ---- what a class says

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return ()

    def _initial(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        return zeros_like(param)

    @staticmethod
    def _first_numbers(group: dict[str, Any]) -> tuple[float, ...]:
        return (0.0,)

    @staticmethod
    def _next_numbers(group: dict[str, Any], *numbers: float) -> tuple[float, ...]:
        return (numbers[0] + 1,)

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        raise NotImplementedError

    def _static(self, group: dict[str, Any], dtype: DType) -> dict[str, Any]:
        return {"maximize": group["maximize"]}

    # ---- stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient, in one run; returns what ``closure`` (the loss) gave."""
        self._opt_called = True
        if not self._stepping and (_global_optimizer_pre_hooks or _global_optimizer_post_hooks
                                   or self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks):
            args = (self,) if closure is None else (self, closure)
            return self._step_with_hooks(CompositeOptimizer.step, args, {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        program = self._program
        if program is None or not program.run(self.param_groups, self.state):
            self._follow_parameters()
            if program is None or not program.record(self._step, param_groups=self.param_groups, state=self.state):
                self._step()
                self._count_steps()
        return loss

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]

    def _step(self) -> None:
        targets: list[Tensor] = []
        values: list[Tensor] = []
        counts: list[Callable[[], None]] = []
        with no_grad():
            for group in self.param_groups:
                counts += self._record(group, targets, values)
            if targets:
                update(targets, values)
        for count in counts:
            counted(count)

    def _count_steps(self) -> None:
        """After some steps each further one is made by a program, if the class says what that needs to know."""
        free = vars(type(self)).get("__jit_free__")
        self._steps += 1
        if self._steps == FIRST_STEPS and free is not None:
            with importing():  # for those that train for a while
                from minigrad.jit.update import Update

            self._program = Update(f"{type(self).__name__}.step", free)

    def _record(self, group: dict[str, Any], targets: list[Tensor], values: list[Tensor]) -> list[Callable[[], None]]:
        """Appends the tensors of ``group`` that change and, not yet computed, what they become; what is to be counted
        afterwards. It depends on nothing but the group and the state."""
        batches: dict[tuple[Any, ...], Batch] = {}
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if grad.is_sparse:
                self._steps = FIRST_STEPS  # which rows change differs from step to step: that is no program
                self._sparse_step(group, param, grad)
                continue
            slots = self._slots(group, param)
            state: dict[str, Any] = {}
            first, numbers = False, ()
            if self._scalars or any(slots):
                state = self.state[param]
                first = self._complete(state, param, group, slots)
                numbers = tuple([known(state[name]) for name in self._scalars])
            key = (param.device.name, param.dtype, first, slots, numbers)
            batch = batches.get(key)
            if batch is None:
                batch = batches[key] = Batch(param, first, slots, numbers)
            batch.add(param, state)
        self._settle_state()
        counts: list[Callable[[], None]] = []
        for batch in batches.values():
            place = len(targets)
            targets += batch.params
            targets += chain.from_iterable(batch.tensors)
            arguments = self._arguments(place,
                partial(self._numbers_of, group, batch.first, batch.numbers, batch.states),
                batch.dtype is float64, batch.device)
            values += type(self)._update(batch.params, batch.grads, *[tensors or None for tensors in batch.tensors],
                                         *arguments, **self._static(group, batch.dtype))
            if self._scalars:
                counts.append(partial(self._count, group, batch.states))
        return counts

    def _sparse_step(self, group: dict[str, Any], param: Tensor, grad: Any) -> None:
        """One parameter's step by a sparse gradient, outside autograd. ``RuntimeError`` for a class that has none."""
        name = type(self).__name__
        if name in ("Adam", "AdamW"):
            raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")
        raise RuntimeError(f"{name} does not support sparse gradients")

    def _sparse_state(self, group: dict[str, Any], param: Tensor) -> tuple[dict[str, Any], float]:
        """The state of a parameter with a sparse gradient, and the number of this step, which is counted."""
        state = self.state[param]
        self._complete(state, param, group, self._slots(group, param))
        self._settle_state()
        step = known(state["step"]) + 1
        hold([state["step"]], step)
        return state, step

    def _complete(self, state: dict[str, Any], param: Tensor, group: dict[str, Any],
                  slots: tuple[str | None, ...]) -> bool:
        """Whether the state of a parameter lacks something, which is made. ``_settle_state`` gives all new tensors
        memory at once, so that the first step has the same plan as every later one."""
        if not state and self._scalars:
            state.update(zip(self._scalars, map(rounded, self._first_numbers(group)), strict=True))
        self._make_tensors(state)
        missing = [name for name in slots if name is not None and name not in state]
        for name in missing:
            state[name] = self._initial(name, param, group)
            self._new_state.append(state[name])
        return bool(missing)

    def _settle_state(self) -> None:
        if self._new_state:
            realize(*self._new_state)
            self._new_state.clear()

    @classmethod
    def _numbers_of(cls, group: dict[str, Any], first: bool, numbers: tuple[float, ...],
                    states: list[dict[str, Any]]) -> tuple[float | None, ...]:
        """The run-time arguments for the next step of a batch, computed in float64. None at all if its states have
        come to differ: then a program that took them together does not hold."""
        if cls._scalars:
            numbers = tuple([agreed([state[name] for state in states]) for name in cls._scalars])
            if None in numbers:
                return ()
        return cls._numbers(group, first, *numbers)

    @classmethod
    def _count(cls, group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        new = cls._next_numbers(group, *[known(states[0][name]) for name in cls._scalars])
        for name, value in zip(cls._scalars, new, strict=True):
            hold([state[name] for state in states], value)

    def _follow_parameters(self) -> None:
        """Moves the state of parameters that moved to another device since."""
        for param, entries in self.state.items():
            if isinstance(param, Tensor):
                device = param.device
                for name, value in entries.items():
                    if name not in self._scalars and isinstance(value, Tensor) and value.device is not device:
                        entries[name] = value.to(device=device).realize()

    def _arguments(self, place: int, numbers: Callable[[], Sequence[Any]], wide: bool, device: str) -> list[Any]:
        """The run-time arguments of the batch at a place of the update: what ``numbers`` computes of the
        hyperparameters, None for what is left out. Those that seldom change are made again when they do, each for
        itself: of two equal numbers that were one leaf of the graph, one could not change without a new plan.
        ``wide`` makes them float64."""
        dtype = float64 if wide else float32
        if capturing() is not None:
            return scalars(numbers, dtype, device)
        made: list[Any] = []
        for position, value in enumerate(numbers()):
            if value is None:
                made.append(None)
                continue
            value = float(value)
            if position < self._changing:
                made.append(scalar(value, dtype, device))
                continue
            key = (place, position, dtype, device)
            old, number = self._constants.get(key, (None, None))
            if old != value:
                if len(self._constants) >= MOST_CONSTANTS:
                    self._constants.clear()
                number = scalar(value, dtype, device)
                self._constants[key] = value, number
            made.append(number)
        return made


# ---- what hyperparameters may be, in PyTorch's words


def check_lr(lr: Any) -> None:
    """``ValueError`` unless the learning rate is at least 0, and one number if it is a Tensor."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_not_negative("learning rate", lr)


def check_not_negative(name: str, value: Any) -> None:
    """``ValueError`` unless ``value`` is at least 0."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {name}: {value}")


def check_betas(betas: Sequence[Any]) -> None:
    """``ValueError`` unless both are at least 0 and below 1."""
    for index in (0, 1):
        if not 0.0 <= betas[index] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {betas[index]}")


def check_fused(fused: Any, foreach: Any, differentiable: Any) -> None:
    """``RuntimeError`` for ``fused`` with what it does not go with; else it changes nothing: every step is one run."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
