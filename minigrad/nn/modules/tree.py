"""Stage: front. In: a Module. Out: everything that is in it and below it, listed by dotted name or changed at once.
Next: ``hooks.py``."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from minigrad.autograd import no_grad
from minigrad.dtype import DType, bfloat16, float16, float32, float64
from minigrad.nn.parameter import Parameter, is_lazy
from minigrad.tensor import Tensor, empty_like, realize

if TYPE_CHECKING:
    from minigrad.nn.modules.module import Module

Self = TypeVar("Self", bound="TreeMixin")


class _Changes(threading.local):
    """The tensors that a conversion of a whole tree has made so far: they are computed in one run at its end."""

    made: list[Tensor] | None = None


_changes = _Changes()


class TreeMixin:
    """What Module does over itself and all below it."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _get_name: Callable[[], str]

    # ---- listing parts

    def _named_members(self, get_members_fn: Callable[[Any], Iterable[tuple[str, Any]]], prefix: str = "",
                       recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Pairs of dotted name and parameter; a parameter that is used twice comes once."""
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of the module and, with ``recurse``, of everything below it."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Pairs of dotted name and buffer."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of the module and, with ``recurse``, of everything below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
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
        itself = cast("Module", self)
        if itself in memo:
            return
        if remove_duplicate:
            memo.add(itself)
        yield prefix, itself
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """The module itself and every module below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path ``target``; ``AttributeError`` when there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            module = _part(module, name)
            if not isinstance(module, TreeMixin):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return cast("Module", module)

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts ``module`` at the dotted path ``target``; with ``strict`` only in place of one that is there.

        >>> from minigrad import nn
        >>> net = nn.Sequential(nn.Sequential(nn.ReLU()))
        >>> net.set_submodule("0.0", nn.Tanh())
        >>> net[0][0]
        Tanh()
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, TreeMixin):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(_part(parent, name), TreeMixin):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``; ``AttributeError`` when there is none."""
        path, _, name = target.rpartition(".")
        parameter = _part(self.get_submodule(path), name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``; ``AttributeError`` when there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer: Tensor = _part(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # ---- changing the whole tree

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Calls ``fn`` on every module, children before their parents."""
        for module in self.children():
            module.apply(fn)
        fn(cast("Module", self))
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
        if getattr(self, "_is_replica", False):
            warnings.warn("Calling .zero_grad() from a module created with nn.DataParallel() has no effect. The "
                          "parameters are copied (in a differentiable manner) from the original module. This means "
                          "they are not leaf nodes in autograd and so don't accumulate gradients. If you need "
                          "gradients in your forward method, consider using autograd.grad instead.", stacklevel=2)
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                if parameter.grad.grad_fn is not None:
                    parameter.grad.detach_()
                parameter.grad.requires_grad_(False).zero_()

    def share_memory(self: Self) -> Self:
        """Puts parameters and buffers into memory that other processes can share."""
        return self._apply(lambda tensor: tensor.share_memory_())

    def _apply(self: Self, fn: Callable[[Any], Any], recurse: bool = True) -> Self:
        """Replaces the contents of every parameter, gradient and buffer by ``fn`` of it, computed in one run; the
        parameters stay the same objects, so that optimizers know them."""
        if _changes.made is None:
            _changes.made = []
            try:
                self._apply_below(fn, recurse)
                realize(*_changes.made)
            finally:
                _changes.made = None
        else:
            self._apply_below(fn, recurse)
        return self

    def _apply_below(self, fn: Callable[[Any], Any], recurse: bool) -> None:
        made = _changes.made
        assert made is not None
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    gradient = parameter.grad
                    parameter.grad = None
                    made += _converted(parameter, fn)
                    if gradient is not None:
                        made += _converted(gradient, fn)
                        parameter.grad = gradient
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = new = fn(buffer)
                    if new is not buffer and not is_lazy(new):
                        made.append(new)

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Moves parameters and buffers to a device, and the floating-point ones to a dtype.

        ``to(device)``, ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)``; ``non_blocking`` and ``memory_format``
        are accepted. ``TypeError`` for an integer dtype.

        >>> import minigrad
        >>> minigrad.nn.Linear(1, 1).to(minigrad.float64).weight.dtype
        minigrad.float64
        """
        device, dtype = _destination(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, "
                            f"but got desired dtype={dtype}")

        def move(tensor: Tensor) -> Tensor:
            new = tensor if device is None else tensor.to(device=device)
            return new if dtype is None or not new.dtype.is_floating_point else new.to(dtype)

        return self._apply(move)

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """Moves parameters and buffers to a device without their contents."""
        return self._apply(lambda tensor: empty_like(tensor, device=device), recurse)

    def type(self: Self, dst_type: Any) -> Self:
        """All parameters and buffers, of whatever type, become ``dst_type``."""
        return self._apply(lambda tensor: tensor.type(dst_type))

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

    def xpu(self: Self, device: Any = None) -> Self:
        """There is no such device: ``RuntimeError``."""
        return self.to(device="xpu" if device is None else device)


def _part(module: Any, name: str) -> Any:
    """The attribute ``name``; ``AttributeError`` in PyTorch's words if there is none."""
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


def _converted(tensor: Any, fn: Callable[[Any], Any]) -> list[Tensor]:
    """Gives ``tensor`` the contents that ``fn`` makes of it: what is then to be computed."""
    if is_lazy(tensor):
        tensor.data = fn(tensor.data)
        return []
    new = fn(tensor)
    if new is tensor:
        return []
    tensor.data = new
    return [tensor]


def _destination(*args: Any, device: Any = None, dtype: DType | None = None, tensor: Any = None,
                 non_blocking: bool = False, memory_format: Any = None) -> tuple[Any, DType | None]:
    """The device and the dtype that the arguments of ``to`` name."""
    for argument in (*args, tensor):
        if isinstance(argument, Tensor):
            device, dtype = argument.device, argument.dtype
        elif isinstance(argument, DType):
            dtype = argument
        elif argument is not None and not isinstance(argument, bool):
            device = argument
    return device, dtype
