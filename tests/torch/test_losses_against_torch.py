"""Losses beside PyTorch's: values, gradients, gradients of gradients, reductions, weights, kinks, half types, printed
forms, signatures, warnings and errors."""

import inspect
import itertools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from tests.torch.beside import (  # noqa: E402
    LIBRARIES,
    Fixed,
    call_errors,
    compare,
    floats,
    ints,
    near,
    signature,
    zeros,
)

X, Y = floats(4, 5), floats(4, 5, seed=1)
P, Q = 1 / (1 + np.exp(-X)), 1 / (1 + np.exp(-Y))
SIGNS = np.sign(floats(4, 5, seed=2))
LOSSES = {
    "l1_loss": [(X, Y, {})], "mse_loss": [(X, Y, {})],
    "smooth_l1_loss": [(X, Y, {}), (X, Y, {"beta": 0.3}),
                       (X, Y, {"beta": 0})],
    "huber_loss": [(X, Y, {}), (X, Y, {"delta": 0.4}), (X, Y, {"weight": Fixed(P)})],
    "poisson_nll_loss": [(X, Y, {}), (P, 5 * Q, {"log_input": False, "full": True})],
    "gaussian_nll_loss": [(X, Y, P, {}), (X, Y, P[:, :1], {"full": True}), (X, Y, P[:, 0], {"eps": 0.5}),
                          (X, Y, {"var": 0.7})],
    "kl_div": [(X, Q, {}), (X, Y, {"log_target": True})],
    "binary_cross_entropy": [(P, Q, {}), (P, Fixed(Q), {"weight": Fixed(Q)})],
    "binary_cross_entropy_with_logits": [(X, Q, {}), (X, Fixed(Q), {"pos_weight": Fixed(P[0]), "weight": Fixed(Q)})],
    "margin_ranking_loss": [(X, Y, Fixed(SIGNS), {"margin": 0.3}), (X, Y, Fixed(SIGNS[:, :1]), {})],
    "hinge_embedding_loss": [(X, Fixed(SIGNS), {}), (X, Fixed(SIGNS), {"margin": 0.2})],
    "soft_margin_loss": [(X, Fixed(SIGNS), {})],
    "multilabel_soft_margin_loss": [(X, Fixed((P > 0.5).astype(int)), {}), (X, Q, {"weight": Fixed(P[0])})],
    "cosine_embedding_loss": [(X, Y, Fixed(SIGNS[:, 0]), {}), (X, Y, Fixed(SIGNS[:, 1]), {"margin": 0.1}),
                              (X[0], Y[0], Fixed(np.array(1.0)), {})],
    "multi_margin_loss": [(X, Fixed(np.array([0, 4, 2, 1])), {}), (X, Fixed(np.array([0, 4, 2, 1])), {
        "p": 2, "margin": 0.5, "weight": Fixed(P[0])}), (X[0], Fixed(np.array(3)), {}), (X[0], Fixed(np.array([3])),
                                                                                         {})],
    "multilabel_margin_loss": [(X, Fixed(np.array([[0, 3, -1, 2, 1], [-1, 0, 0, 0, 0], [4, 3, 2, 1, 0], [1, 1, 2, -1,
                                                                                                         -1]])), {}),
                               (X[0], Fixed(np.array([2, 1, -1, 0, 0])), {})],
    "triplet_margin_loss": [(X, Y, P, {}), (X, Y, P, {"p": 1, "swap": True}), (X, Y, P, {"p": 3.0, "margin": 0.5}),
                            (X[0], Y[0], P[0], {})],
    "triplet_margin_with_distance_loss": [(X, Y, P, {}), (X, Y, P, {"swap": True})],
}
LOSS_CASES = [(name, case) for name, cases in LOSSES.items() for case in cases]
FIRST_ORDER = ("multi_margin_loss", "multilabel_margin_loss")  # PyTorch has no second


