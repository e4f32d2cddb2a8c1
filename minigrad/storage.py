"""Stage: front. In: nothing. Out: the classes of storages, under the name of the module that PyTorch has them in.
<<<<<<< HEAD
Next: ``minigrad/amp/``."""
=======
Next: ``minigrad/linalg/``."""
>>>>>>> 6859ad5 (Reading order: linear algebra, special functions and distributions before data)

from minigrad.tensor.storages import TypedStorage, UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
