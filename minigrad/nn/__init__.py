"""Stage: front. In: Tensors. Out: networks and losses with PyTorch's names.
Next: ``parameter.py``."""

from minigrad.nn import functional, init, modules, parallel, utils
from minigrad.nn.modules import (
    BCELoss,
    BCEWithLogitsLoss,
    Container,
    CrossEntropyLoss,
    Flatten,
    Identity,
    L1Loss,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Module,
    ModuleDict,
    ModuleList,
    MSELoss,
    NLLLoss,
    ParameterDict,
    ParameterList,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from minigrad.nn.parallel import DataParallel
from minigrad.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "Buffer", "Container", "CrossEntropyLoss", "DataParallel", "Flatten", "Identity",
    "L1Loss", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax", "MSELoss", "Module", "ModuleDict", "ModuleList",
    "NLLLoss", "Parameter", "ParameterDict", "ParameterList", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh",
    "UninitializedBuffer", "UninitializedParameter", "functional", "init", "modules", "parallel", "utils",
]