@pytest.mark.sample(15)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("number", range(len(LOSS_CASES)))
def test_loss(number):
    name, (*args, options) = LOSS_CASES[number]
    wrong_name = name == "smooth_l1_loss" and options.get("beta") == 0
    for reduction in ("mean", "sum", "none"):
        ours, theirs = compare(name, *args, order=1 if name in FIRST_ORDER else 2, rtol=1e-6, atol=1e-7,
                               reduction=reduction,
                               dtypes=("float32", "float64") if reduction == "mean" else ("float64",), **options)
        if not wrong_name:
            assert ours[0].grad_fn.name() == theirs[0].grad_fn.name() or options
    if name not in (*FIRST_ORDER, "soft_margin_loss", "cosine_embedding_loss", "margin_ranking_loss"):
        compare(name, *args, order=1, dtypes=("float16", "bfloat16"), **options)


INTEGERS = {
    "margin_ranking_loss": lambda f, a, b, t, r: f.margin_ranking_loss(a, b, t, reduction=r),
    "triplet_margin_loss": lambda f, a, b, t, r: f.triplet_margin_loss(a, b, t, swap=True, reduction=r),
    "cosine_embedding_loss": lambda f, a, b, t, r: f.cosine_embedding_loss(a, b, t[:, 0], reduction=r),
    "poisson_nll_loss": lambda f, a, b, t, r: f.poisson_nll_loss(a, b, full=True, reduction=r),
    "pairwise_distance": lambda f, a, b, t, r: f.pairwise_distance(a, b, p=3),
    "hinge_embedding_loss": lambda f, a, b, t, r: f.hinge_embedding_loss(a, t, reduction=r),
    "l1_loss": lambda f, a, b, t, r: f.l1_loss(a, b, reduction=r),
    "local_response_norm": lambda f, a, b, t, r: f.local_response_norm(a.reshape(2, 3, 1), 2),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_losses_of_integers(name):
    """A result is a float where the formula makes one, and an integer where it does not."""
    for reduction in ("none", "sum"):
        found, wanted = [INTEGERS[name](lib.nn.functional, *[lib.tensor(v) for v in (
            [[3, 1, 2], [0, 5, 4]], [[1, 4, 2], [7, 0, 4]], [[1, -1, 1], [-1, 1, 1]])], reduction)
            for lib in (minigrad, torch)]
        assert str(found.dtype) == str(wanted.dtype).replace("torch", "minigrad")
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_distances_of_two_dtypes(name):
    """The same dtype and value, or the same error."""
    for kinds in itertools.product(("float64", "float32", "float16", "int64", "bool"), repeat=2):
        found = []
        for library in (minigrad, torch):
            a, b = [library.tensor(v).to(getattr(library, kind)) for v, kind in zip(([1, 0, 3], [1, 1, 0]), kinds,
                                                                                    strict=True)]
            try:
                loss = getattr(library.nn.functional, name)(a, b)
                found.append((str(loss.dtype).split(".")[1], loss.item()))
            except (RuntimeError, NotImplementedError) as error:
                found.append((type(error), str(error) if "float" in str(kinds) else ""))
        assert found[0] == found[1], kinds


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("option", ["", "weight", "pos_weight"])
def test_cross_entropies_of_two_dtypes(name, option):
    """The result has the dtype of the target, or there is the same error."""
    if (name, option) == ("binary_cross_entropy", "pos_weight"):
        return
    for kinds in itertools.product(("float64", "float32", "float16", "int64", "bool"), repeat=2):
        found = []
        for library in (minigrad, torch):
            a, b = [library.tensor(v).to(getattr(library, kind)) for v, kind in zip(([0.5, 1.0], [1, 0]), kinds,
                                                                                    strict=True)]
            options = {option: library.ones(2)} if option else {}
            try:
                loss = getattr(library.nn.functional, name)(a, b, **options)
                found.append((str(loss.dtype).split(".")[1], pytest.approx(loss.item(), rel=1e-3)))
            except (RuntimeError, NotImplementedError) as error:
                found.append((type(error), "" if "bool" in kinds else str(error)))
        assert found[0] == found[1], kinds


def test_kinks_of_losses():
    edge = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    for name, options in (("l1_loss", {}), ("smooth_l1_loss", {}), ("huber_loss", {}), ("smooth_l1_loss",
                                                                                        {"beta": 0.5})):
        compare(name, edge, np.zeros(7), order=1, reduction="none", **options)
    for sign in (1.0, -1.0, 0.5):
        compare("hinge_embedding_loss", edge, Fixed(np.full(7, sign)), order=1, reduction="none")
        compare("margin_ranking_loss", edge, np.zeros(7), Fixed(np.full(7, sign)), order=1, reduction="none",
                margin=0.5)
    compare("multi_margin_loss", np.array([[1.0, 0.0, 2.0]]), Fixed(np.array([0])), order=1)
    compare("multilabel_margin_loss", np.array([[1.0, 0.0, 2.0]]), Fixed(np.array([[0, -1, 0]])), order=1)
    compare("soft_margin_loss", np.array([-30.0, 0.0, 30.0]), Fixed(np.ones(3)), order=1)
    compare("gaussian_nll_loss", edge, edge, np.array([0.0, 1e-9, 1e-6, 1.0, 2.0, 0.0, 1.0]), order=1, reduction="none")


def test_batchmean_and_old_reductions():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare("kl_div", X, Q, reduction="batchmean")
        compare("kl_div", np.array(0.3), np.array(0.2), reduction="batchmean")
        for name, (*args, options) in LOSS_CASES:
            if "size_average" not in inspect.signature(getattr(torch.nn.functional, name)).parameters:
                continue
            for old in ({"size_average": False}, {"reduce": False}, {"size_average": True}, {"reduce": True}):
                compare(name, *args, order=0, dtypes=("float64",), **options, **old)
    for call in (lambda m: m.nn.functional.kl_div(m.ones(2), m.ones(2)),
                 lambda m: m.nn.functional.huber_loss(m.ones(2), m.ones(2, 1)),
                 lambda m: m.nn.functional.smooth_l1_loss(m.ones(2), m.ones(2, 1)),
                 lambda m: m.nn.NLLLoss2d(), lambda m: m.nn.SoftMarginLoss(size_average=False),
                 lambda m: m.nn.Hardtanh(min_value=-2, max_value=3)):
        texts = []
        for library in LIBRARIES:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call(library)
            texts.append([(w.category, str(w.message).replace("minigrad.", "torch."),
                           w.filename == __file__ or "size_average" in str(w.message)) for w in caught])
        assert texts[0] == texts[1]


def test_cross_entropy_again():
    for shape, target in (((4, 5), [0, 4, 2, 1]), ((2, 3, 4), [[0, 1, 2, 2], [1, 1, 0, 0]])):
        for options in ({}, {"label_smoothing": 0.2}, {"weight": Fixed(np.abs(floats(shape[1], seed=3)))},
                        {"ignore_index": 1}, {"label_smoothing": 0.1, "weight": Fixed(np.abs(floats(shape[1],
                                                                                                    seed=3)))}):
            for reduction in ("mean", "sum", "none"):
                compare("cross_entropy", floats(*shape), Fixed(np.array(target)), reduction=reduction,
                        dtypes=("float32", "float64") if reduction == "mean" else ("float64",), **options)
    compare("cross_entropy", X, P, order=2)
    compare("cross_entropy", X, P, order=2, label_smoothing=0.3, weight=Fixed(P[1]))
    masked = np.where(floats(4, 5, seed=5) > 0.8, -np.inf, X)
    masked[:, 0] = 1
    compare("cross_entropy", masked, Fixed(np.zeros(4, int)), order=1)
    compare("cross_entropy", X, Fixed(np.array([0, 4, 2, 1])), order=1, dtypes=("float16", "bfloat16"))
    compare("nll_loss", X, Fixed(np.array([0, 4, 2, 1])))


def test_linear_cross_entropy():
    target = Fixed(np.array([0, 2, 1, 1]))
    compare("linear_cross_entropy", X, floats(3, 5), target)
    compare("linear_cross_entropy", X, floats(3, 5), target, linear_bias=floats(3), label_smoothing=0.1,
            reduction="sum",
            weight=Fixed(np.array([0.5, 1, 2])))
    compare("linear_cross_entropy", X, floats(3, 2, 5), Fixed(np.array([[0, 1], [2, 1], [1, 1], [0, 0]])),
            ignore_index=1)
    compare("linear_cross_entropy", X[0], floats(3, 5), Fixed(np.array(2)), reduction="none")
    compare("linear_cross_entropy", X, floats(3, 5), np.abs(floats(4, 3)))
    for options in ({}, {"bias": True, "out_features": (2,), "label_smoothing": 0.1}):
        losses = []
        for library in LIBRARIES:
            library.manual_seed(1)
            layer = library.nn.LinearCrossEntropyLoss(5, 3, **options)
            target = library.tensor([[0, 1]] * 4 if options else [0, 1, 2, 0])
            losses.append((layer(library.tensor(X).float(), target), layer))
        near(losses[0][0], losses[1][0])
        assert repr(losses[0][1]) == repr(losses[1][1])
        assert list(losses[0][1].state_dict()) == list(losses[1][1].state_dict())


LENGTHS = [((6, 6, 6), (3, 2, 1)), ((6, 4, 5), (3, 0, 2)), ((6, 2, 3), (3, 2, 0))]


@pytest.mark.sample(3)
@pytest.mark.parametrize("inputs,wanted", LENGTHS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss(inputs, wanted, reduction):
    scores = floats(6, 3, 4)
    table = np.array([[1, 1, 2], [3, 2, 1], [2, 2, 3]])
    long = np.concatenate([row[:n] for row, n in zip(table, wanted, strict=True)])
    for zero in (False, True):
        if inputs[1] < wanted[1] or inputs[0] < 4:
            zero = True  # an infinite loss has no gradient
        for targets in (table, long, table.astype("int32")):
            for blank in (0, 3):
                if blank and (targets == blank).any():
                    continue
                def lossy(library, targets=targets, zero=zero, blank=blank):
                    function = library.nn.functional
                    return lambda x: function.ctc_loss(x.log_softmax(-1), library.tensor(targets), inputs, wanted,
                                                       blank,
                                                       reduction, zero)
                compare(lossy, scores, order=1, rtol=1e-6, atol=1e-7)
        raw = lambda library: lambda x: library.nn.functional.ctc_loss(  # noqa: E731
            x, library.tensor(table), library.tensor(inputs), library.tensor(wanted), 0, reduction, True)
        compare(raw, np.log(P.mean()) + 0.1 * scores, order=1, dtypes=("float64",))


def test_ctc_loss_of_one_and_of_impossible_targets():
    def one(library):
        return lambda x: library.nn.functional.ctc_loss(x.log_softmax(-1), library.tensor([1, 2]), (5,), (2,),
                                                        reduction="none")
    compare(one, floats(5, 3), order=1)
    results = [library.nn.CTCLoss(reduction="none")(library.tensor(floats(2, 2, 3)).log_softmax(-1),
                                                    library.tensor([[1, 1], [1, 2]]), (2, 2), (2, 2))
               for library in LIBRARIES]
    near(*results)
    assert np.isinf(results[0].numpy()[0])


LOSS_MODULES = {
    "L1Loss": {}, "MSELoss": {}, "NLLLoss": {}, "PoissonNLLLoss": {"full": True}, "GaussianNLLLoss": {"eps": 0.1},
    "KLDivLoss": {"log_target": True, "reduction": "sum"}, "BCELoss": {}, "BCEWithLogitsLoss": {},
    "HingeEmbeddingLoss": {"margin": 2},
    "MultiLabelMarginLoss": {}, "SmoothL1Loss": {"beta": 0.5}, "HuberLoss": {"delta": 0.5}, "SoftMarginLoss": {},
    "CrossEntropyLoss": {"label_smoothing": 0.1}, "MultiLabelSoftMarginLoss": {},
    "CosineEmbeddingLoss": {"margin": 0.1},
    "MarginRankingLoss": {"margin": 0.1}, "MultiMarginLoss": {"p": 2}, "TripletMarginLoss": {"swap": True},
    "TripletMarginWithDistanceLoss": {"margin": 0.5}, "CTCLoss": {"blank": 1}, "NLLLoss2d": {},
}


@pytest.mark.filterwarnings("ignore:.*NLLLoss2d.*:FutureWarning")
@pytest.mark.parametrize("name", LOSS_MODULES)
def test_loss_module(name):
    ours, theirs = getattr(minigrad.nn, name), getattr(torch.nn, name)
    assert signature(ours.__init__) == signature(theirs.__init__)
    assert ours.__module__.replace("minigrad", "torch") == theirs.__module__
    assert getattr(ours, "__constants__", []) == getattr(theirs, "__constants__", [])
    mine, peer = ours(**LOSS_MODULES[name]), theirs(**LOSS_MODULES[name])
    assert repr(mine) == repr(peer) and repr(ours()) == repr(theirs())
    assert list(mine.state_dict()) == list(peer.state_dict())
    for attribute in [*getattr(theirs, "__constants__", []), *LOSS_MODULES[name]]:
        assert getattr(mine, attribute) == getattr(peer, attribute)
    integers = np.array([0, 4, 2, 1])
    arguments = {"NLLLoss": (X, integers), "CrossEntropyLoss": (X, integers), "MultiMarginLoss": (X, integers),
                 "GaussianNLLLoss": (X, Y, P), "BCELoss": (P, Q), "BCEWithLogitsLoss": (X, Q),
                 "MultiLabelMarginLoss": (X, np.zeros((4, 5), int)), "CosineEmbeddingLoss": (X, Y, SIGNS[:, 0]),
                 "MarginRankingLoss": (X, Y, SIGNS), "TripletMarginLoss": (X, Y, P),
                 "TripletMarginWithDistanceLoss": (X, Y, P), "NLLLoss2d": (X[:, :, None, None], integers[:, None,
                                                                                                         None]),
                 "CTCLoss": (floats(5, 2, 3), np.array([[0, 2], [2, 2]]), np.array([5, 5]), np.array([2, 2])),
                 }.get(name, (X, SIGNS if "Margin" in name or "Hinge" in name else Y))
    near(mine(*map(minigrad.tensor, arguments)), peer(*map(torch.tensor, arguments)))


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy", "nll_loss", "ctc_loss", "linear_cross_entropy", "embedding",
                                  "embedding_bag"])
