"""Stage: front. In: a Module with a weight. Out: the same with a direction and a length to learn in its place.
This is the older form, by a hook before each forward; ``parametrizations.py`` has the newer.
Next: ``spectral_norm.py``."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from minigrad.nn.composites import reparametrization
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import Parameter, is_lazy
from minigrad.tensor import Tensor

T = TypeVar("T", bound=Module)


class WeightNorm:
    """The hook: it computes weight = v * g / |v| from ``name_v`` and ``name_g`` before each forward."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight of today's direction and length."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return reparametrization.weight_norm(v, g, dim=self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Puts the hook on ``module``."""
        warnings.warn("`torch.nn.utils.weight_norm` is deprecated in favor of "
                      "`torch.nn.utils.parametrizations.weight_norm`.", FutureWarning, stacklevel=3)
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError("The module passed to `WeightNorm` can't have uninitialized parameters. Make sure to run "
                             "the dummy forward before applying weight normalization")
        del module._parameters[name]
        length = reparametrization.norm_except_dim(weight.detach(), dim=hook.dim)
        module.register_parameter(f"{name}_g", Parameter(length))
        module.register_parameter(f"{name}_v", Parameter(weight.data))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Makes today's weight a parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[f"{self.name}_g"], module._parameters[f"{self.name}_v"]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: T, name: str = "weight", dim: int | None = 0) -> T:
    """Replaces the parameter ``name`` by ``name_g``, its length along ``dim``, and ``name_v``, its direction.

    weight = g * v / |v|, where |v| is over all dimensions but ``dim``, or over all with ``dim=None``. Deprecated in
    PyTorch in favour of ``parametrizations.weight_norm``. (Salimans, Kingma 2016;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html)

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> from minigrad import nn
    >>> [name for name, _ in weight_norm(nn.Linear(2, 3)).named_parameters()]
    ['bias', 'weight_g', 'weight_v']
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: T, name: str = "weight") -> T:
    """Makes the weight a parameter again. ``ValueError`` where there is no weight norm of that name."""
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[number]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
