"""Stage: front. In: a Module with a weight. Out: the same with the weight divided by its largest singular value.
This is the older form, by a hook before each forward; ``parametrizations.py`` has the newer.
Next: ``parametrize.py``."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from minigrad.autograd import no_grad
from minigrad.nn.composites import reparametrization
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import Parameter, is_lazy
from minigrad.tensor import Tensor, from_numpy, update_

T = TypeVar("T", bound=Module)


def rows_of(module: Module) -> int:
    """The dimension of a weight that holds the outputs: the second for transposed convolutions."""
    return int("ConvTranspose" in type(module).__name__ or any(
        base.__name__ in ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d") for base in type(module).__mro__))


class SpectralNorm:
    """The hook: it computes weight = ``name_orig`` / sigma before each forward; in training it first brings the
    estimates ``name_u`` and ``name_v`` of the singular vectors closer by some steps of the power method."""

    _version: int = 1

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError("Expected n_power_iterations to be positive, but got "
                             f"n_power_iterations={n_power_iterations}")
        self.name, self.dim, self.n_power_iterations, self.eps = name, dim, n_power_iterations, eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix with a row for each output."""
        return reparametrization.as_matrix(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight of today's estimates."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        if do_power_iteration:
            with no_grad():
                better = reparametrization.power_iteration(
                    weight.detach(), u, v, dim=self.dim, steps=self.n_power_iterations, eps=self.eps, u_first=False)
                update_([u, v], better)
                u, v = better
        return reparametrization.spectral_norm(weight, u, v, dim=self.dim)

    def remove(self, module: Module) -> None:
        """Makes today's weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))

    def _solve_v_and_rescale(self, weight_mat: Tensor, u: Tensor, target_sigma: Tensor) -> Tensor:
        """v such that W v points along u and uᵀ W v is ``target_sigma``; on the host, when an old checkpoint loads."""
        w, left = weight_mat.detach().numpy(), u.detach().numpy()
        v = np.linalg.pinv(w.T @ w) @ (w.T @ left)
        v *= float(target_sigma) / float(left @ (w @ v))
        return from_numpy(v.astype(w.dtype))

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Puts the hook on ``module``."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError("The module passed to `SpectralNorm` can't have uninitialized parameters. Make sure to "
                             "run the dummy forward before applying spectral normalization")
        with no_grad():
            height, width = hook.reshape_weight_to_matrix(weight).shape
            u, v = (reparametrization.normalized(weight.new_empty(size).normal_(0, 1), eps=eps)
                    for size in (height, width))
        delattr(module, name)
        module.register_parameter(f"{name}_orig", weight)
        setattr(module, name, weight.data)
        module.register_buffer(f"{name}_u", u.realize())
        module.register_buffer(f"{name}_v", v.realize())
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook))
        return hook


class SpectralNormLoadStateDictPreHook:
    """Computes v where a checkpoint of an old version lacks it."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool,
                 missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str]) -> None:
        fn = self.fn
        version = local_metadata.get("spectral_norm", {}).get(f"{fn.name}.version")
        key = prefix + fn.name
        whole = all(key + suffix in state_dict for suffix in ("_orig", "_u", "_v")) and key not in state_dict
        if whole if version is None else version >= 1:
            return
        missing = [key + suffix for suffix in ("_orig", "", "_u") if key + suffix not in state_dict]
        if missing:
            if strict:
                missing_keys += missing
            return
        with no_grad():
            original, weight = state_dict[f"{key}_orig"], state_dict.pop(key)
            matrix = fn.reshape_weight_to_matrix(original)
            state_dict[f"{key}_v"] = fn._solve_v_and_rescale(matrix, state_dict[f"{key}_u"], (original / weight).mean())


class SpectralNormStateDictHook:
    """Notes the version of the format in ``_metadata``."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(self, module: Module, state_dict: dict[str, Any], prefix: str,
                 local_metadata: dict[str, Any]) -> None:
        versions = local_metadata.setdefault("spectral_norm", {})
        key = f"{self.fn.name}.version"
        if key in versions:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = self.fn._version


def spectral_norm(module: T, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> T:
    """Divides the parameter ``name`` by its largest singular value at each forward.

    The value is estimated by the power method, ``n_power_iterations`` steps in each forward in training. ``dim`` is the
    dimension of the outputs. (Miyato et al. 2018;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.spectral_norm.html)

    >>> from minigrad import nn
    >>> list(spectral_norm(nn.Linear(2, 3)).state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    SpectralNorm.apply(module, name, n_power_iterations, rows_of(module) if dim is None else dim, eps)
    return module


def remove_spectral_norm(module: T, name: str = "weight") -> T:
    """Makes the weight a parameter again. ``ValueError`` where there is no spectral norm of that name."""
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[number]
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    for table, kind in ((module._state_dict_hooks, SpectralNormStateDictHook),
                        (module._load_state_dict_pre_hooks, SpectralNormLoadStateDictPreHook)):
        for number, hook in list(table.items()):
            held: Any = getattr(hook, "hook", hook)
            if isinstance(held, kind) and held.fn.name == name:
                del table[number]
                break
    return module