def test_loss_signature(name):
    assert signature(getattr(minigrad.nn.functional, name)) == signature(getattr(torch.nn.functional, name))


LOSS_ERRORS = [
    ("poisson_nll_loss", zeros(2), zeros(2), {"reduction": "x"}), ("poisson_nll_loss", zeros(2), zeros(3)),
    ("gaussian_nll_loss", zeros(2), zeros(2), -1.0), ("gaussian_nll_loss", zeros(2), zeros(2), zeros(3)),
    ("gaussian_nll_loss", zeros(2), zeros(2), zeros(2), {"reduction": "x"}),
    ("gaussian_nll_loss", zeros(2), zeros(2), lambda m: m.tensor([1.0, -1.0])),
    ("kl_div", zeros(2), zeros(3)), ("kl_div", zeros(2), zeros(2), {"reduction": "x"}), ("kl_div", zeros(2), ints(2)),
    ("smooth_l1_loss", zeros(2), zeros(2), {"beta": -1}), ("smooth_l1_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("smooth_l1_loss", zeros(2), zeros(3)), ("smooth_l1_loss", ints(2), ints(2)), ("huber_loss", zeros(2), zeros(2),
                                                                                   {"delta": 0}),
    ("huber_loss", zeros(2), zeros(2), {"reduction": "x"}), ("huber_loss", zeros(2), zeros(2), {"weight": zeros(3)}),
    ("huber_loss", zeros(2), zeros(2), {"weight": zeros(2), "reduction": "x"}), ("huber_loss", ints(2), ints(2)),
    ("margin_ranking_loss", zeros(2), zeros(2), zeros()), ("margin_ranking_loss", zeros(2), zeros(2), zeros(2),
                                                           {"reduction": "x"}),
    ("margin_ranking_loss", zeros(2), zeros(3), zeros(2)),
    ("hinge_embedding_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("multilabel_margin_loss", zeros(2, 3), zeros(2, 3)), ("multilabel_margin_loss", zeros(2, 3), ints(2, 2)),
    ("multilabel_margin_loss", zeros(2, 3, 4), ints(2, 3, 4)), ("multilabel_margin_loss", zeros(2, 3), ints(2, 3,
                                                                                                            fill=5)),
    ("multilabel_margin_loss", zeros(2, 3), ints(2, 3, fill=-5)), ("soft_margin_loss", zeros(2), zeros(2),
                                                                   {"reduction": "x"}),
    ("soft_margin_loss", zeros(2), zeros(3)), ("multilabel_soft_margin_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("multilabel_soft_margin_loss", zeros(), zeros()), ("cosine_embedding_loss", zeros(2, 3), zeros(2, 3), zeros()),
    ("cosine_embedding_loss", zeros(2, 3), zeros(2, 4), zeros(2)), ("cosine_embedding_loss", zeros(3), zeros(3),
                                                                    zeros(1)),
    ("cosine_embedding_loss", zeros(2, 3), zeros(2, 3), zeros(2), {"reduction": "x"}),
    ("cosine_embedding_loss", zeros(2, 3), zeros(2, 3), zeros(2, 1)), ("multi_margin_loss", zeros(2, 3), ints(2),
                                                                       {"p": 3}),
    ("multi_margin_loss", zeros(2, 3), ints(2), {"weight": zeros(2, 3)}), ("multi_margin_loss", zeros(2, 3), ints(2),
                                                                           {"weight": zeros(2)}),
    ("multi_margin_loss", zeros(2, 3), ints(3)), ("multi_margin_loss", zeros(2, 3), zeros(2)),
    ("multi_margin_loss", zeros(2, 3), ints(2, fill=3)), ("multi_margin_loss", zeros(2, 3, 4), ints(2)),
    ("triplet_margin_loss", zeros(2, 3), zeros(2, 3), zeros(2, 3), {"margin": -1}),
    ("triplet_margin_loss", zeros(2, 3), zeros(2, 3), zeros(3)), ("triplet_margin_loss", zeros(2, 3), zeros(2, 4),
                                                                  zeros(2, 3)),
    ("triplet_margin_with_distance_loss", zeros(2, 3), zeros(2, 3), zeros(2, 3), {"margin": -1}),
    ("triplet_margin_with_distance_loss", zeros(2, 3), zeros(2, 3), zeros(2, 3), {"reduction": "x"}),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2,)), ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5,), (2, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (6, 5), (2, 2)), ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (3, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2, -1)), ("ctc_loss", zeros(5, 2, 3), ints(3), (5, 5), (2, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2, 2), {"blank": 3}), ("ctc_loss", ints(5, 2, 3), ints(2, 2), (5,
                                                                                                                     5),
                                                                                                                     (2,
                                                                                                                      2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), zeros(2), ints(2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2, 2), {"reduction": "x"}),
    ("ctc_loss", zeros(3), ints(2), (5,), (2,)), ("ctc_loss", zeros(5, 2, 3, like="float16"), ints(2, 2), (5, 5), (2,
                                                                                                                   2)),
    ("linear_cross_entropy", zeros(2, 3), zeros(4, 2), ints(2)), ("linear_cross_entropy", zeros(2, 3), zeros(4),
                                                                  ints(2)),
    ("linear_cross_entropy", zeros(2, 3, 4), zeros(4), ints(2)), ("linear_cross_entropy", zeros(2, 3), zeros(4, 3),
                                                                  ints(2), {"linear_bias": zeros(3)}),
    ("linear_cross_entropy", zeros(3), zeros(4, 5, 3), ints(2)),
    ("linear_cross_entropy", zeros(2, 3), zeros(4, 3), zeros(2, 4), {"ignore_index": 2}),
    ("binary_cross_entropy", lambda m: m.tensor([2.0, 0.5]), zeros(2)), ("mse_loss", zeros(2), zeros(2),
                                                                         {"reduction": "x"}),
    ("l1_loss", zeros(2), zeros(3)), ("mse_loss", ints(2), ints(2)), ("binary_cross_entropy", ints(2), ints(2)),
]


