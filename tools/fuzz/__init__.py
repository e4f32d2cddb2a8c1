"""Random programs, run on minigrad and on a reference: PyTorch, or without it the NUMPY device.

Stage: tests. In: a seed. Out: the shortest program found on which the two disagree.
Next: ``values.py``."""
