"""Stage: the loop nest. In: nothing. Out: its grammar, its checker, its printed form and its interpreter.
Next: ``ir.py``."""
