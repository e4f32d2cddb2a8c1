"""Stage: front. In: Tensors, and options by name. Out: what PyTorch's ``torch.nn.functional`` gives for them.
Here arguments are checked, with PyTorch's errors; the formulas stand in ``composites/``.
Next: ``arguments.py``."""

from minigrad.nn.functional.activation import leaky_relu, log_softmax, relu, sigmoid, softmax, tanh
from minigrad.nn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from minigrad.nn.functional.linear import linear
from minigrad.nn.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
)
from minigrad.nn.functional.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
)
from minigrad.tensor import one_hot

__all__ = [
    "alpha_dropout", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "group_norm", "instance_norm", "l1_loss",
    "layer_norm", "leaky_relu", "linear", "local_response_norm", "log_softmax", "mse_loss", "nll_loss", "normalize",
    "one_hot", "relu", "rms_norm", "sigmoid", "softmax", "tanh",
]
