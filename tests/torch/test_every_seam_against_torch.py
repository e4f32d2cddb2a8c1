"""That no differentiable function is left out at the seams of formulas: what PyTorch's operator database has is
compared with its samples' numbers replaced (``python -m tools.operators --checks seams`` runs all), functions of one
operand are in ``test_seams_against_torch.py``, and the others are here."""

import random
import warnings

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # the database's own tests need it

from torch.testing._internal.opinfo.core import UnaryUfuncInfo  # noqa: E402

import minigrad  # noqa: E402
from minigrad.dtype import show_as  # noqa: E402
from tests.torch.test_seams_against_torch import OTHERS, RANDOM, compare, found, functions, of  # noqa: E402
from tools.operators.__main__ import operators, title  # noqa: E402
from tools.operators.checks import check  # noqa: E402
from tools.operators.seams import SEAMS, at_seams  # noqa: E402


@pytest.fixture(autouse=True)
def _shown_as_in_pytorch():
    """Layouts are compared by their names."""
    show_as("torch")
    yield
    show_as("minigrad")


BY_HAND = {
    "affine_grid": (lambda library, x: library.nn.functional.affine_grid(x, [2, 1, 3, 4], align_corners=False),
                    [(2, 2, 3)]),
    "chain_matmul": (of("chain_matmul"), [(2, 3), (3, 2), (2, 2)]),
    "fold": (of("fold", (3, 3), 2), [(1, 4, 4)]),
    "lp_pool1d": (of("lp_pool1d", 3.0, 2), [(1, 4)]), "lp_pool2d": (of("lp_pool2d", 2.0, 2), [(1, 4, 4)]),
    "lp_pool3d": (of("lp_pool3d", 1.0, 2), [(1, 2, 4, 4)]),
    **{f"max_pool{n}d_with_indices": (of(f"max_pool{n}d_with_indices", 2), [(1, 1, *[4] * n)]) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d_with_indices": (of(f"adaptive_max_pool{n}d_with_indices", 2), [(1, 1, *[5] * n)])
       for n in (1, 2, 3)},
    **{f"fractional_max_pool{n}d_with_indices": (
        lambda library, x, n=n: found(library, f"fractional_max_pool{n}d_with_indices")(
            x, 2, output_size=2, _random_samples=library.full((1, 1, n), 0.3, dtype=x.dtype)), [(1, 1, *[5] * n)])
       for n in (2, 3)},
    "fake_quantize_per_tensor_affine": (lambda library, x: library.fake_quantize_per_tensor_affine(
        x.float(), 0.5, 1, 0, 3).double(), [(7,)]),
    "fake_quantize_per_channel_affine": (lambda library, x: library.fake_quantize_per_channel_affine(
        x.float(), library.tensor([0.5, 1.0]), library.tensor([1, 0], dtype=library.int32), 0, 0, 3).double(),
        [(2, 7)]),
    "segment_reduce": (lambda library, x: library.segment_reduce(
        x, "mean", lengths=library.tensor([2, 3]), unsafe=True), [(5, 2)]),
    "select_copy": (of("select_copy", 0, 1), [(3, 2)]), "split_copy": (of("split_copy", 2), [(3, 2)]),
    "unsafe_split_with_sizes": (of("unsafe_split_with_sizes", [1, 2]), [(3, 2)]),
    "upsample": (of("upsample", scale_factor=2, mode="bilinear", align_corners=True), [(1, 1, 3, 3)]),
    "view_as_real_copy": (lambda library, x: library.view_as_real_copy(library.complex(x, x * 2)), [(5,)]),
}
NOT_DIFFERENTIABLE = {
    "bartlett_window", "binomial", "blackman_window", "can_cast", "ccol_indices_copy", "col_indices_copy",
    "crow_indices_copy", "dequantize", "detach", "detach_copy", "from_file", "from_numpy", "frombuffer",
    "get_rng_state", "hamming_window", "hann_window", "indices_copy", "initial_seed", "is_complex", "is_conj",
    "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_tensor", "kaiser_window",
    "manual_seed", "native_channel_shuffle", "numel", "promote_types", "rand", "randperm", "range", "result_type",
    "row_indices_copy", "seed", "set_rng_state", "special.gammainc", "special.gammaincc", "symeig", "tensor",
    "typename", "values_copy", "view_as_complex_copy"}
ITERATIONS = {"lobpcg", "grouped_mm"}
"""An iteration towards eigenvectors, and a product of bfloat16 on GPUs."""


def _in_the_database():
    ops = operators([])
    every = {op.name for op in ops} | {alias.name for op in ops for alias in op.aliases}
    return every | {name.rpartition(".")[2] for name in every}


def _has_one_operand(name):
    try:
        warnings.simplefilter("ignore")
        return found(torch, name)(torch.tensor([0.5, 0.7], dtype=torch.float64, requires_grad=True)) is not None
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False


def test_every_function_is_compared_somewhere():
    known = _in_the_database() | BY_HAND.keys() | NOT_DIFFERENTIABLE | ITERATIONS | RANDOM | OTHERS
    left = [n for n in functions() if callable(found(torch, n)) and callable(found(minigrad, n))
            and not isinstance(found(minigrad, n), type) and not {n, n.rpartition(".")[2]} & known
            and not _has_one_operand(n)]
    assert not left


