"""Stage: front. In: probabilities or logits, one of the two. Out: what distributions with that choice have in common.
Next: ``independent.py``."""

from __future__ import annotations

from typing import Any

from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits
from minigrad.tensor import Size, Tensor

__all__ = ["BinaryChoice"]


class BinaryChoice(Distribution):
    """Distributions with ``probs`` or ``logits`` of success. The one that was not given is computed when asked for."""

    _param: Tensor

    def _choose(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Keep the one that is given, broadcast with the others, which are returned in its dtype."""
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        *more, self._param = broadcast_all(*others, logits if probs is None else probs)
        setattr(self, "logits" if probs is None else "probs", self._param)
        return [m.type_as(self._param) for m in more]

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))"""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability of success."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter that was given."""
        return self._param.size()
