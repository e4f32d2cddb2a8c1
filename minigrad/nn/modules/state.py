"""Stage: front. In: a Module, or a dictionary of tensors by dotted name. Out: the other one.
Next: ``container.py``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from minigrad.autograd import no_grad
from minigrad.tensor import Tensor


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` did not find in the dictionary, and what it found too much.

    >>> IncompatibleKeys([], [])
    <All keys matched successfully>
    """

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"

    def __str__(self) -> str:
        return repr(self)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


class StateMixin:
    """The saving and loading half of Module."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]

    def _own_state(self) -> dict[str, Any]:
        """The module's own parameters and persistent buffers, without its children's."""
        own = {name: parameter for name, parameter in self._parameters.items() if parameter is not None}
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                own[name] = buffer
        return own

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, value in self._own_state().items():
            destination[prefix + name] = value if keep_vars else value.detach()

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted name, as detached aliases: writing into one writes
        into the module. A tied parameter appears under each of its names.

        >>> from minigrad import nn
        >>> list(nn.Sequential(nn.Linear(2, 2), nn.ReLU()).state_dict())
        ['0.weight', '0.bias']
        """
        destination = OrderedDict() if destination is None else destination
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return destination

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True,
                        assign: bool = False) -> IncompatibleKeys:
        """Copies the tensors of ``state_dict`` into the module (with ``assign``, makes them its tensors).

        ``RuntimeError`` names every shape that differs and, when ``strict``, every missing and unexpected key;
        entries that fit are loaded all the same, as in PyTorch.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        self._load_tree(OrderedDict(state_dict), "", assign, missing, unexpected, errors)
        if strict:
            if unexpected:
                errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
            if missing:
                errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return IncompatibleKeys(missing, unexpected)

    def _load_tree(self, state_dict: dict[str, Any], prefix: str, assign: bool, missing: list[str],
                   unexpected: list[str], errors: list[str]) -> None:
        self._load_from_state_dict(state_dict, prefix, {"assign_to_params_buffers": assign}, True, missing,
                                   unexpected, errors)
        for name, module in self._modules.items():
            if module is not None:
                module._load_tree(state_dict, f"{prefix}{name}.", assign, missing, unexpected, errors)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any],
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        """Loads this module's own entries; layers with old formats override it, as in PyTorch."""
        own = self._own_state()
        for name, current in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
                continue
            value = state_dict[key]
            if not isinstance(value, Tensor):
                error_msgs.append(f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                                  f"object from checkpoint but received {type(value)}")
            elif tuple(value.shape) != tuple(current.shape):
                error_msgs.append(f"size mismatch for {key}: copying a param with shape {value.shape} from "
                                  f"checkpoint, the shape in current model is {current.shape}.")
            elif local_metadata.get("assign_to_params_buffers"):
                self._assign(name, current, value)
            else:
                with no_grad():
                    current.copy_(value)
        for key in state_dict:
            if key.startswith(prefix):
                first, *rest = key[len(prefix):].split(".", 1)
                if (first not in self._modules) if rest else (first not in own):
                    unexpected_keys.append(key)

    def _assign(self, name: str, current: Tensor, value: Tensor) -> None:
        if name not in self._parameters:
            self._buffers[name] = value
        else:
            kind: Any = type(current)
            self._parameters[name] = value if isinstance(value, kind) else kind(value, current.requires_grad)
