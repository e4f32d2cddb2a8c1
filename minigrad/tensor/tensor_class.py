"""Stage: front. In: the mixins, one topic and one file each. Out: ``Tensor``, the class that users see.
Next: ``foreach.py``."""

from __future__ import annotations

from minigrad.tensor.activations import Activations
from minigrad.tensor.added import Added
from minigrad.tensor.arguments import explain_methods, name_methods
from minigrad.tensor.assembling import Assembling
from minigrad.tensor.attributes import Attributes
from minigrad.tensor.base import TensorBase, register
from minigrad.tensor.bounds import Bounds
from minigrad.tensor.calculus import Calculus
from minigrad.tensor.casts import Casts
from minigrad.tensor.choices import Choices
from minigrad.tensor.circular import Circular
from minigrad.tensor.comparison import Comparison
from minigrad.tensor.complex_numbers import ComplexNumbers
from minigrad.tensor.convert import Convert
from minigrad.tensor.creation import Creation
from minigrad.tensor.dlpack import DLPack
from minigrad.tensor.elementwise import Elementwise
from minigrad.tensor.encoding import Encoding
from minigrad.tensor.exponential import Exponential
from minigrad.tensor.extrema import Extrema
from minigrad.tensor.functions import Functions
from minigrad.tensor.gathering import Gathering
from minigrad.tensor.gradient import Autograd
from minigrad.tensor.indexing import Indexing
from minigrad.tensor.inplace import InPlace
from minigrad.tensor.joining import Joining
from minigrad.tensor.layout import Layout
from minigrad.tensor.linalg import LinearAlgebra
from minigrad.tensor.matrices import Matrices
from minigrad.tensor.movement import Movement
from minigrad.tensor.numpy_protocol import NumPyProtocol
from minigrad.tensor.ordering import Ordering
from minigrad.tensor.overrides import Overrides
from minigrad.tensor.pairs import Pairs
from minigrad.tensor.parts import Parts
from minigrad.tensor.protocol import PythonProtocol
from minigrad.tensor.random import Random
from minigrad.tensor.reduce import Reduce
from minigrad.tensor.scattering import Scattering
from minigrad.tensor.segments import Segments
from minigrad.tensor.sharing import Sharing
from minigrad.tensor.sparsity import Sparsity
from minigrad.tensor.special import Special
from minigrad.tensor.special_pairs import SpecialPairs
from minigrad.tensor.statistics import Statistics
from minigrad.tensor.triangular import Triangular
from minigrad.tensor.values import Values


# TensorBase comes first, so that ``isinstance(x, TensorBase)`` in every op finds it at once, not after all the mixins.
class Tensor(
    TensorBase, Elementwise, Functions, Bounds, Circular, Activations, Special, SpecialPairs, Comparison, Choices,
    Pairs, Encoding, ComplexNumbers, Reduce, Extrema, Exponential, Layout, Movement, Joining, Indexing, Gathering,
    Scattering, Segments, Parts, Ordering, Calculus, Statistics, Assembling, LinearAlgebra, Added, Matrices,
    Creation, Triangular, Random, Convert, Casts, Values, Attributes, Sparsity, Autograd, InPlace, PythonProtocol,
    NumPyProtocol, DLPack, Sharing, Overrides,
):
    """A multi-dimensional array of one dtype that records what is done with it.

    ``Tensor([1, 2])`` makes float32 numbers of data and ``Tensor(2, 3)`` an uninitialised tensor of that shape; use
    ``minigrad.tensor`` and ``minigrad.empty``.

    >>> import minigrad
    >>> x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x @ x).sum().backward()
    >>> x.grad
    tensor([[ 7., 11.],
            [ 9., 13.]])
    """

    __slots__ = ()


explain_methods(Tensor)
name_methods(Tensor)
register(Tensor)
