"""Stage: realise, tier 0: a graph that is not worth a compiler is run at once, node by node, by kernels that were
compiled once for all sizes. In: a pending graph. Out: a program of calls.
Next: ``names.py``."""

from minigrad.engine.tier0.builder import Declined
from minigrad.engine.tier0.program import DirectProgram, build

__all__ = ["Declined", "DirectProgram", "build"]
