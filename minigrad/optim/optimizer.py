"""Stage: front. In: Parameters, hyperparameters and gradients. Out: one update of all Parameters, run as one plan.
Optimizer keeps the groups and the state; its subclasses say in ``_record`` what a step computes.
Next: ``sgd.py``."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from minigrad.autograd import no_grad
from minigrad.dtype import float32, float64
from minigrad.tensor import Tensor, capturing, realize, scalar, scalars, tensor, update, zeros_like

if TYPE_CHECKING:
    from minigrad.jit.update import Update


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()


def check_not_negative(name: str, value: Any) -> None:
    """``ValueError`` in PyTorch's words unless ``value`` is at least 0."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {name}: {value}")


ASKED_ANEW = frozenset(("lr", "step", "weight_decay", "_constants", "_new_state", "_program", "_steps"))
"""What ``minigrad.jit`` need not watch of an optimizer in whose ``__jit_free__`` this is: ``_arguments`` and
``counted`` read and count it at each call, or it is a cache. A class that reads it in another way, like one that a user
makes of ``SGD``, does not have it: then it is watched, and a change is recorded."""

FIRST_STEPS = 16
"""Steps in the ordinary way, before the update becomes a program."""


class Optimizer:
    """Base class of optimizers: parameter groups, their hyperparameters, and the state of each parameter.

    ``params`` is an iterable of Tensors, of ``(name, Tensor)`` pairs, or of dictionaries with a "params" entry and
    hyperparameters of their own. (https://docs.pytorch.org/docs/stable/optim.html)

    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    >>> optimizer.param_groups[0]["lr"] = 0.01
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, "
                            f"but got {type(params).__name__}")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._constants: dict[Hashable, Tensor] = {}
        self._new_state: list[Tensor] = []
        self._program: Update | None = None
        self._steps = 0
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # ---- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with hyperparameters of their own; what they leave out comes from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = dict(param_group)
        params = group["params"]
        if isinstance(params, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but the ordering of "
                            "tensors in sets will change between runs. Please use a list instead.")
        group["params"] = params = [params] if isinstance(params, Tensor) else list(params)
        self._split_names(group)
        for param in group["params"]:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is "
                                f"{type(param).__name__}")
            if not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            group.setdefault(name, default)
        ids = [id(param) for param in group["params"]]
        if len(set(ids)) < len(ids):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                          "an error; see github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=3)
        if not {id(param) for other in self.param_groups for param in other["params"]}.isdisjoint(ids):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    def _split_names(self, group: dict[str, Any]) -> None:
        """Turns ``(name, Tensor)`` pairs into the entries "params" and "param_names"."""
        named = [isinstance(param, tuple) for param in group["params"]]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            group["param_names"] = [name for name, _ in group["params"]]
            group["params"] = [param for _, param in group["params"]]
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            have, has = (("with", "without") if "param_names" in group else ("without", "with"))
            raise ValueError("all optimizer param groups should be with/without names. cannot add param group "
                             f"{have} names to the optimizer {has} names")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad.detach().zero_()

    # ---- stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient, in one run; returns what ``closure`` (the loss) gave."""
        loss = None if closure is None else closure()
        program = self._program
        if program is None or not program.run(self.param_groups, self.state):
            self._follow_parameters()
            if program is None or not program.record(self._step, param_groups=self.param_groups, state=self.state):
                self._step()
                self._count_steps()
        return loss

    def _step(self) -> None:
        targets: list[Tensor] = []
        values: list[Tensor] = []
        with no_grad():
            for group in self.param_groups:
                self._record(group, targets, values)
            if targets:
                update(targets, values)

    def _count_steps(self) -> None:
        """After some steps each further one is made by a program, if the class says what that needs to know."""
        free = vars(type(self)).get("__jit_free__")
        self._steps += 1
        if self._steps == FIRST_STEPS and free is not None:
            from minigrad.jit.update import Update  # for those that train for a while

            self._program = Update(f"{type(self).__name__}.step", free)

    def _record(self, group: dict[str, Any], targets: list[Tensor], values: list[Tensor]) -> None:
        """Appends the tensors of ``group`` that change and, not yet computed, what they become. It depends on nothing
        but the group and the state."""
        raise NotImplementedError

    def _follow_parameters(self) -> None:
        """Moves the state of parameters that moved to another device since."""
        for param, entries in self.state.items():
            if isinstance(param, Tensor):
                device = param.device
                for name, value in entries.items():
                    if name != "step" and isinstance(value, Tensor) and value.device is not device:
                        entries[name] = value.to(device=device).realize()

    def _arguments(self, numbers: Callable[[], Sequence[Any]], wide: bool, device: str,
                   new: int = 0) -> list[Any]:
        """The run-time arguments of an update: what ``numbers`` computes of the hyperparameters, None for what is left
        out. The first ``new`` change with every step; the others seldom do, and are made once for each value. ``wide``
        makes them float64."""
        dtype = float64 if wide else float32
        if capturing() is not None:
            return scalars(numbers, dtype, device)
        made: list[Any] = []
        for position, value in enumerate(numbers()):
            if position < new or isinstance(value, Tensor):
                made.append(scalar(float(value), dtype, device))
                continue
            key = (value, dtype, device)
            found = None if value is None else self._constants.get(key)
            if found is None and value is not None:
                if len(self._constants) >= 64:
                    self._constants.clear()
                found = self._constants[key] = scalar(float(value), dtype, device)
            made.append(found)
        return made

    def _zero_state(self, param: Tensor) -> Tensor:
        """Zeros like ``param``; ``_settle_state`` gives all new ones memory at once, so that the first step has
        the same plan as every later one."""
        state = zeros_like(param)
        self._new_state.append(state)
        return state

    def _settle_state(self) -> None:
        if self._new_state:
            realize(*self._new_state)
            self._new_state.clear()

    # ---- saving

    def state_dict(self) -> dict[str, Any]:
        """The state by parameter number and the groups with numbers in place of parameters."""
        params = list(chain.from_iterable(group["params"] for group in self.param_groups))
        numbers = {id(param): number for number, param in reversed(list(enumerate(params)))}
        groups = [{**{name: value for name, value in group.items() if name != "params"},
                   "params": [numbers[id(param)] for param in group["params"]]} for group in self.param_groups]
        state: dict[Any, Any] = {}
        for param, entries in self.state.items():
            state[numbers.get(id(param), param)] = {
                name: tensor(float(value)) if name == "step" and not isinstance(value, Tensor) else value
                for name, value in entries.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over hyperparameters and state from ``state_dict``; ``ValueError`` when the groups don't match."""
        saved_groups = copy.deepcopy(state_dict["param_groups"])
        if len(saved_groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        pairs = list(zip(saved_groups, self.param_groups, strict=True))
        if any(len(saved["params"]) != len(group["params"]) for saved, group in pairs):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of "
                             "optimizer's group")
        param_of = {number: param for saved, group in pairs
                    for number, param in zip(saved["params"], group["params"], strict=True)}
        self.state = defaultdict(dict)
        for number, entries in state_dict["state"].items():
            param = param_of.get(number)
            if param is None:
                self.state[number] = copy.deepcopy(entries)
            else:
                self.state[param] = {name: self._loaded(name, value, param) for name, value in entries.items()}
        for saved, group in pairs:
            params, names = group["params"], group.get("param_names")
            group.clear()
            group.update(self.defaults)
            group.update(saved)
            group["params"] = params
            if names is not None and "param_names" not in saved:
                group["param_names"] = names

    def _loaded(self, name: str, value: Any, param: Tensor) -> Any:
        if name == "step":
            return float(value)
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        dtype = param.dtype if param.dtype.is_floating_point else value.dtype
        with no_grad():
            return value.detach().to(dtype).to(device=param.device).clone().realize()

    def __repr__(self) -> str:
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"\nParameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return f"{type(self).__name__} (" + "\n".join(lines) + "\n)"
