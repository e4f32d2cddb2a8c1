"""Stage: front. In: matrices, batches of them, as Tensors. Out: their factors, inverses, spectra, solutions of systems,
norms. NumPy computes on the host what takes LAPACK; products, triangles and norms are compiled; gradients are formulas
in Tensors, so that they have gradients of their own. The package is imported when one of its functions is first called.
Next: ``kernels.py``."""
