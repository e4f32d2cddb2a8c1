"""Stage: recording. In: nothing. Out: the lazy graph: its nodes, its grammar, its meaning.
Read ``lazy.py`` first. Next room: ``grad/``."""
