"""Stage: front. In: nothing. Out: the settings of ``save`` and ``load``, under PyTorch's name for their module.
Next: ``checkpoint.py``.

https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from minigrad.serialization.options import config

__all__ = ["config"]
