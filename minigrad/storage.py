"""Stage: front. In: nothing. Out: the classes of storages, under the name of the module that PyTorch has them in.
Next: ``overrides.py``."""

from minigrad.tensor.storages import UntypedStorage
from minigrad.tensor.typed_storages import TypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