@pytest.mark.parametrize("number", range(len(LOSS_ERRORS)))
def test_functional_errors(number):
    call_errors(LOSS_ERRORS, number)


DTYPES = ("float16", "float32", "float64", "int64")
A, B = np.array([[0.25, 0.5, 0.75], [0.3, 0.6, 0.9]]), np.array([[0.5, 1.0, 0.25], [1.0, 0.0, 1.0]])
PAIRS = {
    **{name: [(A, B, {})] for name in (
        "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "hinge_embedding_loss",
        "multilabel_soft_margin_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")},
    "poisson_nll_loss": [(A, B, {"log_input": l, "full": f}) for l in (True, False) for f in (True, False)],
    "gaussian_nll_loss": [(A, B, A, {})],
    "margin_ranking_loss": [(A, B, A, {})], "triplet_margin_loss": [(A, B, A, {})],
    "cosine_embedding_loss": [(A, B, np.array([1.0, -1.0]), {})],
    "nll_loss": [(A, np.array([1, 0]), {})], "cross_entropy": [(A, np.array([1, 0]), {}), (A, B, {})],
    "multilabel_margin_loss": [(A, np.array([[0, 2, -1], [1, -1, 0]]), {})],
    "multi_margin_loss": [(A, np.array([1, 0]), {})],
}
ONLY_HERE = ("multi_margin_loss", "multilabel_margin_loss")
"""PyTorch computes these in half types on GPUs only."""


