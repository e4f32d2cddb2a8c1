"""Stage: lower, for GPUs. In: a KernelSpec and a Target that has workgroups. Out: a grid of workgroups, each of them
a block of threads that share memory and meet at barriers.
Next: ``kernel.py``."""
