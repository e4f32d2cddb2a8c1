"""Stage: PyTorch programs. In: names of files elsewhere. Out: an error that says what to do: nothing is downloaded.
Next: ``onnx.py``."""

from __future__ import annotations

from typing import Any, NoReturn


def load_state_dict_from_url(url: str, *args: Any, **options: Any) -> NoReturn:
    """``NotImplementedError``: nothing is downloaded. Fetch the file by other means and ``load`` it.

    >>> load_state_dict_from_url("https://example.org/a.pth")
    Traceback (most recent call last):
    NotImplementedError: minigrad downloads nothing: fetch https://example.org/a.pth by other means, then torch.load it
    """
    raise NotImplementedError(f"minigrad downloads nothing: fetch {url} by other means, then torch.load it")


def download_url_to_file(url: str, dst: str, *args: Any, **options: Any) -> NoReturn:
    """``NotImplementedError``, as ``load_state_dict_from_url``."""
    raise NotImplementedError(f"minigrad downloads nothing: fetch {url} to {dst} by other means")


def load(repo_or_dir: str, model: str, *args: Any, **options: Any) -> NoReturn:
    """``NotImplementedError``: code of other repositories is not fetched."""
    raise NotImplementedError(f"minigrad downloads nothing: get {repo_or_dir} by other means and import {model} from "
                              "it")


__all__ = ["download_url_to_file", "load", "load_state_dict_from_url"]
