"""Stage: front. In: Tensors. Out: networks and losses with PyTorch's names.
Next: ``parameter.py``."""

from minigrad.nn import functional, init, modules
from minigrad.nn.modules import (
    AlphaDropout,
    BCELoss,
    BCEWithLogitsLoss,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    CrossEntropyLoss,
    CrossMapLRN2d,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    FeatureAlphaDropout,
    Flatten,
    GroupNorm,
    Identity,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    L1Loss,
    LayerNorm,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MSELoss,
    Module,
    ModuleDict,
    ModuleList,
    NLLLoss,
    ParameterList,
    RMSNorm,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    SyncBatchNorm,
    Tanh,
)
from minigrad.nn.parameter import Parameter

__all__ = [
    "AlphaDropout", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "CrossEntropyLoss",
    "CrossMapLRN2d", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout", "Flatten", "GroupNorm",
    "Identity", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "L1Loss", "LayerNorm", "LeakyReLU", "Linear",
    "LocalResponseNorm", "LogSoftmax", "MSELoss", "Module", "ModuleDict", "ModuleList", "NLLLoss", "Parameter",
    "ParameterList", "RMSNorm", "ReLU", "Sequential", "Sigmoid", "Softmax", "SyncBatchNorm", "Tanh", "functional",
    "init", "modules",
]
