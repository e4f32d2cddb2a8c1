"""Stage: front. In: scores of a head of frequent classes and clusters, and of each cluster. Out: log-probabilities.
Next: ``attention.py``."""

from __future__ import annotations

from minigrad.tensor import Tensor, cat, composite, where


@composite
def adaptive_log_probability(target: Tensor, head: Tensor, tails: list[Tensor], *,
                             cutoffs: tuple[int, ...]) -> Tensor:
    """The log-probability of each target: among the head's classes, or that of its cluster plus that within it."""
    inside = where(target < cutoffs[0], target, 0)
    result = head.new_zeros(target.shape)
    for number, scores in enumerate(tails):
        low, high = cutoffs[number], cutoffs[number + 1]
        mine = (target >= low) & (target < high)
        inside = where(mine, cutoffs[0] + number, inside)
        place = where(mine, target - low, 0).unsqueeze(1)
        result = result + where(mine, scores.log_softmax(1).gather(1, place).squeeze(1), 0.0)
    return result + head.log_softmax(1).gather(1, inside.unsqueeze(1)).squeeze(1)


@composite
def all_log_probabilities(head: Tensor, tails: list[Tensor], *, shortlist: int) -> Tensor:
    """The log-probabilities of all classes, the head's first, then each cluster's."""
    logs = head.log_softmax(1)
    parts = [logs[:, :shortlist]]
    for number, scores in enumerate(tails):
        parts.append(scores.log_softmax(1) + logs[:, shortlist + number].unsqueeze(1))
    return cat(parts, 1)
