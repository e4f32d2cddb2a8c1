"""Stage: front. In: a Module, and Modules that compute one of its tensors. Out: the same Module, whose tensor is
computed whenever it is read, from one that is learnt.
Next: ``orthogonal_maps.py``."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minigrad.autograd import no_grad
from minigrad.nn.modules.container import ModuleDict, ModuleList
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor


class _Cache:
    """The tensors that were computed in ``cached()`` blocks, by module and name."""

    def __init__(self) -> None:
        self.depth = 0
        self.known: dict[tuple[int, str], Any] = {}


_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """A block in which each parametrised tensor is computed once, however often it is read.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.cached.html)

    >>> from minigrad import nn
    >>> layer = register_parametrization(nn.Linear(1, 1), "weight", nn.Tanh())
    >>> with cached():
    ...     print(layer.weight is layer.weight)
    True
    """
    _cache.depth += 1
    try:
        yield
    finally:
        _cache.depth -= 1
        if not _cache.depth:
            _cache.known.clear()


def _register(module: Module, name: str, tensor: Any) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


class ParametrizationList(ModuleList):
    """The Modules that compute one tensor, one after another, and the tensor that they start from: ``original``, or
    ``original0``, ``original1`` … if the ``right_inverse`` of the first gives several.

    ``ValueError`` for a parametrization that changes dtype or shape, unless ``unsafe``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.ParametrizationList.html)
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):  # which only says that values can't be assigned
                        new = module.right_inverse(new)
        if not isinstance(new, Tensor | Sequence):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                             f"{type(new).__name__}")
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            for what in ("dtype", "device"):
                if getattr(original, what) != getattr(new, what):
                    raise ValueError(f"When `right_inverse` outputs one tensor, it may not change the {what}.\n"
                                     f"original.{what}: {getattr(original, what)}\n"
                                     f"right_inverse(original).{what}: {getattr(new, what)}")
            _take_over(original, new)
            _register(self, "original", original)
        else:
            self._register_several(new, original)
        if not self.unsafe:
            self._check_result(shape, dtype)

    def _register_several(self, new: Sequence[Any], original: Tensor) -> None:
        for i, part in enumerate(new):
            if not isinstance(part, Tensor):
                raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                                 f"element {i} of the sequence with type {type(part).__name__}.")
            if isinstance(original, Parameter):
                part = Parameter(part, original.requires_grad)
            part.requires_grad_(original.requires_grad)
            _register(self, f"original{i}", part)

    def _check_result(self, shape: Any, dtype: Any) -> None:
        result = self()
        if not isinstance(result, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(result).__name__}.")
        for what, before, after in (("dtype", dtype, result.dtype), ("shape", shape, result.shape)):
            if before != after:
                raise ValueError(f"Registering a parametrization may not change the {what} of the tensor, unless "
                                 f"`unsafe` flag is enabled.\nunparametrized {what}: {before}\nparametrized {what}: "
                                 f"{after}")

    def right_inverse(self, value: Any) -> None:
        """Makes ``value`` what the parametrised tensor is from now on, through the ``right_inverse`` of each Module.

        ``RuntimeError`` for a Module without one.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
            if self.is_tensor:
                if not isinstance(value, Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
                original: Any = self.original
                if value.dtype != original.dtype:
                    raise ValueError(f"The tensor returned by `right_inverse` has dtype {value.dtype} while `original` "
                                     f"has dtype {original.dtype}")
                _take_over(original, value)
                return
            if not isinstance(value, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
            if len(value) != self.ntensors:
                raise ValueError("'right_inverse' must return a sequence of tensors of length "
                                 f"{self.ntensors}. Got a sequence of length {len(value)}.")
            for i, part in enumerate(value):
                self._assign_part(i, part)

    def _assign_part(self, i: int, part: Any) -> None:
        original: Any = getattr(self, f"original{i}")
        if not isinstance(part, Tensor):
            raise ValueError("'right_inverse' must return a sequence of tensors or reference-type opaques. Got element "
                             f"{i} of type {type(part).__name__}.")
        if original.dtype != part.dtype:
            raise ValueError(f"Tensor {i} returned by `right_inverse` has dtype {part.dtype} while `original{i}` has "
                             f"dtype {original.dtype}")
        _take_over(original, part)

    def forward(self) -> Any:
        first, *others = self
        value = first(self.original) if self.is_tensor else first(
            *[getattr(self, f"original{i}") for i in range(self.ntensors)])
        for module in others:
            value = module(value)
        return value


def _take_over(original: Tensor, new: Tensor) -> None:
    """Gives ``original`` the memory of ``new``."""
    if new is not original:
        original.data = new.detach().realize()


# --- the class of a parametrised module


def _deepcopy(self: Any, memo: dict[int, Any]) -> Any:
    if id(self) not in memo:
        own: Any = type(self)  # the copy gets its like: removing a parametrization changes the class
        kind: Any = type(own.__name__, own.__bases__, dict(vars(own)))
        memo[id(self)] = replica = kind.__new__(kind)
        replica.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return memo[id(self)]


def _getstate(self: Any) -> Any:
    raise RuntimeError("Serialization of parametrized modules is only supported through state_dict(). See:\n"
                       "https://pytorch.org/tutorials/beginner/saving_loading_models.html#saving-loading-a-general-"
                       "checkpoint-for-inference-and-or-resuming-training")


def _inject_class(module: Module) -> None:
    """Gives the module a class of its own, which can have properties."""
    parent = type(module)
    contents: dict[str, Any] = {"__getstate__": _getstate}
    if not hasattr(parent, "__deepcopy__"):
        contents["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{parent.__name__}", (parent,), contents)


def _inject_property(module: Module, name: str) -> None:
    def get(self: Any) -> Any:
        parametrization = self.parametrizations[name]
        if not _cache.depth:
            return parametrization()
        key = (id(self), name)
        if key not in _cache.known:
            _cache.known[key] = parametrization()
        return _cache.known[key]

    def assign(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, assign))


# --- for users


def register_parametrization(module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Any:
    """From now on ``module.tensor_name`` is ``parametrization(original)``; another registered later comes after it.

    ``original`` is the parameter or buffer of that name, or what ``parametrization.right_inverse`` makes of it; it
    stands in ``module.parametrizations[tensor_name]``. Assigning to the tensor goes through ``right_inverse``.
    ``ValueError`` for an unknown name, and for a result of another dtype or shape unless ``unsafe``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html)

    >>> from minigrad import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_another(module, tensor_name, parametrization)
        row = module.parametrizations[tensor_name]
        row.append(parametrization)
        row.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        row = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = row
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
                         f"'{tensor_name}'")
    return module


