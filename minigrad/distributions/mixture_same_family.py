"""Stage: front. In: weights and components of one kind. Out: their mixture.
Next: ``von_mises.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.categorical import Categorical
from minigrad.distributions.distribution import Distribution
from minigrad.tensor import Size, Tensor

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A component is chosen by ``mixture_distribution``, then an event drawn from it. The components are the last batch
    dimension of ``component_distribution``.

    >>> import minigrad
    >>> from minigrad.distributions import Categorical, Normal
    >>> parts = Normal(minigrad.tensor([0.0, 0.0]), minigrad.ones(2))
    >>> MixtureSameFamily(Categorical(minigrad.ones(2)), parts).log_prob(minigrad.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints: ClassVar[Any] = {}
    has_rsample = False

    def __init__(self, mixture_distribution: Categorical, component_distribution: Any,
                 validate_args: bool | None = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an  instance of torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution needs to be an instance of torch.distributions.Distribution")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        weights, parts = mixture_distribution.batch_shape, component_distribution.batch_shape[:-1]
        for m, n in zip(reversed(weights), reversed(parts), strict=False):
            if m != 1 and n != 1 and m != n:
                raise ValueError(f"`mixture_distribution.batch_shape` ({weights}) is not compatible with "
                                 f"`component_distribution.batch_shape`({parts})")
        count, there = mixture_distribution.logits.shape[-1], component_distribution.batch_shape[-1]
        if count != there:
            raise ValueError(f"`mixture_distribution component` ({count}) does not equal "
                             f"`component_distribution.batch_shape[-1]` ({there})")
        self._num_component = count
        self._event_ndims = len(component_distribution.event_shape)
        super().__init__(parts, component_distribution.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(MixtureSameFamily, _instance)
        new._component_distribution = self._component_distribution.expand(Size((*batch_shape, self._num_component)))
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._num_component, new._event_ndims = self._num_component, self._event_ndims
        return self._finished(MixtureSameFamily, new, batch_shape)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """The distribution of the component's number."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Any:
        """The components."""
        return self._component_distribution

    def _weights(self) -> Tensor:
        """The probabilities, with dimensions for the batch and the event."""
        probs = self.mixture_distribution.probs
        have = len(self.mixture_distribution.batch_shape)
        missing = 0 if have == 1 else len(self.batch_shape) - have
        shape = tuple(probs.shape)
        return probs.reshape((*shape[:-1], *[1] * missing, shape[-1], *[1] * self._event_ndims))

    def _pad(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._event_ndims)

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self.component_distribution.mean).sum(-1 - self._event_ndims)

    @property
    def variance(self) -> Tensor:
        """The mean of the variances and the variance of the means."""
        away = (self.component_distribution.mean - self._pad(self.mean)).pow(2.0)
        return (self._weights() * self.component_distribution.variance).sum(-1 - self._event_ndims) + (
            self._weights() * away).sum(-1 - self._event_ndims)

    def cdf(self, value: Any) -> Tensor:
        return (self.component_distribution.cdf(self._pad(value)) * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        parts = self.component_distribution.log_prob(self._pad(self._checked(value)))
        return (parts + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            chosen = self.mixture_distribution.sample(sample_shape)
            drawn = self.component_distribution.sample(sample_shape)
            at = len(sample_shape) + len(self.batch_shape)
            index = chosen.reshape((*chosen.shape, *[1] * (self._event_ndims + 1)))
            index = index.expand((*drawn.shape[:at], 1, *self.event_shape))
            return drawn.gather(at, index).squeeze(at)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
