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


# PyTorch's own derivatives are not to be followed (it marks them so, at a matrix that is singular, or where
# its result depends on an element's place), ours is NaN times 0 where its is none, or they differ at one seam only: to
# be looked at, by ``python -m tools.operators NAME --dtypes float64 --checks seams``.
DIFFERENT = {
    "__rpow__", "_unsafe_masked_index", "amax", "amin", "aminmax", "as_strided_scatter", "copysign", "cumprod",
    "dist", "float_power", "grid_sampler_2d", "grid_sampler_3d", "index_reduce", "logcumsumexp", "lu", "lu_solve",
    "lu_unpack", "nanmean", "nn.functional.binary_cross_entropy_with_logits", "nn.functional.cosine_similarity",
    "nn.functional.grid_sample", "nn.functional.hardswish", "nn.functional.hardtanh",
    "nn.functional.linear_cross_entropy", "nn.functional.relu6", "nn.functional.triplet_margin_loss",
    "nn.functional.triplet_margin_with_distance_loss", "norm", "ormqr", "pow", "renorm", "std", "std_mean", "stft"}


def test_operators_at_seams(request):
    every = [op for op in operators([]) if op.supports_autograd and op.name not in DIFFERENT
             and not isinstance(op, UnaryUfuncInfo)
             and not op.name.startswith(("linalg.", "sparse.", "svd", "pca", "fft."))]
    chosen = random.Random(request.config.getoption("--seed")).sample(every, 12)
    with minigrad.config(TIERS=2):
        found = {title(op): check(op, (torch.float64,), 1, ("seams",))["seams"] for op in chosen}
    assert not {name: outcome.first for name, outcome in found.items() if outcome.failed}
    assert sum(outcome.passed for outcome in found.values()) > 30
