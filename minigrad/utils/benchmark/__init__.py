"""Stage: measuring. In: a statement. Out: how long it takes.
Next: ``timer.py``."""

from minigrad.utils.benchmark.timer import Measurement, Timer

__all__ = ["Measurement", "Timer"]
