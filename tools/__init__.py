"""Stage: beside the house. In: nothing. Out: the tools a developer of minigrad runs.
Next: ``bench/``."""
