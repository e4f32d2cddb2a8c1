"""Stage: front. In: Parameters, buffers and Modules assigned as attributes. Out: Module, the tree that holds them:
its attributes, how it is called and how it prints. What runs over the whole tree stands in ``tree.py``, how it is saved
and loaded in ``state.py``, the hooks in ``hooks.py``.
Next: ``tree.py``."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from types import FunctionType
from typing import Any

from minigrad.nn.modules.backward_hooks import ModuleHook as _WrappedHook
from minigrad.nn.modules.hooks import (
    HOOK_TABLES,
    HooksMixin,
    everywhere,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
    registered,
)
from minigrad.nn.modules.state import STATE_TABLES, StateMixin
from minigrad.nn.modules.state import IncompatibleKeys as _IncompatibleKeys
from minigrad.nn.modules.tree import TreeMixin
from minigrad.nn.parameter import Buffer, Parameter
from minigrad.tensor import Tensor, typename

__all__ = [
    "Module", "_IncompatibleKeys", "_WrappedHook", "register_module_backward_hook",
    "register_module_buffer_registration_hook", "register_module_forward_hook", "register_module_forward_pre_hook",
    "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def _check_name(kind: str, name: object, module: Any, table: str, detail: str = "") -> None:
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
    if kind == "module" and hasattr(module, name) and name not in module.__dict__[table]:
        raise KeyError(f"attribute '{name}' already exists")
    if "." in name:
        raise KeyError(f'{kind} name can\'t contain "."{detail}')
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')
    if hasattr(module, name) and name not in module.__dict__[table]:
        raise KeyError(f"attribute '{name}' already exists")


def indented(text: str, spaces: int = 2) -> str:
    """``text`` with every line but the first moved right.

    >>> indented("a(\\nb")
    'a(\\n  b'
    """
    first, *lines = text.split("\n")
    return "\n".join([first, *[" " * spaces + line if line.strip() else "" for line in lines]])


def named(function: Any, qualname: str) -> Any:
    """A copy of a function, of which Python's errors about arguments say another name: ``nn.Conv2d`` and others have
    the constructor of a private class, which no user has heard of."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__,
                        function.__closure__)
    copy.__dict__.update(function.__dict__)
    copy.__kwdefaults__, copy.__annotations__ = function.__kwdefaults__, function.__annotations__
    copy.__doc__, copy.__module__, copy.__qualname__ = function.__doc__, function.__module__, qualname
    return copy


def _is_ours(function: Any) -> bool:
    return type(function) is FunctionType and function.__module__.startswith("minigrad.")


_addindent = indented  # PyTorch's name, which programs import for a __repr__ of their own


