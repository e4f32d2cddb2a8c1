"""Stage: front. In: an optimizer. Out: schedulers whose learning rate falls like a cosine.
Next: ``cycles.py``."""

from __future__ import annotations

from math import cos, floor, log, pi

from minigrad.optim.lr_scheduler.base import ClosedScheduler, GroupScheduler, Rate
from minigrad.optim.optimizer import Optimizer


class CosineAnnealingLR(ClosedScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi epoch / T_max)) / 2, computed from the learning rate before.

    (Loshchilov, Hutter 2017;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        epoch, period = self.last_epoch, self.T_max
        if self._is_initial:
            return lr
        if self._step_count == 1 and epoch > 0:
            return self.eta_min + (base_lr - self.eta_min) * (1 + cos(epoch * pi / period)) / 2
        if (epoch - 1 - period) % (2 * period) == 0:  # it was at the least, where the quotient below is 0 / 0
            return lr + (base_lr - self.eta_min) * (1 - cos(pi / period)) / 2
        fall = (1 + cos(pi * epoch / period)) / (1 + cos(pi * (epoch - 1) / period))
        return fall * (lr - self.eta_min) + self.eta_min

    def _closed(self, base_lr: Rate) -> Rate:
        return self.eta_min + (base_lr - self.eta_min) * (1 + cos(pi * self.last_epoch / self.T_max)) / 2


class CosineAnnealingWarmRestarts(GroupScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2. ``T_cur`` counts epochs, parts of one too,
    since the last restart; the first comes after ``T_0`` epochs, each later one after ``T_mult`` times as many.

    (Loshchilov, Hutter 2017;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.25, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
                 last_epoch: int = -1) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, float | int):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _rate(self, lr: Rate, base_lr: Rate) -> Rate:
        return self.eta_min + (base_lr - self.eta_min) * (1 + cos(pi * self.T_cur / self.T_i)) / 2

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to ``epoch``, which may be a fraction; ``ValueError`` if it is below 0."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur = self.T_cur + 1
            if self.T_cur >= self.T_i:
                self.T_cur = self.T_cur % self.T_i
                self.T_i = self.T_i * self.T_mult
        elif epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        elif epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            restarts = int(log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**restarts - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**restarts
        self.last_epoch = floor(epoch)
        with self._flag("_get_lr_called_within_step"):
            rates = self.get_lr()
        self._apply(rates)
