"""Stage: front. In: a number of failures and probs or logits.
Out: the distribution of the number of successes before them.
Next: ``continuous_bernoulli.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.choices import BinaryChoice
from minigrad.distributions.gamma import Gamma
from minigrad.distributions.utils import lazy_property
from minigrad.tensor import Tensor, composite, poisson

__all__ = ["NegativeBinomial"]


@composite
def _log_mass(value: Tensor, n: Tensor, logits: Tensor) -> Tensor:
    ways = (n + value).lgamma() - (1.0 + value).lgamma() - n.lgamma()
    ways = ways.masked_fill(n + value == 0.0, 0.0)
    return n * (-logits).logsigmoid() + value * logits.logsigmoid() + ways


class NegativeBinomial(BinaryChoice):
    """The number of successes, with probability p each, before ``total_count`` failures.

    >>> import minigrad
    >>> NegativeBinomial(1, probs=minigrad.tensor(0.5)).log_prob(minigrad.tensor(0.0))
    tensor(-0.6931)
    """

    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        (self.total_count,) = self._choose(probs, logits, total_count)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(NegativeBinomial, batch_shape, _instance, {"total_count": 0, "probs": 0, "logits": 0})

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    @lazy_property
    def _gamma(self) -> Gamma:
        return Gamma(self.total_count, (-self.logits).exp(), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return poisson(self._gamma.sample(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        return _log_mass(self._checked(value), self.total_count, self.logits)
