"""Stage: front. In: degrees of freedom. Out: the chi-squared distribution.
Next: ``inverse_gamma.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.gamma import Gamma
from minigrad.tensor import Tensor

__all__ = ["Chi2"]


class Chi2(Gamma):
    """The distribution of the sum of ``df`` squares of standard normal numbers: Gamma(df / 2, 1 / 2).

    >>> import minigrad
    >>> Chi2(minigrad.tensor(2.0)).mean
    tensor(2.)
    """

    arg_constraints: ClassVar[Any] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, self._get_checked_instance(Chi2, _instance))

    @property
    def df(self) -> Tensor:
        """Degrees of freedom."""
        return self.concentration * 2
