"""Stage: between schedule and render. In: a KernelSpec and a Target. Out: a loop nest, and which strategies made it.
Next: ``lower.py``."""

from minigrad.lower.lower import PASSES, Lowered, lower

__all__ = ["PASSES", "Lowered", "lower"]
