"""Stage: front. In: a Tensor with channels. Out: batch norm of it, as Modules that keep running statistics.
Next: ``instancenorm.py``."""

from __future__ import annotations

from typing import Any

from minigrad.autograd.mode import no_grad
from minigrad.dtype import int64
from minigrad.nn import init
from minigrad.nn.functional.normalization import batch_norm_counted
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor, empty, ones, tensor, zeros


class _NormBase(Module):
    """What batch norm and instance norm have in common: a weight, a bias and running statistics for each channel."""

    _version = 2
    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(empty(num_features, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, parameter)
        kept = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if kept else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if kept else None)
        self.register_buffer("num_batches_tracked", tensor(0, dtype=int64, device=device) if kept else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """The running mean becomes 0, the running variance 1, the number of batches 0."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Running statistics start again; weights become one, biases zero."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any],
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats:  # there was no count before version 2
            count = self.num_batches_tracked
            state_dict.setdefault(f"{prefix}num_batches_tracked", tensor(0, dtype=int64) if count is None else count)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                      error_msgs)


class _BatchNorm(_NormBase):
    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        training, tracked = self.training, self.track_running_stats
        used = tracked or not training
        mean, variance = (self.running_mean, self.running_var) if used else (None, None)
        batches = self.num_batches_tracked if training and tracked else None
        momentum = self.momentum
        if momentum is None and batches is None:
            momentum = 0.0
        return batch_norm_counted(input, mean, variance, batches, self.weight, self.bias,
                                  training or (mean is None and variance is None), momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch norm of (N, C) or (N, C, L): (x - mean) / sqrt(variance + eps) * weight + bias for each channel.

    In training the statistics are the batch's, and the running ones move towards them by ``momentum`` (None: they are
    the mean over all batches); in evaluation the running ones are used. ``ValueError`` for other dimensions, and for
    one value per channel in training. (Ioffe and Szegedy 2015;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html)

    >>> import minigrad
    >>> layer = BatchNorm1d(1)
    >>> layer(minigrad.tensor([[1.0], [3.0]])).detach()
    tensor([[-1.0000],
            [ 1.0000]])
    >>> layer.running_mean, layer.num_batches_tracked
    (tensor([0.2000]), tensor(1))
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.ndim}D input)")


class BatchNorm2d(_BatchNorm):
    """Batch norm of (N, C, H, W). See ``BatchNorm1d``.

    >>> BatchNorm2d(16)
    BatchNorm2d(16, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 4:
            raise ValueError(f"expected 4D input (got {input.ndim}D input)")


class BatchNorm3d(_BatchNorm):
    """Batch norm of (N, C, D, H, W). See ``BatchNorm1d``."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 5:
            raise ValueError(f"expected 5D input (got {input.ndim}D input)")


class SyncBatchNorm(_BatchNorm):
    """Batch norm of (N, C, ...). There is one process, so that there is nothing to synchronise: it is ``BatchNorm1d``
    for any number of dimensions from 2 on.

    >>> from minigrad import nn
    >>> SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(BatchNorm2d(4, affine=False)))
    Sequential(
      (0): SyncBatchNorm(4, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=True)
    )
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")
        if input.shape[1] == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with every BatchNorm in it replaced by a SyncBatchNorm of the same parameters and buffers."""
        result = module
        if isinstance(module, _BatchNorm):
            result = SyncBatchNorm(module.num_features, module.eps, module.momentum, module.affine,
                                   module.track_running_stats, process_group, bias=module.bias is not None)
            if module.affine:
                with no_grad():
                    result.weight, result.bias = module.weight, module.bias
            result.running_mean, result.running_var = module.running_mean, module.running_var
            result.num_batches_tracked, result.training = module.num_batches_tracked, module.training
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return result
