"""Stage: lower, after the strategies. In: a kernel. Out: the same kernel, nearer to what a machine does.
Next: ``expressions.py``."""
