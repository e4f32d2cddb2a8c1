"""Stage: realise. In: a pending graph. Out: values. A graph seen before has its plan and runs at once.
Next: ``realise.py``."""

from minigrad.engine.inspect import graphs_are_shown, inspect, previews, records
from minigrad.engine.realise import (
    Run,
    by_host,
    deferred,
    failed,
    kept,
    leaf_from_numpy,
    plans,
    realise,
    run_again,
    tell,
    to_numpy,
    wrap_numpy,
)
from minigrad.engine.steps import steps

__all__ = [
    "Run", "by_host", "deferred", "failed", "graphs_are_shown", "inspect", "kept", "leaf_from_numpy", "plans",
    "previews", "realise", "records", "run_again", "steps", "tell", "to_numpy", "wrap_numpy",
]
