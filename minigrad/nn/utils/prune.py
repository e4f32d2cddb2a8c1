"""Stage: front. In: a Module with a weight. Out: the same with elements of the weight held at 0 by a mask.
Next: ``prune_methods.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minigrad.nn.utils.convert_parameters import parameters_to_vector
from minigrad.nn.utils.prune_methods import (
    BasePruningMethod,
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    PruningContainer,
    RandomStructured,
    RandomUnstructured,
)
from minigrad.tensor import Tensor, ones_like

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer",
    "RandomStructured", "RandomUnstructured", "custom_from_mask", "global_unstructured", "identity", "is_pruned",
    "l1_unstructured", "ln_structured", "random_structured", "random_unstructured", "remove",
]

for _method in (BasePruningMethod, CustomFromMask, Identity, L1Unstructured, LnStructured, PruningContainer,
                RandomStructured, RandomUnstructured):
    _method.__module__ = __name__  # where pickles and messages have them, as in PyTorch


def identity(module: Any, name: str) -> Any:
    """Gives ``module.name`` a mask that prunes nothing.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.identity.html)

    >>> from minigrad import nn
    >>> list(identity(nn.Linear(2, 1), "weight").state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """Prunes ``amount`` elements of ``module.name``, a number or a share of those left, chosen at random.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.random_unstructured.html)

    >>> from minigrad import nn
    >>> int(random_unstructured(nn.Linear(2, 3), "weight", 0.5).weight_mask.sum())
    3
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Tensor | None = None) -> Any:
    """Prunes the ``amount`` elements of ``module.name`` with the smallest absolute values, or the smallest
    ``importance_scores``.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.l1_unstructured.html)

    >>> from minigrad import nn, tensor
    >>> layer = nn.Linear(3, 1)
    >>> l1_unstructured(layer, "weight", 1, tensor([[3.0, -1.0, 2.0]])).weight_mask
    tensor([[1., 0., 1.]])
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """Prunes ``amount`` slices of ``module.name`` along ``dim``, a number or a share of those left, chosen at random.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.random_structured.html)

    >>> from minigrad import nn
    >>> int(random_structured(nn.Linear(2, 3), "weight", 1, 0).weight_mask.sum())
    4
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Any, name: str, amount: Any, n: Any, dim: int,
                  importance_scores: Tensor | None = None) -> Any:
    """Prunes the ``amount`` slices of ``module.name`` along ``dim`` with the smallest n-norms.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.ln_structured.html)

    >>> from minigrad import nn, tensor
    >>> layer = nn.Linear(1, 2)
    >>> ln_structured(layer, "weight", 1, 2, 0, tensor([[3.0], [1.0]])).weight_mask
    tensor([[1.],
            [0.]])
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Prunes the elements of ``module.name`` where ``mask`` is 0.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.custom_from_mask.html)

    >>> from minigrad import nn, tensor
    >>> custom_from_mask(nn.Linear(2, 1), "weight", tensor([[1, 0]])).weight_mask
    tensor([[1., 0.]])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any) -> None:
    """Prunes several parameters, pairs of module and name, as if they were one vector.

    ``TypeError`` for a method that does not prune single elements.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.global_unstructured.html)

    >>> from minigrad import nn
    >>> layer = nn.Linear(2, 2)
    >>> global_unstructured([(layer, "weight"), (layer, "bias")], L1Unstructured, amount=2)
    >>> int(layer.weight_mask.sum() + layer.bias_mask.sum())
    4
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    values = parameters_to_vector([scores.get((module, name), getattr(module, name)) for module, name in pairs])
    before = parameters_to_vector([getattr(module, f"{name}_mask", ones_like(getattr(module, name)))
                                   for module, name in pairs])
    container = PruningContainer()
    method = pruning_method(**kwargs)
    container._tensor_name = method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError('Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
                        f"{pruning_method} of type {method.PRUNING_TYPE}")
    container.add_pruning_method(method)
    mask = container.compute_mask(values.detach(), before.detach())
    start = 0
    for module, name in pairs:
        parameter = getattr(module, name)
        size = parameter.numel()
        custom_from_mask(module, name, mask[start:start + size].view(parameter.shape))
        start += size


def remove(module: Any, name: str) -> Any:
    """Makes the pruned ``module.name`` a parameter again; what was pruned is 0 in it. ``ValueError`` if it is not.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.remove.html)

    >>> from minigrad import nn
    >>> list(remove(identity(nn.Linear(2, 1), "weight"), "weight").state_dict())
    ['bias', 'weight']
    """
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[number]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Any) -> bool:
    """Whether a parameter of the module, or of one below it, is pruned.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.is_pruned.html)

    >>> from minigrad import nn
    >>> is_pruned(nn.Linear(1, 1))
    False
    """
    return any(isinstance(hook, BasePruningMethod)
               for below in module.modules() for hook in below._forward_pre_hooks.values())
