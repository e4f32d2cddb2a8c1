"""Stage: tests. In: functions that ``torch`` has with other arguments than ``torch.nn.functional``. Out: they take
those, and give what that gives.
Next: ``test_runner.py``."""

from __future__ import annotations

from typing import Any

import pytest

import minigrad
from minigrad.nn import functional as F
from minigrad.torch import names
from minigrad.torch.declarations import DECLARED, FUNCTIONS, signature_of

X, Y = minigrad.tensor([[[0.5, 2.0, -1.0]]]), minigrad.tensor([[[1.0, 0.0, 1.0]]])
ONE = minigrad.ones(1)


def test_every_declaration_is_a_function() -> None:
    assert {signature_of(line)[0] for line in DECLARED.split("\n") if line} == set(FUNCTIONS)
    assert all(names.find(name) is made for name, made in FUNCTIONS.items())


@pytest.mark.parametrize(("call", "expected"), [
    (lambda t: t("kl_div")(X, Y, 2), lambda: F.kl_div(X, Y, reduction="sum")),
    (lambda t: t("kl_div")(X, Y), lambda: F.kl_div(X, Y, reduction="none").mean()),
    (lambda t: t("kl_div")(X, Y, 0, log_target=True), lambda: F.kl_div(X, Y, reduction="none", log_target=True)),
    (lambda t: t("poisson_nll_loss")(X, Y, True, False, 1e-8, 2), lambda: F.poisson_nll_loss(X, Y, reduction="sum")),
    (lambda t: t("binary_cross_entropy_with_logits")(X, Y, None, Y + 1, 0),
     lambda: F.binary_cross_entropy_with_logits(X, Y, pos_weight=Y + 1, reduction="none")),
    (lambda t: t("instance_norm")(X, ONE, ONE, None, None, True, 0.1, 0.5, False),
     lambda: F.instance_norm(X, weight=ONE, bias=ONE, eps=0.5)),
    (lambda t: t("layer_norm")(X, [3], None, None, 0.5, False), lambda: F.layer_norm(X, [3], eps=0.5)),
    (lambda t: t("group_norm")(X, 1, cudnn_enabled=False), lambda: F.group_norm(X, 1)),
    (lambda t: t("adaptive_max_pool1d")(X, 2)[1], lambda: F.adaptive_max_pool1d(X, 2, return_indices=True)[1]),
    (lambda t: t("max_pool1d")(X, 2), lambda: F.max_pool1d(X, 2)),
    (lambda t: t("max_pool1d")(X, 2, ()), lambda: F.max_pool1d(X, 2)),
    (lambda t: t("threshold")(X, 0.0, 7.0), lambda: F.threshold(X, 0.0, 7.0))])
def test_values(call: Any, expected: Any) -> None:
    assert call(names.find).tolist() == expected().tolist()


def test_threshold_into_out() -> None:
    out = minigrad.zeros(1, 1, 3)
    assert FUNCTIONS["threshold"](X, 0.0, 7.0, out=out) is out
    assert out.tolist() == [[[0.5, 2.0, 7.0]]]


@pytest.mark.parametrize(("name", "arguments", "words"), [
    ("celu", {"inplace": True}, r"celu\(\) got an unexpected keyword argument 'inplace'"),
    ("max_pool1d", {"kernel_size": 2, "return_indices": True}, "unexpected keyword argument 'return_indices'"),
    ("kl_div", {"target": Y, "reduction": "mean"}, "argument 'reduction' .position 3. must be int, not str"),
    ("threshold", {"value": 1.0}, r"threshold\(\) missing a required argument: 'threshold'")])
def test_refusals(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        names.find(name)(X, **arguments)
