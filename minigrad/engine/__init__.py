"""Stage: realise. In: a pending graph. Out: values. A graph seen before has its plan and runs at once.
Read ``walk.py`` first. Next room: ``autograd/``."""

from minigrad.engine.inspect import inspect
from minigrad.engine.realise import leaf_from_numpy, plans, realise, to_numpy, wrap_numpy

__all__ = ["inspect", "leaf_from_numpy", "plans", "realise", "to_numpy", "wrap_numpy"]
