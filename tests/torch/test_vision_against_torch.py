"""Stage: tests beside PyTorch. In: images, seeds and torchvision's names. Out: the same pictures, random numbers,
models and errors. What needs torchvision is skipped without it.
Next: ``tests/unit/vision/``."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import vision

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 30, 3), dtype=np.uint8)
PIXELS[3:9, 4:20] = PIXELS[3, 4]  # a region of one colour

# name, arguments, what the images may be: Pillow's RGB, Pillow's L, uint8 Tensors, float Tensors
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("Resize", {"size": 12}, "PLuf"), ("Resize", {"size": (40, 17)}, "PLuf"),
    ("Resize", {"size": 12, "max_size": 14}, "Puf"), ("Resize", {"size": 12, "antialias": False}, "uf"),
    ("Resize", {"size": (9, 40), "interpolation": 0}, "Puf"), ("Resize", {"size": 11, "interpolation": 3}, "Pf"),
    ("CenterCrop", {"size": 9}, "PLuf"), ("CenterCrop", {"size": (31, 12)}, "PLuf"),
    ("Pad", {"padding": 2, "fill": 7}, "PLuf"), ("Pad", {"padding": (1, 2, 3, 4), "padding_mode": "edge"}, "PLuf"),
    ("Pad", {"padding": (1, 2), "padding_mode": "reflect"}, "PLuf"),
    ("Pad", {"padding": (3, 0, -2, 1), "padding_mode": "symmetric"}, "PLuf"),
    ("RandomCrop", {"size": 16}, "PLuf"), ("RandomCrop", {"size": 23, "padding": 3, "fill": 9}, "Puf"),
    ("RandomCrop", {"size": (30, 30), "pad_if_needed": True}, "Pu"),
    ("RandomHorizontalFlip", {}, "PLuf"), ("RandomVerticalFlip", {"p": 0.7}, "PLuf"),
    ("RandomResizedCrop", {"size": 14}, "PLuf"), ("RandomResizedCrop", {"size": 8, "scale": (4.0, 9.0)}, "Pf"),
    ("RandomRotation", {"degrees": 40}, "PLuf"),
    ("RandomRotation", {"degrees": (10, 80), "interpolation": 2, "expand": True, "fill": 100}, "Puf"),
    ("RandomRotation", {"degrees": 90, "center": (3, 4)}, "Pf"),
    ("RandomAffine", {"degrees": 30, "translate": (0.1, 0.3), "scale": (0.7, 1.4), "shear": (-5, 5, -9, 9)}, "PLuf"),
    ("RandomAffine", {"degrees": 0, "shear": 20, "interpolation": 2, "fill": 50}, "Pf"),
    ("RandomPerspective", {"p": 1.0}, "Pf"),
    ("ColorJitter", {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3}, "PLf"),
    ("ColorJitter", {"brightness": (0.2, 2.0), "saturation": 0.9}, "PLuf"), ("ColorJitter", {"hue": 0.5}, "Pf"),
    ("Grayscale", {"num_output_channels": 3}, "PLuf"), ("Grayscale", {}, "PLuf"),
    ("RandomGrayscale", {"p": 0.5}, "Puf"),
    ("RandomErasing", {"p": 0.9}, "uf"), ("RandomErasing", {"p": 1.0, "value": "random"}, "f"),
    ("RandomErasing", {"p": 1.0, "value": (1, 2, 3)}, "f"), ("GaussianBlur", {"kernel_size": (5, 3)}, "Pf"),
    ("RandomInvert", {}, "PLuf"), ("RandomPosterize", {"bits": 3}, "PLu"), ("RandomSolarize", {"threshold": 0.4}, "f"),
    ("RandomSolarize", {"threshold": 100}, "PLu"), ("RandomAutocontrast", {}, "PLuf"), ("RandomEqualize", {}, "PL"),
    ("RandomAdjustSharpness", {"sharpness_factor": 1.7}, "PLf"), ("FiveCrop", {"size": 7}, "Pu"),
    ("TenCrop", {"size": 7, "vertical_flip": True}, "Pf"), ("ToTensor", {}, "PL"), ("PILToTensor", {}, "PL"),
    ("Normalize", {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}, "f"),
    ("ToPILImage", {}, "uf"),
]


def images(kind: str) -> tuple[Any, Any]:
    """One image for torchvision and one for us."""
    if kind in "PL":
        made = Image.fromarray(PIXELS)
        made = made if kind == "P" else made.convert("L")
        return made, made
    pixels = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    pixels = pixels if kind == "u" else (pixels / np.float32(255)).astype(np.float32)
    return torch.from_numpy(pixels.copy()), minigrad.from_numpy(pixels.copy())


def seed(number: int) -> None:
    torch.manual_seed(number)
    minigrad.manual_seed(number)
    random.seed(number)


def agree(theirs: Any, ours: Any, apart: float, share: float = 0.0) -> None:
    """Equal to ``apart``, but for a ``share`` of the pixels."""
    if isinstance(theirs, tuple):
        for one, other in zip(theirs, ours, strict=True):
            agree(one, other, apart, share)
        return
    a, b = (np.asarray(x) for x in (theirs, ours.numpy() if isinstance(ours, minigrad.Tensor) else ours))
    assert type(ours).__name__ == type(theirs).__name__ and a.shape == b.shape and a.dtype == b.dtype
    wrong = np.abs(a.astype(np.float64) - b.astype(np.float64)) > apart * np.maximum(1.0, np.abs(a))
    assert wrong.mean() <= share, f"{wrong.mean():.4f} of the pixels are more than {apart} apart"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("name", "options", "kinds"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_a_seed_gives_the_same_pictures(name: str, options: dict[str, Any], kinds: str, version: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    if version == "v2" and name == "ToTensor":
        return
    theirs, ours = (module if version == "v1" else module.v2 for module in (
        __import__("torchvision.transforms.v2").transforms, vision.transforms))
    assert torchvision
    first, second = getattr(theirs, name)(**options), getattr(ours, name)(**options)
    if version == "v1":
        assert repr(first) == repr(second)
    for kind in kinds:
        for number in range(4):
            seed(number)
            a, b = images(kind)
            made, mine = first(a), second(b)
            whole = kind in "PLu"
            # where a warp reads between two pixels, or rounds, the last bit of a coordinate decides
            agree(made, mine, apart=1 if whole and kind == "u" else 0 if whole else 2e-5, share=0.01)
            assert torch.rand(1).item() == minigrad.rand(1).item(), "they drew different numbers"


def test_python_and_several_transforms_draw_alike() -> None:
    T, V = pytest.importorskip("torchvision").transforms, vision.transforms
    a, b = images("P")

    def made(module: Any) -> Any:
        parts = [module.RandomHorizontalFlip(), module.RandomRotation(30), module.RandomCrop(20)]
        return module.Compose([module.RandomApply(parts, p=0.6), module.RandomChoice(parts), module.RandomOrder(parts),
                               module.Lambda(lambda image: image), module.ToTensor()])

    assert repr(made(T)) == repr(made(V))
    for number in range(8):
        seed(number)
        theirs = made(T)(a)
        seed(number)
        agree(theirs, made(V)(b), 0)


WRONG = {
    "Resize": [{"size": 1.5}, {"size": (1, 2, 3)}, {"size": 3, "interpolation": "nearest"}],
    "Pad": [{"padding": "1"}, {"padding": (1, 2, 3)}, {"padding": 1, "padding_mode": "what"}],
    "RandomCrop": [{"size": (1, 2, 3)}], "RandomRotation": [{"degrees": -1}, {"degrees": (1,)}, {"degrees": "x"}],
    "RandomAffine": [{"degrees": 1, "translate": (2, 0)}, {"degrees": 1, "scale": (0, 1)}, {"degrees": 1, "fill": {}}],
    "ColorJitter": [{"brightness": -1}, {"hue": 0.6}, {"contrast": "a"}],
    "RandomResizedCrop": [{"size": 3, "scale": 1}],
    "RandomErasing": [{"value": {}}, {"value": "x"}, {"p": 2}, {"scale": (0.1, 2)}], "Lambda": [{"lambd": 3}],
    "GaussianBlur": [{"kernel_size": 2}, {"kernel_size": 3, "sigma": -1}, {"kernel_size": 3, "sigma": (2, 1)}],
}


def error_of(function: Any) -> tuple[str, str]:
    try:
        function()
    except Exception as error:
        return type(error).__name__, str(error)
    return "none", ""


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_alike(name: str) -> None:
    transforms = pytest.importorskip("torchvision").transforms
    for options in WRONG[name]:
        theirs, ours = (error_of(lambda m=m, options=options: getattr(m, name)(**options))
                        for m in (transforms, vision.transforms))
        if options.get("interpolation") == "nearest":  # torchvision notices it when an image comes
            assert ours[0] == "TypeError"
        else:
            assert theirs == ours and ours[0] != "none", options


def test_wrong_images_are_refused_alike() -> None:
    T, V = pytest.importorskip("torchvision").transforms.functional, vision.transforms.functional
    a, b = images("f")
    calls: list[Any] = [
        lambda F, x: F.to_tensor(x),
        lambda F, x: F.to_tensor(np.zeros((1, 1, 1, 1))),
        lambda F, x: F.pil_to_tensor(3),
        lambda F, x: F.to_pil_image(3),
        lambda F, x: F.to_pil_image(np.zeros((1, 1, 1, 1))),
        lambda F, x: F.normalize(3, [1], [1]),
        lambda F, x: F.normalize(x[0], [1], [1]),
        lambda F, x: F.normalize(x, [1.0], [0.0]),
        lambda F, x: F.hflip(3),
        lambda F, x: F.adjust_hue(x, 0.7),
        lambda F, x: F.adjust_brightness(x, -1),
        lambda F, x: F.rotate(x, "a"),
        lambda F, x: F.affine(x, 1, (1,), 1, 0),
        lambda F, x: F.affine(x, 1, (1, 1), 0, 0),
        lambda F, x: F.posterize(x, 9),
        lambda F, x: F.posterize(x, 3),
        lambda F, x: F.solarize(x, 3.0),
        lambda F, x: F.erase(3, 0, 0, 1, 1, 0),
        lambda F, x: F.five_crop(x, 90),
        lambda F, x: F.adjust_gamma(x, -1),
        lambda F, x: F.resize(x, [1, 2, 3]),
        lambda F, x: F.rgb_to_grayscale(x, 2),
        lambda F, x: F.adjust_saturation(x[:2], 2),
        lambda F, x: F.to_grayscale(x),
        lambda F, x: F.gaussian_blur(x, 2),
        lambda F, x: F.gaussian_blur(x, 3, -1.0),
        lambda F, x: F.pad(x, 1, "a"),
    ]
    for i, call in enumerate(calls):
        theirs, ours = error_of(lambda call=call: call(T, a)), error_of(lambda call=call: call(V, b))
        ours = ours[0], ours[1].replace("minigrad.tensor.tensor_class.", "torch.").replace("minigrad.", "torch.")
        assert theirs == ours and ours[0] != "none", (i, theirs, ours)


def test_images_in_other_dtypes_are_converted_alike() -> None:
    F = pytest.importorskip("torchvision").transforms.functional
    names = ("uint8", "int16", "int32", "int64", "float32", "float64", "float16")
    values = np.array([[0.0, 0.2, 0.5, 0.7, 0.9]])
    for source in names:
        high = 1 if "float" in source else np.iinfo(source).max
        array = (values * high).astype(source)
        for target in names:
            if source == "float16" and target.startswith("int"):
                continue  # what float16 can't hold is anything
            def converted(package: Any, functional: Any, array: Any = array, target: str = target) -> Any:
                return functional.convert_image_dtype(package.from_numpy(array), getattr(package, target))

            ours = error_of(lambda make=converted: make(minigrad, vision.transforms.functional))
            assert error_of(lambda make=converted: make(torch, F)) == (ours[0], ours[1].replace("minigrad.", "torch."))
            if ours[0] == "none":
                agree(converted(torch, F), converted(minigrad, vision.transforms.functional), 1e-6)


def test_grids_agree(tmp_path: Path) -> None:
    utils = pytest.importorskip("torchvision").utils
    batch = np.random.default_rng(1).standard_normal((7, 3, 5, 4)).astype(np.float32)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (batch, {}), (batch, {"nrow": 3, "padding": 1, "pad_value": 0.5}), (batch[:, :1], {"nrow": 20}),
        (batch, {"normalize": True}), (batch, {"normalize": True, "scale_each": True, "padding": 0}),
        (batch, {"normalize": True, "value_range": (-1, 1)}), (batch[0], {}), (batch[0, 0], {}), (batch[:1], {})]
    for values, options in cases:
        agree(utils.make_grid(torch.from_numpy(values), **options),
              vision.utils.make_grid(minigrad.from_numpy(values), **options), 1e-6)
        utils.save_image(torch.from_numpy(values), tmp_path / "a.png", **options)
        vision.utils.save_image(minigrad.from_numpy(values), tmp_path / "b.png", **options)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png")))


def test_fake_data_and_folders_agree(tmp_path: Path) -> None:
    T, V = pytest.importorskip("torchvision").datasets, vision.datasets
    for i in range(3):
        for folder in ("b", "a"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(PIXELS).rotate(i).save(tmp_path / folder / f"{i}.png")
    for make in (lambda m: m.FakeData(4, (3, 6, 5), 10, random_offset=3), lambda m: m.ImageFolder(tmp_path)):
        theirs, ours = make(T), make(V)
        assert repr(theirs) == repr(ours) and len(theirs) == len(ours)
        for (a, x), (b, y) in zip([theirs[i] for i in range(4)], [ours[i] for i in range(4)], strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b)) and x == y
    assert (theirs.classes, theirs.class_to_idx, theirs.samples) == (ours.classes, ours.class_to_idx, ours.samples)
    assert error_of(lambda: T.ImageFolder(tmp_path / "a")) == error_of(lambda: V.ImageFolder(tmp_path / "a"))
    assert error_of(lambda: T.MNIST(tmp_path)) == error_of(lambda: V.MNIST(tmp_path))
    assert error_of(lambda: T.CIFAR10(tmp_path)) == error_of(lambda: V.CIFAR10(tmp_path))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1"])
def test_models_begin_and_end_alike(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    seed(0)
    theirs, ours = getattr(models, name)(num_classes=5), getattr(vision.models, name)(num_classes=5)
    assert repr(theirs) == repr(ours)
    for (key, a), (other, b) in zip(theirs.state_dict().items(), ours.state_dict().items(), strict=True):
        assert key == other
        agree(a, b, 2e-6)
    x = np.random.default_rng(0).standard_normal((2, 3, 40, 40)).astype(np.float32)
    agree(theirs.eval()(torch.from_numpy(x)).detach(), ours.eval()(minigrad.from_numpy(x)).detach(), 1e-5)


def test_every_model_has_torchvisions_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision").models
    for module in (torch.nn.init, minigrad.nn.init):  # numbers take most of the time, and are not what is asked here
        for filler in ("kaiming_normal_", "kaiming_uniform_", "uniform_", "normal_", "ones_", "zeros_", "constant_"):
            monkeypatch.setattr(module, filler, lambda tensor, *args, **options: tensor)
    for name in vision.models.list_models():
        with torch.device("meta"):
            theirs = getattr(models, name)()
        ours = getattr(vision.models, name)()
        assert repr(theirs) == repr(ours), name
        lines = [[f"{key} {tuple(value.shape)}" for key, value in model.state_dict().items()]
                 for model in (theirs, ours)]
        assert lines[0] == lines[1], name
        print(f'    "{name}": ({len(lines[1])}, "{hashlib.sha256(chr(10).join(lines[1]).encode()).hexdigest()[:16]}"),')
        kinds = [module.get_model_weights(name) for module in (models, vision.models)]
        for weights in kinds[1]:
            same = kinds[0][weights.name]
            assert (weights.url, weights.meta["num_params"]) == (same.url, same.meta["num_params"])
            assert repr(weights.transforms()) == repr(same.transforms())
    assert kinds[0].DEFAULT.name == kinds[1].DEFAULT.name


def test_weights_that_pytorch_saved_are_loaded(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision").models
    theirs = models.squeezenet1_1(num_classes=3)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    torch.save(theirs, tmp_path / "model.pth")
    ours = vision.models.squeezenet1_1(num_classes=3)
    ours.load_state_dict(minigrad.load(tmp_path / "weights.pth"))
    whole = minigrad.load(tmp_path / "model.pth", weights_only=False)
    assert type(whole) is vision.models.SqueezeNet
    x = np.random.default_rng(0).standard_normal((2, 3, 40, 40)).astype(np.float32)
    for model in (ours, whole):
        agree(theirs.eval()(torch.from_numpy(x)).detach(), model.eval()(minigrad.from_numpy(x)).detach(), 1e-6)
    minigrad.save(ours, tmp_path / "ours.pth")
    back = torch.load(tmp_path / "ours.pth", weights_only=False)
    assert type(back) is models.SqueezeNet
    agree(theirs(torch.from_numpy(x)).detach(), ours(minigrad.from_numpy(x)).detach(), 1e-6)
