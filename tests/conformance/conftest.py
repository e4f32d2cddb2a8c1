"""Stage: tests of devices. In: how many cases each test took. Out: a line on each at the end of the run: a sample is
never silent. Next: ``test_conformance.py``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_LINES: list[str] = []


@pytest.fixture
def sampled() -> Callable[[str], None]:
    """Call it with what was sampled."""
    return _LINES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _LINES:
        terminalreporter.write_line(line)
