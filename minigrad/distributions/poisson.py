"""Stage: front. In: a rate. Out: the Poisson distribution.
Next: ``negative_binomial.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.distributions.utils import broadcast_all
from minigrad.tensor import Tensor, composite, poisson

__all__ = ["Poisson"]


@composite
def _log_mass(value: Tensor, rate: Tensor) -> Tensor:
    return value.xlogy(rate) - rate - (value + 1).lgamma()


class Poisson(ExponentialFamily):
    """The probability rate^k exp(-rate) / k! of k = 0, 1, 2 …

    >>> import minigrad
    >>> Poisson(1.0).log_prob(minigrad.tensor(2.0))
    tensor(-1.6931)
    """

    arg_constraints: ClassVar[Any] = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Poisson, batch_shape, _instance, {"rate": 0})

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        rate, value = broadcast_all(self.rate, self._checked(value))
        return _log_mass(value, rate)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.rate.log(),)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        return natural_params[0].exp()