class Module(TreeMixin, StateMixin, HooksMixin):
    """Base class of everything with parameters: a tree of Modules, Parameters and buffers.

    Subclasses call ``super().__init__()`` first, assign their parts as attributes and define ``forward``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter(minigrad.tensor([2.0]))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> import minigrad
    >>> Scale()(minigrad.tensor([1.0, 2.0])).detach()
    tensor([2., 4.])
    """

    dump_patches: bool = False
    call_super_init: bool = False
    training: bool
    _version: int = 1
    _compiled_call_impl: Callable[..., Any] | None = None
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        inherited = cls.__init__
        if "__init__" not in vars(cls) and inherited.__qualname__.startswith("_") and _is_ours(inherited):
            cls.__init__ = named(inherited, f"{cls.__qualname__}.__init__")  # type: ignore[method-assign]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                                f"'{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} "
                                "were given")
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_non_persistent_buffers_set"] = set()
        state["_is_full_backward_hook"] = None
        for table in (*HOOK_TABLES, *STATE_TABLES):
            state[table] = OrderedDict()
        state["_modules"] = {}
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ---- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses define it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = self.__dict__  # each attribute of a class with __getattr__ costs more than an item of this
        try:
            hooked = (state["_forward_hooks"] or state["_forward_pre_hooks"] or state["_backward_hooks"]
                      or state["_backward_pre_hooks"] or everywhere.called)
        except KeyError as missing:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute {missing}") from None
        return self._call_with_hooks(args, kwargs) if hooked else self.forward(*args, **kwargs)

    _call_impl = __call__

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Accepted as in PyTorch. Every call is compiled anyway, so that nothing changes; the arguments of
        ``torch.compile`` have no meaning here."""
        self._compiled_call_impl = self._call_impl

    # ---- registering parts

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Makes ``param`` (or a None that stands for "not used") the parameter ``name``.

        ``TypeError`` for what is no Parameter, ``ValueError`` for one that was computed, ``KeyError`` for a name that
        is empty, dotted or taken.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _check_name("parameter", name, self, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"cannot assign '{typename(param)}' object to parameter '{name}' "
                                "(torch.nn.Parameter or None required)")
            if param.grad_fn is not None:
                raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                                 f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                                 "the value in the forward() method.")
            if everywhere.parameter:
                param = registered(everywhere.parameter, self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Makes ``tensor`` part of the module's state without being a parameter.

        A buffer that is not ``persistent`` is left out of ``state_dict``.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _check_name("buffer", name, self, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                            "(torch Tensor or None required)")
        if everywhere.buffer:
            tensor = registered(everywhere.buffer, self, name, tensor)
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Makes ``module`` the child ``name``."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        _check_name("module", name, self, "_modules", f", got: {name}")
        self._modules[name] = registered(everywhere.module, self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Another name of ``add_module``."""
        self.add_module(name, module)

    # ---- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        tensor = isinstance(value, Tensor)  # asked first: it is quicker than asking for the two marked kinds
        if tensor and isinstance(value, Parameter):
            if "_parameters" not in state:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif "_parameters" in state and name in state["_parameters"]:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as parameter '{name}' "
                                "(torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in state:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers")
            state["_modules"][name] = registered(everywhere.module, self, name, value)
        elif "_modules" not in state:
            if tensor and isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            super().__setattr__(name, value)
        elif name in state["_modules"]:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' "
                                "(torch.nn.Module or None expected)")
            state["_modules"][name] = registered(everywhere.module, self, name, None)
        elif name in state["_buffers"] or (tensor and isinstance(value, Buffer)):
            self._set_buffer(name, value)
        else:
            super().__setattr__(name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"cannot assign '{typename(value)}' as buffer '{name}' "
                            "(torch.nn.Buffer, torch.Tensor or None expected)")
        persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
        if type(self).register_buffer is Module.register_buffer or (
                "persistent" in inspect.signature(self.register_buffer).parameters):
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            raise RuntimeError("Registering a non-persistent buffer on a Module subclass that implements "
                               "register_buffer() without the persistent argument is not allowed.")

    def _forget(self, name: str, *tables: str) -> None:
        for table in (self.__dict__, *(self.__dict__[table] for table in tables)):
            table.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        parameters = state.get("_parameters")
        if parameters is not None and name in parameters:  # the common case: every call of a layer comes here
            return parameters[name]
        for table in ("_buffers", "_modules"):
            held = state.get(table)
            if held is not None and name in held:
                return held[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = chain(super().__dir__(), self._parameters, self._buffers, self._modules)
        return sorted({name for name in names if not name[0].isdigit()})

    # ---- copying and pickling

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__
        own.update(state)
        own.setdefault("_non_persistent_buffers_set", set())  # here and below: what old pickles lack
        own.setdefault("_is_full_backward_hook", None)
        for table in (*HOOK_TABLES, *STATE_TABLES):
            if table not in own:
                own[table] = OrderedDict()

    def _replicate_for_data_parallel(self) -> Module:
        replica: Module = type(self).__new__(type(self))
        replica.__dict__.update(self.__dict__)
        replica.__dict__.update(_parameters={}, _buffers=self._buffers.copy(), _modules=self._modules.copy(),
                                _is_replica=True)
        return replica

    # ---- printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({extra})"
        lines += children
        return f"{self._get_name()}(" + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"
