"""Stage: front. In: Tensors, and options by name. Out: what PyTorch's ``torch.nn.functional`` gives for them.
Here arguments are checked, with PyTorch's errors; the formulas stand in ``composites/``.
Next: ``arguments.py``."""

from minigrad.nn.functional.activation import leaky_relu, log_softmax, relu, sigmoid, softmax, tanh
from minigrad.nn.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from minigrad.nn.functional.fold import fold, unfold
from minigrad.nn.functional.linear import linear
from minigrad.nn.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
)
from minigrad.nn.functional.normalization import layer_norm
from minigrad.tensor import one_hot

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cross_entropy", "fold", "l1_loss", "layer_norm", "leaky_relu", "linear",
    "log_softmax", "mse_loss", "nll_loss", "one_hot", "relu", "sigmoid", "softmax", "tanh", "unfold",
]
