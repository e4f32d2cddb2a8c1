"""Stage: recording. In: nothing. Out: the lazy graph: its nodes, its grammar, its meaning.
Next: ``lazy.py``."""
