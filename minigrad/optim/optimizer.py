"""Stage: front. In: Parameters and hyperparameters. Out: ``Optimizer``, the base class of all optimizers: groups of
parameters, state, hooks, saving and loading.
Next: ``composite.py``."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from functools import wraps
from itertools import chain
from typing import Any, TypeAlias, TypeVar

from minigrad.autograd import no_grad
from minigrad.autograd.handles import RemovableHandle
from minigrad.dtype import float32
from minigrad.tensor import Tensor

Hook: TypeAlias = Callable[..., Any]
Hooks: TypeAlias = "OrderedDict[int, Hook]"
StateDict: TypeAlias = dict[str, Any]
ParamsT: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Step = TypeVar("Step", bound=Callable[..., Any])


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()

_global_optimizer_pre_hooks: Hooks = OrderedDict()
_global_optimizer_post_hooks: Hooks = OrderedDict()

_OPTIONS = {"amsgrad": False, "capturable": False, "centered": False, "decoupled_weight_decay": False,
            "differentiable": False, "foreach": None, "fused": None, "maximize": False, "momentum": 0,
            "nesterov": False}
"""What options were before there was a choice."""

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks",
          "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks",
          "_optimizer_load_state_dict_post_hooks")


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` before each step of every optimizer; it may return other ones.

    >>> handle = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: print("step"))
    >>> handle.remove()
    """
    return RemovableHandle.add(_global_optimizer_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` after each step of every optimizer.

    >>> handle = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: print("step"))
    >>> handle.remove()
    """
    return RemovableHandle.add(_global_optimizer_post_hooks, hook)


def counted_step(step: Step) -> Step:
    """A ``step`` that runs the hooks around it, and notes for schedulers that it was called. Inside another such step,
    as where a class calls that of its base, it is the plain one."""

    @wraps(step)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        self = args[0]
        self._opt_called = True
        if not self._stepping and (_global_optimizer_pre_hooks or _global_optimizer_post_hooks
                                   or self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks):
            return self._step_with_hooks(step, args, kwargs)
        return step(*args, **kwargs)

    hooked._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    return hooked  # type: ignore[return-value]


class Optimizer:
    """Base class of optimizers: parameter groups, their hyperparameters, and the state of each parameter.

    ``params`` is an iterable of Tensors, of ``(name, Tensor)`` pairs, or of dictionaries with a "params" entry and
    hyperparameters of their own; ``defaults`` are those of groups that have none. A class made of it says in ``step``
    what one step does. ``differentiable=True`` raises ``NotImplementedError``: a step is outside autograd.
    (https://docs.pytorch.org/docs/stable/optim.html)

    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    >>> optimizer.param_groups[0]["lr"] = 0.01
    """

    _added_options: tuple[str, ...] = ()
    """Options that old pickles and dictionaries may lack."""

    _scalars: tuple[str, ...] = ()
    """The numbers in the state, 0-d tensors."""

    _opt_called = _stepping = False
    _optimizer_step_pre_hooks: Hooks
    _optimizer_step_post_hooks: Hooks
    _optimizer_state_dict_pre_hooks: Hooks
    _optimizer_state_dict_post_hooks: Hooks
    _optimizer_load_state_dict_pre_hooks: Hooks
    _optimizer_load_state_dict_post_hooks: Hooks

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in vars(cls) and not hasattr(cls.step, "_wrapped_by_lr_sched"):
            cls.step = counted_step(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._prepare()
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, "
                            f"but got {_type_name(params)}")
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _prepare(self) -> None:
        """Make what is not part of the state: here the hooks, if there are none."""
        own = self.__dict__
        own.setdefault("_opt_called", False)
        own.setdefault("_stepping", False)
        for name in _HOOKS:
            own.setdefault(name, OrderedDict())

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()
        self.defaults.setdefault("differentiable", False)
        for group in self.param_groups:
            for name in self._added_options:
                group.setdefault(name, _OPTIONS[name])

    def __repr__(self) -> str:
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"\nParameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return f"{type(self).__name__} (" + "\n".join(lines) + "\n)"

    # ---- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with hyperparameters of their own; what they leave out comes from the defaults.

        >>> from minigrad import nn, ones, optim
        >>> optimizer = optim.SGD([nn.Parameter(ones(2))], lr=0.1)
        >>> optimizer.add_param_group({"params": nn.Parameter(ones(3)), "lr": 0.5})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.5]
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but the ordering of "
                            "tensors in sets will change between runs. Please use a list instead.")
        param_group["params"] = [params] if isinstance(params, Tensor) else list(params)
        _split_names(param_group)
        for param in param_group["params"]:
            if not isinstance(param, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is "
                                f"{_type_name(param)}")
            if not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if param_group.get("differentiable"):
            raise NotImplementedError(f"{type(self).__name__}: differentiable=True is not there: a step is outside "
                                      "autograd; write the update with tensors to differentiate through it")
        self._check_new(param_group)
        self.param_groups.append(param_group)

    def _check_new(self, param_group: dict[str, Any]) -> None:
        """Whether a group goes with those that are there."""
        ids = {id(param) for param in param_group["params"]}
        if len(ids) < len(param_group["params"]):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                          "an error; see github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=4)
        for other in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in other):
                have = "with names" if "param_names" in param_group else "without names"
                raise ValueError("all optimizer param groups should be with/without names. cannot add param group "
                                 f"{have} to the optimizer")
        if not ids.isdisjoint([id(param) for other in self.param_groups for param in other["params"]]):
            raise ValueError("some parameters appear in more than one parameter group")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    if param.grad.requires_grad:
                        param.grad.detach_()
                    param.grad.zero_()

    # ---- stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; ``closure`` computes the loss and its gradients anew, and its result is returned."""
        raise NotImplementedError

    def _step_with_hooks(self, step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in [*_global_optimizer_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
            result = hook(self, args, kwargs)
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {result}.")
            args, kwargs = result
        self._stepping = True
        try:
            out = step(*args, **kwargs)
        finally:
            self._stepping = False
        for hook in [*self._optimizer_step_post_hooks.values(), *_global_optimizer_post_hooks.values()]:
            hook(self, args, kwargs)
        return out

    # ---- hooks

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step; it may return other ``(args, kwargs)``."""
        return RemovableHandle.add(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle.add(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before ``state_dict``; ``prepend``: before the hooks that are there."""
        return _registered(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after ``state_dict``; what it returns, if not None, takes its place."""
        return _registered(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before ``load_state_dict``; what it returns, if not None, is loaded."""
        return _registered(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after ``load_state_dict``."""
        return _registered(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # ---- saving

    def state_dict(self) -> StateDict:
        """The state by parameter number and the groups with numbers in place of parameters. Its tensors are those of
        the optimizer, no copies.

        >>> from minigrad import nn, ones, optim
        >>> optim.Rprop([nn.Parameter(ones(2))]).state_dict()["param_groups"][0]["params"]
        [0]
        """
        for hook in list(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            for number, param in enumerate(group["params"], start):
                numbers.setdefault(id(param), number)
            start += len(group["params"])
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {(numbers[id(key)] if isinstance(key, Tensor) else key): value for key, value in self.state.items()}
        saved: StateDict = {"state": state, "param_groups": groups}
        for hook in list(self._optimizer_state_dict_post_hooks.values()):
            result = hook(self, saved)
            saved = saved if result is None else result
        return saved

    @no_grad()
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Takes over hyperparameters and state from ``state_dict``; ``ValueError`` when the groups don't match.
        Tensors get their parameter's device and floating dtype; "step" keeps its own."""
        state_dict = state_dict.copy()
        for hook in list(self._optimizer_load_state_dict_pre_hooks.values()):
            result = hook(self, state_dict)
            state_dict = state_dict if result is None else result
        saved = copy.deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        pairs = list(zip(self.param_groups, saved, strict=True))
        if any(len(group["params"]) != len(new["params"]) for group, new in pairs):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's "
                             "group")
        params = dict(zip(chain.from_iterable(new["params"] for new in saved),
                          chain.from_iterable(group["params"] for group in self.param_groups), strict=True))
        hosted = {number for new in saved for number in new["params"] if new.get("fused") or new.get("capturable")}
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key]] = _loaded(params[key], value, None, self._scalars, key in hosted)
            else:
                state[key] = value
        for group, new in pairs:
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in list(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)


def _loaded(param: Tensor, value: Any, key: Hashable, scalars: tuple[str, ...], with_param: bool) -> Any:
    """An entry of the state of ``param`` from a dictionary. ``scalars`` keep their dtype, so that training goes on to
    the bit; ``with_param``: the number of steps lives on the device of ``param``."""
    if isinstance(value, Tensor):
        if key == "step":
            return value.to(dtype=float32, device=param.device) if with_param else value
        if key in scalars:
            return value
        return value.to(dtype=param.dtype if param.dtype.is_floating_point else value.dtype, device=param.device)
    if isinstance(value, dict):
        return {name: _loaded(param, entry, name, scalars, with_param) for name, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return type(value)(  # type: ignore[call-arg]
            _loaded(param, entry, None, scalars, with_param) for entry in value)
    return value


def _split_names(group: dict[str, Any]) -> None:
    """Turns ``(name, Tensor)`` pairs into the entries "params" and "param_names"."""
    names = [param[0] for param in group["params"] if isinstance(param, tuple)]
    if not names:
        return
    if len(names) != len(group["params"]):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    group["params"] = [param for _, param in group["params"]]
    group["param_names"] = names


def _registered(hooks: Hooks, hook: Hook, prepend: bool) -> RemovableHandle:
    handle = RemovableHandle.add(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _type_name(value: Any) -> str:
    """The type of something as PyTorch's messages have it."""
    if isinstance(value, Tensor):
        return str(value.type())
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

