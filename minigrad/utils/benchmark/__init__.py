"""Stage: measuring. In: a statement. Out: how long it takes, and tables that compare such times.
Next: ``measurement.py``."""

from minigrad.utils.benchmark.compare import Colorize, Compare
from minigrad.utils.benchmark.fuzzer import FuzzedParameter, FuzzedTensor, Fuzzer, ParameterAlias
from minigrad.utils.benchmark.measurement import (
    Measurement,
    TaskSpec,
    ordered_unique,
    select_unit,
    trim_sigfig,
    unit_to_english,
)
from minigrad.utils.benchmark.timer import Language, Timer

__all__ = [
    "Colorize", "Compare", "FuzzedParameter", "FuzzedTensor", "Fuzzer", "Language", "Measurement", "ParameterAlias",
    "TaskSpec", "Timer", "ordered_unique", "select_unit", "trim_sigfig", "unit_to_english",
]