def of_dtypes(library, name, case, dtypes, weights, learnt):
    """The dtypes of a loss and of its gradients, or the beginning of its error. ``learnt``: which operands require
    gradients."""
    *arrays, options = case
    given = [library.tensor(a).to(getattr(library, dtypes[i % 2])) for i, a in enumerate(arrays)]
    named = {key: library.ones(3, dtype=library.float32, requires_grad=key == learnt) for key in weights}
    wanted = [t.requires_grad_() for t in given[:2 if learnt == "both" else 1] if t.is_floating_point()]
    wanted += [t for t in named.values() if t.requires_grad]
    try:
        result = getattr(library.nn.functional, name)(*given, **named, **options)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return type(error).__name__, str(error)[:55]
    if not result.requires_grad:
        return [str(result.dtype).split(".")[1]]
    mixed = name == "huber_loss" and dtypes[0] != dtypes[1]  # PyTorch has no gradients there
    found = [] if mixed else library.autograd.grad(result.sum(), wanted, allow_unused=True)
    return [None if t is None else str(t.dtype).split(".")[1] for t in (result, *found)]


@pytest.mark.sample(5)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PAIRS)
def test_the_dtypes_and_errors_of_all_pairs_of_dtypes(name):
    weights = {"binary_cross_entropy": ["weight"], "binary_cross_entropy_with_logits": ["weight", "pos_weight"],
               "multilabel_soft_margin_loss": ["weight"], "nll_loss": ["weight"], "cross_entropy": ["weight"],
               "multi_margin_loss": ["weight"]}.get(name, [])
    differ = []
    for case, dtypes in itertools.product(PAIRS[name], itertools.product(DTYPES, DTYPES)):
        if name in ONLY_HERE and dtypes[0] == "float16":
            continue
        choices = [([], "both"), *[([], "input")] * (name == "soft_margin_loss"), *[([w], w) for w in weights],
                   *[([w], "") for w in weights]]
        for named, learnt in choices:
            expected, found = [of_dtypes(lib, name, case, dtypes, named, learnt) for lib in (torch, minigrad)]
            if expected != found:
                differ.append((dtypes, named, learnt, expected, found))
    assert not differ, f"{len(differ)}: {differ[:3]}"
