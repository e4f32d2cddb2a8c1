"""Stage: PyTorch programs. In: a program that says ``import torch``. Out: the same program, run by minigrad.
``python -m minigrad.torch script.py`` is how people use it; ``install()`` is what it does before the script begins.
Next: ``hook.py``.

In Jupyter: ``%load_ext minigrad.torch``. With pytest: ``pytest -p minigrad.torch``. In a program of your own:

    from minigrad.torch import install
    install()
    import torch  # this is minigrad
"""

from __future__ import annotations

from typing import Any

from minigrad.torch.hook import install, uninstall

__all__ = ["install", "load_ipython_extension", "uninstall", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext minigrad.torch`` in a notebook: from then on ``import torch`` finds minigrad."""
    install()


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext minigrad.torch``."""
    uninstall()


def pytest_load_initial_conftests() -> None:
    """``pytest -p minigrad.torch``: the tests' ``import torch`` finds minigrad."""
    install()
