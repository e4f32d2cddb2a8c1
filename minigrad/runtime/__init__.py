"""Stage: runtime. In: loop nests and memory. Out: kernels that run. Nothing is imported here: a device loads what it
needs when it is first asked for.
Next: ``device.py``."""
