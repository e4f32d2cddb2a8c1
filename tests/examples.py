"""Stage: tests of properties. In: a property, and strategies for its arguments. Out: a test that Hypothesis runs with
examples: some in the default run, more in ``pytest -m slow``. Next: ``rules/test_simplify.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

Property = Callable[..., None]


def examples(usual: int, slow: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Property], Property]:
    """Hypothesis's ``given``, with ``usual`` examples in the default run and ``slow`` ones in ``pytest -m slow``."""

    def decorate(check: Property) -> Property:
        @pytest.mark.parametrize("count", [usual, pytest.param(slow, marks=pytest.mark.slow)])
        def test(count: int) -> None:
            settings(max_examples=count)(given(*strategies)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate
