"""Stage: front. In: an optimizer, and other parameters and state. Out: a block in which it works on those.
Next: ``swa_utils.py``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from minigrad.optim.optimizer import Optimizer
from minigrad.tensor import Tensor


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(f"swap_in_optimizer_params_and_state requires {what}.")


@contextmanager
def swap_in_optimizer_params_and_state(optimizer: Optimizer, swapin_parameters: dict[str, Tensor],
                                       swapin_optim_state: dict[str, Any]) -> Iterator[None]:
    """Inside, the optimizer has these parameters, in the order of its own, and this state, in the form of
    ``state_dict()``; afterwards its own again. Tensors of the state that change in place keep what they become.

    ``RuntimeError`` if the optimizer has no state yet, or what is given has another form.
    (https://docs.pytorch.org/docs/stable/generated/torch.optim.swap_in_optimizer_params_and_state.html)

    >>> from minigrad import nn, ones, optim
    >>> p, other = nn.Parameter(ones(1)), nn.Parameter(ones(1))
    >>> optimizer = optim.Adagrad([p], lr=0.5)
    >>> other.grad = ones(1)
    >>> with swap_in_optimizer_params_and_state(optimizer, {"p": other}, optimizer.state_dict()):
    ...     optimizer.step()
    >>> p.item(), other.item()
    (1.0, 0.5)
    """
    if not optimizer.state:
        _refuse("initialized optimizer state")
    if not isinstance(swapin_optim_state, dict):
        _refuse("a DCP-style optimizer state_dict")
    state, groups = swapin_optim_state.get("state"), swapin_optim_state.get("param_groups")
    params = list(swapin_parameters.values())
    _check_groups(optimizer, groups, len(params))
    assert isinstance(groups, list)
    numbers = [number for group in groups for number in group["params"]]
    _check_state(state, set(numbers))
    assert isinstance(state, dict)
    of_number = dict(zip(numbers, params, strict=False))
    own_state, own_groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    optimizer.state = defaultdict(dict, {of_number[number]: dict(entries) for number, entries in state.items()})
    for group, new in zip(optimizer.param_groups, groups, strict=True):
        group.update(new, params=[of_number[number] for number in new["params"]])
    try:
        yield
    finally:
        optimizer.state = own_state
        for group, old in zip(optimizer.param_groups, own_groups, strict=True):
            group.clear()
            group.update(old)


def _check_state(state: Any, numbers: set[int]) -> None:
    if not isinstance(state, dict):
        _refuse("swapin_optim_state['state'] to be a dict mapping packed parameter ids to per-param state dicts, got "
                f"{type(state).__name__}")
    if any(isinstance(key, Tensor) for key in state):
        _refuse("optimizer.state_dict()-style state keyed by packed parameter ids")
    if any(isinstance(key, int) and not isinstance(value, dict) for key, value in state.items()):
        _refuse("per-parameter optimizer state entries to be dictionaries")
    extra = [key for key in state if key not in numbers]
    if extra:
        _refuse("swapin_optim_state['state'] to be keyed only by packed parameter ids from param_groups[*]['params']; "
                f"got extra keys {extra!r}")


def _check_groups(optimizer: Optimizer, groups: Any, count: int) -> None:
    if not isinstance(groups, list):
        _refuse("swapin_optim_state['param_groups'] to be a list of param-group dicts, got "
                f"{type(groups).__name__}")
    if len(groups) != len(optimizer.param_groups):
        raise RuntimeError("swapin_optim_state has a different number of parameter groups than the live optimizer.")
    needed = 0
    for index, (group, new) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        if not isinstance(new, dict):
            _refuse("each optimizer param group to be a dictionary")
        numbers = new.get("params")
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            _refuse("optimizer.state_dict()-style param_groups[*]['params'] entries keyed by packed parameter ids")
        if len(numbers) != len(group["params"]):
            raise RuntimeError(f"swapin_optim_state param group {index} has a different number of params than the live "
                               "optimizer param group.")
        only_new, only_old = [k for k in new if k not in group], [k for k in group if k not in new]
        if only_new or only_old:
            _refuse("optimizer.state_dict()-style param group keys to exactly match the live optimizer group keys for "
                    f"group {index}. Keys only in swap-in: {only_new}. Keys only in live: {only_old}")
        needed += len(numbers)
        if needed > count:
            _refuse("the explicit parameter state to match optimizer.param_groups ordering")
