"""Stage: front. In: a number of trials and probs or logits. Out: the distribution of the number of successes.
Next: ``geometric.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.choices import BinaryChoice
from minigrad.tensor import Tensor, binomial, composite

__all__ = ["Binomial"]


@composite
def _log_mass(value: Tensor, n: Tensor, logits: Tensor) -> Tensor:
    """log (n choose k) + k logits - n log(1 + exp(logits)). The slope of max(logits, 0) at 0 is 1/2."""
    positive = (logits.clamp(min=0) + logits - logits.clamp(max=0)) / 2
    normalizer = n * positive + n * (-logits.abs()).exp().log1p()
    ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
    return value * logits + ways - normalizer


class Binomial(BinaryChoice):
    """The number of successes in ``total_count`` trials with probability p each.

    >>> import minigrad
    >>> Binomial(2, probs=minigrad.tensor(0.5)).log_prob(minigrad.tensor(1.0))
    tensor(-0.6931)
    """

    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real}
    has_enumerate_support = True

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        (self.total_count,) = self._choose(probs, logits, total_count)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Binomial, batch_shape, _instance, {"total_count": 0, "probs": 0, "logits": 0})

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Tensor:
        return _log_mass(self._checked(value), self.total_count, self.logits)

    def entropy(self) -> Tensor:
        self._one_count("entropy")
        log_mass = self.log_prob(self.enumerate_support(False))
        return -(log_mass.exp() * log_mass).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._values(self._one_count("enumerate_support") + 1, self._param, expand)

    def _one_count(self, name: str) -> int:
        most = int(self.total_count.max())
        if int(self.total_count.min()) != most:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{name}`.")
        return most
