"""Stage: front. In: what users write. Out: ``Tensor`` and the functions on it, recorded as LazyBuffers and tape nodes.
``storage.py`` and ``base.py`` are the core, ``elementwise.py`` is the model of a topic: a mixin class and the functions
it calls; ``tensor_class.py`` makes ``Tensor`` of all mixins.
Next: ``size.py``."""

from __future__ import annotations

from minigrad.tensor import convolutions as _convolutions  # noqa: F401 its functions are found in FUNCTIONS
from minigrad.tensor import copies as _copies  # noqa: F401
from minigrad.tensor import duals as _duals  # noqa: F401 it tells the tape about forward mode
from minigrad.tensor import einsum as _einsum  # noqa: F401
from minigrad.tensor import foreach as _foreach  # noqa: F401
from minigrad.tensor import outside as _outside  # noqa: F401
from minigrad.tensor import quantization as _quantization  # noqa: F401
from minigrad.tensor import ranges as _ranges  # noqa: F401
from minigrad.tensor import return_types
from minigrad.tensor import samplers as _samplers  # noqa: F401
from minigrad.tensor import windows as _windows  # noqa: F401
from minigrad.tensor.batch import rows, stacked
from minigrad.tensor.capture import called_everywhere, capturing
from minigrad.tensor.composite import composite
from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.gathering import check_index_range
from minigrad.tensor.generator import Generator, default_generator
from minigrad.tensor.loop import loop
from minigrad.tensor.pending import update_
from minigrad.tensor.points import update
from minigrad.tensor.printing import get_printoptions, set_printoptions
from minigrad.tensor.promotion import finfo, get_default_dtype, iinfo, set_default_dtype, type_name
from minigrad.tensor.random import dropout_source, random_bits, random_key
from minigrad.tensor.run_time import agreed, counted, hold, known, scalar, scalars
from minigrad.tensor.size import Size, device, get_default_device, set_default_device
from minigrad.tensor.tensor_class import Tensor
from minigrad.tensor.values import realize

__all__ = [
    "FUNCTIONS", "Generator", "Size", "Tensor", "agreed", "called_everywhere", "capturing", "check_index_range",
    "composite", "counted", "default_generator", "device", "dropout_source", "finfo", "get_default_device",
    "get_default_dtype",
    "get_printoptions", "hold", "iinfo", "known", "loop", "random_bits", "random_key", "realize", "return_types",
    "rows", "scalar", "scalars", "set_default_device", "set_default_dtype", "set_printoptions", "stacked", "type_name",
    "update", "update_",
]


def __getattr__(name):  # in a cycle of modules mypy has its type right only without annotations
    """``from minigrad.tensor import arange``: the functions are found in their table."""
    try:
        return FUNCTIONS[name]
    except KeyError:
        raise AttributeError(f"module 'minigrad.tensor' has no attribute {name!r}") from None
