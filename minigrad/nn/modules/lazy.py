"""Stage: front. In: the first input of a layer. Out: the layer with as many inputs as that has: ``LazyLinear`` and its
like, which become ordinary layers at their first call.
Next: ``minigrad/nn/functional/``."""

from __future__ import annotations

from itertools import chain
from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.dtype import int64
from minigrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from minigrad.nn.modules.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from minigrad.nn.modules.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from minigrad.nn.modules.linear import Linear
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from minigrad.tensor import Tensor, tensor


class LazyModuleMixin(Module):
    """A Module whose parameters get their shapes at its first call, or when a state dictionary is loaded.

    A class defines ``initialize_parameters(*args)``, which materialises them, and names in ``cls_to_become`` the class
    that it is from then on. An optimizer is made after the first call.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.lazy.LazyModuleMixin.html)
    """

    cls_to_become: ClassVar[type[Module] | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Gives all parameters their shapes, as the arguments of the first call ask for them."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(is_lazy(value) for value in chain(self._parameters.values(), self._buffers.values()))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, value in self._own_state().items():
            destination[prefix + name] = value if is_lazy(value) or keep_vars else value.detach()

    def _lazy_load_hook(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        for name, value in self._own_state().items():
            given = state_dict.get(prefix + name)
            if is_lazy(value) and given is not None and not is_lazy(given):
                with no_grad():
                    value.materialize(given.shape)

    def _infer_parameters(self, module: Any, args: Any, kwargs: Any = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _replicate_for_data_parallel(self) -> Module:
        raise RuntimeError("Modules with uninitialized parameters can't be used with `DataParallel`. Run a dummy "
                           "forward pass to correctly initialize the modules")

    def _leave_open(self, names: tuple[str, ...], device: Any, dtype: Any) -> None:
        for name in names:
            setattr(self, name, UninitializedParameter(device=device, dtype=dtype))


class LazyLinear(LazyModuleMixin, Linear):
    """``Linear`` with as many ``in_features`` as its first input has.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyLinear.html)

    >>> import minigrad
    >>> layer = LazyLinear(3)
    >>> tuple(layer(minigrad.ones(2, 5)).shape), layer
    ((2, 3), Linear(in_features=5, out_features=3, bias=True))
    """

    cls_to_become = Linear
    weight: Any
    bias: Any

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self._leave_open(("weight", "bias") if bias else ("weight",), device, dtype)

    def reset_parameters(self) -> None:
        """Draws new numbers, once there is something to draw."""
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()
        elif self.in_features == 0:  # a state dictionary was loaded
            self.in_features = input.shape[-1]


class _LazyConv(LazyModuleMixin):
    """What lazy convolutions share: the number of input channels comes from the first input."""

    cls_to_become: ClassVar[Any]
    weight: Any
    bias: Any
    in_channels: int
    out_channels: int

    def __init__(self, out_channels: int, kernel_size: Any, *args: Any, **options: Any) -> None:
        names = list(self._options)
        given = {**dict(zip(names, args, strict=False)), **options}
        bias = given.pop("bias", True)
        super().__init__(0, 0, kernel_size, bias=False, **given)
        self.out_channels = out_channels
        self._leave_open(("weight", "bias") if bias else ("weight",), given.get("device"), given.get("dtype"))

    _options: ClassVar[tuple[str, ...]] = ("stride", "padding", "dilation", "groups", "bias", "padding_mode", "device",
                                           "dtype")

    def reset_parameters(self) -> None:
        """Draws new numbers, once there is something to draw."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()  # type: ignore[misc]  # the convolution's

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        layer: Any = self
        if not self.has_uninitialized_params():
            return
        dims = len(layer.kernel_size)
        if input.ndim not in (dims + 1, dims + 2):
            raise RuntimeError(f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to "
                               f"{type(self).__name__}, but got input of size: {input.shape}")
        self.in_channels = input.shape[-dims - 1]
        if self.in_channels % layer.groups:
            raise ValueError("in_channels must be divisible by groups")
        if layer.transposed:
            shape = self.in_channels, self.out_channels // layer.groups, *layer.kernel_size
        else:
            shape = self.out_channels, self.in_channels // layer.groups, *layer.kernel_size
        self.weight.materialize(shape)
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConvTranspose(_LazyConv):
    _options = ("stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype")


class LazyConv1d(_LazyConv, Conv1d):
    """``Conv1d`` with as many ``in_channels`` as its first input has."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """``Conv2d`` with as many ``in_channels`` as its first input has.

    >>> import minigrad
    >>> layer = LazyConv2d(4, 3, padding=1)
    >>> tuple(layer(minigrad.ones(1, 2, 5, 5)).shape), tuple(layer.weight.shape)
    ((1, 4, 5, 5), (4, 2, 3, 3))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """``Conv3d`` with as many ``in_channels`` as its first input has."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """``ConvTranspose1d`` with as many ``in_channels`` as its first input has."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """``ConvTranspose2d`` with as many ``in_channels`` as its first input has."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """``ConvTranspose3d`` with as many ``in_channels`` as its first input has."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin):
    """What lazy norms share: the number of channels comes from the first input."""

    cls_to_become: ClassVar[Any]
    weight: Any
    bias: Any
    num_features: int

    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        layer: Any = self
        layer.affine, layer.track_running_stats = affine, track_running_stats
        if affine:
            self._leave_open(("weight", "bias") if bias else ("weight",), device, dtype)
        if track_running_stats:
            layer.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            layer.running_var = UninitializedBuffer(device=device, dtype=dtype)
            layer.num_batches_tracked = tensor(0, dtype=int64, device=device)

    def reset_parameters(self) -> None:
        """Weights become one, biases zero, once there are any."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()  # type: ignore[misc]  # the norm's

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for value in chain(self._parameters.values(), self._buffers.values()):
                if is_lazy(value):
                    value.materialize((self.num_features,))  # type: ignore[union-attr]
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """``BatchNorm1d`` of as many channels as its first input has.

    >>> import minigrad
    >>> layer = LazyBatchNorm1d()
    >>> _ = layer(minigrad.ones(2, 3))
    >>> type(layer).__name__, layer.num_features
    ('BatchNorm1d', 3)
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """``BatchNorm2d`` of as many channels as its first input has."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """``BatchNorm3d`` of as many channels as its first input has."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """``InstanceNorm1d`` of as many channels as its first input has."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """``InstanceNorm2d`` of as many channels as its first input has."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """``InstanceNorm3d`` of as many channels as its first input has."""

    cls_to_become = InstanceNorm3d
