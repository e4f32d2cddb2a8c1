"""Stage: front. In: Tensors whose shapes ``functional/`` has checked. Out: one graph node for each function.
This is the mathematics of nn without its argument checking, a file for each kind: every body is traced once per shape.
Next: ``linear.py``."""
