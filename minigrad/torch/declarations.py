"""Functions that ``torch`` has as ``torch.nn.functional`` has them, but with other arguments: the reduction of a loss
is a number, nothing is computed in place, statistics stand elsewhere.

Stage: PyTorch programs. In: how PyTorch declares a function. Out: the function of ``torch.nn.functional`` with these
arguments.
Next: ``ops.py``.

Source of the declarations: ``_VariableFunctions.pyi`` of PyTorch 2.13.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from minigrad.nn import functional
from minigrad.nn.functional.loss import divergence
from minigrad.tensor.outputs import into

DECLARED = """
adaptive_max_pool1d(input, output_size)
binary_cross_entropy_with_logits(input, target, weight=None, pos_weight=None, reduction=1)
celu(input, alpha=1.0)
cosine_embedding_loss(input1, input2, target, margin=0.0, reduction=1)
ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction=1, zero_infinity=False)
group_norm(input, num_groups, weight=None, bias=None, eps=1e-05, cudnn_enabled=True)
hinge_embedding_loss(input, target, margin=1.0, reduction=1)
instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled)
kl_div(input, target, reduction=1, *, log_target=False)
layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05, cudnn_enable=True)
margin_ranking_loss(input1, input2, target, margin=0.0, reduction=1)
max_pool1d(input, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False)
max_pool2d(input, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False)
max_pool3d(input, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False)
poisson_nll_loss(input, target, log_input, full, eps, reduction)
rrelu(input, lower=0.125, upper=0.3333333333333333, training=False)
selu(input)
threshold(input, threshold, value, *, out=None)
triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-06, swap=False, reduction=1)
"""
"""Declarations as they stand in a program. Arguments whose names begin with cudnn choose nothing here."""

_BENEATH = {"adaptive_max_pool1d": functional.adaptive_max_pool1d_with_indices, "kl_div": divergence}
"""What is called in place of the function of that name."""

_REDUCTIONS = {1: "mean", 2: "sum"}
"""What numbers mean; any other means none."""


def signature_of(declaration: str) -> tuple[str, Signature]:
    """The name and the parameters of a function.

    >>> signature_of("celu(input, alpha=1.0)")
    ('celu', <Signature (input, alpha=1.0)>)
    """
    made = ast.parse(f"def {declaration}: pass").body[0]
    assert isinstance(made, ast.FunctionDef)
    a = made.args
    first = [Parameter.empty] * (len(a.args) - len(a.defaults))
    defaults = [*first, *map(ast.literal_eval, a.defaults)]
    found = [Parameter(p.arg, Parameter.POSITIONAL_OR_KEYWORD, default=d)
             for p, d in zip(a.args, defaults, strict=True)]
    for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True):
        found.append(Parameter(p.arg, Parameter.KEYWORD_ONLY, default=ast.literal_eval(d) if d else Parameter.empty))
    return made.name, Signature(found)


def _function(declaration: str) -> Callable[..., Any]:
    name, signature = signature_of(declaration)
    target: Any = _BENEATH.get(name) or getattr(functional, name)
    place = list(signature.parameters).index("reduction") + 1 if "reduction" in signature.parameters else 0

    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}() {error}") from None
        given = {key: value for key, value in bound.arguments.items() if not key.startswith("cudnn")}
        if "reduction" in given:
            number = given["reduction"]
            if not isinstance(number, int):
                raise TypeError(f"{name}(): argument 'reduction' (position {place}) must be int, not "
                                f"{type(number).__name__}")
            given["reduction"] = _REDUCTIONS.get(number, "none")
        return into(given.pop("out", None), target(**given), name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``torch.nn.functional.{name}``."
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


FUNCTIONS = {made.__name__: made for made in map(_function, DECLARED.split("\n")[1:-1])}
"""The functions, by what ``torch`` calls them."""
