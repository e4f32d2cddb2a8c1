"""Stage: front. In: an optimizer. Out: schedulers that multiply the learning rate by a factor now and then.
Next: ``cosine.py``."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from minigrad.optim.lr_scheduler.base import ClosedScheduler, LRScheduler, Rate, saved_callable
from minigrad.optim.optimizer import Optimizer

Factor = Callable[[int], Any]


class _ByFunctions(LRScheduler):
    """A scheduler with a function for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        count = len(optimizer.param_groups)
        if isinstance(lr_lambda, list | tuple):
            if len(lr_lambda) != count:
                raise ValueError(f"Expected {count} lr_lambdas, but got {len(lr_lambda)}")
            self.lr_lambdas = list(lr_lambda)
        else:
            self.lr_lambdas = [lr_lambda] * count
        self._check_functions()
        super().__init__(optimizer, last_epoch)

    def _check_functions(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of callable objects their attributes, of functions nothing."""
        return {**self._saved("lr_lambdas"), "lr_lambdas": [saved_callable(f) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.__dict__.update({name: value for name, value in state_dict.items() if name != "lr_lambdas"})
        for function, saved in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if saved is not None:
                function.__dict__.update(saved)


class LambdaLR(_ByFunctions):
    """lr = initial lr * lr_lambda(epoch), with one function, or one for each group.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LambdaLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 0.5 ** epoch)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def get_lr(self) -> list[Rate]:
        """The learning rates of ``last_epoch``."""
        self._warn_outside_step()
        return [base_lr * function(self.last_epoch)
                for function, base_lr in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_ByFunctions):
    """lr <- lr * lr_lambda(epoch), with one function, or one for each group.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiplicativeLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def _check_functions(self) -> None:
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {type(function).__name__}")

    def get_lr(self) -> list[Rate]:
        """The learning rates of ``last_epoch``."""
        self._warn_outside_step()
        groups = self.optimizer.param_groups
        return [group["lr"] * (1 if self._is_initial else function(self.last_epoch))
                for function, group in zip(self.lr_lambdas, groups, strict=True)]


class StepLR(ClosedScheduler):
    """lr <- lr * gamma after each ``step_size`` epochs.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        return lr if self.last_epoch == 0 or self.last_epoch % self.step_size else lr * self.gamma

    def _closed(self, base_lr: Rate) -> Rate:
        return base_lr * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(ClosedScheduler):
    """lr <- lr * gamma at each of the epochs ``milestones``.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = MultiStepLR(optimizer, milestones=[1, 30], gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1,
                 last_epoch: int = -1) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        times = self.milestones.get(self.last_epoch)
        return lr if times is None else lr * self.gamma ** times

    def _closed(self, base_lr: Rate) -> Rate:
        return base_lr * self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch)


class ConstantLR(ClosedScheduler):
    """lr = initial lr * factor until the epoch ``total_iters``, from then on the initial one.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ConstantLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> ConstantLR(optimizer, factor=0.5).get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5,
                 last_epoch: int = -1) -> None:
        if factor > 1.0 or factor < 0:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr * (1.0 / self.factor) if self.last_epoch == self.total_iters else lr

    def _closed(self, base_lr: Rate) -> Rate:
        return base_lr * (self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(ClosedScheduler):
    """lr = initial lr * a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> LinearLR(optimizer, start_factor=0.5).get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1) -> None:
        if start_factor > 1.0 or start_factor <= 0:
            raise ValueError("Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if end_factor > 1.0 or end_factor < 0:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        return lr * (1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def _closed(self, base_lr: Rate) -> Rate:
        rise = self.end_factor - self.start_factor
        return base_lr * (self.start_factor + rise * min(self.total_iters, self.last_epoch) / self.total_iters)


class ExponentialLR(ClosedScheduler):
    """lr <- lr * gamma at each epoch.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        return lr if self._is_initial else lr * self.gamma

    def _closed(self, base_lr: Rate) -> Rate:
        return base_lr * self.gamma ** self.last_epoch


class PolynomialLR(ClosedScheduler):
    """lr = initial lr * (1 - epoch / total_iters)^power until the epoch ``total_iters``, from then on 0.

    (https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.PolynomialLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = PolynomialLR(optimizer, total_iters=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        if self._is_initial or self.last_epoch > self.total_iters:
            return lr
        rest, rest_before = [1.0 - epoch / self.total_iters for epoch in (self.last_epoch, self.last_epoch - 1)]
        return lr * (rest / rest_before) ** self.power

    def _closed(self, base_lr: Rate) -> Rate:
        return base_lr * (1.0 - min(self.total_iters, self.last_epoch) / self.total_iters) ** self.power
