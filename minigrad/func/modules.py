"""Stage: front. In: modules. Out: their parameters as arguments of a function.
Next: ``minigrad/optim/``."""

from __future__ import annotations

from typing import Any

from minigrad.nn import Module
from minigrad.nn.modules.batchnorm import _BatchNorm
from minigrad.nn.utils.stateless import call_with
from minigrad.tensor import Tensor, stack


def functional_call(module: Module, parameter_and_buffer_dicts: Any, args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False) -> Any:
    """``module(*args, **kwargs)`` with other parameters and buffers, by name, in a dictionary or several.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.functional_call.html

    >>> import minigrad
    >>> layer = minigrad.nn.Linear(1, 1, bias=False)
    >>> functional_call(layer, {"weight": minigrad.tensor([[3.0]])}, minigrad.tensor([2.0]))
    tensor([6.])
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, list | tuple):
        merged: dict[str, Any] = {}
        for part in given:
            if not isinstance(part, dict):
                raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
            repeated = [k for k in part if k in merged]
            if repeated:
                raise ValueError(f"{repeated[0]} appears in multiple dictionaries; behavior of functional call is "
                                 "ambiguous")
            merged.update(part)
        given = merged
    if not isinstance(given, dict):
        raise ValueError("Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
                         f"{type(parameter_and_buffer_dicts)}")
    return call_with(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: list[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters, and the buffers, of modules of one kind, by name: stacked along a new first dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.stack_module_state.html

    >>> import minigrad
    >>> parameters, buffers = stack_module_state([minigrad.nn.Linear(2, 3) for _ in range(4)])
    >>> parameters["weight"].shape, buffers
    (minigrad.Size([4, 3, 2]), {})
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all([m.training for m in models]) or all([not m.training for m in models])):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any([type(m) is not type(models[0]) for m in models]):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    return (_stacked([dict(m.named_parameters()) for m in models]),
            _stacked([dict(m.named_buffers()) for m in models]))


def _stacked(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    result = {}
    for name in states[0]:
        tensors = [s[name] for s in states]
        if len({t.requires_grad for t in tensors}) > 1:
            raise RuntimeError(f"Expected {name} to have the same requires_grad in all models")
        needs = tensors[0].requires_grad
        result[name] = stack([t.detach() for t in tensors]).requires_grad_(needs)
    return result


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Have all batch norms of a module use the statistics of the batch only, in place.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.replace_all_batch_norm_modules_.html
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
