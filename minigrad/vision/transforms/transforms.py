"""Stage: vision. In: nothing. Out: the transforms, under the name that torchvision has for their module.
Next: ``minigrad/vision/transforms/v2/``."""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    """A transform of the package: ``transforms.transforms.Resize`` is ``transforms.Resize``."""
    package = sys.modules[__name__.rpartition(".")[0]]
    if name not in package.__all__ or name in ("functional", "transforms", "v2"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(package, name)
