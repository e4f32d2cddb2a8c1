"""Stage: PyTorch programs. In: seeds and states. Out: ``torch.random``: the one generator of all random numbers.
Next: ``hub.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minigrad.tensor import FUNCTIONS, default_generator

manual_seed, seed, initial_seed = FUNCTIONS["manual_seed"], FUNCTIONS["seed"], FUNCTIONS["initial_seed"]
get_rng_state, set_rng_state = FUNCTIONS["get_rng_state"], FUNCTIONS["set_rng_state"]

__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state",
           "thread_safe_generator"]


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, _caller: str = "fork_rng", _devices_kw: str = "devices",
             device_type: str = "cuda") -> Iterator[None]:
    """The generator has the state it had before when the block is left. All devices share it.

    >>> import minigrad
    >>> _ = manual_seed(0)
    >>> with fork_rng():
    ...     a = minigrad.rand(1)
    >>> bool(a == minigrad.rand(1))
    True
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def thread_safe_generator() -> None:
    """None, as outside a DataLoader's worker in PyTorch."""
