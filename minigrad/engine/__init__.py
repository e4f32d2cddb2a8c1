"""Stage: realise. In: a pending graph. Out: values. A graph seen before has its plan and runs at once.
Next: ``realise.py``."""

from minigrad.engine.inspect import active, inspect
from minigrad.engine.realise import Run, deferred, leaf_from_numpy, plans, realise, run_again, to_numpy, wrap_numpy

__all__ = [
    "Run", "active", "deferred", "inspect", "leaf_from_numpy", "plans", "realise", "run_again", "to_numpy",
    "wrap_numpy",
]
