"""Stage: front. In: functions to call around a Module's forward and backward. Out: a call with them.
``everywhere`` holds the hooks of all Modules, ``HooksMixin`` those of one.
Next: ``backward_hooks.py``."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from minigrad.autograd.handles import RemovableHandle
from minigrad.nn.modules.backward_hooks import BackwardHook, ModuleHook, warn_of_missing_gradients
from minigrad.tensor import called_everywhere

Hook = Callable[..., Any]
HOOK_TABLES = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
               "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")

BOTH_KINDS = ("Cannot use both regular backward hooks and full backward hooks {}. Please use only one of them.")


class Everywhere:
    """The hooks of all Modules. ``called`` has all that a call must look at, whatever their kind."""

    def __init__(self) -> None:
        self.called: dict[int, Hook] = called_everywhere
        self.forward_pre: dict[int, Hook] = OrderedDict()
        self.forward: dict[int, Hook] = OrderedDict()
        self.with_kwargs: dict[int, bool] = OrderedDict()
        self.always_called: dict[int, bool] = OrderedDict()
        self.backward_pre: dict[int, Hook] = OrderedDict()
        self.backward: dict[int, Hook] = OrderedDict()
        self.full: bool | None = None
        self.buffer: dict[int, Hook] = OrderedDict()
        self.module: dict[int, Hook] = OrderedDict()
        self.parameter: dict[int, Hook] = OrderedDict()

    def add(self, table: dict[int, Hook], hook: Hook, with_kwargs: bool = False,
            always_call: bool = False) -> RemovableHandle:
        """Puts a hook that is called with Modules into ``table``."""
        return add(table, hook, self.with_kwargs if with_kwargs else None, self.always_called if always_call else None,
                   more=self.called)


everywhere = Everywhere()


def add(table: dict[int, Hook], hook: Hook, *notes: dict[int, bool] | None, prepend: bool = False,
        more: dict[int, Hook] | None = None) -> RemovableHandle:
    """Puts ``hook`` last in ``table``, or first with ``prepend``, and a note about it into each of ``notes``."""
    noted = [note for note in notes if note is not None]
    handle = RemovableHandle(table, extra_dict=[*noted, *(() if more is None else (more,))])
    table[handle.id] = hook
    if more is not None:
        more[handle.id] = hook
    for note in noted:
        note[handle.id] = True
    if prepend:
        for key in [key for key in table if key != handle.id]:
            table[key] = table.pop(key)
    return handle


# --- hooks of all modules


def registered(hooks: dict[int, Hook], module: Any, name: str, value: Any) -> Any:
    """What a Module registers as ``name``, after the hooks that may replace it."""
    for hook in tuple(hooks.values()):
        changed = hook(module, name, value)
        value = value if changed is None else changed
    return value


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, name, buffer)`` sees each buffer that a Module registers, and may return another."""
    return RemovableHandle.add(everywhere.buffer, hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, name, submodule)`` sees each child that a Module registers, and may return another."""
    return RemovableHandle.add(everywhere.module, hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, name, param)`` sees each parameter that a Module registers, and may return another."""
    return RemovableHandle.add(everywhere.parameter, hook)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, args)`` is called before the forward of every Module; what it returns replaces the arguments."""
    return everywhere.add(everywhere.forward_pre, hook)


def register_module_forward_hook(hook: Hook, *, with_kwargs: bool = False,
                                 always_call: bool = False) -> RemovableHandle:
    """``hook(module, args, output)`` is called after the forward of every Module; what it returns is the output.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_forward_hook.html)

    >>> from minigrad import nn, ones
    >>> seen = []
    >>> with register_module_forward_hook(lambda module, args, output: seen.append(type(module).__name__)):
    ...     _ = nn.Sequential(nn.Tanh(), nn.ReLU())(ones(1))
    >>> seen
    ['Tanh', 'ReLU', 'Sequential']
    """
    return everywhere.add(everywhere.forward, hook, with_kwargs, always_call)


def _of_one_kind(full: bool) -> None:
    if everywhere.full is not None and everywhere.full is not full:
        raise RuntimeError(BOTH_KINDS.format("as a global Module hook"))
    everywhere.full = full


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The deprecated form of ``register_module_full_backward_hook``: it sees the last op of a Module only."""
    _of_one_kind(False)
    return everywhere.add(everywhere.backward, hook)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, grad_output)`` is called before the backward of every Module, and may return other gradients."""
    return everywhere.add(everywhere.backward_pre, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, grad_input, grad_output)`` is called after the backward of every Module; what it returns replaces
    ``grad_input``."""
    _of_one_kind(True)
    return everywhere.add(everywhere.backward, hook)


# --- hooks of one module


