"""Stage: tests of schedule, step 4. In: lifetimes and sizes. Out: what is alive together never overlaps in the arena,
and little is wasted. Next: ``test_plan.py``, which asks the same of whole plans."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minigrad.schedule.memory import ALIGNMENT, place

LIFE = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda t: (min(t), max(t)))
VALUES = st.lists(st.tuples(LIFE, st.integers(0, 5_000)), max_size=25)


def _rounded(size: int) -> int:
    return -(-max(1, size) // ALIGNMENT) * ALIGNMENT


@given(VALUES)
def test_values_alive_together_are_apart(values: list[tuple[tuple[int, int], int]]) -> None:
    lifetimes = {i: life for i, (life, _) in enumerate(values)}
    sizes = {i: size for i, (_, size) in enumerate(values)}
    offsets, total = place(lifetimes, sizes)
    assert set(offsets) == set(lifetimes)
    for a in lifetimes:
        assert offsets[a] % ALIGNMENT == 0 and offsets[a] + sizes[a] <= total
        for b in lifetimes:
            together = lifetimes[a][0] <= lifetimes[b][1] and lifetimes[b][0] <= lifetimes[a][1]
            if a < b and together:
                assert offsets[a] + _rounded(sizes[a]) <= offsets[b] or offsets[b] + _rounded(sizes[b]) <= offsets[a]
    busiest = max((sum(_rounded(sizes[i]) for i, (x, y) in lifetimes.items() if x <= t <= y) for t in range(13)),
                  default=0)
    assert busiest <= total <= sum(map(_rounded, sizes.values()))


def test_a_chain_needs_two_places() -> None:
    offsets, total = place({i: (i, i + 1) for i in range(50)}, dict.fromkeys(range(50), 1000))
    assert total == 2 * 1024 and set(offsets.values()) == {0, 1024}


def test_nothing_to_place() -> None:
    assert place({}, {}) == ({}, 0)
