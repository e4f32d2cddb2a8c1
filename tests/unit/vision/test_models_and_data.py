"""Stage: tests. In: torchvision's names. Out: models with torchvision's structure, pictures with its numbers, data sets
of local files. The constants come from torchvision 0.28.
Next: ``tests/unit/utils/``."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn, vision
from minigrad.vision import transforms as T
from minigrad.vision.transforms import v2

# Each model's number of tensors, and the first digits of the SHA-256 of "name shape" lines.
STRUCTURES = {
    "mobilenet_v2": (314, "37bbbce8932fd0c4"), "resnet18": (122, "84fb10d9c6905a1c"),
    "resnet50": (320, "d7e4f8bb0a536344"), "resnext50_32x4d": (320, "e3bad165c034e60f"),
    "squeezenet1_0": (52, "4654d26ad581241f"), "squeezenet1_1": (52, "1d365589393f9c1e"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_models_have_torchvisions_structure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for filler in ("kaiming_normal_", "kaiming_uniform_", "uniform_", "normal_", "ones_", "zeros_"):
        monkeypatch.setattr(nn.init, filler, lambda tensor, *args, **options: tensor)  # only names and shapes are asked
    lines = [f"{key} {tuple(value.shape)}" for key, value in vision.models.get_model(name).state_dict().items()]
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]) == STRUCTURES[name]


def test_weights_are_read_from_the_users_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    models = vision.models
    with pytest.raises(RuntimeError, match=f"squeezenet1_1-b8a52dc0.pth .* put it into {tmp_path}/hub/checkpoints"):
        models.squeezenet1_1(weights="DEFAULT")
    with pytest.warns(UserWarning, match="'pretrained' is"), pytest.raises(RuntimeError, match="resnet18-f37"):
        models.resnet18(pretrained=True)
    with pytest.raises(ValueError, match="'num_classes' expected value 1000 but got 10"):
        models.resnet18(weights=models.ResNet18_Weights.DEFAULT, num_classes=10)
    with pytest.raises(TypeError, match="expected ResNet18_Weights but received ResNet50_Weights"):
        models.resnet18(weights=models.ResNet50_Weights.DEFAULT)
    with pytest.raises(KeyError, match="IMAGENET1K_V9"):
        models.resnet18(weights="IMAGENET1K_V9")
    with pytest.raises(ValueError, match="Unknown model resnet19"):
        models.get_model("ResNet19")
    minigrad.manual_seed(5)
    state = models.squeezenet1_1().state_dict()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    minigrad.save(state, tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    loaded = models.squeezenet1_1(weights=models.SqueezeNet1_1_Weights.IMAGENET1K_V1).state_dict()
    assert all(minigrad.equal(loaded[key], value) for key, value in state.items())
    assert models.get_weight("ResNet18_Weights.DEFAULT") is models.ResNet18_Weights.IMAGENET1K_V1


def test_a_resnet_of_ones_own() -> None:
    make, block = vision.models.ResNet, vision.models.resnet.BasicBlock
    model = make(block, [1, 1, 1, 1], num_classes=2, zero_init_residual=True, norm_layer=lambda n: nn.GroupNorm(8, n))
    assert float(model.layer1[0].bn2.weight.sum()) == 0.0 and model.fc.out_features == 2
    with pytest.raises(ValueError, match="or a 3-element tuple, got"):
        make(block, [1, 1, 1, 1], replace_stride_with_dilation=[True])
    with pytest.raises(NotImplementedError, match="Dilation > 1 not supported in BasicBlock"):
        make(block, [1, 1, 1, 2], replace_stride_with_dilation=[False, False, True])


def write_idx(path: Path, values: np.ndarray[Any, Any], packed: bool = False) -> None:
    head = bytes([0, 0, {"uint8": 8, "int32": 12, "float32": 13}[values.dtype.name], values.ndim])
    content = head + np.array(values.shape, ">i4").tobytes() + values.astype(values.dtype.newbyteorder(">")).tobytes()
    with (gzip.open(path, "wb") if packed else open(path, "wb")) as file:
        file.write(content)


def test_mnist_reads_its_files(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    raw = tmp_path / "MNIST" / "raw"
    with pytest.raises(RuntimeError, match="Dataset not found"):
        vision.datasets.MNIST(tmp_path)
    with pytest.raises(RuntimeError, match=f"MNIST is not in {raw}, and minigrad downloads nothing: fetch https://"):
        vision.datasets.MNIST(tmp_path, download=True)
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte{'.gz' if part == 't10k' else ''}", images, packed=part == "t10k")
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    for train in (True, False):
        data = vision.datasets.MNIST(tmp_path, train=train, transform=T.ToTensor(), download=True)
        x, y = data[2]
        assert y == 4 and len(data) == 6 and x.shape == (1, 28, 28) and data.targets.tolist() == labels.tolist()
        assert np.array_equal(x.numpy()[0], images[2].astype(np.float32) / np.float32(255))
    loader = minigrad.utils.data.DataLoader(data, batch_size=4)
    assert [tuple(x.shape) for x, _ in loader] == [(4, 1, 28, 28), (2, 1, 28, 28)]
    assert repr(data) == ("Dataset MNIST\n    Number of datapoints: 6\n"
                          f"    Root location: {tmp_path}\n    Split: Test\n"
                          "    StandardTransform\nTransform: ToTensor()")
    write_idx(raw / "train-images-idx3-ubyte", images.astype(np.int32))
    with pytest.raises(TypeError, match="x should be of dtype torch.uint8 instead of "):
        vision.datasets.MNIST(tmp_path)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + bytes(9))
    with pytest.raises(ValueError, match="is not an IDX file|numbers, but its head says|buffer is smaller"):
        vision.datasets.MNIST(tmp_path)


def test_cifar_reads_files_with_the_right_sum_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    sums = {}
    for name, content in (("a", {"data": pixels, "labels": [7, 2]}), ("m", {"label_names": list("abcdefghij")})):
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    cifar = vision.datasets.CIFAR10
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        cifar(tmp_path)
    with pytest.raises(RuntimeError, match="minigrad downloads nothing: fetch https://www.cs.toronto.edu"):
        cifar(tmp_path, download=True)
    monkeypatch.setattr(cifar, "train_list", [["a", sums["a"]]])
    monkeypatch.setattr(cifar, "test_list", [])
    monkeypatch.setattr(cifar, "meta", {"filename": "m", "key": "label_names", "md5": sums["m"]})
    data = cifar(tmp_path, transform=T.PILToTensor())
    x, y = data[1]
    assert np.array_equal(x.numpy(), pixels[1].reshape(3, 32, 32)) and y == 2 and data.classes[2] == "c"
    (folder / "a").write_bytes(pickle.dumps({"data": pixels, "labels": [7, 3]}))
    with pytest.raises(RuntimeError, match="corrupted"):
        cifar(tmp_path)


def image() -> minigrad.Tensor:
    return minigrad.arange(48, dtype=minigrad.uint8).reshape(3, 4, 4) * 5


def test_pictures_have_torchvisions_numbers() -> None:
    minigrad.manual_seed(0)
    F = T.functional
    assert F.rgb_to_grayscale(image())[0, 0].tolist() == [65, 70, 75, 80]
    assert F.adjust_contrast(image(), 2.0)[:, 0, 0].tolist() == [0, 57, 217]
    assert F.adjust_hue(image(), 0.25)[:, 1, 1].tolist() == [185, 25, 185]
    assert F.rotate(image(), 30, fill=7)[1].tolist() == [[7, 90, 95, 7], [80, 105, 110, 135], [100, 125, 130, 155],
                                                        [7, 140, 145, 7]]
    assert F.resize(image(), [2, 3])[0].tolist() == [[16, 22, 28], [47, 53, 59]]
    jitter = T.ColorJitter(0.5, 0.5, 0.5)(image())
    assert jitter[:, 2, 2].tolist() == [32, 79, 124]
    assert T.RandomErasing(p=1.0, value=1)(image() / 255.0).sum().item() == pytest.approx(29.2941, abs=1e-3)
    assert T.RandomResizedCrop(2)(image())[0].tolist() == [[32, 38], [58, 62]]


def test_a_sample_is_changed_as_a_whole() -> None:
    Image = pytest.importorskip("PIL.Image")
    pixels = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    pair = {"left": Image.fromarray(pixels), "right": [Image.fromarray(pixels), "kept"]}
    change = v2.Compose([v2.RandomCrop(3), v2.RandomHorizontalFlip(0.5), v2.ToImage()])
    first = v2.RandomCrop(3)(pair, 7)
    assert first[1] == 7 and np.array_equal(np.asarray(first[0]["left"]), np.asarray(first[0]["right"][0]))
    assert first[0]["right"][1] == "kept"
    x, y = change(Image.fromarray(pixels), 1)
    assert isinstance(x, minigrad.Tensor) and x.shape == (3, 3, 3) and x.dtype is minigrad.uint8 and y == 1
    scaled = v2.Compose([v2.ToDtype(minigrad.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])(x)
    assert scaled.min() >= -1 and scaled.dtype is minigrad.float32
    assert repr(v2.Resize(4)).startswith("Resize(size=4, interpolation=InterpolationMode.BILINEAR")
    with pytest.warns(UserWarning, match="deprecated"):
        v2.ToTensor()


def test_files_of_images(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    vision.io.write_png(image(), tmp_path / "a.png")
    assert minigrad.equal(vision.io.read_image(tmp_path / "a.png"), image())
    assert vision.io.read_image(tmp_path / "a.png", "GRAY").shape == (1, 4, 4)
    vision.utils.save_image(minigrad.rand(5, 1, 4, 4), tmp_path / "b.png", nrow=3)
    assert vision.io.read_image(tmp_path / "b.png").shape == (3, 14, 20)
    with pytest.raises(TypeError, match="tensor or list of tensors expected, got a list containing"):
        vision.utils.make_grid([1, 2])  # type: ignore[list-item]
    with pytest.raises(NotImplementedError, match="accimage"):
        vision.set_image_backend("accimage")


def test_programs_find_it_as_torchvision() -> None:
    program = ("import torch, torchvision, torchvision.transforms as T; from torchvision.models.resnet import ResNet; "
               "from torchvision.transforms import v2; from torchvision.datasets import MNIST; "
               "import torchvision.transforms.functional as F, torchvision.transforms.v2.functional; "
               "print(torchvision.__version__, T.CenterCrop(1)(torch.ones(1, 3, 3)).shape)")
    done = subprocess.run([sys.executable, "-m", "minigrad.torch", "-c", program], capture_output=True, text=True)
    assert done.stdout == "0.28.0+minigrad torch.Size([1, 1, 1])\n", done.stderr
