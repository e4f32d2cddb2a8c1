"""Stage: front. In: an optimizer, and a rule for its learning rates. Out: ``LRScheduler``, which counts the steps,
applies the rule, and keeps what it gave.
Next: ``factors.py``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import Any
from weakref import ref

from minigrad.optim.optimizer import Optimizer
from minigrad.tensor import Tensor, hold, known, scalar

Rate = Any
"""A learning rate: a number, or a Tensor of one element where the group has one."""

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available. Please open an issue if you are unable to "
    "replicate your use case: https://github.com/pytorch/pytorch/issues/new/choose.")

_OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make sure "
    "to call `optimizer.step()` before `lr_scheduler.step()`. See more details at "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate")

_WRONG_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call "
    "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in "
    "PyTorch skipping the first value of the learning rate schedule. See more details at "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate")

_NOT_IN_STEP = "To get the last learning rate computed by the scheduler, please use `get_last_lr()`."


def copied(value: Any) -> Any:
    """A value that shares nothing with a Tensor."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone() if value.ndim else scalar(known(value), value.dtype, value.device)


def values_of(optimizer: Optimizer, key: str) -> list[Any]:
    """What each group has under ``key``, copied."""
    return [copied(group[key]) for group in optimizer.param_groups]


def put(group: dict[str, Any], key: str, value: Any) -> None:
    """Give a group another value; a Tensor that is there takes it in."""
    if isinstance(group[key], Tensor):
        hold([group[key]], known(value))
    else:
        group[key] = value


def each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group. ``ValueError`` for a list of another length."""
    count = len(optimizer.param_groups)
    if isinstance(value, list | tuple):
        if len(value) != count:
            raise ValueError(f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} "
                             f"values, param_groups has {count}.")
    else:
        value = [value] * count
    return [copied(v) for v in value]


def check_optimizer(optimizer: Any) -> None:
    """``TypeError`` for what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def saved_callable(function: Any) -> dict[str, Any] | None:
    """What a state_dict has of a callable: the attributes of an object, None for a function."""
    return None if isinstance(function, FunctionType) else function.__dict__.copy()


class LRScheduler:
    """Base class of schedulers: a class made of it says in ``get_lr`` what the learning rates are in ``last_epoch``.

    The first step is made when a scheduler is made; each further one by ``step()``, after the optimizer's. A scheduler
    reads the learning rates that it finds, so several may act on one optimizer. ``last_epoch``: the last epoch of a run
    that is gone on with; then the groups must have an "initial_lr" (``KeyError``). ``TypeError`` for what is no
    optimizer. (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LRScheduler.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> class Halved(LRScheduler):
    ...     def get_lr(self):
    ...         return [base_lr / 2 ** self.last_epoch for base_lr in self.base_lrs]
    >>> scheduler = Halved(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{number}] when resuming scheduler with "
                    "last_epoch >= 0.\nThis typically happens when:\n1. You're trying to resume training from a "
                    "checkpoint but haven't properly loaded the optimizer state\n2. You're using last_epoch >= 0 for a "
                    "fresh training run (not recommended)")
        self.base_lrs: list[Rate] = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        """Begin to count, with the step that sets the first learning rates."""
        self._step_count = 0
        with self._flag("_is_initial"):
            self.step()

    @contextmanager
    def _flag(self, name: str) -> Iterator[None]:
        """A block in which an attribute is True."""
        setattr(self, name, True)
        try:
            yield
        finally:
            setattr(self, name, False)

    def get_last_lr(self) -> list[Rate]:
        """The learning rates that the last step gave."""
        return self._last_lr

    def get_lr(self) -> list[Rate]:
        """The learning rates of ``last_epoch``, computed from those of the groups. It is called by ``step``."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch, or (deprecated) to ``epoch``, by the closed form if there is one."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(_OVERRIDDEN, UserWarning, stacklevel=2)
            elif not self.optimizer._opt_called:
                warnings.warn(_WRONG_ORDER, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._flag("_get_lr_called_within_step"):
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            closed = getattr(self, "_get_closed_form_lr", self.get_lr)
            rates = self.get_lr() if epoch is None else closed()
        self._apply(rates)

    def _apply(self, rates: list[Rate]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            put(group, "lr", rate)
        self._last_lr: list[Rate] = values_of(self.optimizer, "lr")

    def _warn_outside_step(self) -> None:
        """For ``get_lr``, which users may call by mistake."""
        if not self._get_lr_called_within_step:
            warnings.warn(_NOT_IN_STEP, UserWarning, stacklevel=3)

    # ---- saving

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return self._saved()

    def _saved(self, *but: str) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "optimizer" and name not in but}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.__dict__.update(state_dict)


class _LRScheduler(LRScheduler):
    """The old name of the base class."""


class GroupScheduler(LRScheduler):
    """A scheduler with one rule for all groups: ``_rate`` gives the next learning rate of the last and the first."""

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        raise NotImplementedError

    def get_lr(self) -> list[Rate]:
        """The learning rates of ``last_epoch``, computed from those of the groups."""
        self._warn_outside_step()
        return [self._rate(lr, base_lr) for lr, base_lr in
                zip(values_of(self.optimizer, "lr"), self.base_lrs, strict=True)]


class ClosedScheduler(GroupScheduler):
    """One whose learning rate is also known without the steps before: ``_closed``, of the first."""

    def _closed(self, base_lr: Rate) -> Rate:
        raise NotImplementedError

    def _get_closed_form_lr(self) -> list[Rate]:
        return [self._closed(base_lr) for base_lr in self.base_lrs]


def _note_steps(optimizer: Optimizer) -> None:
    """See to it that the optimizer notes its steps. Its class does, but not a ``step`` that was put into the object."""
    step = optimizer.step
    if hasattr(step, "_wrapped_by_lr_sched"):
        return
    optimizer_ref = ref(optimizer)
    function: Any = getattr(step, "__func__", step)

    @wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        owner = optimizer_ref()
        owner._opt_called = True  # type: ignore[union-attr]
        return function(*args, **kwargs) if function is step else function(owner, *args, **kwargs)

    noted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = noted  # type: ignore[method-assign]
