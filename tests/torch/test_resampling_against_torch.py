# ruff: noqa: B023  (each of these functions is called at once)
"""Interpolation, sampling by a grid and shuffles beside PyTorch's: values, gradients, printed forms and error texts."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.nn import functional as F  # noqa: E402
from tests.torch.spatial_checks import check, fails_alike, floats, refused_alike, same  # noqa: E402

T = torch.nn.functional

# --- resampling

KINDS = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "bicubic": (2,),
         "trilinear": (3,), "area": (1, 2, 3)}
IMAGES = {1: (2, 3, 11), 2: (2, 3, 9, 7), 3: (1, 2, 5, 4, 3)}


@pytest.mark.sample(3)
@pytest.mark.parametrize("mode", KINDS)
def test_interpolate(mode):
    for dims in KINDS[mode]:
        array = floats(*IMAGES[dims])
        for corners in ((None, True) if "linear" in mode or "cubic" in mode else (None,)):
            for how in ({"scale_factor": 2}, {"scale_factor": 0.5}, {"scale_factor": 1.7}, {"size": 3}, {"size": 13},
                        {"size": IMAGES[dims][2:]}, {"size": 1}, {"scale_factor": (1.3, 0.7, 2.0)[:dims]},
                        {"scale_factor": 1.7, "recompute_scale_factor": True},
                        {"size": (6, 8, 9)[:dims]}):
                check(F.interpolate, T.interpolate, array, mode=mode, align_corners=corners, **how)
        if mode not in ("area", "nearest"):  # PyTorch's backward ignores a scale that changes no size
            same(F.interpolate(minigrad.tensor(array), mode=mode, scale_factor=1.04),
                 T.interpolate(torch.tensor(array), mode=mode, scale_factor=1.04))
        check(F.interpolate, T.interpolate, floats(1, 2, *(5, 4, 3)[:dims], dtype="float64"), mode=mode,
              scale_factor=1.7, second=True)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_interpolate_antialias(mode):
    for how in ({"scale_factor": 2}, {"scale_factor": 0.5}, {"scale_factor": 0.3}, {"size": 3}, {"size": (13, 4)},
                {"size": 1}, {"scale_factor": (0.7, 1.3)}, {"size": (9, 7)}):
        check(F.interpolate, T.interpolate, floats(2, 3, 9, 7), mode=mode, antialias=True, **how)
        if mode != "lanczos":
            check(F.interpolate, T.interpolate, floats(2, 3, 9, 7), mode=mode, antialias=True, align_corners=True,
                  **how)


def test_interpolate_dtypes():
    for mode in ("nearest", "bilinear", "bicubic"):
        array = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 6)).astype("uint8")
        ours = F.interpolate(minigrad.tensor(array), scale_factor=1.7, mode=mode).numpy().astype(int)
        theirs = T.interpolate(torch.tensor(array), scale_factor=1.7, mode=mode).numpy().astype(int)
        assert (abs(ours - theirs) <= (mode != "nearest")).all()
        assert (ours != theirs).mean() < 0.02
        same(F.interpolate(minigrad.tensor(floats(2, 3, 5, 6)).half(), scale_factor=1.7, mode=mode),
             T.interpolate(torch.tensor(floats(2, 3, 5, 6)).half(), scale_factor=1.7, mode=mode), rtol=2e-3, atol=1e-3)


def test_interpolate_errors():
    base = (2, 3, 4, 5)
    cases = [((2, 3), {"size": 2}), (base, {}), (base, {"size": 2, "scale_factor": 2}), (base, {"size": (2, 2, 2)}),
             (base, {"scale_factor": (2, 2, 2)}), (base, {"size": (2.5, 2)}), (base, {"size": 0}), (base, {"size": -1}),
             (base, {"scale_factor": 0.01}), (base, {"scale_factor": -1}), ((2, 0, 4, 5), {"size": 3}),
             ((2, 3, 0, 5), {"size": 3}), (base, {"size": 2, "recompute_scale_factor": True}),
             (base, {"size": 2, "mode": "x"}),
             (base, {"size": 2, "align_corners": True}), (base, {"size": 2, "antialias": True})]
    cases += [(base[:dims] + (5,) * (dims == 5), {"size": 2, "mode": mode})
              for dims, modes in ((3, ("bilinear", "trilinear", "bicubic")), (4, ("linear", "trilinear")),
                                  (5, ("linear", "bilinear", "bicubic"))) for mode in modes]
    cases += [((2, 3, 4, 5, 6), {"size": 0}), ((2, 3, 4), {"size": 0}), ((2, 3, 4, 5, 6, 7), {"size": 2})]
    cases += [(base, {"size": 2, "mode": "lanczos"}), (base, {"size": 2, "mode": "lanczos", "align_corners": True})]
    for shape, options in cases:
        refused_alike(F.interpolate, T.interpolate, shape, **options)
    for mode in ("nearest", "bilinear", "nearest-exact", "area", "bicubic"):
        fails_alike(lambda mode=mode: F.interpolate(minigrad.zeros(base).int(), size=2, mode=mode),
                    lambda mode=mode: T.interpolate(torch.zeros(base).int(), size=2, mode=mode))
    for name in ("upsample", "upsample_nearest", "upsample_bilinear"):
        with pytest.warns(UserWarning, match="deprecated") as ours:
            mine = getattr(F, name)(minigrad.tensor(floats(*base)), scale_factor=2)
        with pytest.warns(UserWarning, match="deprecated") as theirs:
            same(mine, getattr(T, name)(torch.tensor(floats(*base)), scale_factor=2))
        assert str(ours[0].message) == str(theirs[0].message)


# --- sampling at the places of a grid

GRIDS = {2: ((2, 3, 5, 6), (2, 4, 7, 2)), 3: ((2, 2, 4, 3, 5), (2, 3, 4, 2, 3))}


@pytest.mark.sample(6)
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, padding, corners):
    for dims in (2, 3) if mode != "bicubic" else (2,):
        shape, places = GRIDS[dims]
        image, grid = floats(*shape), floats(*places, seed=1) * 1.3
        x, y = minigrad.tensor(image).requires_grad_(), minigrad.tensor(grid).requires_grad_()
        a, b = torch.tensor(image, requires_grad=True), torch.tensor(grid, requires_grad=True)
        ours, theirs = F.grid_sample(x, y, mode, padding, corners), T.grid_sample(a, b, mode, padding, corners)
        same(ours, theirs, rtol=1e-4, atol=1e-5)
        factor = floats(*theirs.shape, seed=2)
        (ours * minigrad.tensor(factor)).sum().backward()
        (theirs * torch.tensor(factor)).sum().backward()
        same(x.grad, a.grad, rtol=1e-3, atol=2e-5)
        same(y.grad, b.grad, rtol=1e-3, atol=2e-4)


def test_grid_sample_errors():
    cases = [((2, 3, 4, 5), (1, 6, 7, 2)), ((2, 3, 4, 5), (2, 6, 7, 3)), ((2, 3, 4, 5), (2, 6, 2)),
             ((2, 3, 4), (2, 6, 2)), ((2, 3, 0, 5), (2, 6, 7, 2)), ((2, 3, 4, 5, 6), (2, 6, 7, 8, 2)),
             ((2, 3, 4, 5, 6), (2, 6, 7, 3))]
    for shape, places in cases:
        fails_alike(lambda: F.grid_sample(minigrad.zeros(shape), minigrad.zeros(places), align_corners=False),
                    lambda: T.grid_sample(torch.zeros(shape), torch.zeros(places), align_corners=False))
    image, grid = (2, 3, 4, 5), (2, 6, 7, 2)
    for options in ({"mode": "cubic"}, {"padding_mode": "wrap"}):
        fails_alike(lambda: F.grid_sample(minigrad.zeros(image), minigrad.zeros(grid), **options),
                    lambda: T.grid_sample(torch.zeros(image), torch.zeros(grid), **options))
    fails_alike(lambda: F.grid_sample(minigrad.zeros(image), minigrad.zeros(grid).double(), align_corners=False),
                lambda: T.grid_sample(torch.zeros(image), torch.zeros(grid).double(), align_corners=False))
    with pytest.warns(UserWarning, match="Default grid_sample"):
        F.grid_sample(minigrad.zeros(image), minigrad.zeros(grid))


@pytest.mark.parametrize("corners", [False, True])
def test_affine_grid(corners):
    for size, shape in (((2, 3, 4, 5), (2, 2, 3)), ((2, 3, 4, 5, 6), (2, 3, 4)), ((1, 1, 2, 3), (1, 2, 3))):
        check(F.affine_grid, T.affine_grid, floats(*shape), size, corners)
    cases = [((2, 2, 3), (3, 1, 3, 4)), ((2, 3, 4), (2, 1, 3, 4)), ((2, 2, 3), [2, 1, 3]), ((2, 2, 3), [2, 1, 0, 3])]
    for shape, size in cases:
        refused_alike(F.affine_grid, T.affine_grid, shape, size, corners)


# --- shuffles


def test_shuffles():
    check(F.pixel_shuffle, T.pixel_shuffle, floats(2, 18, 3, 4), 3)
    check(F.pixel_shuffle, T.pixel_shuffle, floats(8, 3, 4), 2)
    check(F.pixel_shuffle, T.pixel_shuffle, floats(2, 2, 4, 3, 4), 2)
    check(F.pixel_unshuffle, T.pixel_unshuffle, floats(2, 3, 6, 9), 3)
    check(F.pixel_unshuffle, T.pixel_unshuffle, floats(3, 6, 4), 2)
    for name in ("channel_shuffle", "native_channel_shuffle"):
        for shape in ((2, 6, 4), (1, 6, 4, 5), (2, 6, 3, 2, 2)):
            same(getattr(F, name)(minigrad.tensor(floats(*shape)), 3),
                 getattr(T, name)(torch.tensor(floats(*shape)), 3))
    check(F.channel_shuffle, T.channel_shuffle, floats(2, 6, 4, 3), 2)
    base = (2, 6, 4, 4)
    for name, wrong in (("pixel_shuffle", ((base, 4), (base[2:], 2), (base, 0), (base, -1), (base, 1.5))),
                        ("pixel_unshuffle", ((base, 3), ((2, 3, 4, 3), 2), (base[2:], 2), (base, 0), (base, 1.5))),
                        ("channel_shuffle", ((base, 4), (base[2:], 2), (base, 0), (base, -1), (base, 1.5))),
                        ("native_channel_shuffle", ((base, 4), (base[2:], 2), (base, 0), (base, 1.5)))):
        for shape, factor in wrong:
            refused_alike(getattr(F, name), getattr(T, name), shape, factor)


OTHERS = [("Upsample", {"scale_factor": 2}, (2, 3, 4)),
          ("Upsample", {"size": (3, 4), "mode": "bilinear"}, (2, 3, 4, 5)),
          ("Upsample", {"scale_factor": (2, 1.5), "mode": "bicubic", "align_corners": True}, (2, 3, 4, 5)),
          ("UpsamplingNearest2d", {"scale_factor": 2}, (2, 3, 4, 5)),
          ("UpsamplingBilinear2d", {"size": 7}, (2, 3, 4, 5)),
          ("PixelShuffle", {"upscale_factor": 2}, (2, 8, 3, 4)),
          ("PixelUnshuffle", {"downscale_factor": 2}, (2, 3, 4, 6)),
          ("ChannelShuffle", {"groups": 2}, (2, 8, 3, 4)),
          ("Unflatten", {"dim": 1, "unflattened_size": (2, -1)}, (3, 8, 2))]


@pytest.mark.parametrize(("name", "options", "shape"), OTHERS)
def test_other_modules(name, options, shape):
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs)
    check(ours, theirs, floats(*shape))


def test_unflatten_errors():
    for sizes in ((2, 2.5), 3, "ab"):
        fails_alike(lambda: nn.Unflatten(1, sizes), lambda: torch.nn.Unflatten(1, sizes))
