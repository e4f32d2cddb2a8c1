"""Stage: tests. In: results and what they should be. Out: nothing, or an ``AssertionError`` that says by how much they
differ; and random tensors to test with.
Next: ``comparison.py``."""

from minigrad.testing.comparison import assert_allclose, assert_close
from minigrad.testing.creation import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]
