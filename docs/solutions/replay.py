"""Replay: a loop whose shapes grow, so that every step is planned anew, and the same loop with one shape."""

from __future__ import annotations

from collections.abc import Callable

import minigrad
from minigrad import optim


def train(loss_of: Callable[[minigrad.Tensor, int], minigrad.Tensor]) -> tuple[list[float], int, int]:
    """The losses of 20 steps, how many runs were replayed, and how many plans were made."""
    w = minigrad.full((64,), 0.02, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.01)
    losses = []
    with minigrad.inspect() as seen:
        for step in range(20):
            optimizer.zero_grad()
            loss = loss_of(w, step)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, seen.replayed, seen.plan_misses


def main() -> None:
    minigrad.manual_seed(0)
    data = minigrad.rand(64, 64).realize()
    numbers = minigrad.arange(64).realize()

    def grows(w: minigrad.Tensor, step: int) -> minigrad.Tensor:
        return ((data[:step + 1] @ w).tanh() ** 2).sum()

    def masked(w: minigrad.Tensor, step: int) -> minigrad.Tensor:
        return (((data @ w).tanh() * (numbers <= minigrad.tensor(step))) ** 2).sum()

    first, second = train(grows), train(masked)
    for losses, replayed, planned in (first, second):
        print(f"loss {losses[-1]:.4f}, {replayed} runs replayed, {planned} plans made")
    assert max(abs(a - b) for a, b in zip(first[0], second[0])) < 1e-3
    assert second[2] <= 3 < first[2]


if __name__ == "__main__":
    main()
