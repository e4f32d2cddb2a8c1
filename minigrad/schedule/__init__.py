"""Stage: schedule. In: a lazy graph. Out: a Plan: kernels in order, and the memory they need.
Read ``spec.py`` first. Next room: ``kernel/``."""
