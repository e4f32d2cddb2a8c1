"""PyTorch's operator database, run against minigrad.

Stage: tests. In: ``torch.testing._internal``'s list of operators with their samples. Out: which of them give here what
they give there.
Next: ``facade.py``."""
