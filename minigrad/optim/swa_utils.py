"""Stage: front. In: a model, as it is trained. Out: running averages of its parameters, and the learning rate that goes
with them.
Next: ``minigrad/optim/lr_scheduler/``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from math import cos, pi
from typing import Any

from minigrad.autograd import no_grad
from minigrad.dtype import float32, float64, int64
from minigrad.nn.modules.batchnorm import _BatchNorm
from minigrad.nn.modules.module import Module
from minigrad.optim.lr_scheduler import LRScheduler
from minigrad.optim.lr_scheduler.base import Rate, each_group
from minigrad.optim.optimizer import Optimizer
from minigrad.tensor import Tensor, composite, known, scalar, tensor, update

AverageOne = Callable[[Tensor, Tensor, Any], Tensor]
AverageAll = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


@composite
def approach(averages: list[Tensor], currents: list[Tensor], share: Tensor) -> tuple[Tensor, ...]:
    """Each average, moved by a share of the way to the current value."""
    return tuple([(average + share * (current - average)).to(average.dtype)
                  for average, current in zip(averages, currents, strict=True)])


def _approach(averages: Sequence[Tensor], currents: Sequence[Tensor], share: float) -> None:
    first = averages[0]
    number = scalar(float(share), float64 if first.dtype is float64 else float32, first.device)
    new = approach(list(averages), list(currents), number)
    update(averages, list(new) if isinstance(new, tuple) else [new])


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageAll:
    """For ``multi_avg_fn``: average <- decay * average + (1 - decay) * parameter, all parameters in one run.
    ``ValueError`` unless the decay is between 0 and 1.

    >>> from minigrad import ones, zeros
    >>> average = zeros(2)
    >>> get_ema_multi_avg_fn(0.75)([average], [ones(2)], 1)
    >>> average
    tensor([0.2500, 0.2500])
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(averages: Sequence[Tensor], currents: Sequence[Tensor], _: Any) -> None:
        if averages[0].is_floating_point():
            _approach(averages, currents, 1 - decay)
        else:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> AverageAll:
    """For ``multi_avg_fn``: the mean of all parameters so far, all parameters in one run.

    >>> from minigrad import ones, zeros
    >>> average = zeros(2)
    >>> get_swa_multi_avg_fn()([average], [ones(2)], 1)
    >>> average
    tensor([0.5000, 0.5000])
    """

    @no_grad()
    def swa_update(averages: Sequence[Tensor], currents: Sequence[Tensor], num_averaged: Any) -> None:
        count = known(num_averaged)
        if averages[0].is_floating_point():
            _approach(averages, currents, 1 / (count + 1))
        else:
            for average, current in zip(averages, currents, strict=True):
                average.add_(((current - average) / (count + 1)).to(average.dtype))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> AverageOne:
    """For ``avg_fn``: decay * average + (1 - decay) * parameter. ``ValueError`` unless the decay is between 0 and 1.

    >>> from minigrad import ones, zeros
    >>> get_ema_avg_fn(0.75)(zeros(2), ones(2), 1)
    tensor([0.2500, 0.2500])
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(average: Tensor, current: Tensor, _: Any) -> Tensor:
        return decay * average + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> AverageOne:
    """For ``avg_fn``: average + (parameter - average) / (count + 1), the mean of all so far.

    >>> from minigrad import ones, zeros
    >>> get_swa_avg_fn()(zeros(2), ones(2), 1)
    tensor([0.5000, 0.5000])
    """

    @no_grad()
    def swa_update(average: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return average + (current - average) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of those that ``update_parameters`` has seen.

    By default the average is their mean; ``avg_fn(average, parameter, count)`` gives another one for one parameter, and
    ``multi_avg_fn(averages, parameters, count)`` changes all averages in place. ``use_buffers``: buffers are averaged
    too, else copied. ``AssertionError`` if both functions are given.
    (Izmailov et al. 2018; https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html)

    >>> from minigrad import nn, no_grad
    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     with no_grad():
    ...         model.weight.fill_(value).item()
    ...     averaged.update_parameters(model)
    1.0
    2.0
    6.0
    >>> averaged.module.weight.item(), averaged.n_averaged
    (3.0, tensor(3))
    """

    n_averaged: Tensor

    def __init__(self, model: Module, device: Any = None, avg_fn: AverageOne | None = None,
                 multi_avg_fn: AverageAll | None = None, use_buffers: bool = False) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Takes the parameters of ``model`` into the averages."""
        averages, currents = [self._averaged(m) for m in (self.module, model)]
        currents = [c.to(a.device) for a, c in zip(averages, currents, strict=False)]
        if known(self.n_averaged) == 0:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(self.avg_fn(average, current, self.n_averaged.to(average.device)))
        else:
            self._average_all(averages, currents)
        if not self.use_buffers:
            for average, current in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(current.detach().to(average.device))
        self.n_averaged += 1

    def _averaged(self, model: Module) -> list[Tensor]:
        found: Iterable[Tensor] = model.parameters()
        if self.use_buffers:
            found = chain(found, model.buffers())
        return [t.detach() for t in found]

    def _average_all(self, averages: list[Tensor], currents: list[Tensor]) -> None:
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
        for average, current in zip(averages, currents, strict=True):
            group = groups.setdefault((average.device.name, average.dtype), ([], []))
            group[0].append(average)
            group[1].append(current)
        average_all = self.multi_avg_fn or get_swa_multi_avg_fn()
        for (device, _), (some, theirs) in groups.items():
            average_all(some, theirs, self.n_averaged.to(device))


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of all BatchNorm layers anew, as means over the inputs that ``loader`` gives
    (the first of each list or tuple).

    >>> from minigrad import nn, tensor
    >>> model = nn.BatchNorm1d(1)
    >>> update_bn([tensor([[1.0], [3.0]]), tensor([[5.0], [7.0]])], model)
    >>> model.running_mean
    tensor([4.])
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    was_training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    for batch in loader:
        batch = batch[0] if isinstance(batch, list | tuple) else batch
        model(batch if device is None else batch.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """lr goes from what it is to ``swa_lr`` in ``anneal_epochs`` epochs, along a cosine or a line
    (``anneal_strategy="linear"``), and stays there. ``ValueError`` for another strategy or epochs below 0.

    (Izmailov et al. 2018; https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.SWALR.html)

    >>> from minigrad import nn, ones, optim
    >>> optimizer = optim.SGD([nn.Parameter(ones(1))], lr=0.5)
    >>> scheduler = SWALR(optimizer, swa_lr=0.0, anneal_epochs=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos",
                 last_epoch: int = -1) -> None:
        for rate, group in zip(each_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """The share of ``swa_lr`` after the share ``t`` of the epochs."""
        return (1 - cos(pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Rate]:
        """The learning rates of ``last_epoch``, computed from those of the groups."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, share = [self.anneal_func(max(0, min(1, s / max(1, self.anneal_epochs)))) for s in (step - 1, step)]
        rates = []
        for group in self.optimizer.param_groups:
            lr, last = group["lr"], group["swa_lr"]
            begin = last if before == 1 else (lr - before * last) / (1 - before)
            rates.append(last * share + begin * (1 - share))
        return rates
