"""Stage: the bottom of ``symbolic``. In: nothing. Out: the names of the node kinds, a closed set; the grammar
that gives each one its meaning is the docstring of the package. A kind is a plain string.
Next: ``text.py``."""

NUM, VAR, SUM, PRODUCT, FLOORDIV, MOD = "num", "var", "sum", "product", "floordiv", "mod"
LESS, EQUAL, AND, MIN, MAX = "less", "equal", "and", "min", "max"
KINDS = (NUM, VAR, SUM, PRODUCT, FLOORDIV, MOD, LESS, EQUAL, AND, MIN, MAX)
