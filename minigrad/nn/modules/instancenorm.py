"""Stage: front. In: a Tensor with channels, with or without samples. Out: instance norm of it, as Modules.
Next: ``dropout.py``."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from minigrad.nn import functional as F
from minigrad.nn.modules.batchnorm import _NormBase
from minigrad.tensor import Tensor


class _InstanceNorm(_NormBase):
    _sample: ClassVar[int]
    """The dimensions of one sample."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _check_input_dim(self, input: Tensor) -> None:
        sample = self._sample
        if input.ndim not in (sample, sample + 1):
            raise ValueError(f"expected {sample}D or {sample + 1}D input (got {input.ndim}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        channels = input.ndim - self._sample
        if input.shape[channels] != self.num_features:
            if self.affine:
                raise ValueError(f"expected input's size at dim={channels} to match num_features"
                                 f" ({self.num_features}), but got: {input.shape[channels]}.")
            warnings.warn(f"input's size at dim={channels} does not match num_features. You can silence this warning "
                          "by not passing in num_features, which is not used because affine=False", stacklevel=2)
        if channels == 0:
            return self._normalised(input.unsqueeze(0)).squeeze(0)
        return self._normalised(input)

    def _normalised(self, input: Tensor) -> Tensor:
        return F.instance_norm(input, self.running_mean, self.running_var, self.weight, self.bias,
                               self.training or not self.track_running_stats,
                               0.0 if self.momentum is None else self.momentum, self.eps)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any],
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        if local_metadata.get("version") is None and not self.track_running_stats:
            names = [name for name in ("running_mean", "running_var") if prefix + name in state_dict]
            if names:  # before version 1 they were always there
                kind = type(self).__name__
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(f'{chr(34)}{n}{chr(34)}' for n in names)} for "
                    f"{kind} with track_running_stats=False. If state_dict is a checkpoint saved before 0.4.0, this "
                    f"may be expected because {kind} does not track running stats by default since 0.4.0. Please "
                    "remove these keys from state_dict. If the running stats are actually needed, instead set "
                    f"track_running_stats=True in {kind} to enable them. See the documentation of {kind} for details.")
            for name in names:
                state_dict.pop(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                      error_msgs)


class InstanceNorm1d(_InstanceNorm):
    """Instance norm of (N, C, L) or (C, L): (x - mean) / sqrt(variance + eps) * weight + bias for each channel of each
    sample.

    With ``track_running_stats``, evaluation uses running statistics. ``ValueError`` for other dimensions, and for one
    value per channel. (Ulyanov, Vedaldi, Lempitsky 2016;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm1d.html)

    >>> import minigrad
    >>> InstanceNorm1d(2)(minigrad.tensor([[1.0, 3.0], [4.0, 4.0]]))
    tensor([[-1.0000,  1.0000],
            [ 0.0000,  0.0000]])
    """

    _sample = 2


class InstanceNorm2d(_InstanceNorm):
    """Instance norm of (N, C, H, W) or (C, H, W). See ``InstanceNorm1d``.

    >>> InstanceNorm2d(3)
    InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)
    """

    _sample = 3


class InstanceNorm3d(_InstanceNorm):
    """Instance norm of (N, C, D, H, W) or (C, D, H, W). See ``InstanceNorm1d``."""

    _sample = 4
