"""Whatever aliases what, and in whatever order views are made, written and read: every read gives what NumPy gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from tests.unit.tensor.aliases import Program


def refused(write: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        write()


@st.composite
def programs(draw: st.DrawFn) -> Program:
    return Program(lambda n: draw(st.integers(0, n - 1))).draw(draw(st.integers(1, 16)))


def in_a_loop(program: Program) -> None:
    for _ in range(4):
        program.run(minigrad, minigrad.realize, refused)


@pytest.mark.parametrize("tiers", [2, 0])
@settings(max_examples=200)
@given(program=programs())
def test_every_read_gives_what_numpy_gives(tiers: int, program: Program) -> None:
    with minigrad.config(TIERS=tiers):
        program.run(minigrad, minigrad.realize, refused)


@settings(max_examples=100)
@given(program=programs())
def test_so_it_does_in_a_loop(program: Program) -> None:
    in_a_loop(program)


@pytest.mark.slow
@pytest.mark.parametrize("tiers", [2, 0])
@settings(max_examples=1500)
@given(program=programs())
def test_so_it_does_in_a_thousand_programs(tiers: int, program: Program) -> None:
    with minigrad.config(TIERS=tiers):
        in_a_loop(program)