def _check_another(module: Any, name: str, parametrization: Any) -> None:
    """``ValueError`` if one more parametrization of a tensor changes its dtype or shape, or its inverse does."""
    before = getattr(module, name)
    after = parametrization(before)
    if not isinstance(after, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    for what in ("dtype", "shape"):
        if getattr(after, what) != getattr(before, what):
            raise ValueError(f"Registering a parametrization may not change the {what} of the tensor, unless the "
                             f"`unsafe` flag is enabled.\nmodule.{name}.{what}: {getattr(before, what)}\n"
                             f"parametrization(module.{name}).{what}: {getattr(after, what)}")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
    for what in ("dtype", "shape"):
        if getattr(back, what) != getattr(before, what):
            raise ValueError(f"The tensor returned by parametrization.right_inverse must have the same {what} as "
                             f"module.{name}, unless the `unsafe` flag is enabled.\nmodule.{name}.{what}: "
                             f"{getattr(before, what)}\nreturned {what}: {getattr(back, what)}")


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module, or the one of this name, is parametrised.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.is_parametrized.html)

    >>> from minigrad import nn
    >>> is_parametrized(nn.ReLU())
    False
    """
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Makes the tensor a parameter or buffer again: with its value of now, or with ``leave_parametrized=False`` the
    original.

    ``ValueError`` if it is not parametrised, or if it has several originals and is to be left without.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.remove_parametrizations.html)

    >>> from minigrad import nn
    >>> layer = register_parametrization(nn.Linear(1, 1), "weight", nn.Tanh())
    >>> [name for name, _ in remove_parametrizations(layer, "weight").named_parameters()]
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    row = module.parametrizations[tensor_name]
    if row.is_tensor:
        original = row.original
        if leave_parametrized:
            with no_grad():
                _take_over(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value) if value.requires_grad else value
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in "
                         "terms of a sequence of tensors.")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Any) -> type:
    """The class that the module had before it was parametrised.

    >>> from minigrad import nn
    >>> layer = register_parametrization(nn.Linear(1, 1), "weight", nn.Tanh())
    >>> type(layer).__name__, type_before_parametrizations(layer).__name__
    ('ParametrizedLinear', 'Linear')
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Any, to_module: Any, tensor_name: str | None = None) -> Any:
    """Parametrises ``to_module`` as ``from_module`` is, all its tensors or the one of this name, with the same
    originals."""
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        for part in ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(target, part, getattr(source, part))
    return to_module
