"""Stage: front. In: Parameters, buffers and Modules assigned as attributes. Out: Module, the tree that holds them:
it lists them, moves them, switches between training and evaluation, and prints itself.
How a tree is saved and loaded stands in ``state.py``.
Next: ``state.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from minigrad.autograd.node import RemovableHandle
from minigrad.dtype import DType, bfloat16, float16, float32, float64
from minigrad.nn.modules.state import StateMixin
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor, realize

Self = TypeVar("Self", bound="Module")


def _check_name(kind: str, name: object, detail: str = "") -> None:
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
    if "." in name:
        raise KeyError(f'{kind} name can\'t contain "."{detail}')
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')


def indented(text: str, spaces: int = 2) -> str:
    """``text`` with every line but the first moved right.

    >>> indented("a(\\nb")
    'a(\\n  b'
    """
    return text.replace("\n", "\n" + " " * spaces)


@dataclass(frozen=True, slots=True)
class Hook:
    """A function to call around ``forward`` and how to call it."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False

    def add_to(self, table: dict[int, Any], prepend: bool) -> RemovableHandle:
        """Puts the hook last in ``table``, or first with ``prepend``."""
        handle = RemovableHandle.add(table, self)  # type: ignore[arg-type]
        if prepend:
            for key in [key for key in table if key != handle.id]:
                table[key] = table.pop(key)
        return handle


