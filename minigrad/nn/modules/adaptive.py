"""Stage: front. In: features and classes, of which few are frequent. Out: their log-probabilities, as a Module.
Next: ``linear_cross_entropy_options.py``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from minigrad.nn.composites import adaptive as formulas
from minigrad.nn.functional.arguments import at_hand
from minigrad.nn.modules.container import ModuleList, Sequential
from minigrad.nn.modules.linear import Linear
from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of many classes, ordered from frequent to rare: those up to the first of ``cutoffs`` have a
    score each, the others are in clusters whose width shrinks by ``div_value``. (Grave et al. 2017)

    ``forward(input, target)`` gives ``output``, the log-probability of each target, and ``loss``, the mean of -output.
    All clusters are computed for all rows, so that the same kernels run whatever the targets are. ``ValueError`` for
    bad cutoffs, ``RuntimeError`` for shapes that do not fit and for targets that are no classes.

    >>> import minigrad
    >>> layer = AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10], div_value=2.0)
    >>> x = minigrad.randn(3, 8)
    >>> tuple(layer(x, minigrad.tensor([1, 7, 19])).output.shape), tuple(layer.log_prob(x).shape)
    ((3,), (3, 20))
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
                 head_bias: bool = False, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (cutoffs != sorted(set(cutoffs)) or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1
                or any(int(c) != c for c in cutoffs)):
            raise ValueError("cutoffs should be a sequence of unique, positive integers sorted in an increasing order, "
                             "where each value is between 1 and n_classes-1")
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for number, (low, high) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (number + 1))
            self.tail.append(Sequential(Linear(in_features, width, bias=False, device=device, dtype=dtype),
                                        Linear(width, high - low, bias=False, device=device, dtype=dtype)))

    def reset_parameters(self) -> None:
        """Draws new weights."""
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster.children():
                layer.reset_parameters()

    def _tails(self, input: Tensor) -> list[Tensor]:
        return [cluster(input) for cluster in self.tail]

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        dims = target_.dim()
        if dims > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if dims == 1 and input_.size(0) != target_.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input_.dim() != dims + 1:
            raise RuntimeError(f"{dims}D target tensor expects {dims + 1}D input tensors, but found inputs with size "
                               f"{input_.size()}")
        values = at_hand(target_)
        if values is not None and values.size and (values.min() < 0 or values.max() >= self.n_classes):
            raise RuntimeError(f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                               f"[{values.min()}, {values.max()}] were found. ")
        input, target = (input_, target_) if dims else (input_.unsqueeze(0), target_.unsqueeze(0))
        output = formulas.adaptive_log_probability(target, self.head(input), self._tails(input),
                                                   cutoffs=tuple(self.cutoffs))
        loss = (-output).mean()
        return _ASMoutput(output if dims else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, in_features) to (N, n_classes)."""
        return formulas.all_log_probabilities(self.head(input), self._tails(input), shortlist=self.shortlist_size)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: one of the shortlist if the head's best is, else the best of all."""
        best = self.head(input).argmax(1)
        return best.where(best < self.shortlist_size, self.log_prob(input).argmax(1))
