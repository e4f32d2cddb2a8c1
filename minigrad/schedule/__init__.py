"""Stage: schedule. In: a lazy graph. Out: a Plan: kernels in order, and the memory they need.
Next: ``spec.py``."""
