"""Stage: beside the house. In: the table of workloads and the libraries installed. Out: times, ratios, limits.
Run it with ``python -m tools.bench``; ``README.md`` in this folder says how it measures and how to read it.
Next: ``workloads.py``, the table; then ``measure.py``, the method."""
