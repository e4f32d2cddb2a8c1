"""Stage: tests. In: programs. Out: what gcc's sanitizers say about the C of their kernels and about the thread pool.
``python -m tools.sanitize`` runs them.
Next: ``record.py``."""
