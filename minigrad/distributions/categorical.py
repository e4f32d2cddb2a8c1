"""Stage: front. In: probs or logits of each category. Out: the distribution of the category.
Next: ``one_hot_categorical.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import as_size, filled, lazy_property, logits_to_probs, probs_to_logits
from minigrad.dtype import int64
from minigrad.tensor import Size, Tensor, composite, empty, finfo
from minigrad.tensor.operands import broadcast_shapes

__all__ = ["Categorical"]


@composite
def _log_mass(value: Tensor, logits: Tensor) -> Tensor:
    index = value.to(int64).unsqueeze(-1)
    shape = broadcast_shapes(tuple(index.shape[:-1]), tuple(logits.shape[:-1]))
    index = index.expand((*shape, 1))
    return logits.expand((*shape, logits.shape[-1])).gather(-1, index).squeeze(-1)


class Categorical(Distribution):
    """The categories 0 … K - 1 with the probabilities ``probs``, made to sum to 1, or softmax(``logits``), along the
    last dimension.

    >>> import minigrad
    >>> Categorical(probs=minigrad.tensor([1.0, 3.0])).log_prob(minigrad.tensor(1))
    tensor(-0.2877)
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        name, given = ("logits", logits) if probs is None else ("probs", probs)
        if given.dim() < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is None:
            self.logits = self._param = logits - logits.logsumexp(-1, True)
        else:
            self.probs = self._param = probs / probs.sum(-1, True)
        self._num_events = self._param.shape[-1]
        super().__init__(self._param.size()[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Categorical, batch_shape, _instance, {"probs": 1, "logits": 1}, ("_num_events",))

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs)"""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability of each category."""
        return logits_to_probs(self.logits)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter that was given."""
        return self._param.size()

    @property
    def mean(self) -> Tensor:
        return filled(math.nan, self._extended_shape(), self.probs)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return filled(math.nan, self._extended_shape(), self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = as_size(sample_shape)
        rows = self.probs.detach().reshape((-1, self._num_events))
        drawn = rows.multinomial(sample_shape.numel(), True)
        return drawn.T.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        return _log_mass(self._checked(value), self.logits)

    def entropy(self) -> Tensor:
        return -(self.logits.clamp(min=finfo(self.logits.dtype).min) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._values(self._num_events, empty(0, dtype=int64, device=self._param.device), expand)
