"""Stage: front. In: probs or logits. Out: the distribution of the number of failures before the first success.
Next: ``poisson.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.choices import BinaryChoice
from minigrad.distributions.utils import uniform
from minigrad.nn import functional as F
from minigrad.tensor import Tensor, composite, finfo, zeros_like

__all__ = ["Geometric"]


@composite
def _log_mass(value: Tensor, probs: Tensor) -> Tensor:
    certain = (probs == 1) & (value == 0)
    return value * (-probs.masked_fill(certain, 0.0)).log1p() + probs.log()


class Geometric(BinaryChoice):
    """The number of failures before the first success, which has probability p in each trial.

    >>> import minigrad
    >>> Geometric(0.5).log_prob(minigrad.tensor(1.0))
    tensor(-1.3863)
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._choose(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)
        if self._validate_args and probs is not None and not bool((self.probs > 0).all()):
            value = self.probs
            raise ValueError(f"Expected parameter probs ({type(value).__name__} of shape {tuple(value.shape)}) of "
                             f"distribution {self!r} to be positive but found invalid values:\n{value[value <= 0]}")

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Geometric, batch_shape, _instance, {"probs": 0, "logits": 0})

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            u = uniform(self._extended_shape(sample_shape), self.probs, finfo(self.probs.dtype).tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Any) -> Tensor:
        return _log_mass(self._checked(value), self.probs)

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
