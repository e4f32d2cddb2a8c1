"""Stage: front. In: nothing. Out: the Modules by name, from one file for each kind, as ``torch.nn.modules`` has them.
Next: ``module.py``."""

from minigrad.nn.modules.activation import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from minigrad.nn.modules.container import Container, ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from minigrad.nn.modules.flatten import Flatten
from minigrad.nn.modules.linear import Identity, Linear
from minigrad.nn.modules.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from minigrad.nn.modules.module import Module
from minigrad.nn.modules.normalization import LayerNorm

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "Container", "CrossEntropyLoss", "Flatten", "Identity", "L1Loss", "LayerNorm",
    "LeakyReLU", "Linear", "LogSoftmax", "MSELoss", "Module", "ModuleDict", "ModuleList", "NLLLoss", "ParameterDict",
    "ParameterList", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh",
]