class HooksMixin:
    """The hooks of Module: registering them, and a call with them."""

    _backward_pre_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]
    _is_full_backward_hook: bool | None
    _forward_hooks: dict[int, Hook]
    _forward_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_always_called: dict[int, bool]
    _forward_pre_hooks: dict[int, Hook]
    _forward_pre_hooks_with_kwargs: dict[int, bool]
    forward: Callable[..., Any]

    def register_forward_pre_hook(self, hook: Hook, *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Calls ``hook(module, args)`` before every forward; what it returns replaces the arguments.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)``, which returns None or both.
        """
        return add(self._forward_pre_hooks, hook, self._forward_pre_hooks_with_kwargs if with_kwargs else None,
                   prepend=prepend)

    def register_forward_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after every forward; what it returns replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``; with ``always_call`` it is called also when
        forward raises.
        """
        return add(self._forward_hooks, hook, self._forward_hooks_with_kwargs if with_kwargs else None,
                   self._forward_hooks_always_called if always_call else None, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` before the module's backward; what it returns replaces ``grad_output``.
        """
        return add(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of the module's inputs are known; what it
        returns replaces ``grad_input``.

        (https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.register_full_backward_hook)

        >>> from minigrad import nn, ones
        >>> layer, x = nn.Tanh(), ones(1, requires_grad=True)
        >>> _ = layer.register_full_backward_hook(lambda module, given, output: (given[0] * 0,))
        >>> layer(x).sum().backward()
        >>> x.grad
        tensor([0.])
        """
        self._of_one_kind(True)
        return add(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The deprecated form of ``register_full_backward_hook``: it sees the last op of the module only."""
        self._of_one_kind(False)
        return add(self._backward_hooks, hook)

    def _of_one_kind(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook is not full:
            raise RuntimeError(BOTH_KINDS.format("on a single Module"))
        self._is_full_backward_hook = full

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = _Call(self, args, kwargs)
        try:
            return call.run()
        except Exception:
            call.rescue()
            raise


class _Call:
    """One call of a Module with hooks: its arguments and its result as far as they are known."""

    def __init__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.module, self.args, self.kwargs = module, args, kwargs
        self.result: Any = None
        self.called: set[int] = set()

    def run(self) -> Any:
        """Forward with all hooks around it."""
        module = self.module
        self._before()
        full: list[Hook] = []
        partial: list[Hook] = []
        for is_full, hooks in ((everywhere.full, everywhere.backward),
                               (module._is_full_backward_hook, module._backward_hooks)):
            (full if is_full else partial).extend(hooks.values())
        before = [*everywhere.backward_pre.values(), *module._backward_pre_hooks.values()]
        backward = BackwardHook(module, full, before) if full or before else None
        if backward is not None:
            self.args = backward.setup_input_hook(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for number, hook, with_kwargs, _, _ in self._forward_hooks():
            self.called.add(number)
            self._after(hook, with_kwargs)
        if backward is not None:
            self.result = backward.setup_output_hook(self.result)
        if partial:
            self._hook_last_op(partial)
        return self.result

    def rescue(self) -> None:
        """After an exception: the hooks that are always called."""
        for number, hook, with_kwargs, always, kind in self._forward_hooks():
            if always and number not in self.called:
                try:
                    self._after(hook, with_kwargs)
                except Exception as error:
                    warnings.warn(f"{kind} forward hook with ``always_call=True`` raised an exception that was "
                                  f"silenced as another error was raised in forward: {error}", stacklevel=5)

    def _before(self) -> None:
        module = self.module
        for number, hook in (*everywhere.forward_pre.items(), *module._forward_pre_hooks.items()):
            if number not in module._forward_pre_hooks_with_kwargs:
                changed = hook(module, self.args)
                if changed is not None:
                    self.args = changed if isinstance(changed, tuple) else (changed,)
                continue
            changed = hook(module, self.args, self.kwargs)
            if changed is None:
                continue
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}.")
            self.args, self.kwargs = changed

    def _forward_hooks(self) -> Iterator[tuple[int, Hook, bool, bool, str]]:
        """The hooks with how each is called."""
        module = self.module
        for number, hook in tuple(everywhere.forward.items()):
            yield number, hook, number in everywhere.with_kwargs, number in everywhere.always_called, "global module"
        for number, hook in tuple(module._forward_hooks.items()):
            yield (number, hook, number in module._forward_hooks_with_kwargs,
                   number in module._forward_hooks_always_called, "module")

    def _after(self, hook: Hook, with_kwargs: bool) -> None:
        arguments = (self.args, self.kwargs) if with_kwargs else (self.args,)
        changed = hook(self.module, *arguments, self.result)
        if changed is not None:
            self.result = changed

    def _hook_last_op(self, hooks: list[Hook]) -> None:
        tensor = self.result
        while not hasattr(tensor, "grad_fn"):
            tensor = (next(v for v in tensor.values() if hasattr(v, "grad_fn")) if isinstance(tensor, dict)
                      else tensor[0])
        node = tensor.grad_fn
        if node is not None:
            for hook in hooks:
                node.register_hook(ModuleHook(hook, self.module))
            warn_of_missing_gradients(self.args, self.result, node)
