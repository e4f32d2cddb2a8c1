"""Stage: PyTorch programs. In: nothing. Out: what programs use of PyTorch's extension module, ``torch._C``.
Next: ``types.py``."""

from __future__ import annotations

from minigrad.tensor import Generator
from minigrad.tensor import Tensor as TensorBase
from minigrad.tensor.overrides import disabled as DisableTorchFunction
from minigrad.tensor.overrides import disabled as DisableTorchFunctionSubclass
from minigrad.tensor.overrides import not_asked as _disabled_torch_function_impl

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass", "Generator", "TensorBase",
           "_disabled_torch_function_impl"]
