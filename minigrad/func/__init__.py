"""Stage: front. In: functions of Tensors, or of nested lists and dictionaries of them. Out: functions that compute
their derivatives, or that work on many rows at once.
Next: ``pytree.py``."""

from minigrad.func.matrices import hessian, jacfwd, jacrev
from minigrad.func.modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from minigrad.func.rows import vmap
from minigrad.func.transforms import functionalize, grad, grad_and_value, jvp, linearize, vjp

__all__ = [
    "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]