@pytest.mark.parametrize("kind", [kind for kind in SEAMS if kind != "empty"])
@pytest.mark.parametrize("name", BY_HAND)
def test_functions_outside_the_database(name, kind):
    if (name, kind) in UNDEFINED:
        return
    function, shapes = BY_HAND[name]
    assert compare(function, [at_seams(torch.zeros(s, dtype=torch.float64), kind).numpy() for s in shapes],
                   1 if (name, kind) in FIRST_ONLY else 2)


FIRST_ONLY = {("segment_reduce", kind) for kind in SEAMS}
"""PyTorch has no second derivative of it."""
UNDEFINED = {("fake_quantize_per_channel_affine", "infinities")}
"""PyTorch casts infinities to integers there, which C++ leaves undefined."""


INFINITE_TIMES_ZERO = "PyTorch masks a slope with 0 and multiplies by it again: NaN in the second order; 0 here"
NAN_ANYWAY = "what is differentiated is NaN itself; PyTorch has a constant, or none, for how it changes"
ORDER_OF_SUMS = "inf - inf or not depends on the order in which a library adds"
SINGULAR = "the factors of a singular matrix have no derivative, those of equal eigenvalues no fixed vectors"
FREE_SIGN = "the signs of singular vectors are free"
ITS_KERNELS_DIFFER = "PyTorch's own kernels give NaN, 0 or a number, by dimensions and by the element's place"
DIFFERENT = {
    "copysign": (("zeros", "nan"), INFINITE_TIMES_ZERO),
    **dict.fromkeys(("std", "std_mean", "norm", "pow", "float_power", "__rpow__", "nn.functional.cosine_similarity"),
                    (("zeros",), INFINITE_TIMES_ZERO)),
    "dist": (("zeros", "ones", "ties"), INFINITE_TIMES_ZERO),
    "renorm": (("zeros", "nan"), INFINITE_TIMES_ZERO),
    "linalg.vector_norm": (("zeros", "nan"), INFINITE_TIMES_ZERO + "; of one NaN the slope is 0 here"),
    "nanmean": (("nan",), "of NaN alone PyTorch multiplies 1 / 0 by 0, in the first order"),
    **dict.fromkeys(("amax", "amin", "aminmax", "index_reduce", "nn.functional.binary_cross_entropy_with_logits"),
                    (("nan",), NAN_ANYWAY)),
    "cumprod": (("infinities", "nan"), "PyTorch takes one of two formulas, by whether there is a 0"),
    **dict.fromkeys(("stft", "lu_solve", "ormqr", "linalg.lu_solve", "linalg.householder_product"),
                    (("infinities",), ORDER_OF_SUMS)),
    **dict.fromkeys(("fft.fft", "fft.hfft", "fft.rfft", "fft.ifft", "fft.ihfft", "fft.irfft"),
                    (("infinities",), ORDER_OF_SUMS)),
    **dict.fromkeys(("lu", "linalg.lu_factor_ex"), (("zeros", "ties"), SINGULAR)),
    "linalg.lu": (("zeros", "ties", "infinities", "nan"), SINGULAR),
    "linalg.eig": (("ties",), SINGULAR), **dict.fromkeys(("linalg.eigvals", "linalg.eigh"), (("ones",), SINGULAR)),
    "linalg.lstsq": (("zeros", "ones"), "the driver gels takes the matrix to have full rank"),
    "linalg.cholesky_ex": (("ones", "ties", "infinities", "nan"),
                           "what is left in the matrix after the factorisation has failed"),
    **dict.fromkeys(("svd_lowrank", "pca_lowrank"), (("ones", "ties"), FREE_SIGN)),
    **dict.fromkeys(("nn.functional.grid_sample", "grid_sampler_2d", "grid_sampler_3d"),
                    (("infinities", "nan"), ITS_KERNELS_DIFFER)),
    "nn.functional.hardswish": (("nan",), ITS_KERNELS_DIFFER),
    "as_strided_scatter": (tuple(SEAMS), "PyTorch's slope is 1 where the element is overwritten: its gradcheck fails"),
    "_unsafe_masked_index": (("empty",), "PyTorch reads outside the memory"),
    "nn.functional.linear_cross_entropy": (tuple(SEAMS), "PyTorch's variant in chunks loses the second derivative"),
    **dict.fromkeys(("nn.functional.triplet_margin_loss", "nn.functional.triplet_margin_with_distance_loss"),
                    (("empty",), "the mean of nothing is NaN, and so is how it changes")),
}
"""By operator the seams at which it differs, and why PyTorch's answer is not followed there. All others are compared:
``python -m tools.operators NAME --dtypes float64 --checks seams --samples 1``."""


def _unlisted(op, outcome):
    kinds = DIFFERENT.get(op.name, ((), ""))[0]
    if outcome.failed > len(kinds):  # only the first three are told
        return outcome.first
    return [problem for problem in outcome.first if not any(f" at {kind}: " in problem for kind in kinds)]


def test_operators_at_seams(request):
    every = [op for op in operators([]) if op.supports_autograd and not isinstance(op, UnaryUfuncInfo)
             and not op.name.startswith("sparse.") and DIFFERENT.get(op.name, ((), ""))[0] != tuple(SEAMS)]
    chosen = random.Random(request.config.getoption("--seed")).sample(every, 12)
    with minigrad.config(TIERS=2):
        found = {title(op): (op, check(op, (torch.float64,), 1, ("seams",))["seams"]) for op in chosen}
    assert not {name: wrong for name, (op, outcome) in found.items() if (wrong := _unlisted(op, outcome))}
    assert sum(outcome.passed for _, outcome in found.values()) > 30


def test_reasons_are_of_operators():
    assert DIFFERENT.keys() <= {op.name for op in operators([])}