class Module(StateMixin):
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

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        set_attribute = super().__setattr__
        set_attribute("training", True)
        set_attribute("_parameters", {})
        set_attribute("_buffers", {})
        set_attribute("_non_persistent_buffers_set", set())
        set_attribute("_modules", {})
        set_attribute("_forward_hooks", {})
        set_attribute("_forward_pre_hooks", {})

    # ---- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses define it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in tuple(self._forward_pre_hooks.values()):
            changed = hook.function(self, args, kwargs) if hook.with_kwargs else hook.function(self, args)
            if changed is None:
                continue
            if not hook.with_kwargs:
                args = changed if isinstance(changed, tuple) else (changed,)
            elif isinstance(changed, tuple) and len(changed) == 2:
                args, kwargs = changed
            else:
                raise RuntimeError(
                    f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}.")
        hooks = tuple(self._forward_hooks.values())
        called: set[int] = set()
        result = None
        try:
            result = self.forward(*args, **kwargs)
            for number, hook in enumerate(hooks):
                called.add(number)
                result = self._run_forward_hook(hook, args, kwargs, result)
        except Exception:
            for number, hook in enumerate(hooks):
                if hook.always_call and number not in called:
                    self._run_forward_hook(hook, args, kwargs, result)
            raise
        return result

    def _run_forward_hook(self, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        if hook.with_kwargs:
            changed = hook.function(self, args, kwargs, result)
        else:
            changed = hook.function(self, args, result)
        return result if changed is None else changed

    def register_forward_hook(self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after every forward; what it returns replaces the output."""
        return Hook(hook, with_kwargs, always_call).add_to(self._forward_hooks, prepend)

    def register_forward_pre_hook(self, hook: Callable[..., Any], *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Calls ``hook(module, args)`` before every forward; what it returns replaces the arguments."""
        return Hook(hook, with_kwargs).add_to(self._forward_pre_hooks, prepend)

    # ---- registering parts

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Makes ``param`` (or a None that stands for "not used") the parameter ``name``."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _check_name("parameter", name)
        if hasattr(self, name) and name not in self._parameters:
            raise KeyError(f"attribute '{name}' already exists")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                            "(minigrad.nn.Parameter or None required)")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Makes ``tensor`` part of the module's state without being a parameter.

        A buffer that is not ``persistent`` is left out of ``state_dict``.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _check_name("buffer", name)
        if hasattr(self, name) and name not in self._buffers:
            raise KeyError(f"attribute '{name}' already exists")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                            "(minigrad Tensor or None required)")
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Makes ``module`` the child ``name``."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {type(name).__name__}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        _check_name("module", name, f", got: {name}")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Another name of ``add_module``."""
        self.add_module(name, module)

    # ---- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Parameter):
            if "_parameters" not in state:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in state:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers")
            state["_modules"][name] = value
        elif "_modules" not in state:
            super().__setattr__(name, value)
        elif name in state["_parameters"]:
            if value is not None:
                raise TypeError(f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                                "(minigrad.nn.Parameter or None expected)")
            state["_parameters"][name] = None
        elif name in state["_modules"]:
            if value is not None:
                raise TypeError(f"cannot assign '{type(value).__name__}' as child module '{name}' "
                                "(minigrad.nn.Module or None expected)")
            state["_modules"][name] = None
        elif name in state["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                                "(minigrad.Tensor or None expected)")
            state["_buffers"][name] = value
        else:
            super().__setattr__(name, value)

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

    # ---- listing parts

    def _named_members(self, table: str, prefix: str, recurse: bool,
                       remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in getattr(module, table).items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Pairs of dotted name and parameter; a parameter that is used twice comes once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of the module and, with ``recurse``, of everything below it."""
        for _, parameter in self._named_members("_parameters", "", recurse, True):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Pairs of dotted name and buffer."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of the module and, with ``recurse``, of everything below it."""
        for _, buffer in self._named_members("_buffers", "", recurse, True):
            yield buffer

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Pairs of name and direct child."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct children."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """The module itself (its name is ``prefix``) and every module below it, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """The module itself and every module below it."""
        for _, module in self.named_modules():
            yield module

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path ``target``; ``AttributeError`` when there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``; ``AttributeError`` when there is none."""
        return self._get_member(target, Parameter, "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``; ``AttributeError`` when there is none."""
        return self._get_member(target, Tensor, "a buffer")

    def _get_member(self, target: str, kind: type, description: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        member = getattr(module, name)
        if not isinstance(member, kind):
            raise AttributeError(f"`{name}` is not {description}")
        return member

    # ---- changing the whole tree

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Calls ``fn`` on every module, children before their parents."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Switches the tree to training (or, with False, to evaluation)."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Switches the tree to evaluation."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Sets ``requires_grad`` of every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops every parameter's gradient, or fills it with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.detach().zero_()

    def _apply(self: Self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replaces the contents of every parameter, gradient and buffer by ``fn`` of it, computed at once; the
        parameters stay the same objects, so that optimizers know them."""
        changed = []
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is None:
                    continue
                gradient = parameter.grad
                old = parameter.data
                new = fn(old)
                if new is not old:
                    parameter.grad = None
                    parameter.data = new
                    changed.append(new)
                    if gradient is not None:
                        parameter.grad = fn(gradient.detach())
                        changed.append(parameter.grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = new = fn(buffer)
                    changed.append(new)
        realize(*changed)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Moves parameters and buffers to a device, and the floating-point ones to a dtype.

        ``to(device)``, ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)``; ``non_blocking`` is accepted.
        ``TypeError`` for an integer dtype.
        """
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        for argument in args:
            if isinstance(argument, Tensor):
                device, dtype = argument.device, argument.dtype
            elif isinstance(argument, DType):
                dtype = argument
            elif argument is not None and not isinstance(argument, bool):
                device = argument
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, "
                            f"but got desired dtype={dtype}")

        def move(tensor: Tensor) -> Tensor:
            new = tensor if device is None else tensor.to(device=device)
            return new if dtype is None or not new.dtype.is_floating_point else new.to(dtype)

        return self._apply(move)

    def float(self: Self) -> Self:
        """Floating-point parameters and buffers become float32."""
        return self.to(float32)

    def double(self: Self) -> Self:
        """Floating-point parameters and buffers become float64."""
        return self.to(float64)

    def half(self: Self) -> Self:
        """Floating-point parameters and buffers become float16."""
        return self.to(float16)

    def bfloat16(self: Self) -> Self:
        """Floating-point parameters and buffers become bfloat16."""
        return self.to(bfloat16)

    def cpu(self: Self) -> Self:
        """Moves parameters and buffers to the CPU."""
        return self.to(device="cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Moves parameters and buffers to a CUDA GPU, the first unless told; ``RuntimeError`` if there is none."""
        return self.to(device="cuda" if device is None else device)

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
