"""Stage: front. In: a Module, and tensors in place of its own. Out: what a call gives with them; the Module keeps its
own.
Next: ``init.py``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor

_MISSING: Any = object()


def _swapped(module: Any, path: str, tensor: Any) -> Any:
    """Puts ``tensor`` at the dotted ``path`` and returns what was there."""
    *above, name = path.split(".")
    for part in above:
        if not hasattr(module, part):
            raise AttributeError(f"{module._get_name()} has no attribute `{part}`")
        module = getattr(module, part)
        if not isinstance(module, Module):
            raise TypeError(f"submodule `{part}`: {module} is not an instance of torch.nn.Module")
    if tensor is not _MISSING and tensor is not None and not isinstance(tensor, Tensor):
        raise TypeError(f"{tensor} is not an instance of torch.Tensor")
    if name == "":
        raise KeyError('tensor name can\'t be empty string ""')
    for table in (module._parameters, module._buffers):
        if name in table:
            old = table[name]
            if tensor is _MISSING:
                del table[name]
            else:
                table[name] = tensor
            return old
    old = getattr(module, name, _MISSING)
    if old is not _MISSING and old is not None and not isinstance(old, Tensor):
        raise TypeError(f"attribute `{name}`: {old} is not an instance of torch.Tensor")
    if tensor is not _MISSING:
        setattr(module, name, tensor)
    elif old is not _MISSING:
        delattr(module, name)
    return old


def _named(module: Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False))}


def _tied(module: Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, also for the other names of tied tensors."""
    names: dict[int, list[str]] = {}
    for name, tensor in _named(module).items():
        names.setdefault(id(tensor), []).append(name)
    result = dict(given)
    for group in names.values():
        chosen = [name for name in group if name in given]
        if len({id(given[name]) for name in chosen}) > 1:
            raise ValueError(f"functional_call got multiple values for keys {sorted(group)}, which are tied. Consider "
                             "using tie_weights=False")
        result.update({name: given[chosen[0]] for name in group if chosen})
    return result


@contextmanager
def reparametrized(module: Module, parameters_and_buffers: Any, tie_weights: bool = True,
                   strict: bool = False) -> Iterator[None]:
    """The module with other tensors, until the end of the block. A tensor that the module replaced meanwhile is found
    in ``parameters_and_buffers`` afterwards."""
    given = _tied(module, parameters_and_buffers) if tie_weights else dict(parameters_and_buffers)
    if strict:
        own = _named(module)
        errors = []
        for word, names in (("Unexpected", sorted(set(given) - set(own))),
                            ("Missing", sorted(set(own) - set(given)))):
            if names:
                errors.append(f"{word} key(s): {', '.join(map(repr, names))}.")
        if errors:
            raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(errors))
    before: dict[str, Any] = {}
    try:
        for name, tensor in given.items():
            before[name] = _swapped(module, name, tensor)
        yield
    finally:
        after = {name: _swapped(module, name, tensor) for name, tensor in before.items()}
        parameters_and_buffers.update({name: after[name] for name in parameters_and_buffers if name in after})


def call_with(module: Module, parameters_and_buffers: Any, args: Any = None, kwargs: dict[str, Any] | None = None, *,
              tie_weights: bool = True, strict: bool = False) -> Any:
    """``module(*args, **kwargs)`` with other parameters and buffers, by dotted name. What is left out stays its own;
    with ``strict`` nothing may be. Tied tensors change together, unless ``tie_weights`` is False."""
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with reparametrized(module, parameters_and_buffers, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


def functional_call(module: Module, parameters_and_buffers: Any, args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False) -> Any:
    """The deprecated place of ``torch.func.functional_call``: the module called with other parameters and buffers.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.stateless.functional_call.html)

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> from minigrad import nn, ones, zeros
    >>> functional_call(nn.Linear(2, 1), {"weight": ones(1, 2), "bias": zeros(1)}, ones(2))
    tensor([2.])
    """
    warnings.warn("`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a "
                  "future version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in "
                  "replacement.", FutureWarning, stacklevel=2)
    return call_with(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
