"""Stage: front. In: functions of Tensors, or of nested lists and dictionaries of them. Out: functions that compute
their derivatives.
Next: ``core.py``."""

from minigrad.func.modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from minigrad.func.transforms import (
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
    vmap,
)

__all__ = [
    "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]
