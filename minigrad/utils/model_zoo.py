"""Stage: front. In: the address of a model's weights. Out: an error that says what to do: nothing is downloaded.
Next: ``minigrad/utils/benchmark/``."""

from __future__ import annotations

from typing import Any, NoReturn


def load_url(url: str, *args: Any, **options: Any) -> NoReturn:
    """``NotImplementedError``: nothing is downloaded.

    >>> load_url("https://example.org/a.pth")
    Traceback (most recent call last):
    NotImplementedError: minigrad downloads nothing: fetch https://example.org/a.pth by other means, then torch.load it
    """
    raise NotImplementedError(f"minigrad downloads nothing: fetch {url} by other means, then torch.load it")
